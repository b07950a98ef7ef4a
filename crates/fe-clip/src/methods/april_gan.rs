//! APRIL-GAN: a trained linear layer a stage on raw patch tokens, and a prompt ensemble.
//!
//! Source: Chen et al., APRIL-GAN: a zero-/few-shot anomaly classification and segmentation
//! method for the CVPR 2023 VAND workshop challenge tracks 1 & 2.

use burn::tensor::Device;
use clip_vit::Clip;
use ndarray::{Array2, Array3, Axis, s};
use serde::{Deserialize, Serialize};

use super::staged::Staged;
use crate::Error;
use crate::counted::{Ignored, highest, of_image, spread};
use crate::head::Head;
use crate::loss::{LossForm, OverStages, Upsampled};
use crate::memory::Memory;
use crate::model::FeClip;
use crate::resample::{bilinear_aligned, gaussian};
use crate::score::ScoreScale;
use crate::scorer::{Base, Normals, Prediction, Scorer};
use crate::settings::fe_clip::{FeClipConfig, Temperature};
use crate::settings::stage_ends::StageEnds;
use crate::settings::train::TrainConfig;
use crate::tensors::{floats, grids};
use crate::wording::{CutText, Wording};

/// Its code multiplies cosines by 100.
const TEMPERATURE: f64 = 0.01;

/// What `[model]` says of APRIL-GAN beside the keys of every method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AprilGanConfig {
    /// The linear layers act after these layers, counted from 1. Default: four equal stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_ends: Option<StageEnds>,
    /// Weight of the distance from the memory bank in the map.
    pub few_weight: f64,
    /// Whether the memory bank holds each normal image in four rotations.
    pub few_rotate: bool,
    /// Stages that the memory bank compares, from 1. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub few_stages: Option<Vec<usize>>,
    /// Gaussian smoothing of the map, in pixels at `image_size`. Default: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing_sigma: Option<f64>,
}

impl Default for AprilGanConfig {
    fn default() -> Self {
        Self {
            stage_ends: None,
            few_weight: 1.0,
            few_rotate: false,
            few_stages: None,
            smoothing_sigma: None,
        }
    }
}

impl AprilGanConfig {
    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(super) fn check(&self) -> Result<(), String> {
        self.core().check()
    }

    /// Training as its authors have it.
    pub(super) fn usual_training() -> TrainConfig {
        TrainConfig {
            projection_learning_rate: 1e-3,
            adam_betas: [0.5, 0.999],
            batch_size: 8,
            epochs: 3,
            ..TrainConfig::default()
        }
    }

    pub(super) fn new_head(&self, clip: &Clip, device: &Device) -> Result<Head, Error> {
        FeClip::new_head(clip, &self.core(), device)
    }

    /// The model is FE-CLIP's without adapters, with a projection a stage and other words.
    pub(super) fn model(&self, base: &Base<'_>, head: Head) -> Result<FeClip, Error> {
        FeClip::worded(base.clip, &self.core(), Wording::april_gan(), head, base.device)
    }

    pub(super) fn scorer(&self, base: &Base<'_>, head: Head) -> Result<Box<dyn Scorer>, Error> {
        let sigma = self.smoothing_sigma.unwrap_or(0.0);
        Ok(Box::new(AprilGan {
            staged: Staged::new(self.model(base, head)?, base.device),
            upsample: bilinear_aligned(base.grid, base.size),
            smooth: (sigma > 0.0).then(|| gaussian(base.size, sigma)),
        }))
    }

    /// Logits are upsampled, stages summed, and nothing is trained that an image score depends on.
    pub(super) fn loss_form(&self, train: &TrainConfig) -> LossForm {
        LossForm {
            image_weight: 0.0,
            align_corners: true,
            upsampled: Upsampled::Logits,
            over_stages: OverStages::Sum,
            ..LossForm::new(&self.core(), train)
        }
    }

    fn core(&self) -> FeClipConfig {
        FeClipConfig {
            stage_ends: self.stage_ends.clone(),
            few_weight: self.few_weight,
            few_rotate: self.few_rotate,
            few_stages: self.few_stages.clone(),
            smoothing_sigma: self.smoothing_sigma,
            shared_projection: false,
            patch_ln_post: false,
            temperature: Temperature::Value(TEMPERATURE),
            ..FeClipConfig::without_adapters()
        }
    }
}

/// The model, which is FE-CLIP's without adapters, with what is its own after that.
///
/// Sums over stages are means here, so that a map without references is in [0, 1]; the ranking
/// is the same. The original takes the maximum of an image's map to [0, 1] by the extremes over
/// the test set, which no single image has: here it stays as it is.
struct AprilGan {
    staged: Staged,
    /// Upsampling of one axis, `[size, grid]`.
    upsample: Array2<f32>,
    /// Smoothing of one axis, `[size, size]`.
    smooth: Option<Array2<f32>>,
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

    fn cut_texts(&self, category: &str) -> Vec<CutText> {
        self.staged.model.cut_texts(category)
    }

    fn score_scale(&self, compared: bool) -> ScoreScale {
        // The distance is added.
        if compared { ScoreScale::Open } else { ScoreScale::Unit }
    }

    fn detect(&self, images: &[Array3<f32>], ignored: Ignored<'_>) -> Vec<Prediction> {
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
            let ignored = of_image(ignored, i);
            let zero = margins.slice(s![i * n..(i + 1) * n, .., ..]);
            let mut map = zero
                .axis_iter(Axis(0))
                .map(|grid| spread(&self.upsample, grid, ignored).mapv(probability) / n as f32)
                .reduce(|a, b| a + b)
                .expect("a model has at least one stage");
            let mut score = probability(score);
            if let Some(few) = &few {
                map += &spread(&self.upsample, few.index_axis(Axis(0), i), ignored);
                score = (score + highest(map.view(), ignored)) / 2.0;
            }
            if let Some(smooth) = &self.smooth {
                map = spread(smooth, map.view(), ignored);
            }
            if let Some(ignored) = ignored {
                // A margin of nothing is a probability of one half.
                map.zip_mut_with(ignored, |value, ignored| *value *= f32::from(u8::from(!ignored)));
            }
            Prediction { score, map }
        })
        .collect()
    }
}
