//! Results of `detect` as lines on standard output: JSON, CSV or a table.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

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

/// An image that was scored.
#[derive(Serialize)]
pub(crate) struct Found<'a> {
    pub(crate) path: &'a Path,
    pub(crate) score: f32,
    pub(crate) label: Option<&'static str>,
    pub(crate) map_max: f32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) map: Option<PathBuf>,
    pub(crate) overlay: Option<PathBuf>,
}

/// An input that could not be scored.
#[derive(Serialize)]
pub(crate) struct Failed<'a> {
    pub(crate) path: &'a Path,
    pub(crate) error: &'a str,
}

const CSV_HEAD: [&str; 9] =
    ["path", "score", "label", "map_max", "width", "height", "map", "overlay", "error"];
const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();

/// Prints one result; `first` also prints what stands above the first.
///
/// # Errors
/// If standard output is closed.
pub(crate) fn print(line: &impl Line, format: Format, first: bool) -> anyhow::Result<()> {
    let mut text = match format {
        Format::Csv if first => format!("{}\n", CSV_HEAD.join(",")),
        Format::Table if first => " score  map max  label      path\n".to_string(),
        _ => String::new(),
    };
    text += &match format {
        Format::Jsonl => serde_json::to_string(line).context("encoding a result")?,
        Format::Csv => line.cells().map(|cell| csv_cell(&cell)).join(","),
        Format::Table => {
            let [path, score, label, map_max, ..] = line.cells();
            let error = line.error().map_or(String::new(), |e| format!("  ({e})"));
            let style = match label.as_str() {
                "anomalous" => RED,
                "normal" => GREEN,
                _ => Style::new(),
            };
            format!("{score:>6}  {map_max:>7}  {style}{label:<9}{style:#}  {path}{error}")
        }
    };
    writeln!(anstream::stdout(), "{text}").context("writing results")
}

/// A result in the three forms.
pub(crate) trait Line: Serialize {
    /// Cells in the order of `CSV_HEAD`, scores with four decimals.
    fn cells(&self) -> [String; 9];
    fn error(&self) -> Option<&str>;
}

impl Line for Found<'_> {
    fn cells(&self) -> [String; 9] {
        let path =
            |p: &Option<PathBuf>| p.as_ref().map_or(String::new(), |p| p.display().to_string());
        [
            self.path.display().to_string(),
            format!("{:.4}", self.score),
            self.label.unwrap_or_default().to_string(),
            format!("{:.4}", self.map_max),
            self.width.to_string(),
            self.height.to_string(),
            path(&self.map),
            path(&self.overlay),
            String::new(),
        ]
    }

    fn error(&self) -> Option<&str> {
        None
    }
}

impl Line for Failed<'_> {
    fn cells(&self) -> [String; 9] {
        let mut cells = [const { String::new() }; 9];
        cells[0] = self.path.display().to_string();
        cells[8] = self.error.to_string();
        cells
    }

    fn error(&self) -> Option<&str> {
        Some(self.error)
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
