//! `[eval]`, and data sets as `[train]` and `[eval]` name them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// What alone is looked at: a mask or polygons, or a folder with such a file a category, named
    /// like it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roi: Option<PathBuf>,
    /// What is not looked at, in the same forms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<PathBuf>,
    /// Whether the images of a category are scored against each other.
    pub group: bool,
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
