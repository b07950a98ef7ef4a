//! What `[model]` says of AdaCLIP beside the keys of every method.

use serde::{Deserialize, Serialize};

use super::fe_clip::FeClipConfig;
use super::stage_ends::StageEnds;
use super::train::{Optimizer, TrainConfig};

/// What `[model]` says of AdaCLIP beside the keys of every method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaClipConfig {
    /// Patch tokens are taken after these layers, counted from 1. Default: four equal stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_ends: Option<StageEnds>,
    /// First blocks of each tower that are given prompts. Default: 4, or as many as both towers
    /// have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_blocks: Option<usize>,
    /// Prompts of each of those blocks, at most the five words before the category.
    pub prompt_tokens: usize,
    /// Weight of the patches that stand out in what scores an image, in [0, 1]; the rest is the
    /// class token's.
    pub fusion_weight: f64,
    /// Patches that stand out: so many of the most anomalous.
    pub fusion_patches: usize,
    /// Groups of them, which weigh the same however many are in them.
    pub fusion_groups: usize,
    /// Gaussian smoothing of the map, in pixels at `image_size`; 0 = off. Default: 4 at 518
    /// pixels and in proportion at other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing_sigma: Option<f64>,
}

impl Default for AdaClipConfig {
    fn default() -> Self {
        Self {
            stage_ends: None,
            prompt_blocks: None,
            prompt_tokens: 5,
            fusion_weight: 0.2,
            fusion_patches: 100,
            fusion_groups: 20,
            smoothing_sigma: None,
        }
    }
}

impl AdaClipConfig {
    pub(crate) const PROMPT_BLOCKS: usize = 4;

    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.prompt_blocks == Some(0) {
            return Err("model.prompt_blocks: expected at least 1".into());
        }
        if !(1..=5).contains(&self.prompt_tokens) {
            return Err(format!(
                "model.prompt_tokens: expected 1 to 5, got {}",
                self.prompt_tokens
            ));
        }
        if !(0.0..=1.0).contains(&self.fusion_weight) {
            return Err(format!(
                "model.fusion_weight: expected 0 to 1, got {}",
                self.fusion_weight
            ));
        }
        for (key, value) in
            [("fusion_patches", self.fusion_patches), ("fusion_groups", self.fusion_groups)]
        {
            if !(1..=10_000).contains(&value) {
                return Err(format!("model.{key}: expected 1 to 10000, got {value}"));
            }
        }
        self.core().check()
    }

    /// Training as its authors have it.
    pub(crate) fn usual_training() -> TrainConfig {
        TrainConfig {
            optimizer: Optimizer::AdamW,
            learning_rate: 1e-2,
            projection_learning_rate: 1e-2,
            weight_decay: 0.01,
            adam_betas: [0.5, 0.999],
            batch_size: 1,
            epochs: 5,
            dice_complement: true,
            seed: 111,
            ..TrainConfig::default()
        }
    }

    /// What is checked as FE-CLIP's.
    pub(crate) fn core(&self) -> FeClipConfig {
        FeClipConfig {
            stage_ends: self.stage_ends.clone(),
            smoothing_sigma: self.smoothing_sigma,
            ..FeClipConfig::without_adapters()
        }
    }
}
