//! A run of the model over many images: read, score, write, report, one image after another.

use std::path::{Path, PathBuf};

use data::path_text::to_text;
use data::{Limits, Preprocess, preprocess, read_image};
use fe_clip::{Detector, Prediction, ScoreScale};
use image::RgbImage;
use ndarray::Array3;

use crate::inputs::Input;
use crate::lines::{self, Format, Found, Line};
use crate::output::{Save, Saved, Scored, save};
use crate::report::{Picture, Report, Row};
use crate::talk::{self, Progress};
use crate::thresholds::Thresholds;

/// An input after reading.
pub(crate) struct Read {
    pub(crate) path: PathBuf,
    pub(crate) stem: PathBuf,
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
    /// From the model's raw scores to those in [0, 1].
    pub(crate) scale: ScoreScale,
    pub(crate) thresholds: Option<Thresholds>,
    pub(crate) format: Format,
    /// Folder of the files to write, and which.
    pub(crate) out: Option<PathBuf>,
    pub(crate) save: Vec<Save>,
    pub(crate) report: Option<Report>,
    pub(crate) progress: Progress,
    /// Inputs so far, those of them that have a score, and those that something failed for.
    pub(crate) done: usize,
    pub(crate) scored: usize,
    pub(crate) failed: usize,
}

/// What came of an input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All that was asked for.
    Complete,
    /// A score, but not every picture.
    Unsaved,
    /// No score.
    Failed,
}

impl Job {
    /// Runs the model on the images read and reports them in order; a bad one stops nothing.
    ///
    /// # Errors
    /// If standard output is closed or full.
    pub(crate) fn handle(&mut self, batch: &mut Vec<Read>) -> anyhow::Result<Vec<Outcome>> {
        let pixels: Vec<Array3<f32>> =
            batch.iter().filter_map(|r| r.image.as_ref().ok()).map(|(_, p)| p.clone()).collect();
        let mut predictions = self.detector.detect(&pixels).into_iter();
        let mut outcomes = Vec::with_capacity(batch.len());
        for read in batch.drain(..) {
            let predict = || {
                let prediction = predictions.next().expect("one prediction an image");
                prediction.require_finite().map(|()| prediction).map_err(|e| e.to_string())
            };
            outcomes.push(self.report(read, predict)?);
        }
        Ok(outcomes)
    }

    /// Reports an image that was read, for which `predict` is asked, or why it was not.
    ///
    /// # Errors
    /// If standard output is closed or full.
    pub(crate) fn report(
        &mut self,
        read: Read,
        predict: impl FnOnce() -> Result<Prediction, String>,
    ) -> anyhow::Result<Outcome> {
        let outcome = match read.image {
            Ok((image, pixels)) => match predict() {
                Ok(prediction) => {
                    self.scored(&read.path, &read.stem, (&image, &pixels), &prediction)?
                }
                Err(error) => {
                    let error = format!("{}: {error}", read.path.display());
                    self.failed(read.path, error)?
                }
            },
            Err(error) => self.failed(read.path, error)?,
        };
        self.scored += usize::from(outcome != Outcome::Failed);
        self.failed += usize::from(outcome != Outcome::Complete);
        self.done += 1;
        self.progress.advance();
        Ok(outcome)
    }

    fn failed(&mut self, path: PathBuf, error: String) -> anyhow::Result<Outcome> {
        self.print(&Line::Failed { path: &to_text(&path), error: &error })?;
        self.progress.suspend(|| talk::error(&error));
        if let Some(report) = &mut self.report {
            report.rows.push(Row { path, error: Some(error), ..Row::default() });
        }
        Ok(Outcome::Failed)
    }

    fn scored(
        &mut self,
        path: &Path,
        stem: &Path,
        (image, pixels): (&RgbImage, &Array3<f32>),
        prediction: &Prediction,
    ) -> anyhow::Result<Outcome> {
        let score = self.scale.score(prediction.score);
        let label = self.thresholds.map(|t| t.label(score));
        let preprocessing = self.detector.preprocess();
        let saved = match &self.out {
            Some(out) => {
                let caption = match label {
                    Some(label) => format!("{score:.3} {label}"),
                    None => format!("{score:.3}"),
                };
                let wanted = self.save.contains(&Save::Features);
                let scored = Scored {
                    input: path,
                    image,
                    prediction,
                    preprocessing,
                    caption: &caption,
                    pixel_threshold: self.thresholds.map(|t| t.pixel),
                    last_stage: if wanted { self.detector.last_stage(pixels) } else { None },
                };
                save(&self.save, out, stem, &scored)
            }
            None => Saved::default(),
        };
        let Saved { map, overlay, problems } = saved;
        let error = (!problems.is_empty()).then(|| problems.join("; "));
        let map_max = prediction.map.iter().copied().fold(f32::MIN, f32::max);
        let (width, height) = image.dimensions();
        self.print(&Line::Found(Found {
            path: &to_text(path),
            score,
            label,
            map_max,
            width,
            height,
            map: map.as_deref().map(to_text).as_deref(),
            overlay: overlay.as_deref().map(to_text).as_deref(),
            raw_score: prediction.score,
            error: error.as_deref(),
        }))?;
        for problem in &problems {
            self.progress.suspend(|| talk::error(problem));
        }
        if let Some(report) = &mut self.report {
            let picture = || Picture::new(image, prediction.map.view(), None, preprocessing);
            report.rows.push(Row {
                path: path.to_owned(),
                score: Some(score),
                raw_score: Some(prediction.score),
                map_max: Some(map_max),
                label,
                size: Some((width, height)),
                map,
                overlay,
                error,
                picture: report.has_room().then(picture),
                ..Row::default()
            });
        }
        Ok(if problems.is_empty() { Outcome::Complete } else { Outcome::Unsaved })
    }

    fn print(&self, line: &Line<'_>) -> anyhow::Result<()> {
        self.progress.suspend(|| lines::print(line, self.format, self.done == 0))
    }
}
