//! `fe-clip detect`: images in, scores and heat maps out.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use data::{Limits, Preprocess, prefetch, preprocess, read_image};
use fe_clip::{Detector, Prediction};
use image::RgbImage;
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::Array3;
use serde::Serialize;

use crate::inputs::{Input, expand};
use crate::model::ModelArgs;
use crate::output::{Save, Saved, save};
use crate::thresholds::{Thresholds, calibrated_detector};

/// Score images and draw where they are anomalous.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip detect photo.jpg\n  \
    fe-clip detect parts/ --out results --threshold 0.5\n  \
    find . -name '*.png' | fe-clip detect - --format jsonl\n  \
    fe-clip detect parts/ --normals good-parts/ --out results --save overlay,map")]
pub(crate) struct Args {
    /// Images, folders (searched recursively), or `-` for a list of paths on standard input.
    #[arg(required = true, value_name = "PATHS")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Folder of a few normal images of the same kind: their distance is added.
    #[arg(long, value_name = "DIR")]
    normals: Option<PathBuf>,
    /// Images with at least this score are labelled anomalous, in [0, 1].
    #[arg(long, value_name = "X")]
    threshold: Option<f32>,
    /// Thresholds from `fe-clip calibrate`: one labels images, one makes the masks.
    #[arg(long, value_name = "FILE", conflicts_with = "threshold")]
    calibration: Option<PathBuf>,
    /// Folder for pictures and maps.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to write to --out. Default: overlay, and mask with --calibration.
    #[arg(long, value_delimiter = ',', value_enum, requires = "out")]
    save: Vec<Save>,
    /// Form of the results. Default: table on a terminal, else jsonl.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
    Table,
}

#[derive(Serialize)]
struct Found<'a> {
    path: &'a Path,
    score: f32,
    label: Option<&'static str>,
    map_max: f32,
    width: u32,
    height: u32,
    map: Option<PathBuf>,
    overlay: Option<PathBuf>,
}

#[derive(Serialize)]
struct Failed<'a> {
    path: &'a Path,
    error: &'a str,
}

/// Images decoded ahead of the model.
const AHEAD: usize = 6;
/// Images of a forward pass.
const BATCH: usize = 2;

pub(crate) fn run(args: Args) -> anyhow::Result<bool> {
    if let Some(x) = args.threshold
        && !(0.0..=1.0).contains(&x)
    {
        bail!("--threshold: expected a number in [0, 1], got {x}");
    }
    if args.save.contains(&Save::Mask) && args.threshold.is_none() && args.calibration.is_none() {
        bail!("--save mask needs --threshold or --calibration");
    }
    let inputs = expand(&args.paths)?;
    if let Some(out) = &args.out {
        check_writable(out)?;
    }
    let (detector, thresholds) = match &args.calibration {
        Some(file) => {
            let (detector, thresholds) =
                calibrated_detector(&args.model, args.normals.as_deref(), file)?;
            (detector, Some(thresholds))
        }
        None => {
            let (mut detector, _) = args.model.detector()?;
            let normals = match &args.normals {
                Some(folder) => read_normals(folder, detector.preprocess())?,
                None => Vec::new(),
            };
            detector.check_normals(normals.len())?;
            if !normals.is_empty() {
                detector.remember(&normals);
            }
            (detector, args.threshold.map(|x| Thresholds { image: x, pixel: x }))
        }
    };
    let mut job = Job::new(&args, detector, thresholds, inputs.len());
    let preprocessing = job.detector.preprocess().clone();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let read = prefetch(inputs, threads, AHEAD, move |input| Read::new(input, &preprocessing));
    let mut batch = Vec::new();
    let mut first = true;
    for item in read {
        batch.push(item);
        // The first answer should not wait for a second image.
        if first || batch.len() == BATCH {
            job.handle(&mut batch)?;
            first = false;
        }
    }
    job.handle(&mut batch)?;
    job.finish()
}

fn check_writable(out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("--out {}", out.display()))?;
    tempfile::tempfile_in(out).with_context(|| format!("--out {}", out.display()))?;
    Ok(())
}

fn read_normals(folder: &Path, preprocessing: &Preprocess) -> anyhow::Result<Vec<Array3<f32>>> {
    let found = data::find_images(folder)?;
    if found.is_empty() {
        bail!("--normals {}: no image in this folder", folder.display());
    }
    let read = |path: Result<PathBuf, data::Error>| -> anyhow::Result<_> {
        Ok(preprocess(&read_image(&path?, &Limits::default())?, preprocessing))
    };
    found.into_iter().map(read).collect()
}

/// An input after reading.
struct Read {
    path: PathBuf,
    stem: PathBuf,
    image: Result<(RgbImage, Array3<f32>), String>,
}

impl Read {
    fn new(input: &Input, preprocessing: &Preprocess) -> Self {
        let image = match &input.error {
            Some(error) => Err(error.clone()),
            None => read_image(&input.path, &Limits::default())
                .map(|image| {
                    let pixels = preprocess(&image, preprocessing);
                    (image, pixels)
                })
                .map_err(|e| e.to_string()),
        };
        Self { path: input.path.clone(), stem: input.stem.clone(), image }
    }
}

/// A run over many images.
struct Job<'a> {
    args: &'a Args,
    detector: Detector,
    thresholds: Option<Thresholds>,
    format: Format,
    save: Vec<Save>,
    bar: ProgressBar,
    failed: usize,
    done: usize,
}

impl<'a> Job<'a> {
    fn new(
        args: &'a Args,
        detector: Detector,
        thresholds: Option<Thresholds>,
        images: usize,
    ) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let format = args.format.unwrap_or(if terminal { Format::Table } else { Format::Jsonl });
        let mut save = args.save.clone();
        if save.is_empty() && args.out.is_some() {
            save.push(Save::Overlay);
            if args.calibration.is_some() {
                save.push(Save::Mask);
            }
        }
        // A bar only helps where the results do not already show the progress.
        let bar = if images > 1 && !(terminal && format == Format::Table) {
            let style = "{bar:30} {pos}/{len} images, {per_sec}, {eta} left";
            let style = ProgressStyle::with_template(style).expect("the template is right");
            ProgressBar::new(images as u64).with_style(style)
        } else {
            ProgressBar::hidden()
        };
        Self { args, detector, thresholds, format, save, bar, failed: 0, done: 0 }
    }

    /// Runs the model on the images read and reports them in order; a bad one stops nothing.
    fn handle(&mut self, batch: &mut Vec<Read>) -> anyhow::Result<()> {
        let pixels: Vec<Array3<f32>> =
            batch.iter().filter_map(|r| r.image.as_ref().ok()).map(|(_, p)| p.clone()).collect();
        let mut predictions = self.detector.detect(&pixels).into_iter();
        for read in batch.drain(..) {
            let result = read.image.and_then(|(image, _)| {
                let prediction = predictions.next().expect("one prediction an image");
                self.write(&read.path, &read.stem, &image, &prediction)
                    .map_err(|e| format!("{e:#}"))
            });
            if let Err(error) = result {
                self.failed += 1;
                self.print(&Failed { path: &read.path, error: &error })?;
                self.bar.suspend(|| eprintln!("{error}"));
            }
            self.done += 1;
            self.bar.inc(1);
        }
        Ok(())
    }

    fn write(
        &self,
        path: &Path,
        stem: &Path,
        image: &RgbImage,
        prediction: &Prediction,
    ) -> anyhow::Result<()> {
        let score = prediction.score.clamp(0.0, 1.0);
        // The score as it is: with a memory bank it and its threshold may lie above 1.
        let above = |t: Thresholds| prediction.score >= t.image;
        let label = self.thresholds.map(|t| if above(t) { "anomalous" } else { "normal" });
        let saved = match &self.args.out {
            Some(out) => {
                let caption = match label {
                    Some(label) => format!("{score:.3} {label}"),
                    None => format!("{score:.3}"),
                };
                let pixel_threshold = self.thresholds.map(|t| t.pixel);
                save(&self.save, out, stem, image, prediction, &caption, pixel_threshold)?
            }
            None => Saved::default(),
        };
        let map_max = prediction.map.iter().copied().fold(f32::MIN, f32::max);
        let (width, height) = image.dimensions();
        let (map, overlay) = (saved.map, saved.overlay);
        self.print(&Found { path, score, label, map_max, width, height, map, overlay })
    }

    fn print(&self, line: &impl Line) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Jsonl => serde_json::to_string(line).context("encoding a result")?,
            Format::Csv => {
                let head = if self.done == 0 {
                    format!("{}\n", CSV_HEAD.join(","))
                } else {
                    String::new()
                };
                head + &line.cells().map(|cell| csv_cell(&cell)).join(",")
            }
            Format::Table => {
                let [path, score, label, map_max, ..] = line.cells();
                let head = if self.done == 0 { " score  map max  label      path\n" } else { "" };
                let error = line.error().map_or(String::new(), |e| format!("  ({e})"));
                format!("{head}{score:>6}  {map_max:>7}  {label:<9}  {path}{error}")
            }
        };
        self.bar.suspend(|| writeln!(std::io::stdout(), "{text}")).context("writing results")
    }

    fn finish(self) -> anyhow::Result<bool> {
        self.bar.finish_and_clear();
        if self.failed == self.done {
            bail!("no image could be read");
        }
        Ok(self.failed == 0)
    }
}

const CSV_HEAD: [&str; 9] =
    ["path", "score", "label", "map_max", "width", "height", "map", "overlay", "error"];

/// A result in the three forms.
trait Line: Serialize {
    /// Cells in the order of `CSV_HEAD`, numbers with three or four decimals.
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

fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}
