//! What can be wrong with the files.

use std::path::PathBuf;

use crate::Arithmetic;

/// A file that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// Neither a model directory nor one of the weight files.
    #[error(
        "{} is no model: expected a directory with config.json, or a file *.safetensors, *.pt or *.bin",
        path.display()
    )]
    NoModel {
        /// What was given.
        path: PathBuf,
    },
    /// The environment names a set of instructions that there is not.
    #[error(
        "CLIP_VIT_INSTRUCTIONS: expected portable, avx2, avx-vnni, avx512 or products, got {given:?}"
    )]
    Instructions {
        /// What it names.
        given: String,
    },
    /// Something else in the place of a model's file: a Git LFS pointer, a web page, nothing.
    #[error("{} {what}", path.display())]
    Impostor {
        /// The file.
        path: PathBuf,
        /// What it is and what to do.
        what: &'static str,
    },
    /// A description of the architecture that is malformed or that no CLIP has.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A malformed safetensors file.
    #[error("{} is no valid safetensors file", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: safetensors::SafeTensorError,
    },
    /// A malformed PyTorch archive, or one that holds more than tensors.
    #[error("{} is no PyTorch archive of tensors: {problem}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Tensors that are missing, unexpected, of the wrong shape or type, or hold NaN or infinity.
    #[error("{} does not hold the weights of this model:\n  {}", path.display(), problems.join("\n  "))]
    Weights {
        /// The file or directory.
        path: PathBuf,
        /// One line a tensor.
        problems: Vec<String>,
    },
    /// Numbers that the image tower's products cannot be computed in.
    #[error("{}: {problem}", arithmetic.name())]
    Arithmetic {
        /// What was asked for.
        arithmetic: Arithmetic,
        /// Why not.
        problem: String,
    },
    /// A model that is not in the cache while the network is off.
    #[error(
        "{id} is not in the cache {}, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids to download it",
        cache.display()
    )]
    Offline {
        /// The model.
        id: String,
        /// Where it was looked for.
        cache: PathBuf,
    },
    /// A server that answered, but does not give the model.
    #[error("cannot download {id} from {endpoint}: status {status}: {advice}")]
    Refused {
        /// The model.
        id: String,
        /// The server.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// What it means and what to do.
        advice: String,
    },
    /// A download that failed; what has arrived is kept and continued next time.
    #[error("cannot download {id} from {endpoint}")]
    Download {
        /// The model.
        id: String,
        /// The server.
        endpoint: String,
        /// The reason.
        source: Box<hf_hub::api::sync::ApiError>,
    },
    /// A download that differs from what the server announced; it was removed.
    #[error("{} was damaged on its way: expected sha256 {expected}, got {found}; it was removed, try again", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The announced hash.
        expected: String,
        /// The hash of what arrived.
        found: String,
    },
}
