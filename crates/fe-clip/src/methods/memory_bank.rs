//! A memory bank of normal tokens alone, after PatchCore, on CLIP's features.
//!
//! Source: Roth et al., Towards total recall in industrial anomaly detection, CVPR 2022. The
//! original stands on the second and third stage of a WideResNet-50; this is its variant for a
//! transformer, and its numbers are not the original's.

use burn::tensor::Tensor;
use clip_vit::highest_products;
use ndarray::{Array2, Array3};
use serde::{Deserialize, Serialize};

use super::staged::{Staged, to_pixels};
use crate::Error;
use crate::coreset::reduced;
use crate::counted::Ignored;
use crate::memory::{Memory, neighbourhood_mean};
use crate::model::{FeClip, Stages};
use crate::score::ScoreScale;
use crate::scorer::{Base, Normals, Prediction, Scorer};
use crate::settings::fe_clip::{FeClipConfig, FewScore};
use crate::settings::stage_ends::StageEnds;
use crate::tensors::{grids, normalize};

/// What `[model]` says of the memory bank beside the keys of every method.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryBankConfig {
    /// Tokens are compared after these layers, counted from 1. Default: four equal stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_ends: Option<StageEnds>,
    /// Whether upsampling takes the centres of corner tokens to the corners of the image.
    pub align_corners: bool,
    /// Whether the bank holds each normal image in four rotations.
    pub few_rotate: bool,
    /// Stages that are compared, from 1. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub few_stages: Option<Vec<usize>>,
    /// What of the distances the image score is.
    pub few_score: FewScore,
    /// Whether distances count on the object of an image alone, by the first principal component
    /// of its tokens.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub few_foreground: bool,
    /// Most tokens of a stage in the memory bank; 0 = all. Of more, those are kept that are far
    /// from one another.
    pub few_limit: usize,
    /// Chooses the first of them.
    pub few_seed: u64,
    /// Gaussian smoothing of the map, in pixels at `image_size`; 0 = off. Default: 4 at 518
    /// pixels and in proportion at other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing_sigma: Option<f64>,
}

impl MemoryBankConfig {
    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(super) fn check(&self) -> Result<(), String> {
        self.core().check()
    }

    /// The tokens are those of FE-CLIP's stages without adapters.
    pub(super) fn scorer(&self, base: &Base<'_>) -> Result<Box<dyn Scorer>, Error> {
        let core = self.core();
        let head = FeClip::new_head(base.clip, &core, base.device)?;
        let model = FeClip::new(base.clip, &core, base.prompts, head, base.device)?;
        let to_pixels = to_pixels(&core, base.grid, base.size);
        Ok(Box::new(BankScorer { staged: Staged::new(model, base.device), bank: None, to_pixels }))
    }

    fn core(&self) -> FeClipConfig {
        FeClipConfig {
            stage_ends: self.stage_ends.clone(),
            align_corners: self.align_corners,
            few_rotate: self.few_rotate,
            few_stages: self.few_stages.clone(),
            few_score: self.few_score,
            few_foreground: self.few_foreground,
            few_limit: self.few_limit,
            few_seed: self.few_seed,
            smoothing_sigma: self.smoothing_sigma,
            ..FeClipConfig::without_adapters()
        }
    }
}

/// Side of the neighbourhood over which tokens are averaged.
const NEIGHBOURHOOD: usize = 3;

/// Every token is the mean of its 3x3 neighbourhood, of unit length in each stage, stages after
/// one another. The anomaly of a token is half the Euclidean distance to the nearest remembered
/// one, in [0, 1]; the score is the map's maximum before smoothing, or as `few_score` says.
struct BankScorer {
    staged: Staged,
    /// `[tokens, stages * channels]`, of unit length.
    bank: Option<Tensor<2>>,
    /// Upsampling and smoothing of one axis, `[size, grid]`.
    to_pixels: Array2<f32>,
}

impl BankScorer {
    /// `[batch, height, width, stages * channels]`, the last axis of unit length.
    fn features(&self, stages: &Stages) -> Tensor<4> {
        let stages = self.staged.compared(stages);
        let parts: Vec<Tensor<4>> =
            stages.into_iter().map(|t| normalize(neighbourhood_mean(t, NEIGHBOURHOOD))).collect();
        normalize(Tensor::cat(parts, 3))
    }
}

impl Scorer for BankScorer {
    fn normals(&self) -> Normals {
        Normals::Needed
    }

    fn remember(&mut self, normals: &[Array3<f32>]) {
        let own = |image| rows(self.features(&self.staged.stages(&[image])));
        let rows = self.staged.views(normals).map(own);
        let FeClipConfig { few_limit, few_seed, .. } = *self.staged.model.config();
        self.bank = Some(reduced(Tensor::cat(rows.collect(), 0), few_limit, few_seed));
    }

    fn exchange_memory(&mut self, memory: Memory) -> Memory {
        memory.exchange(&mut self.bank)
    }

    fn score_scale(&self, _compared: bool) -> ScoreScale {
        ScoreScale::Unit
    }

    fn detect(&self, images: &[Array3<f32>], ignored: Ignored<'_>) -> Vec<Prediction> {
        let bank = self.bank.clone().expect("memory-bank: expected normal images first");
        let stages = self.staged.stages(images);
        let features = self.features(&stages);
        let [b, h, w, _] = features.dims();
        let cosines = highest_products(rows(features), bank); // [b * h * w, 1]
        // |x - y|² = 2 - 2 cos of unit vectors; rounding may put the cosine a little above 1.
        let distances = (cosines.neg() + 1.0).clamp_min(0.0) / 2.0;
        let maps = self.staged.of_objects(&stages, grids(distances.sqrt().reshape([b, h, w])));
        self.staged.predictions(&maps, &self.to_pixels, ignored)
    }
}

fn rows(features: Tensor<4>) -> Tensor<2> {
    let [b, h, w, d] = features.dims();
    features.reshape([b * h * w, d])
}
