//! What can go wrong with files, settings and runs.

use std::path::{Path, PathBuf};

/// An error of this crate; every variant that concerns a file names it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file's content is not what it should be.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Settings that contradict each other or the backbone.
    #[error("{0}")]
    Settings(String),
    /// A saved state that belongs to a run with other settings.
    #[error("{}: the saved state belongs to a run with other settings", path.display())]
    OtherRun {
        /// The state's folder.
        path: PathBuf,
    },
    /// The loss of a training step, or the weights after it, were NaN or infinite.
    #[error("step {step} is not finite: {what}{}; the last saved state is kept", list(images))]
    NotFinite {
        /// Number of the step, from 1.
        step: usize,
        /// The loss terms, and whether it is they or the weights.
        what: String,
        /// The files of the batch; none of images that were drawn.
        images: Vec<PathBuf>,
    },
    /// A model's answer to an image that is NaN or infinite.
    #[error("{what}: the model's numbers overflow on this image, or its weights are broken")]
    NoNumber {
        /// Which number, and what it is.
        what: String,
    },
    /// Training was asked to stop and saved its state.
    #[error("stopped after step {step}; the state is saved")]
    Interrupted {
        /// Number of the last finished step.
        step: usize,
    },
    /// Adapters that were trained on another backbone.
    #[error("{}: trained on the backbone {trained}, not on {given}", path.display())]
    BackboneMismatch {
        /// The adapter checkpoint.
        path: PathBuf,
        /// Hash that the checkpoint records.
        trained: String,
        /// Hash of the backbone in use.
        given: String,
    },
    /// A method with a trained part on a backbone that brings none for it.
    #[error("{backbone} has no adapters of its own for method {method}: it needs a file of some")]
    NoAdapters {
        /// The backbone.
        backbone: String,
        /// The method.
        method: &'static str,
    },
    /// A device whose backend was left out of this build.
    #[error("device {device}: this build has no {feature}, which is a Cargo feature")]
    NoBackend {
        /// The device that was asked for.
        device: String,
        /// The Cargo feature that compiles its backend in.
        feature: &'static str,
    },
    /// Fewer normal images than a false-alarm rate needs.
    #[error(
        "a false-alarm rate of {rate} needs at least {needed} normal images to calibrate on, \
         there are {given}"
    )]
    TooFewNormals {
        /// The wanted rate.
        rate: f64,
        /// Images that it needs.
        needed: usize,
        /// Images that there are.
        given: usize,
    },
    /// A group too small for its images to be scored against each other.
    #[error(
        "a group needs at least {needed} images to score against each other, there are {images}"
    )]
    SmallGroup {
        /// Images that there are.
        images: usize,
        /// Images that it needs.
        needed: usize,
    },
    /// A calibration of another model or of other settings.
    #[error("{}: made for another model: {differences}", path.display())]
    OtherModel {
        /// The calibration's file.
        path: PathBuf,
        /// Every difference: the key, what it was and what it is.
        differences: String,
    },
    /// A backbone could not be loaded.
    #[error(transparent)]
    Backbone(#[from] clip_vit::Error),
    /// An image or a data set could not be read.
    #[error(transparent)]
    Data(#[from] data::Error),
}

fn list(images: &[PathBuf]) -> String {
    if images.is_empty() {
        return String::new();
    }
    let images: Vec<String> = images.iter().map(|path| path.display().to_string()).collect();
    format!("; images {}", images.join(", "))
}

impl Error {
    /// The error of a file or folder that the system refused.
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// The error of a file whose content is not what it should be.
    pub fn invalid(path: &Path, reason: impl ToString) -> Self {
        Self::Invalid { path: path.to_owned(), reason: reason.to_string() }
    }
}
