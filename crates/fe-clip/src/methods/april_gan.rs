//! APRIL-GAN: a trained linear layer a stage on raw patch tokens, and a prompt ensemble.
//!
//! Source: Chen et al., APRIL-GAN: a zero-/few-shot anomaly classification and segmentation
//! method for the CVPR 2023 VAND workshop challenge tracks 1 & 2.

use burn::tensor::Device;
use ndarray::{Array2, Array3, Axis, s};

use super::{Normals, Scorer, Staged, highest};
use crate::detect::{Prediction, floats, grids};
use crate::memory::Memory;
use crate::model::FeClip;
use crate::resample::{bilinear_aligned, both_axes, gaussian};
use crate::score::ScoreScale;

/// The model, which is FE-CLIP's without adapters, with what is its own after that.
///
/// Sums over stages are means here, so that a map without references is in [0, 1]; the ranking
/// is the same. The original takes the maximum of an image's map to [0, 1] by the extremes over
/// the test set, which no single image has: here it stays as it is.
pub(crate) struct AprilGan {
    staged: Staged,
    /// Upsampling of one axis, `[size, grid]`.
    upsample: Array2<f32>,
    /// Smoothing of one axis, `[size, size]`.
    smooth: Option<Array2<f32>>,
}

impl AprilGan {
    pub(crate) fn new(model: FeClip, grid: usize, size: usize, device: &Device) -> Self {
        let sigma = model.config().smoothing_sigma.unwrap_or(0.0);
        let smooth = (sigma > 0.0).then(|| gaussian(size, sigma));
        let upsample = bilinear_aligned(grid, size);
        Self { staged: Staged::new(model, device), upsample, smooth }
    }
}

impl Scorer for AprilGan {
    fn normals(&self) -> Normals {
        Normals::Optional
    }

    fn remember(&mut self, normals: &[Array3<f32>]) {
        self.staged.remember(normals);
    }

    fn exchange_memory(&mut self, memory: Memory) -> Memory {
        memory.exchange(&mut self.staged.memory)
    }

    fn describe(&mut self, category: &str) {
        self.staged.model.describe(&[category]);
    }

    fn score_scale(&self, compared: bool) -> ScoreScale {
        // The distance is added.
        if compared { ScoreScale::Open } else { ScoreScale::Unit }
    }

    fn detect(&self, images: &[Array3<f32>]) -> Vec<Prediction> {
        let stages = self.staged.stages(images);
        let temperature = self.staged.model.temperature() as f32;
        let probability = |margin: f32| 1.0 / (1.0 + (-margin / temperature).exp());
        let [b, n, h, w] = stages.pixel.dims();
        let few = self.staged.few(&stages);
        // The image score is plain CLIP's: the class token after the last layer.
        let scores = floats(stages.image.narrow(1, n - 1, 1));
        let margins = grids(stages.pixel.reshape([b * n, h, w]));
        let each = scores.into_iter().enumerate();
        each.map(|(i, score)| {
            let zero = margins.slice(s![i * n..(i + 1) * n, .., ..]);
            let mut map = zero
                .axis_iter(Axis(0))
                .map(|grid| both_axes(&self.upsample, grid).mapv(probability) / n as f32)
                .reduce(|a, b| a + b)
                .expect("a model has at least one stage");
            let mut score = probability(score);
            if let Some(few) = &few {
                map += &both_axes(&self.upsample, few.index_axis(Axis(0), i));
                score = (score + highest(map.view())) / 2.0;
            }
            if let Some(smooth) = &self.smooth {
                map = both_axes(smooth, map.view());
            }
            Prediction { score, map }
        })
        .collect()
    }

    fn into_model(self: Box<Self>) -> Option<FeClip> {
        Some(self.staged.model)
    }
}
