//! CoOp: the first words of both prompts are learned from labels of images.
//!
//! Source: Zhou et al., Learning to prompt for vision-language models, IJCV 2022; how it is used
//! for anomalies: the appendix of AnomalyCLIP.

use burn::tensor::{Device, Tensor};
use clip_vit::{Clip, VisionTower};
use serde::{Deserialize, Serialize};

use super::prompted::Prompted;
use crate::Error;
use crate::head::{Head, LearnedPrompts};
use crate::loss::LossForm;
use crate::model::temperature;
use crate::scorer::{Base, Scorer};
use crate::settings::fe_clip::{FeClipConfig, Temperature, TemperatureWord};
use crate::settings::prompts::Prompts;
use crate::settings::train::{Optimizer, Schedule, Supervision, TrainConfig};
use crate::tensors::normalize;
use crate::trainee::Trainee;

/// What `[model]` says of CoOp beside the keys of every method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoopConfig {
    /// Learned vectors at the beginning of each prompt.
    pub context_tokens: usize,
    /// Whether the two sides have vectors of their own.
    pub class_specific: bool,
    /// Temperature of eq. 1: a number or `"clip"`.
    pub temperature: Temperature,
    /// Whether upsampling takes the centres of corner tokens to the corners of the image.
    pub align_corners: bool,
    /// Gaussian smoothing of the map, in pixels at `image_size`; 0 = off. Default: 4 at 518
    /// pixels and in proportion at other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing_sigma: Option<f64>,
}

impl Default for CoopConfig {
    fn default() -> Self {
        Self {
            context_tokens: 16,
            class_specific: false,
            temperature: Temperature::Word(TemperatureWord::Clip),
            align_corners: false,
            smoothing_sigma: None,
        }
    }
}

impl CoopConfig {
    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.context_tokens == 0 {
            return Err("model.context_tokens: expected at least 1".into());
        }
        self.temperature.check_fixed()?;
        self.core().check()
    }

    /// # Errors
    /// If it cannot be trained so; the message names the key.
    pub(super) fn check_training(train: &TrainConfig) -> Result<(), String> {
        match train.supervision {
            Supervision::Labels => Ok(()),
            Supervision::Masks => {
                Err("train.supervision: method coop learns from labels alone".into())
            }
        }
    }

    /// What follows the learned vectors.
    pub(super) fn usual_prompts() -> Prompts {
        Prompts { normal: vec!["normal {}.".into()], anomalous: vec!["anomalous {}.".into()] }
    }

    /// Training as its authors have it, without their crops and flips, which can lose a defect.
    pub(super) fn usual_training() -> TrainConfig {
        TrainConfig {
            optimizer: Optimizer::Sgd,
            learning_rate: 2e-3,
            momentum: 0.9,
            weight_decay: 5e-4,
            schedule: Schedule::Cosine,
            warmup_epochs: 1,
            warmup_rate: 1e-5,
            batch_size: 32,
            epochs: 200,
            supervision: Supervision::Labels,
            ..TrainConfig::default()
        }
    }

    pub(super) fn new_head(&self, clip: &Clip, device: &Device) -> Head {
        let [_, width] = clip.text.positional_embedding.dims();
        let context = (if self.class_specific { 2 } else { 1 }, self.context_tokens);
        Head::of_prompts(LearnedPrompts::new(context, (0, 0), width, device))
    }

    pub(super) fn trainee(&self, base: &Base<'_>, head: Head) -> Result<Box<dyn Trainee>, Error> {
        Ok(self.model(base, head)?.trainee(false))
    }

    pub(super) fn scorer(&self, base: &Base<'_>, head: Head) -> Result<Box<dyn Scorer>, Error> {
        Ok(self.model(base, head)?.scorer(base, self.align_corners, self.smoothing_sigma))
    }

    /// The cross-entropy of image labels.
    pub(super) fn loss_form(&self, train: &TrainConfig) -> LossForm {
        LossForm::new(&self.core(), train)
    }

    fn model(&self, base: &Base<'_>, head: Head) -> Result<Prompted, Error> {
        let temperature = temperature(self.temperature, base.clip);
        Prompted::new(base, Box::new(see), (head, self.context_tokens), temperature)
    }

    /// What is checked as FE-CLIP's.
    fn core(&self) -> FeClipConfig {
        FeClipConfig {
            temperature: self.temperature,
            align_corners: self.align_corners,
            smoothing_sigma: self.smoothing_sigma,
            ..FeClipConfig::default()
        }
    }
}

/// Every token after the last layer as CLIP has its class token: norm and projection.
fn see(vision: &VisionTower, images: Tensor<4>) -> Tensor<3> {
    let tokens = vision.blocks.iter().fold(vision.embed(images), |x, block| block.forward(x));
    normalize(vision.project(tokens))
}
