//! What an export is told, and what it has written.

use std::path::{Path, PathBuf};

use crate::calibrate::{Calibration, ModelIdentity};
use crate::precision::Precision;

/// Bytes that one protobuf message may have.
pub const MESSAGE_LIMIT: u64 = i32::MAX as u64;

/// What an exported model is to be and to say about itself.
#[derive(Debug, Clone)]
pub struct Export {
    /// Number format of matrices; norms, biases, transforms and the computation are float32 in
    /// either.
    pub precision: Precision,
    /// With more bytes than this in one file the weights go to another one beside it; at most
    /// [`MESSAGE_LIMIT`].
    pub inline_limit: u64,
    /// What the model is made of.
    pub identity: ModelIdentity,
    /// The thresholds to be recorded.
    pub calibration: Option<Calibration>,
}

/// Files that an export has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Bytes of graph and weights.
    pub bytes: u64,
    /// The file with the weights, where they are not in the model's own.
    pub data: Option<PathBuf>,
}

/// The file beside a model that weights go to.
pub fn data_file(model: &Path) -> PathBuf {
    let mut name = model.as_os_str().to_owned();
    name.push(".data");
    name.into()
}
