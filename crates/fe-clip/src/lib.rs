//! FE-CLIP: frequency-enhanced CLIP for zero-shot anomaly detection.

mod backbone;
mod cache;
mod calibrate;
mod checkpoint;
mod detect;
mod device;
mod error;
pub mod evaluate;
pub mod files;
pub mod group;
mod head;
mod loss;
mod memory;
mod methods;
mod model;
mod mosaic;
mod precision;
mod prefix;
pub mod resample;
mod run;
mod score;
mod switch;
pub mod tensors;
mod train;
mod wording;

pub use backbone::{Backbone, Weights};
pub use calibrate::{
    Calibration, DataIdentity, ModelIdentity, Scores, Threshold, calibration_rank, images_needed,
};
pub use checkpoint::{Checkpoint, Origin, save};
pub use clip_vit::{Activation, keep_freed_memory};
pub use detect::{Detector, Prediction};
pub use device::open_device;
pub use error::Error;
pub use head::{Head, StageAdapters};
pub use loss::{LossForm, LossTerms, loss};
pub use memory::{Memory, MemoryBank};
pub use model::{FeClip, LastStage, Stages};
pub use precision::Precision;
pub use prefix::{Prefixes, Preparation, Storage};
pub use run::*;
pub use score::ScoreScale;
pub use switch::Switch;
pub use train::{StepReport, TrainingRun};
pub use wording::CutText;
