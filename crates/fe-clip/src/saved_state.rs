//! What a training run leaves on disk to go on from: a folder with its state, and a log with a
//! line a step. Training of adapters and the making of `tiny` share it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::ModuleRecord;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::files::{read_to_string, replace_dir, settle_dir, write_atomic};

/// A saved state, whose modules and optimizers are still on disk.
pub struct SavedState<C> {
    dir: PathBuf,
    /// Steps that it has seen.
    pub step: usize,
    /// Settings of the run that saved it.
    pub config: C,
}

#[derive(Serialize, Deserialize)]
struct Header<C> {
    step: usize,
    config: C,
}

const HEADER: &str = "header.json";

impl<C: DeserializeOwned> SavedState<C> {
    /// Finds the state in a folder; none if there is no folder, or nothing in it.
    ///
    /// # Errors
    /// If there is a state that cannot be read.
    pub fn find(dir: &Path) -> Result<Option<Self>, Error> {
        settle_dir(dir)?;
        let path = dir.join(HEADER);
        if !path.exists() {
            return Ok(None);
        }
        let Header { step, config } =
            serde_json::from_str(&read_to_string(&path)?).map_err(|e| Error::invalid(&path, e))?;
        Ok(Some(Self { dir: dir.to_owned(), step, config }))
    }
}

impl<C> SavedState<C> {
    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A module with the weights of the one that was saved under the name.
    ///
    /// # Errors
    /// If the file cannot be read, or is of another module.
    pub fn module<M: Module>(&self, name: &str, module: M) -> Result<M, Error> {
        let path = file(&self.dir, name);
        let record = ModuleRecord::load(&path).map_err(|e| Error::invalid(&path, e))?;
        module.try_load_record(record).map_err(|e| Error::invalid(&path, e))
    }

    /// An optimizer in the state of the one that was saved under the name; the module that it
    /// steps is loaded first, as it goes by the names of parameters.
    ///
    /// # Errors
    /// If the file cannot be read, or is of another optimizer.
    pub fn optimizer(
        &self,
        name: &str,
        optimizer: ModuleOptimizer,
    ) -> Result<ModuleOptimizer, Error> {
        let path = file(&self.dir, name);
        optimizer.load(&path).map_err(|e| Error::invalid(&path, e))
    }
}

impl<C: Serialize> SavedState<C> {
    /// Writes a folder with the state after `step` steps, which replaces the one before as a whole.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(
        dir: &Path,
        step: usize,
        config: &C,
        modules: Vec<(&str, ModuleRecord)>,
        optimizers: &[(&str, &ModuleOptimizer)],
    ) -> Result<(), Error> {
        let header = serde_json::to_string_pretty(&Header { step, config })
            .map_err(|e| Error::invalid(dir, e))?;
        replace_dir(dir, |dir| {
            for (name, record) in modules {
                let path = file(dir, name);
                record.save(&path).map_err(|e| Error::invalid(&path, e))?;
            }
            for (name, optimizer) in optimizers {
                let path = file(dir, name);
                optimizer.save(&path).map_err(|e| Error::invalid(&path, e))?;
            }
            write_atomic(&dir.join(HEADER), header.as_bytes())
        })
    }
}

fn file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.bpk"))
}

/// A file of JSON with a line a step.
pub struct StepLog {
    path: PathBuf,
    file: fs::File,
}

impl StepLog {
    /// Opens a log for the steps after so many; lines of later ones, which a stopped run wrote
    /// after it saved its state, are dropped.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn open(path: &Path, done: usize) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Line {
            step: usize,
        }
        let mut kept = String::new();
        if done > 0 && path.exists() {
            for line in read_to_string(path)?.lines() {
                if serde_json::from_str::<Line>(line).is_ok_and(|line| line.step <= done) {
                    kept.push_str(line);
                    kept.push('\n');
                }
            }
        }
        write_atomic(path, kept.as_bytes())?;
        let file = fs::OpenOptions::new().append(true).open(path);
        Ok(Self { path: path.to_owned(), file: file.map_err(|e| Error::io(path, e))? })
    }

    /// Adds a step.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn add(&mut self, step: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string(step).map_err(|e| Error::invalid(&self.path, e))?;
        writeln!(self.file, "{text}").map_err(|e| Error::io(&self.path, e))
    }
}
