//! A saved state of a distillation, and which one a run goes on from.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::ModuleRecord;
use fe_clip::Error;
use fe_clip::files::{read_to_string, replace_dir, settle_dir, write_atomic};
use serde::{Deserialize, Serialize};

use super::{DistilConfig, Run, schedule};

/// A saved state and where it stands.
pub(super) struct State {
    dir: PathBuf,
    pub(super) step: usize,
}

#[derive(Serialize, Deserialize)]
struct StateHeader {
    step: usize,
    config: DistilConfig,
}

impl State {
    pub(super) const LAST: &str = "state";
    pub(super) const PLATEAU: &str = "plateau";

    /// The furthest state that a run with these settings goes through: of a run of another length, one
    /// from before its learning rate began to fall.
    pub(super) fn find(out: &Path, config: &DistilConfig) -> Result<Option<Self>, Error> {
        let mut too_far = None;
        for name in [Self::LAST, Self::PLATEAU] {
            let dir = out.join(name);
            settle_dir(&dir)?;
            let path = dir.join("header.json");
            if !path.exists() {
                continue;
            }
            let StateHeader { step, config: saved } = serde_json::from_str(&read_to_string(&path)?)
                .map_err(|e| Error::invalid(&path, e))?;
            let differences = differences(&saved, config);
            if !differences.is_empty() {
                let reason = format!("a state of another run: {}", differences.join(", "));
                return Err(Error::invalid(&dir, reason));
            }
            let same = (saved.steps, saved.anneal) == (config.steps, config.anneal);
            if same || step <= schedule::plateau(&saved).min(schedule::plateau(config)) {
                return Ok(Some(Self { dir, step }));
            }
            too_far = Some((dir, step));
        }
        match too_far {
            None => Ok(None),
            Some((dir, step)) => {
                let plateau = schedule::plateau(config);
                let reason = format!(
                    "at step {step}, but these settings lower the learning rate from step {plateau} on"
                );
                Err(Error::invalid(&dir, reason))
            }
        }
    }

    pub(super) fn load<M: Module>(&self, name: &str, module: M) -> Result<M, Error> {
        let path = self.dir.join(format!("{name}.bpk"));
        let record = ModuleRecord::load(&path).map_err(|e| Error::invalid(&path, e))?;
        module.try_load_record(record).map_err(|e| Error::invalid(&path, e))
    }

    pub(super) fn load_optimizer(
        &self,
        name: &str,
        optimizer: ModuleOptimizer,
    ) -> Result<ModuleOptimizer, Error> {
        let path = self.dir.join(format!("{name}.bpk"));
        optimizer.load(&path).map_err(|e| Error::invalid(&path, e))
    }

    pub(super) fn save(
        dir: &Path,
        config: &DistilConfig,
        step: usize,
        run: &Run,
    ) -> Result<(), Error> {
        replace_dir(dir, |dir| {
            let record = |name: &str, record: ModuleRecord| {
                let path = dir.join(format!("{name}.bpk"));
                record.save(&path).map_err(|e| Error::invalid(&path, e))
            };
            record("student", run.student.clone().into_record())?;
            record("average", run.average.clone().into_record())?;
            record("standard", run.standard.clone().into_record())?;
            for (name, optimizer) in [("matrices", &run.matrices), ("rest", &run.rest)] {
                let path = dir.join(format!("{name}.bpk"));
                optimizer.save(&path).map_err(|e| Error::invalid(&path, e))?;
            }
            let header = StateHeader { step, config: config.clone() };
            let text = serde_json::to_string_pretty(&header).expect("numbers serialise");
            write_atomic(&dir.join("header.json"), text.as_bytes())
        })
    }
}

/// The settings in which a saved run and its continuation differ. Their numbers of steps may.
fn differences(saved: &DistilConfig, wanted: &DistilConfig) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |key: &str, saved: String, wanted: String| {
        if saved != wanted {
            differences.push(format!("{key} was {saved}, is {wanted}"));
        }
    };
    let corpus = |config: &DistilConfig| config.corpus.clone().unwrap_or("none".into());
    compare("seed", saved.seed.to_string(), wanted.seed.to_string());
    compare("corpus", corpus(saved), corpus(wanted));
    let start = |config: &DistilConfig| config.start.clone().unwrap_or("none".into());
    compare("start", start(saved), start(wanted));
    compare("windows", saved.windows.to_string(), wanted.windows.to_string());
    differences
}
