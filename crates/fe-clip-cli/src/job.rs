//! What becomes of the verdicts of a run: lines, pictures, the report, one image after another.

use std::path::{Path, PathBuf};

use data::path_text::to_text;
use fe_clip::{Failed, Label, Thresholds, Verdict};

use crate::camera::Moment;
use crate::exchange::Exchange;
use crate::lines::{self, Format, Found, Line, Place};
use crate::monitor::Watched;
use crate::output::{Save, Saved, Scored, save};
use crate::publish::Publishers;
use crate::regions::Summary;
use crate::report::{Picture, Report, Row};
use crate::talk::{self, Progress};

/// A run and what came of it so far.
pub(crate) struct Job {
    pub(crate) thresholds: Option<Thresholds>,
    pub(crate) format: Format,
    /// Folder of the files to write, and which.
    pub(crate) out: Option<PathBuf>,
    pub(crate) save: Vec<Save>,
    pub(crate) report: Option<Report>,
    /// Where the report's rows go, in place of the report.
    pub(crate) part: Option<PathBuf>,
    /// What is written of all images' regions in the end.
    pub(crate) exchange: Option<Exchange>,
    /// Area of a pixel in mm², where it is known.
    pub(crate) pixel_area: Option<f64>,
    /// Where results go beside standard output.
    pub(crate) publishers: Publishers,
    /// When the next input was seen, where that is known.
    pub(crate) moment: Option<Moment>,
    /// Who watches for a drift.
    pub(crate) monitor: Option<Watched>,
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
    /// Reports what was found out about an input whose outputs have `stem` in their names.
    ///
    /// # Errors
    /// If standard output is closed or full.
    pub(crate) fn handle(
        &mut self,
        stem: &Path,
        found: Result<Verdict, Failed>,
    ) -> anyhow::Result<Outcome> {
        match found {
            Ok(verdict) => self.scored(stem, &verdict),
            Err(failed) => {
                let error = failed.to_string();
                self.failed(failed.path, error)
            }
        }
    }

    /// Reports an input that has no score.
    ///
    /// # Errors
    /// If standard output is closed or full.
    pub(crate) fn failed(&mut self, path: PathBuf, error: String) -> anyhow::Result<Outcome> {
        let moment = self.moment;
        self.print(&Line::Failed { path: &to_text(&path), error: &error, moment })?;
        self.progress.suspend(|| talk::error(&error));
        if let Some(report) = &mut self.report {
            report.rows.push(Row { path, error: Some(error), ..Row::default() });
        }
        Ok(self.count(Outcome::Failed))
    }

    fn scored(&mut self, stem: &Path, verdict: &Verdict) -> anyhow::Result<Outcome> {
        let Verdict { path, score, raw_score, image, map, .. } = verdict;
        let (score, raw_score) = (*score, *raw_score);
        let label = verdict.label.map(Label::as_str);
        let saved = match &self.out {
            Some(out) => {
                let caption = caption(score, verdict.label);
                let pixel_threshold = self.thresholds.map(|t| t.pixel);
                save(&self.save, out, stem, &Scored { verdict, caption, pixel_threshold })
            }
            None => Saved::default(),
        };
        let Saved { map: map_file, overlay, problems } = saved;
        let error = (!problems.is_empty()).then(|| problems.join("; "));
        let map_max = verdict.map_max();
        let (width, height) = verdict.size;
        let judged = verdict.label.map(|_| Summary::of(&verdict.regions, self.pixel_area));
        let summary = judged.unwrap_or_default();
        let place = |region| Place::new(region, self.pixel_area);
        let path_text = to_text(path);
        let watched = self.monitor.as_mut().map(|m| m.observe(&path_text, raw_score));
        let (monitor, news) = watched.map_or((None, None), |(found, news)| (Some(found), news));
        self.print(&Line::Found(Box::new(Found {
            path: &path_text,
            score,
            label,
            map_max,
            width,
            height,
            map: map_file.as_deref().map(to_text).as_deref(),
            overlay: overlay.as_deref().map(to_text).as_deref(),
            raw_score,
            regions: verdict.regions.iter().map(place).collect(),
            summary: summary.clone(),
            error: error.as_deref(),
            monitor,
            moment: self.moment,
        })))?;
        if let Some(news) = news {
            self.progress.suspend(|| talk::warning(news));
        }
        for problem in &problems {
            self.progress.suspend(|| talk::error(problem));
        }
        if let Some(exchange) = &mut self.exchange {
            exchange.add(verdict);
        }
        if let Some(report) = &mut self.report {
            let picture = || Picture::new(image, map.view(), None, verdict.frame());
            report.rows.push(Row {
                path: path.clone(),
                score: Some(score),
                raw_score: Some(raw_score),
                map_max: Some(map_max),
                label,
                size: Some((width, height)),
                regions: summary,
                map: map_file,
                overlay,
                error,
                picture: report.has_room().then(picture),
                ..Row::default()
            });
        }
        let complete = problems.is_empty();
        Ok(self.count(if complete { Outcome::Complete } else { Outcome::Unsaved }))
    }

    fn count(&mut self, outcome: Outcome) -> Outcome {
        self.scored += usize::from(outcome != Outcome::Failed);
        self.failed += usize::from(outcome != Outcome::Complete);
        self.done += 1;
        self.progress.advance();
        outcome
    }

    fn print(&self, line: &Line<'_>) -> anyhow::Result<()> {
        // First: what was printed is on its way, or on disk, should the program be killed now.
        self.publishers.send(line, self.done + 1)?;
        self.progress.suspend(|| lines::print(line, self.format, self.done == 0))
    }
}

/// The line above an overlay.
pub(crate) fn caption(score: f64, label: Option<Label>) -> String {
    match label {
        Some(label) => format!("{score:.3} {label}"),
        None => format!("{score:.3}"),
    }
}
