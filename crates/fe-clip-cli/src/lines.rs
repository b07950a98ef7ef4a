//! Results of `detect` as lines on standard output: JSON, CSV or a table.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use clap::ValueEnum;
use fe_clip::Region;
use serde::Serialize;

use crate::camera::Moment;
use crate::monitor::Evidence;
use crate::regions::Summary;
use crate::{stdout, talk};

/// The form of the results.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Jsonl,
    Csv,
    Table,
}

impl Format {
    /// The form that was asked for; else a table for a person, JSON for a program.
    pub(crate) fn or_usual(asked: Option<Self>) -> Self {
        let usual = if std::io::stdout().is_terminal() { Self::Table } else { Self::Jsonl };
        asked.unwrap_or(usual)
    }
}

/// What is told of an input. Paths are text as [`data::path_text`] writes it.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Line<'a> {
    /// It was scored.
    Found(Box<Found<'a>>),
    /// It could not be.
    Failed {
        path: &'a str,
        error: &'a str,
        #[serde(flatten)]
        moment: Option<Moment>,
    },
}

/// An image that was scored.
#[derive(Serialize)]
pub(crate) struct Found<'a> {
    pub(crate) path: &'a str,
    /// In [0, 1].
    pub(crate) score: f64,
    pub(crate) label: Option<&'static str>,
    pub(crate) map_max: f32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) map: Option<&'a str>,
    pub(crate) overlay: Option<&'a str>,
    /// What ranks.
    pub(crate) raw_score: f32,
    /// Where the map reaches the pixel threshold; none without one.
    pub(crate) regions: Vec<Place<'a>>,
    /// The same in columns.
    #[serde(skip)]
    pub(crate) summary: Summary,
    /// Which pictures could not be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'a str>,
    /// Whether there is a drift, where that is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) monitor: Option<Evidence>,
    /// Of a frame of a camera or a video.
    #[serde(flatten)]
    pub(crate) moment: Option<Moment>,
}

/// A region, in pixels of the image.
#[derive(Serialize)]
pub(crate) struct Place<'a> {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    area: u64,
    /// The highest value of the map in it.
    score: f32,
    polygon: &'a [[f64; 2]],
    /// Where it lies in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    /// Where the size of a pixel is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    area_mm2: Option<f64>,
}

impl<'a> Place<'a> {
    /// Of a region of an image whose pixels have this area in mm².
    pub(crate) fn new(region: &'a Region, pixel_area: Option<f64>) -> Self {
        let Region { x, y, width, height, area, peak, ref polygon, ref zone } = *region;
        let area_mm2 = pixel_area.map(|pixel| pixel * area as f64);
        let zone = zone.as_deref();
        Self { x, y, width, height, area, score: peak, polygon, zone, area_mm2 }
    }
}

const COLUMNS: usize = 19;
const CSV_HEAD: [&str; COLUMNS] = [
    "path",
    "score",
    "label",
    "map_max",
    "width",
    "height",
    "map",
    "overlay",
    "error",
    "raw_score",
    "regions",
    "largest_x",
    "largest_y",
    "largest_width",
    "largest_height",
    "largest_area",
    "largest_score",
    "largest_area_mm2",
    "largest_zone",
];
const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();

/// Prints one result; `first` also prints what stands above the first.
///
/// # Errors
/// If standard output is closed or full.
pub(crate) fn print(line: &Line<'_>, format: Format, first: bool) -> anyhow::Result<()> {
    let head = match format {
        Format::Csv if first => CSV_HEAD.join(",") + "\n",
        Format::Table if first => " score  map max  label      path\n".to_string(),
        _ => String::new(),
    };
    match format {
        Format::Jsonl => {
            let text = serde_json::to_string(line).context("encoding a result")?;
            stdout::print(text + "\n")
        }
        Format::Csv => {
            let cells = line.cells().map(|cell| csv_cell(&cell));
            stdout::print(format!("{head}{}\n", cells.join(",")))
        }
        Format::Table => stdout::print_styled(&format!("{head}{}\n", line.row())),
    }
}

impl Line<'_> {
    /// Cells in the order of `CSV_HEAD`; numbers as short as they read back exactly.
    fn cells(&self) -> [String; COLUMNS] {
        match self {
            Self::Found(found) => {
                let Summary { count, ref largest } = found.summary;
                let largest = largest.as_ref();
                let text = |value: Option<String>| value.unwrap_or_default();
                [
                    found.path.to_string(),
                    found.score.to_string(),
                    found.label.unwrap_or_default().to_string(),
                    found.map_max.to_string(),
                    found.width.to_string(),
                    found.height.to_string(),
                    found.map.unwrap_or_default().to_string(),
                    found.overlay.unwrap_or_default().to_string(),
                    found.error.unwrap_or_default().to_string(),
                    found.raw_score.to_string(),
                    text(count.map(|count| count.to_string())),
                    text(largest.map(|l| l.x.to_string())),
                    text(largest.map(|l| l.y.to_string())),
                    text(largest.map(|l| l.width.to_string())),
                    text(largest.map(|l| l.height.to_string())),
                    text(largest.map(|l| l.area.to_string())),
                    text(largest.map(|l| l.score.to_string())),
                    text(largest.and_then(|l| l.area_mm2).map(|area| area.to_string())),
                    text(largest.and_then(|l| l.zone.clone())),
                ]
            }
            Self::Failed { path, error, .. } => {
                let mut cells = [const { String::new() }; COLUMNS];
                cells[0] = (*path).to_string();
                cells[8] = (*error).to_string();
                cells
            }
        }
    }

    /// A row of the table.
    fn row(&self) -> String {
        let (path, error, numbers) = match self {
            Self::Found(found) => {
                let label = found.label.unwrap_or_default();
                let style = match label {
                    "anomalous" => RED,
                    "normal" => GREEN,
                    _ => Style::new(),
                };
                let Found { score, map_max, .. } = &**found;
                let numbers = format!("{score:.4}  {map_max:>7.4}  {style}{label:<9}{style:#}");
                (found.path, found.error, numbers)
            }
            Self::Failed { path, error, .. } => (*path, Some(*error), " ".repeat(26)),
        };
        let error =
            error.map_or(String::new(), |error| format!("  ({})", talk::visible(error, &[])));
        format!("{numbers}  {}{error}", talk::visible(path, &[]))
    }
}

/// A cell, in quotes where it needs them.
pub(crate) fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}
