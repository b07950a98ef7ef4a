//! What a run found, as files: `report.html` to look at, `results.csv` and `results.parquet` to
//! work with.

mod page;
mod parquet;
mod picture;
mod table;

use std::path::{Path, PathBuf};

use anyhow::Context;
use fe_clip::files::write_atomic;
use metrics::Curve;
use ndarray::Array1;
use serde_json::{Value, json};

pub(crate) use picture::Picture;

/// Images that the page shows; of more it has rows alone, so that it stays a file that opens.
pub(crate) const MOST_PICTURES: usize = 5000;

/// One image of the run.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) path: PathBuf,
    /// Where it belongs, in an evaluation.
    pub(crate) dataset: Option<String>,
    pub(crate) category: Option<String>,
    /// Whether it is anomalous, where that is known, and what is wrong with it.
    pub(crate) truth: Option<bool>,
    pub(crate) defect: Option<String>,
    /// What the model says; absent for an image that could not be read.
    pub(crate) score: Option<f32>,
    pub(crate) map_max: Option<f32>,
    pub(crate) label: Option<&'static str>,
    pub(crate) size: Option<(u32, u32)>,
    /// Files written for it.
    pub(crate) map: Option<PathBuf>,
    pub(crate) overlay: Option<PathBuf>,
    pub(crate) error: Option<String>,
    pub(crate) picture: Option<Picture>,
}

/// What is known about one category of an evaluation.
pub(crate) struct Category {
    pub(crate) dataset: String,
    pub(crate) name: String,
    /// Metrics as `metrics.json` has them.
    pub(crate) metrics: Value,
    pub(crate) pro: Curve,
}

/// A run.
pub(crate) struct Report {
    /// A line above the page.
    pub(crate) title: String,
    /// Names and values of what the run was made with.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Where the slider stands first; else where F1 is largest, else at 0.5.
    pub(crate) threshold: Option<f32>,
    pub(crate) rows: Vec<Row>,
    pub(crate) categories: Vec<Category>,
}

impl Report {
    /// Whether a further image still gets a picture.
    pub(crate) fn has_room(&self) -> bool {
        self.rows.len() < MOST_PICTURES
    }

    /// Writes the three files to a folder that is there.
    ///
    /// # Errors
    /// If a file cannot be written; the message names it.
    pub(crate) fn write(&self, out: &Path) -> anyhow::Result<()> {
        write_atomic(&out.join("results.csv"), table::csv(&self.rows).as_bytes())?;
        write_atomic(&out.join("results.parquet"), &table::parquet(&self.rows))?;
        let page = page::html(&self.data(out)).context("encoding the report")?;
        Ok(write_atomic(&out.join("report.html"), page.as_bytes())?)
    }

    /// Everything that the page shows, for its script.
    fn data(&self, out: &Path) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|row| row.data(out)).collect();
        let scope = |dataset: &str, name: &str| {
            let of = |row: &&Row| {
                row.dataset.as_deref() == Some(dataset) && row.category.as_deref() == Some(name)
            };
            Ranking::new(self.rows.iter().filter(of))
        };
        let categories: Vec<Value> = self
            .categories
            .iter()
            .map(|c| {
                let ranking = scope(&c.dataset, &c.name);
                json!({
                    "dataset": c.dataset,
                    "name": c.name,
                    "metrics": c.metrics,
                    "roc": ranking.roc(),
                    "pr": ranking.pr(),
                    "pro": points(&c.pro),
                })
            })
            .collect();
        let all = Ranking::new(self.rows.iter());
        let threshold = self.threshold.or_else(|| all.best_threshold()).unwrap_or(0.5);
        json!({
            "title": self.title,
            "facts": self.facts,
            "threshold": short(threshold.clamp(0.0, 1.0)),
            "scale": picture::scale(),
            "rows": rows,
            "categories": categories,
            "roc": all.roc(),
            "pr": all.pr(),
        })
    }
}

impl Row {
    fn data(&self, out: &Path) -> Value {
        // Links work from where the page is.
        let overlay = self.overlay.as_ref().map(|path| path.strip_prefix(out).unwrap_or(path));
        let picture = self.picture.as_ref();
        json!({
            "path": self.path.to_string_lossy(),
            "dataset": self.dataset,
            "category": self.category,
            "truth": self.truth,
            "defect": self.defect,
            "score": self.score.map(short),
            "max": self.map_max.map(short),
            "size": self.size,
            "overlay": overlay.map(|path| path.to_string_lossy()),
            "error": self.error,
            "image": picture.map(|p| &p.image),
            "map": picture.map(|p| &p.map),
            "mask": picture.and_then(|p| p.mask.as_ref()),
        })
    }
}

/// A number as JSON has it elsewhere: no more digits than tell it from its neighbours.
fn short(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// Scores and labels of the images whose truth is known.
struct Ranking {
    scores: Array1<f32>,
    labels: Array1<bool>,
}

impl Ranking {
    fn new<'a>(rows: impl Iterator<Item = &'a Row>) -> Self {
        let known = rows.filter_map(|row| Some((row.score?, row.truth?)));
        let (scores, labels): (Vec<f32>, Vec<bool>) = known.unzip();
        Self { scores: scores.into(), labels: labels.into() }
    }

    fn roc(&self) -> Option<Value> {
        metrics::roc_curve(self.scores.view(), self.labels.view()).ok().map(|c| points(&c))
    }

    fn pr(&self) -> Option<Value> {
        if self.labels.iter().all(|l| *l) {
            return None;
        }
        let curve = metrics::precision_recall_curve(self.scores.view(), self.labels.view());
        curve.ok().map(|c| points(&c))
    }

    fn best_threshold(&self) -> Option<f32> {
        if self.labels.iter().all(|l| *l) {
            return None;
        }
        let best = metrics::f1_max(self.scores.view(), self.labels.view()).ok()?;
        Some(best.threshold as f32)
    }
}

/// `[x, y, threshold]` of every point; infinite thresholds are null.
fn points(curve: &Curve) -> Value {
    let round = |v: f64| (v * 1e5).round() / 1e5;
    let point = |((x, y), t): ((&f64, &f64), &f64)| json!([round(*x), round(*y), *t]);
    curve.x.iter().zip(&curve.y).zip(&curve.thresholds).map(point).collect()
}
