//! What a data set is made of.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One image of a data set, with what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The image file.
    pub image: PathBuf,
    /// The category (object or texture) it belongs to.
    pub category: String,
    /// The part of the data set it belongs to.
    pub split: Split,
    /// What is wrong with it; `None` for a normal image, which cannot carry a mask.
    pub defect: Option<Defect>,
}

/// An anomaly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The kind, as the data set names it.
    pub kind: String,
    /// The mask file, where there is one.
    pub mask: Option<PathBuf>,
}

/// A part of a data set. Zero-shot evaluation and training on auxiliary data both use the test part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Meant for training, mostly normal images.
    Train,
    /// Meant for testing.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

/// Something wrong with a data set that does not keep the rest from being used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file or folder it is about; one that is missing, too.
    #[serde(with = "crate::path_text")]
    pub path: PathBuf,
    /// What is wrong and what was expected.
    pub problem: String,
}
