//! MuSc: images of one category scored against each other, without words, training or normal
//! images.
//!
//! Source: Li et al., MuSc: Zero-Shot Industrial Anomaly Classification and Segmentation with
//! Mutual Scoring of the Unlabeled Images, ICLR 2024.

use ndarray::{Array2, Array3, ArrayView2};
use serde::{Deserialize, Serialize};

use super::staged::Staged;
use crate::Error;
use crate::counted::{Ignored, highest};
use crate::group::{GroupMaps, GroupTokens, relative};
use crate::model::FeClip;
use crate::resample::{bilinear_aligned, both_axes};
use crate::score::ScoreScale;
use crate::scorer::{Alone, Base, GroupScorer, Prediction, Scorer};
use crate::settings::fe_clip::FeClipConfig;
use crate::settings::group::GroupConfig;
use crate::settings::stage_ends::StageEnds;

/// What `[model]` says of MuSc beside the keys of every method.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MuscConfig {
    /// Tokens are compared after these layers, counted from 1. Default: four equal stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_ends: Option<StageEnds>,
    /// How images are scored against each other.
    pub group: GroupConfig,
}

impl MuscConfig {
    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.group.weight != GroupConfig::default().weight {
            return Err("model.group.weight: method musc has nothing beside the group".into());
        }
        self.core().check()
    }

    /// The tokens are those of FE-CLIP's stages without adapters.
    pub(super) fn scorer(&self, base: &Base<'_>) -> Result<Box<dyn Scorer>, Error> {
        let core = self.core();
        let head = FeClip::new_head(base.clip, &core, base.device)?;
        let model = FeClip::new(base.clip, &core, base.prompts, head, base.device)?;
        let upsample = bilinear_aligned(base.grid, base.size);
        Ok(Box::new(Musc { staged: Staged::new(model, base.device), upsample }))
    }

    fn core(&self) -> FeClipConfig {
        FeClipConfig {
            stage_ends: self.stage_ends.clone(),
            group: self.group.clone(),
            ..FeClipConfig::without_adapters()
        }
    }
}

/// The map is the mean distance, in [0, 2], brought to pixels without smoothing. The score is its
/// maximum by its place between the group's lowest and highest, averaged over similar images.
struct Musc {
    staged: Staged,
    /// Upsampling of one axis, `[size, grid]`.
    upsample: Array2<f32>,
}

impl Scorer for Musc {
    fn score_scale(&self, _compared: bool) -> ScoreScale {
        ScoreScale::Unit
    }

    fn group(&self) -> Option<&dyn GroupScorer> {
        Some(self)
    }

    fn needs_group(&self) -> bool {
        true
    }

    fn detect(&self, _images: &[Array3<f32>], _ignored: Ignored<'_>) -> Vec<Prediction> {
        panic!("musc: expected a group of images")
    }
}

impl GroupScorer for Musc {
    fn config(&self) -> &GroupConfig {
        &self.staged.model.config().group
    }

    fn observe(&self, images: &[Array3<f32>]) -> Vec<(Alone, GroupTokens)> {
        let tokens = self.staged.group_tokens(&self.staged.stages(images));
        let nothing = || Alone { score: 0.0, map: Array2::default((0, 0)) };
        tokens.into_iter().map(|tokens| (nothing(), tokens)).collect()
    }

    fn score(&self, map: ArrayView2<'_, f32>) -> f32 {
        highest(both_axes(&self.upsample, map).view(), None)
    }

    fn rescored(&self, maps: &GroupMaps, scores: &[f32]) -> Vec<f32> {
        maps.rescored(&relative(scores), self.config())
    }

    fn conclude(&self, _alone: &Alone, map: ArrayView2<'_, f32>, score: f32) -> Prediction {
        Prediction { score, map: both_axes(&self.upsample, map) }
    }
}
