//! A run of the model over many images: read, score, write, report, one image after another.

use std::path::{Path, PathBuf};

use anyhow::Context;
use data::{Limits, Preprocess, preprocess, read_image};
use fe_clip::{Detector, Prediction};
use image::RgbImage;
use ndarray::Array3;

use crate::inputs::Input;
use crate::lines::{self, Failed, Format, Found, Line};
use crate::output::{Save, Saved, Scored, save};
use crate::report::{Picture, Report, Row};
use crate::talk::{self, Progress};
use crate::thresholds::Thresholds;

/// An input after reading.
pub(crate) struct Read {
    pub(crate) path: PathBuf,
    stem: PathBuf,
    pub(crate) image: Result<(RgbImage, Array3<f32>), String>,
}

impl Read {
    pub(crate) fn new(input: &Input, preprocessing: &Preprocess) -> Self {
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

/// A run and what came of it so far.
pub(crate) struct Job {
    pub(crate) detector: Detector,
    pub(crate) thresholds: Option<Thresholds>,
    pub(crate) format: Format,
    /// Folder of the files to write, and which.
    pub(crate) out: Option<PathBuf>,
    pub(crate) save: Vec<Save>,
    pub(crate) report: Option<Report>,
    pub(crate) progress: Progress,
    pub(crate) failed: usize,
    pub(crate) done: usize,
}

impl Job {
    /// Runs the model on the images read and reports them in order; a bad one stops nothing.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(crate) fn handle(&mut self, batch: &mut Vec<Read>) -> anyhow::Result<()> {
        let pixels: Vec<Array3<f32>> =
            batch.iter().filter_map(|r| r.image.as_ref().ok()).map(|(_, p)| p.clone()).collect();
        let mut predictions = self.detector.detect(&pixels).into_iter();
        for read in batch.drain(..) {
            let Read { path, stem, image } = read;
            let result = image.and_then(|(image, pixels)| {
                let prediction = predictions.next().expect("one prediction an image");
                self.write(&path, &stem, (&image, &pixels), &prediction)
                    .map_err(|e| format!("{e:#}"))
            });
            if let Err(error) = result {
                self.failed += 1;
                self.print(&Failed { path: &path, error: &error })?;
                self.progress.suspend(|| talk::error(&error));
                if let Some(report) = &mut self.report {
                    report.rows.push(Row { path, error: Some(error), ..Row::default() });
                }
            }
            self.done += 1;
            self.progress.advance();
        }
        Ok(())
    }

    fn write(
        &mut self,
        path: &Path,
        stem: &Path,
        (image, pixels): (&RgbImage, &Array3<f32>),
        prediction: &Prediction,
    ) -> anyhow::Result<()> {
        prediction.require_finite().with_context(|| path.display().to_string())?;
        let score = prediction.score.clamp(0.0, 1.0);
        // The score as it is: with a memory bank it and its threshold may lie above 1.
        let above = |t: Thresholds| prediction.score >= t.image;
        let label = self.thresholds.map(|t| if above(t) { "anomalous" } else { "normal" });
        let preprocessing = self.detector.preprocess();
        let saved = match &self.out {
            Some(out) => {
                let caption = match label {
                    Some(label) => format!("{score:.3} {label}"),
                    None => format!("{score:.3}"),
                };
                let pixel_threshold = self.thresholds.map(|t| t.pixel);
                let wanted = self.save.contains(&Save::Features);
                let last_stage = if wanted { self.detector.last_stage(pixels) } else { None };
                let scored = Scored {
                    image,
                    prediction,
                    preprocessing,
                    caption: &caption,
                    pixel_threshold,
                    last_stage,
                };
                save(&self.save, out, stem, &scored)?
            }
            None => Saved::default(),
        };
        let map_max = prediction.map.iter().copied().fold(f32::MIN, f32::max);
        let (width, height) = image.dimensions();
        let Saved { map, overlay } = saved;
        if let Some(report) = &mut self.report {
            let picture = || Picture::new(image, prediction.map.view(), None, preprocessing);
            report.rows.push(Row {
                path: path.to_owned(),
                score: Some(score),
                map_max: Some(map_max),
                label,
                size: Some((width, height)),
                map: map.clone(),
                overlay: overlay.clone(),
                picture: report.has_room().then(picture),
                ..Row::default()
            });
        }
        self.print(&Found { path, score, label, map_max, width, height, map, overlay })
    }

    fn print(&self, line: &impl Line) -> anyhow::Result<()> {
        self.progress.suspend(|| lines::print(line, self.format, self.done == 0))
    }
}
