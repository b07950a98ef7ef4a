#![doc = include_str!("../README.md")]

mod adaclip;
mod assemble;
mod backbone;
mod cache;
mod calibrate;
mod calibrations;
mod checkpoint;
mod coreset;
mod counted;
mod detect;
mod device;
mod eigen;
mod error;
pub mod evaluate;
pub mod export;
pub mod files;
mod foreground;
mod foreign;
mod fusion;
pub mod geometry;
#[cfg(test)]
mod golden;
pub mod group;
mod group_detection;
mod head;
mod inctrl;
mod input;
mod inspect;
mod inspect_group;
mod judge;
mod kmeans;
mod loss;
mod masks;
mod memory;
mod methods;
mod model;
mod monitor;
mod mosaic;
mod named;
pub mod overlay;
mod precision;
mod prefix;
mod regions;
pub mod resample;
mod run;
pub mod saved_state;
mod scope;
mod score;
mod scorer;
mod settings;
mod shape;
mod subspace;
pub mod tensors;
mod tile;
mod train;
mod trainee;
mod vcp;
mod verdict;
mod wording;
mod zones;

pub use adaclip::AdaClip;
pub use assemble::{Assembled, ImageFile, ModelChoice, Parts};
pub use backbone::{Backbone, Weights};
pub use calibrate::{
    Calibration, DataIdentity, ModelIdentity, NormalImage, Scores, Threshold, ZoneThreshold,
    ZoneThresholds, calibration_rank, images_needed,
};
pub use calibrations::Calibrations;
pub use checkpoint::{Checkpoint, Origin, save};
pub use clip_vit::{Activation, Arithmetic, keep_freed_memory};
pub use detect::{Detector, model_to_train};
pub use device::open_device;
pub use error::Error;
pub use group_detection::{GroupImages, GroupScores};
pub use head::{Head, LearnedPrompts, OwnPart, StageAdapters};
pub use inctrl::{ColumnNorm, Inctrl, ScoreHead};
pub use input::Input;
pub use inspect::{Inspector, Verdicts};
pub use inspect_group::{GroupProgress, JudgedGroup};
pub use judge::{Judge, Judgement, Label, Thresholds};
pub use loss::{LossForm, LossTerms, loss};
pub use memory::{Memory, MemoryBank};
pub use methods::{
    AnomalyClipConfig, AprilGanConfig, ClipConfig, CoopConfig, InctrlConfig, MemoryBankConfig,
    Method, MuscConfig, PcaResidualConfig, PromptAd, PromptFit, PromptVectors,
    SpectralResidualConfig, VcpClipConfig, WinclipConfig,
};
pub use model::{FeClip, LastStage, Stages};
pub use monitor::{Monitor, Reading};
pub use precision::Precision;
pub use prefix::{Prefixes, Preparation, Storage};
pub use regions::{Region, RegionRule, regions};
pub use run::{Interpolation, ModelConfig, RunConfig};
pub use scope::{Out, Scope};
pub use score::ScoreScale;
pub use scorer::Prediction;
pub use settings::adaclip::AdaClipConfig;
pub use settings::eval::{EvalConfig, Source};
pub use settings::fe_clip::{
    AdapterInit, Aggregate, ConvAdapterConfig, FeClipConfig, FewFeature, FewScore, ImageScore,
    ProjectionInit, Temperature, TemperatureWord,
};
pub use settings::group::{GroupConfig, Rescore};
pub use settings::promptad::{PromptAdConfig, Task};
pub use settings::prompts::Prompts;
pub use settings::stage_ends::{StageEnds, StagePreset};
pub use settings::switch::Switch;
pub use settings::tile::{Blend, TileConfig};
pub use settings::train::{Optimizer, Schedule, Supervision, TrainConfig};
pub use train::{StepReport, TrainingRun};
pub use trainee::{Trainee, Truth};
pub use vcp::Vcp;
pub use verdict::{Failed, Verdict};
pub use wording::CutText;
pub use zones::{ZoneLevels, Zones, ZonesIdentity};
