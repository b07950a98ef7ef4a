#![doc = include_str!("../README.md")]

mod backbone;
mod cache;
mod calibrate;
mod checkpoint;
mod detect;
mod device;
mod error;
pub mod evaluate;
pub mod export;
pub mod files;
pub mod geometry;
pub mod group;
mod group_detection;
mod head;
mod input;
mod inspect;
mod inspect_group;
mod judge;
mod loss;
mod masks;
mod memory;
mod methods;
mod model;
mod mosaic;
mod precision;
mod prefix;
mod regions;
pub mod resample;
mod run;
mod score;
mod scorer;
mod settings;
pub mod tensors;
mod train;
mod wording;

pub use backbone::{Backbone, Weights};
pub use calibrate::{
    Calibration, DataIdentity, ModelIdentity, Scores, Threshold, calibration_rank, images_needed,
};
pub use checkpoint::{Checkpoint, Origin, save};
pub use clip_vit::{Activation, Arithmetic, keep_freed_memory};
pub use detect::{Detector, model_to_train};
pub use device::open_device;
pub use error::Error;
pub use group_detection::{GroupImages, GroupScores};
pub use head::{Head, StageAdapters};
pub use input::Input;
pub use inspect::{Failed, Inspector, Verdict, Verdicts};
pub use inspect_group::{GroupProgress, JudgedGroup};
pub use judge::{Judge, Judgement, Label, Thresholds};
pub use loss::{LossForm, LossTerms, loss};
pub use memory::{Memory, MemoryBank};
pub use methods::{
    AprilGanConfig, ClipConfig, MemoryBankConfig, Method, MuscConfig, SpectralResidualConfig,
    WinclipConfig,
};
pub use model::{FeClip, LastStage, Stages};
pub use precision::Precision;
pub use prefix::{Prefixes, Preparation, Storage};
pub use regions::{Region, regions};
pub use run::{Interpolation, ModelConfig, RunConfig};
pub use score::ScoreScale;
pub use scorer::Prediction;
pub use settings::eval::{EvalConfig, Source};
pub use settings::fe_clip::{
    AdapterInit, Aggregate, ConvAdapterConfig, FeClipConfig, FewFeature, FewScore, ImageScore,
    ProjectionInit, Temperature, TemperatureWord,
};
pub use settings::group::{GroupConfig, Rescore};
pub use settings::prompts::Prompts;
pub use settings::stage_ends::{StageEnds, StagePreset};
pub use settings::switch::Switch;
pub use settings::train::{Supervision, TrainConfig};
pub use train::{StepReport, TrainingRun};
pub use wording::CutText;
