//! `run.toml`: everything that changes a number.

mod group;
mod model;
mod stage_ends;
mod train;

use std::path::{Path, PathBuf};

use clip_vit::Hub;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::files::read_to_string;

pub use group::*;
pub use model::*;
pub use stage_ends::*;
pub use train::*;

/// A whole `run.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// The model.
    pub model: ModelConfig,
    /// The prompts.
    pub prompts: Prompts,
    /// Training.
    pub train: TrainConfig,
    /// Evaluation.
    pub eval: EvalConfig,
    /// What the reader of a file should be told: names that have been replaced.
    #[serde(skip)]
    pub notes: Vec<String>,
}

impl RunConfig {
    /// Reads a `run.toml`. Relative paths in it, a backbone's too, lead from its folder and are made absolute.
    ///
    /// # Errors
    /// If the file cannot be read, is no TOML, or has an unknown key or a value out of range.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = read_to_string(path)?;
        let mut config: Self = toml::from_str(&text).map_err(|e| Error::invalid(path, e))?;
        let method = config.model.method;
        if method != Method::FeClip {
            // The same file over the method's own defaults.
            let mut table = toml::Table::try_from(Self::of_method(method))
                .map_err(|e| Error::invalid(path, e))?;
            let said: toml::Table = toml::from_str(&text).map_err(|e| Error::invalid(path, e))?;
            let named = said.get("model").and_then(|model| model.get("method")?.as_str());
            let old = named == Some("patchcore");
            overlay(&mut table, said);
            config = table.try_into().map_err(|e| Error::invalid(path, e))?;
            if old {
                config.notes.push(format!(
                    "{}: method patchcore is called memory-bank now: it stands on CLIP's tokens, \
                     the published PatchCore on a WideResNet",
                    path.display()
                ));
            }
        }
        config.check().map_err(|reason| Error::invalid(path, reason))?;
        let base = path.parent().unwrap_or(Path::new(""));
        // Absolute, since the settings are written to other folders, too.
        let beside = |path: &Path| {
            let joined = base.join(path);
            std::path::absolute(&joined).unwrap_or(joined)
        };
        for source in config.train.datasets.iter_mut().chain(&mut config.eval.datasets) {
            source.root = beside(&source.root);
        }
        let place = beside(Path::new(&config.model.backbone));
        if !is_name(&config.model.backbone, &place)
            && let Some(place) = place.to_str()
        {
            config.model.backbone = place.to_owned();
        }
        Ok(config)
    }

    /// A method with the settings that its authors chose.
    pub fn of_method(method: Method) -> Self {
        let mut run = Self::default();
        run.model.method = method;
        match method {
            Method::Clip => {
                run.prompts = Prompts {
                    normal: vec!["a photo of a normal {}".into()],
                    anomalous: vec!["a photo of an anomalous {}".into()],
                };
            }
            Method::AprilGan => {
                run.train.projection_learning_rate = 1e-3;
                run.train.adam_betas = [0.5, 0.999];
                run.train.batch_size = 8;
                run.train.epochs = 3;
            }
            _ => {}
        }
        run
    }

    /// The same as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain tables")
    }

    fn check(&self) -> Result<(), String> {
        self.model.check()?;
        let (normal, anomalous) = (&self.prompts.normal, &self.prompts.anomalous);
        if normal.is_empty() || anomalous.is_empty() {
            return Err("prompts: expected at least one normal and one anomalous prompt".into());
        }
        let own = [Method::FeClip, Method::Clip].contains(&self.model.method);
        if !own && self.prompts != Prompts::default() {
            let method = self.model.method.name();
            return Err(format!("prompts: method {method} has its own words, or none"));
        }
        self.train.check()
    }
}

/// Whether a backbone is meant by its name, and not by the path that this would be.
fn is_name(backbone: &str, path: &Path) -> bool {
    ["tiny", "vit-l-14-336"].contains(&backbone) || (Hub::is_id(backbone) && !path.exists())
}

/// Replaces values of a table by those of another, tables within by the same rule.
fn overlay(table: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => overlay(inner, value),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// `[prompts]`: what normal and anomalous mean in words; several are averaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prompts {
    /// Prompts of the normal state.
    pub normal: Vec<String>,
    /// Prompts of the anomalous state.
    pub anomalous: Vec<String>,
}

impl Default for Prompts {
    fn default() -> Self {
        Self {
            normal: vec!["A photo of a normal object".into()],
            anomalous: vec!["A photo of a damaged object".into()],
        }
    }
}

/// `[eval]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Data sets to evaluate on.
    pub datasets: Vec<Source>,
    /// Normal images of the target category in the memory bank; 0 = zero-shot.
    pub shots: usize,
    /// Seed that chooses them.
    pub shot_seed: u64,
}

/// A data set on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its layout, by the name that `fe-clip scan --dataset` takes.
    pub name: String,
    /// Its root folder.
    #[serde(with = "data::path_text")]
    pub root: PathBuf,
    /// The part that is used.
    #[serde(default = "test_split")]
    pub split: data::Split,
    /// Categories that are used; empty = all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}

impl Source {
    /// Whether a sample of the data set belongs to the chosen part.
    pub fn uses(&self, sample: &data::Sample) -> bool {
        sample.split == self.split
            && (self.categories.is_empty() || self.categories.contains(&sample.category))
    }
}

fn test_split() -> data::Split {
    data::Split::Test
}
