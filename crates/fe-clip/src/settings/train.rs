//! `[train]`.

use serde::{Deserialize, Serialize};

use super::eval::Source;
use crate::precision::Precision;

/// `[train]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Data sets with masks; every image of the split is used.
    pub datasets: Vec<Source>,
    /// Passes over the data.
    pub epochs: usize,
    /// Optimizer steps of an epoch. Default: as many as take every image once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_steps: Option<usize>,
    /// Whether normal and anomalous images take turns, as often as it needs of each.
    pub balanced: bool,
    /// Normal images of the same category that go with every image of a step, for `inctrl`.
    pub references: usize,
    /// Images of an optimizer step.
    pub batch_size: usize,
    /// Images of a forward pass; gradients accumulate to `batch_size`. Default: the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch_size: Option<usize>,
    /// Learning rate of the adapters, of learned prompts, or of what else a method learns.
    pub learning_rate: f64,
    /// Learning rate of the patch projection; 0 freezes it.
    pub projection_learning_rate: f64,
    /// Learning rate of the temperatures that `vcp-clip` learns.
    pub temperature_learning_rate: f64,
    /// What takes the steps.
    pub optimizer: Optimizer,
    /// Momentum of `sgd`, in [0, 1).
    pub momentum: f64,
    /// Factor of the weights that is added to their gradients; of `adamw`, share of the weights
    /// that a step takes away at a learning rate of 1.
    pub weight_decay: f64,
    /// How the learning rates change with the epochs.
    pub schedule: Schedule,
    /// First epochs, in which all learning rates are `warmup_rate`.
    pub warmup_epochs: usize,
    /// Learning rate of those epochs.
    pub warmup_rate: f64,
    /// Adam's decay rates of the first and second moment, in [0, 1).
    pub adam_betas: [f64; 2],
    /// Weight of the loss of image scores, eq. 4.
    pub image_loss_weight: f64,
    /// Weight of the loss of maps, eq. 5.
    pub mask_loss_weight: f64,
    /// Focusing exponent of the focal loss.
    pub focal_gamma: f64,
    /// Weight of anomalous pixels in the focal loss, in [0, 1], that of normal ones being the
    /// rest; both are 1 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub focal_alpha: Option<f64>,
    /// Whether the dice loss of the normal channel is added to that of the anomalous one.
    pub dice_complement: bool,
    /// Seed of the weights and of the order of images.
    pub seed: u64,
    /// What is known of the training images.
    pub supervision: Supervision,
    /// Probability that a 2 x 2 mosaic of images of the same category takes an image's place, in
    /// [0, 1]; the frozen prefix of a mosaic is computed each time.
    pub mosaic: f64,
    /// Number format in which the frozen prefix's output is kept between epochs.
    pub prefix_precision: Precision,
    /// Stop after so many optimizer steps, for trials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
}

/// What takes the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Adam, `adam_betas`.
    Adam,
    /// Adam, `adam_betas`, whose weight decay is no part of the gradients.
    #[serde(rename = "adamw")]
    AdamW,
    /// Stochastic gradient descent, `momentum`.
    Sgd,
}

/// How learning rates change with the epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// From the whole rate down by half a cosine over `epochs` epochs; it starts after the
    /// warm-up, whose epochs are missing at its end.
    Cosine,
}

/// What is known of training images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Supervision {
    /// The anomalous pixels: both losses.
    Masks,
    /// Whether an image is anomalous: the loss of the image score alone. The patch projection
    /// and the last stage's adapters do not learn.
    Labels,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            datasets: Vec::new(),
            epochs: 9,
            epoch_steps: None,
            balanced: false,
            references: 0,
            batch_size: 16,
            micro_batch_size: None,
            learning_rate: 5e-4,
            projection_learning_rate: 5e-6,
            temperature_learning_rate: 1e-2,
            optimizer: Optimizer::Adam,
            momentum: 0.9,
            weight_decay: 0.0,
            schedule: Schedule::Constant,
            warmup_epochs: 0,
            warmup_rate: 1e-5,
            adam_betas: [0.9, 0.999],
            image_loss_weight: 1.0,
            mask_loss_weight: 1.0,
            focal_gamma: 2.0,
            focal_alpha: None,
            dice_complement: false,
            seed: 0,
            supervision: Supervision::Masks,
            mosaic: 0.0,
            prefix_precision: Precision::Full,
            max_steps: None,
        }
    }
}

impl TrainConfig {
    /// Optimizer steps of an epoch over so many images.
    pub(crate) fn steps_of_epoch(&self, images: usize) -> usize {
        self.epoch_steps.unwrap_or(images.div_ceil(self.batch_size))
    }

    /// The learning rate of an epoch, counted from 0, where `whole` is the highest.
    ///
    /// Source: Dassl.pytorch's warm-up, whose successor starts with the first epoch after it.
    pub(crate) fn rate(&self, whole: f64, epoch: usize) -> f64 {
        let Some(after) = epoch.checked_sub(self.warmup_epochs) else { return self.warmup_rate };
        match self.schedule {
            Schedule::Constant => whole,
            Schedule::Cosine => {
                let part = std::f64::consts::PI * after as f64 / self.epochs as f64;
                whole * (1.0 + part.cos()) / 2.0
            }
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.batch_size == 0 || self.micro_batch_size == Some(0) {
            return Err("train: expected a batch of at least one image".into());
        }
        if self.epoch_steps.is_some_and(|steps| !(1..=1_000_000).contains(&steps)) {
            return Err("train.epoch_steps: expected 1 to 1000000".into());
        }
        if self.references > 64 {
            return Err(format!("train.references: expected at most 64, got {}", self.references));
        }
        for (name, value) in [
            ("learning_rate", self.learning_rate),
            ("projection_learning_rate", self.projection_learning_rate),
            ("temperature_learning_rate", self.temperature_learning_rate),
            ("weight_decay", self.weight_decay),
            ("warmup_rate", self.warmup_rate),
            ("image_loss_weight", self.image_loss_weight),
            ("mask_loss_weight", self.mask_loss_weight),
            ("focal_gamma", self.focal_gamma),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(format!("train.{name}: expected a number >= 0, got {value}"));
            }
        }
        if !(0.0..=1.0).contains(&self.mosaic) {
            return Err(format!("train.mosaic: expected 0 to 1, got {}", self.mosaic));
        }
        if self.adam_betas.iter().any(|beta| !(0.0..1.0).contains(beta)) {
            return Err(format!("train.adam_betas: expected [0, 1), got {:?}", self.adam_betas));
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(format!("train.momentum: expected [0, 1), got {}", self.momentum));
        }
        match self.focal_alpha {
            Some(alpha) if !(0.0..=1.0).contains(&alpha) => {
                Err(format!("train.focal_alpha: expected 0 to 1, got {alpha}"))
            }
            _ => Ok(()),
        }
    }
}
