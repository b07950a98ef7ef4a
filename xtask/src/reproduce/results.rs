//! Results on disk to the numbers of the tables.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::job::Kind;
use super::method::BEYOND;
use super::paper::{self, Cell};
use super::plan::{Plan, State};
use super::{Setting, job::Job, method::Method};

/// A row and column of a table with the paper's value and ours.
#[derive(Clone, Debug)]
pub(super) struct Compared {
    pub(super) cell: Cell,
    /// Percent, one a run.
    pub(super) ours: Vec<f64>,
    /// Folders of the runs.
    pub(super) runs: Vec<String>,
    /// Why ours is not what the paper's value is of; then there is no difference.
    pub(super) differs: Option<String>,
}

impl Compared {
    fn quoted(cell: Cell) -> Self {
        Self { cell, ours: Vec::new(), runs: Vec::new(), differs: None }
    }

    /// Whether the number is the paper's, ours, both, or neither.
    pub(super) fn kind(&self) -> &'static str {
        match (self.cell.value.is_some(), self.ours.is_empty()) {
            (true, true) => "quoted",
            (true, false) => "quoted and measured",
            (false, false) => "measured",
            (false, true) => "not reported",
        }
    }

    /// Ours less the paper's, where the two are of the same method.
    pub(super) fn difference(&self) -> Option<f64> {
        let same = self.differs.is_none();
        self.mean().zip(self.cell.value).filter(|_| same).map(|(ours, paper)| ours - paper)
    }

    pub(super) fn mean(&self) -> Option<f64> {
        let n = self.ours.len();
        (n > 0).then(|| self.ours.iter().sum::<f64>() / n as f64)
    }

    /// Sample standard deviation; absent for a single run.
    pub(super) fn deviation(&self) -> Option<f64> {
        let (n, mean) = (self.ours.len(), self.mean()?);
        let squares: f64 = self.ours.iter().map(|x| (x - mean).powi(2)).sum();
        (n > 1).then(|| (squares / (n - 1) as f64).sqrt())
    }
}

/// The paper's cells of the tables with what was measured beside them, and cells of our own
/// where a measured data set has no column in the paper.
///
/// # Errors
/// If a result cannot be read.
pub(super) fn compare(setting: &Setting, plan: &Plan, tables: &[u8]) -> Result<Vec<Compared>> {
    let mut all: Vec<Compared> = paper::cells()?
        .into_iter()
        .filter(|cell| tables.contains(&cell.table))
        .map(Compared::quoted)
        .collect();
    for planned in plan.jobs.iter().filter(|planned| planned.state == State::Done) {
        let Kind::Eval { shots } = planned.job.kind else { continue };
        let folder = setting.folder(&planned.job, &planned.hash);
        let metrics = read(&folder.join("metrics.json"))?;
        let run = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let layout = planned.job.dataset.layout().name();
        for &table in tables.iter().filter(|&&t| belongs(&planned.job, t, shots)) {
            for (level, metric, key) in columns(table) {
                let pointer = format!("/datasets/{layout}/mean/{level}/{key}");
                let Some(value) = metrics.pointer(&pointer).and_then(Value::as_f64) else {
                    continue;
                };
                let place = find_or_add(&mut all, table, shots, &planned.job, level, metric);
                all[place].differs.clone_from(&setting.trial);
                all[place].ours.push(100.0 * value);
                all[place].runs.push(run.clone());
            }
        }
    }
    Ok(all)
}

/// Seconds an image of every method that was timed.
///
/// # Errors
/// If a result cannot be read.
pub(super) fn times(setting: &Setting, plan: &Plan) -> Result<Vec<(&'static str, f64)>> {
    let timed = plan.jobs.iter().filter(|p| p.job.kind == Kind::Time && p.state == State::Done);
    timed
        .map(|planned| {
            let folder = setting.folder(&planned.job, &planned.hash);
            let metrics = read(&folder.join("metrics.json"))?;
            let seconds = metrics["seconds_an_image"].as_f64().context("seconds_an_image")?;
            Ok((planned.job.method.row(1), seconds))
        })
        .collect()
}

fn read(path: &Path) -> Result<Value> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

fn belongs(job: &Job, table: u8, shots: usize) -> bool {
    let shown = Method::of_table(table).contains(&job.method);
    table > 0 && shown && job.dataset.in_table(table) && job.method.shots(table).contains(&shots)
}

/// Level, metric and our key of the numbers of a table.
fn columns(table: u8) -> Vec<(&'static str, &'static str, &'static str)> {
    let image = [("image", "AUROC", "auroc"), ("image", "AP", "ap")];
    let pixel = [
        ("pixel", "AUROC", "auroc"),
        ("pixel", "PRO", "aupro"),
        ("pixel", PEERS_PRO, "aupro_peer"),
    ];
    match table {
        1 => image.to_vec(),
        2 => pixel.to_vec(),
        _ => image.into_iter().chain(pixel).collect(),
    }
}

/// PRO as the peers' code computes it, beside the exact one.
pub(super) const PEERS_PRO: &str = "PRO, peers' routine";

fn find_or_add(
    all: &mut Vec<Compared>,
    table: u8,
    shots: usize,
    job: &Job,
    level: &str,
    metric: &str,
) -> usize {
    let dataset = job.dataset.title();
    // A method that is not the paper's has a row of its own.
    let method = match job.method.differs() {
        Some(why) => format!("{} ({why})", job.method.row(table)),
        None => job.method.row(table).to_string(),
    };
    let setting = match (table, shots) {
        (BEYOND, 0) => "a category as a group".into(),
        (_, 0) => setting_of(all, table),
        _ => format!("{shots}-shot"),
    };
    let found = all.iter().position(|c| {
        let c = &c.cell;
        c.table == table
            && c.setting == setting
            && c.method == method
            && c.dataset == dataset
            && c.level == level
            && c.metric == metric
    });
    found.unwrap_or_else(|| {
        let cell = Cell {
            table,
            setting,
            method,
            dataset: dataset.into(),
            level: level.into(),
            metric: metric.into(),
            value: None,
            flag: String::new(),
            note: String::new(),
        };
        all.push(Compared::quoted(cell));
        all.len() - 1
    })
}

fn setting_of(all: &[Compared], table: u8) -> String {
    all.iter().find(|c| c.cell.table == table).map_or_else(String::new, |c| c.cell.setting.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_are_over_runs() {
        let cell = paper::cells().expect("built in").remove(0);
        let mut compared = Compared::quoted(cell);
        assert_eq!((compared.kind(), compared.difference()), ("quoted", None));
        assert_eq!((compared.mean(), compared.deviation()), (None, None));
        compared.ours = vec![90.0];
        assert_eq!((compared.mean(), compared.deviation()), (Some(90.0), None));
        assert_eq!(compared.kind(), "quoted and measured");
        assert!((compared.difference().expect("of one method") - 15.9).abs() < 1e-9);
        compared.differs = Some("a trial".into());
        assert_eq!(compared.difference(), None);
        compared.ours = vec![89.0, 91.0];
        assert_eq!(compared.mean(), Some(90.0));
        assert!((compared.deviation().expect("two runs") - 2f64.sqrt()).abs() < 1e-12);
    }
}
