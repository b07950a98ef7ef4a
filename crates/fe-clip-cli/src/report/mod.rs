//! What a run found, as files: `report.html` to look at, `results.csv` and `results.parquet` to
//! work with.

mod page;
pub(crate) mod parquet;
mod picture;
mod table;

use std::path::{Path, PathBuf};

use anyhow::Context;
use data::path_text::to_text;
use fe_clip::files::write_atomic;
use metrics::Curve;
use ndarray::Array1;
use serde_json::{Value, json};

pub(crate) use picture::Picture;

use crate::protect::Protected;
use crate::regions::Summary;
use crate::remote;

/// Images that the page shows with pictures; further ones have rows alone, to bound the file's size.
pub(crate) const MOST_PICTURES: usize = 5000;

/// The files of a report.
const FILES: [&str; 3] = ["results.csv", "results.parquet", "report.html"];

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
    pub(crate) score: Option<f64>,
    /// The method's own score, by which images are ranked.
    pub(crate) raw_score: Option<f32>,
    pub(crate) map_max: Option<f32>,
    pub(crate) label: Option<&'static str>,
    pub(crate) size: Option<(u32, u32)>,
    /// Where the map reaches the pixel threshold.
    pub(crate) regions: Summary,
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
    /// Initial position of the slider; else where F1 is largest, else 0.5.
    pub(crate) threshold: Option<f64>,
    pub(crate) rows: Vec<Row>,
    pub(crate) categories: Vec<Category>,
    /// Images that the page shows with pictures.
    pub(crate) pictures: usize,
}

impl Report {
    /// Whether a further image still gets a picture.
    pub(crate) fn has_room(&self) -> bool {
        self.rows.len() < self.pictures
    }

    /// Writes the rows alone, as one Parquet file, to a path or an address.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write_rows(&self, path: &Path) -> anyhow::Result<()> {
        let rows = table::parquet(&self.rows);
        if remote::is_address(path) {
            return remote::put(path, &rows);
        }
        Ok(write_atomic(path, &rows)?)
    }

    /// Refuses a folder where one of the files would replace one that the run reads or writes.
    ///
    /// # Errors
    /// If there is one; the message names it.
    pub(crate) fn check(out: &Path, protected: &Protected) -> anyhow::Result<()> {
        FILES.iter().try_for_each(|name| protected.check(&out.join(name)))
    }

    /// Writes the three files to a folder that is there.
    ///
    /// # Errors
    /// If a file cannot be written; the message names it.
    pub(crate) fn write(&self, out: &Path) -> anyhow::Result<()> {
        let page = page::html(&self.data(out)).context("encoding the report")?;
        let contents =
            [table::csv(&self.rows).into_bytes(), table::parquet(&self.rows), page.into_bytes()];
        for (name, content) in FILES.iter().zip(contents) {
            write_atomic(&out.join(name), &content)?;
        }
        Ok(())
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
            "threshold": threshold,
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
            "path": to_text(&self.path),
            "dataset": self.dataset,
            "category": self.category,
            "truth": self.truth,
            "defect": self.defect,
            "score": self.score,
            "raw_score": self.raw_score.map(short),
            "max": self.map_max.map(short),
            "size": self.size,
            "overlay": overlay.map(link),
            "error": self.error,
            "image": picture.map(|p| &p.image),
            "map": picture.map(|p| &p.map),
            "mask": picture.and_then(|p| p.mask.as_ref()),
        })
    }
}

/// A number with the digits it has in the other outputs: as few as read back exactly.
fn short(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// A relative URL of a file: its bytes, percent-encoded where a URL needs it.
fn link(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    bytes
        .map(|&byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}

/// Raw scores and labels of the images whose truth is known.
struct Ranking {
    scores: Array1<f32>,
    labels: Array1<bool>,
    /// Scores in [0, 1] of the same images.
    shown: Vec<f64>,
}

impl Ranking {
    fn new<'a>(rows: impl Iterator<Item = &'a Row>) -> Self {
        let known: Vec<(f32, bool, f64)> =
            rows.filter_map(|row| Some((row.raw_score?, row.truth?, row.score?))).collect();
        Self {
            scores: known.iter().map(|(raw, ..)| *raw).collect(),
            labels: known.iter().map(|(_, truth, _)| *truth).collect(),
            shown: known.iter().map(|(.., score)| *score).collect(),
        }
    }

    fn roc(&self) -> Option<Value> {
        metrics::roc_curve(self.scores.view(), self.labels.view()).ok().map(|c| exact(&c))
    }

    fn pr(&self) -> Option<Value> {
        if self.labels.iter().all(|l| *l) {
            return None;
        }
        let curve = metrics::precision_recall_curve(self.scores.view(), self.labels.view());
        curve.ok().map(|c| exact(&c))
    }

    /// The score in [0, 1] from which on F1 is largest.
    fn best_threshold(&self) -> Option<f64> {
        if self.labels.iter().all(|l| *l) {
            return None;
        }
        let best = metrics::f1_max(self.scores.view(), self.labels.view()).ok()?;
        let at = self.scores.iter().position(|raw| *raw == best.threshold as f32)?;
        self.shown.get(at).copied()
    }
}

/// `[x, y]` of every point.
fn exact(curve: &Curve) -> Value {
    curve.x.iter().zip(&curve.y).map(|(x, y)| json!([x, y])).collect()
}

/// `[x, y, threshold]` of every point of a long curve; infinite thresholds are null.
fn points(curve: &Curve) -> Value {
    let round = |v: f64| (v * 1e5).round() / 1e5;
    let point = |((x, y), t): ((&f64, &f64), &f64)| json!([round(*x), round(*y), *t]);
    curve.x.iter().zip(&curve.y).zip(&curve.thresholds).map(point).collect()
}
