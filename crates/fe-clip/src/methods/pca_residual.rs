//! What tokens have beside the directions in which those of normal images differ.
//!
//! Source: SubspaceAD, on DINOv2's features; this is its variant on CLIP's, and its numbers are
//! not the original's.

use burn::tensor::Tensor;
use ndarray::{Array2, Array3};
use serde::{Deserialize, Serialize};

use super::staged::{Staged, to_pixels};
use crate::Error;
use crate::counted::Ignored;
use crate::memory::Memory;
use crate::model::{FeClip, Stages};

use crate::score::ScoreScale;
use crate::scorer::{Base, Normals, Prediction, Scorer};
use crate::settings::fe_clip::{FeClipConfig, FewScore};
use crate::settings::stage_ends::StageEnds;
use crate::subspace::Subspace;
use crate::tensors::{floats, grids, normalize};

/// What `[model]` says of the residual beside the keys of every method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PcaResidualConfig {
    /// Tokens are taken after these layers, counted from 1. Default: four equal stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_ends: Option<StageEnds>,
    /// Share of the variance of normal tokens that the directions explain, in (0, 1).
    pub explained: f64,
    /// Whether upsampling takes the centres of corner tokens to the corners of the image.
    pub align_corners: bool,
    /// Whether each normal image counts in four rotations.
    pub few_rotate: bool,
    /// Stages whose tokens are averaged, from 1. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub few_stages: Option<Vec<usize>>,
    /// Side of the neighbourhood over which tokens are averaged; odd, 1 = the tokens themselves.
    pub few_neighbourhood: usize,
    /// Whether residuals count on the object of an image alone, by the first principal component
    /// of its tokens.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub few_foreground: bool,
    /// What of the residuals the image score is.
    pub few_score: FewScore,
    /// Gaussian smoothing of the map, in pixels at `image_size`; 0 = off. Default: 4 at 518
    /// pixels and in proportion at other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing_sigma: Option<f64>,
}

impl Default for PcaResidualConfig {
    fn default() -> Self {
        Self {
            stage_ends: None,
            explained: 0.99,
            align_corners: false,
            few_rotate: false,
            few_stages: None,
            few_neighbourhood: 1,
            few_foreground: false,
            few_score: FewScore::TopPercent,
            smoothing_sigma: None,
        }
    }
}

impl PcaResidualConfig {
    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(self.explained > 0.0 && self.explained < 1.0) {
            let given = self.explained;
            return Err(format!("model.explained: expected a number in (0, 1), got {given}"));
        }
        self.core().check()
    }

    /// The tokens are those of FE-CLIP's stages without adapters.
    pub(super) fn scorer(&self, base: &Base<'_>) -> Result<Box<dyn Scorer>, Error> {
        let core = self.core();
        let head = FeClip::new_head(base.clip, &core, base.device)?;
        let model = FeClip::new(base.clip, &core, base.prompts, head, base.device)?;
        let to_pixels = to_pixels(&core, base.grid, base.size);
        let staged = Staged::new(model, base.device);
        Ok(Box::new(PcaResidual { staged, explained: self.explained, normal: None, to_pixels }))
    }

    fn core(&self) -> FeClipConfig {
        FeClipConfig {
            stage_ends: self.stage_ends.clone(),
            align_corners: self.align_corners,
            few_rotate: self.few_rotate,
            few_stages: self.few_stages.clone(),
            few_neighbourhood: self.few_neighbourhood,
            few_foreground: self.few_foreground,
            few_score: self.few_score,
            smoothing_sigma: self.smoothing_sigma,
            ..FeClipConfig::without_adapters()
        }
    }
}

/// A token is the mean over the stages of its unit vectors; its anomaly is half its distance from
/// the normal subspace, in [0, 1]. The score is taken before smoothing.
struct PcaResidual {
    staged: Staged,
    explained: f64,
    normal: Option<Subspace>,
    /// Upsampling and smoothing of one axis, `[size, grid]`.
    to_pixels: Array2<f32>,
}

impl PcaResidual {
    /// `[batch, height, width, channels]`
    fn features(&self, stages: &Stages) -> Tensor<4> {
        let stages = self.staged.compared(stages);
        let count = stages.len() as f64;
        let sum = stages.into_iter().map(normalize).reduce(|a, b| a + b);
        sum.expect("a model has at least one stage") / count
    }
}

impl Scorer for PcaResidual {
    fn normals(&self) -> Normals {
        Normals::Needed
    }

    fn remember(&mut self, normals: &[Array3<f32>]) {
        let (mut values, mut channels) = (Vec::new(), 0);
        for image in self.staged.views(normals) {
            let features = self.features(&self.staged.stages(&[image]));
            channels = features.dims()[3];
            values.extend(floats(features));
        }
        let tokens = Array2::from_shape_vec((values.len() / channels, channels), values);
        let tokens = tokens.expect("a token has as many channels as all");
        self.normal = Some(Subspace::of(tokens.view(), self.explained, &self.staged.device));
    }

    fn exchange_memory(&mut self, memory: Memory) -> Memory {
        memory.exchange(&mut self.normal)
    }

    fn score_scale(&self, _compared: bool) -> ScoreScale {
        ScoreScale::Unit
    }

    fn detect(&self, images: &[Array3<f32>], ignored: Ignored<'_>) -> Vec<Prediction> {
        let normal = self.normal.as_ref().expect("pca-residual: expected normal images first");
        let stages = self.staged.stages(images);
        let features = self.features(&stages);
        let [b, h, w, d] = features.dims();
        let residuals = normal.residual(features.reshape([b * h * w, d])) / 2.0;
        let maps = self.staged.of_objects(&stages, grids(residuals.reshape([b, h, w])));
        self.staged.predictions(&maps, &self.to_pixels, ignored)
    }
}
