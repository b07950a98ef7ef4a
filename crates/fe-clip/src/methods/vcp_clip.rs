//! VCP-CLIP: prompts whose category is what the image shows, and texts that look at its patches.
//!
//! Source: Qu et al., VCP-CLIP: a visual context prompting model for zero-shot anomaly
//! segmentation, ECCV 2024, and its code.

use burn::module::Param;
use burn::nn::LinearConfig;
use burn::tensor::{Device, Tensor};
use clip_vit::Clip;
use ndarray::{Array2, Array3, ArrayView2, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use super::context_text::{ContextText, Dropout};
use super::kept::FrozenTower;
use crate::Error;
use crate::counted::{Ignored, counted, of_image, spread};
use crate::head::{Head, OwnPart};
use crate::loss::{LossForm, LossTerms, OverStages, Upsampled};
use crate::model::stage_ends;
use crate::resample::{bilinear_aligned, gaussian};
use crate::score::ScoreScale;
use crate::scorer::{Base, Prediction, Scorer};
use crate::settings::fe_clip::{FeClipConfig, Temperature};
use crate::settings::stage_ends::StageEnds;
use crate::settings::train::{Supervision, TrainConfig};
use crate::tensors::{batch, grids, normalize};
use crate::trainee::{Trainee, Truth};
use crate::vcp::{HEADS, Vcp};
use crate::wording::CutText;

/// What `[model]` says of VCP-CLIP beside the keys of every method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VcpClipConfig {
    /// Patch tokens are taken after these layers, counted from 1. Default: four equal stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_ends: Option<StageEnds>,
    /// Weight of the map of texts that have seen the patches, in [0, 1]; the rest is the other's.
    pub seen_weight: f64,
    /// Pixels of each map, the largest, that the image score is the mean of. Default: 2000 at 518
    /// pixels, and the same share at other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_pixels: Option<usize>,
    /// Share of the numbers of learned rows that a training step leaves out, in [0, 1).
    pub prompt_dropout: f64,
    /// Gaussian smoothing of the map, in pixels at `image_size`; 0 = off. Default: 8 at 518
    /// pixels and in proportion at other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing_sigma: Option<f64>,
}

impl Default for VcpClipConfig {
    fn default() -> Self {
        Self {
            stage_ends: None,
            seen_weight: 0.8,
            score_pixels: None,
            prompt_dropout: 0.1,
            smoothing_sigma: None,
        }
    }
}

impl VcpClipConfig {
    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.seen_weight) {
            return Err(format!("model.seen_weight: expected 0 to 1, got {}", self.seen_weight));
        }
        if !(0.0..1.0).contains(&self.prompt_dropout) {
            let rate = self.prompt_dropout;
            return Err(format!("model.prompt_dropout: expected [0, 1), got {rate}"));
        }
        if self.score_pixels == Some(0) {
            return Err("model.score_pixels: expected at least 1".into());
        }
        self.core().check()
    }

    /// # Errors
    /// If it cannot be trained so; the message names the key.
    pub(super) fn check_training(train: &TrainConfig) -> Result<(), String> {
        match train.supervision {
            Supervision::Masks => Ok(()),
            Supervision::Labels => {
                Err("train.supervision: method vcp-clip learns from masks alone".into())
            }
        }
    }

    /// Training as its authors have it on VisA, without their augmentation; on MVTec AD half the
    /// rate.
    pub(super) fn usual_training() -> TrainConfig {
        TrainConfig {
            learning_rate: 4e-5,
            projection_learning_rate: 4e-5,
            temperature_learning_rate: 1e-2,
            adam_betas: [0.5, 0.999],
            batch_size: 32,
            epochs: 10,
            seed: 333,
            ..TrainConfig::default()
        }
    }

    pub(super) fn new_head(&self, clip: &Clip, device: &Device) -> Result<Head, Error> {
        let [width, embed_dim] = clip.vision.projection.weight.dims();
        if !width.is_multiple_of(HEADS) {
            return Err(Error::Settings(format!(
                "method vcp-clip: expected an image tower whose width {HEADS} heads share, got {width}"
            )));
        }
        let stages = stage_ends(&self.core(), clip)?.len();
        let [_, text_width] = clip.text.positional_embedding.dims();
        let text = (text_width, clip.text.blocks.len());
        let scale =
            || Param::from_tensor(Tensor::full([1], (1.0 / Temperature::DEFAULT).ln(), device));
        Ok(Head {
            patch_projection: (0..stages)
                .map(|_| LinearConfig::new(width, embed_dim).init(device))
                .collect(),
            logit_scales: (0..2).map(|_| scale()).collect(),
            own: Some(OwnPart::Vcp(Vcp::new(text, (width, embed_dim), device))),
            ..Head::default()
        })
    }

    pub(super) fn trainee(&self, base: &Base<'_>, head: Head) -> Result<Box<dyn Trainee>, Error> {
        Ok(Box::new(self.model(base, head)?))
    }

    pub(super) fn scorer(&self, base: &Base<'_>, head: Head) -> Result<Box<dyn Scorer>, Error> {
        let size = base.size;
        let sigma = self.smoothing_sigma.unwrap_or(8.0 * size as f64 / 518.0);
        let share = 2000.0 * (size * size) as f64 / (518.0 * 518.0);
        Ok(Box::new(VcpScorer {
            model: self.model(base, head)?,
            seen_weight: self.seen_weight as f32,
            score_pixels: self.score_pixels.unwrap_or((share.round() as usize).max(1)),
            upsample: bilinear_aligned(base.grid, size),
            smooth: gaussian(size, sigma),
            device: base.device.clone(),
        }))
    }

    /// Logits are upsampled, maps summed, and no image score is learned from.
    pub(super) fn loss_form(&self, train: &TrainConfig) -> LossForm {
        LossForm {
            image_weight: 0.0,
            align_corners: true,
            upsampled: Upsampled::Logits,
            over_stages: OverStages::Sum,
            ..LossForm::new(&self.core(), train)
        }
    }

    fn model(&self, base: &Base<'_>, head: Head) -> Result<VcpModel, Error> {
        if !matches!(head.own, Some(OwnPart::Vcp(_))) {
            return Err(Error::Settings(
                "the trained part that was given is another method's".into(),
            ));
        }
        let tower = FrozenTower::new(base, stage_ends(&self.core(), base.clip)?);
        let text = ContextText::new(base.clip, base.device)?;
        Ok(VcpModel { tower, text, head, rate: self.prompt_dropout, dropout: None })
    }

    /// What is checked as FE-CLIP's.
    fn core(&self) -> FeClipConfig {
        FeClipConfig {
            stage_ends: self.stage_ends.clone(),
            smoothing_sigma: self.smoothing_sigma,
            ..FeClipConfig::without_adapters()
        }
    }
}

struct VcpModel {
    tower: FrozenTower,
    text: ContextText,
    head: Head,
    /// Share of learned rows that a training step leaves out.
    rate: f64,
    /// Absent outside of training.
    dropout: Option<Dropout>,
}

impl VcpModel {
    fn part(&self) -> &Vcp {
        match &self.head.own {
            Some(OwnPart::Vcp(part)) => part,
            _ => unreachable!("a model is made with a head of its own"),
        }
    }

    /// Logits of the patches, anomalous minus normal: of every stage through its linear layer
    /// against the texts, then of every stage against the texts that have seen it,
    /// `[batch, 2 * stages, grid, grid]`.
    fn margins(&self, kept: &Tensor<3>) -> Tensor<4> {
        let (part, grid, b) = (self.part(), self.tower.grid(), kept.dims()[0]);
        let embedding = self.tower.embedding(kept);
        let texts = self.text.embeddings(part, embedding, self.dropout.as_ref());
        let stages = self.tower.ends().len();
        let scale = |n: usize| self.head.logit_scales[n].val().exp().unsqueeze::<3>();
        let margin = |x: Tensor<3>, texts: Tensor<3>, scale: Tensor<3>| {
            let [normal, anomalous] = [0, 1].map(|side| texts.clone().narrow(1, side, 1));
            let margin = x.matmul((anomalous - normal).transpose()) * scale; // [b, patches, 1]
            margin.reshape([b, 1, grid, grid])
        };
        let (mut plain, mut seen) = (Vec::new(), Vec::new());
        for stage in 0..stages {
            let tokens = self.tower.stage(kept, stage);
            let projected = normalize(self.head.project(stage, tokens.clone()));
            plain.push(margin(projected, texts.clone(), scale(0)));
            let tokens = normalize(tokens);
            let looked = part.look(texts.clone(), tokens.clone());
            seen.push(margin(tokens, looked, scale(1)));
        }
        plain.extend(seen);
        Tensor::cat(plain, 1)
    }
}

impl Trainee for VcpModel {
    fn prefix(&self, images: Tensor<4>) -> Tensor<3> {
        self.tower.see(images)
    }

    fn prefix_shape(&self) -> [usize; 2] {
        self.tower.shape()
    }

    fn describe(&mut self, _categories: &[&str]) {}

    fn draw(&mut self, seed: u64, turn: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(turn);
        self.dropout = Some(Dropout { rate: self.rate, rng });
    }

    fn cut_texts(&self, _category: &str) -> Vec<CutText> {
        Vec::new()
    }

    fn head(&self) -> &Head {
        &self.head
    }

    fn set_head(&mut self, head: Head) {
        self.head = head;
    }

    fn stage_ends(&self) -> Vec<usize> {
        self.tower.ends().to_vec()
    }

    fn temperature(&self) -> f64 {
        1.0
    }

    fn loss(
        &self,
        form: &LossForm,
        prefix: Tensor<3>,
        truth: &Truth<'_>,
    ) -> (Tensor<1>, LossTerms) {
        let pixel = self.margins(&prefix);
        let [b, maps, ..] = pixel.dims();
        let image = Tensor::zeros([b, maps], &pixel.device());
        let Truth { anomalous, masks, size } = *truth;
        let masks = masks.zip(Some(size));
        form.of_margins(image, Some(pixel), 1.0, anomalous, masks)
    }
}

/// Maps are the weighted mean of both kinds, each the mean over the stages; the image score is the
/// mean of the largest pixels of both before smoothing, in [0, 1] (their sum in the original, which
/// ranks alike).
struct VcpScorer {
    model: VcpModel,
    seen_weight: f32,
    score_pixels: usize,
    /// Upsampling of one axis, `[size, grid]`.
    upsample: Array2<f32>,
    /// Smoothing of one axis, `[size, size]`.
    smooth: Array2<f32>,
    device: Device,
}

impl VcpScorer {
    fn prediction(&self, margins: &Array3<f32>, ignored: Option<&Array2<bool>>) -> Prediction {
        let probability = |margin: f32| 1.0 / (1.0 + (-margin).exp());
        let stages = self.model.tower.ends().len();
        let mean = |kind: usize| {
            let own = margins.axis_iter(Axis(0)).skip(kind * stages).take(stages);
            let map =
                |grid: ArrayView2<'_, f32>| spread(&self.upsample, grid, ignored).mapv(probability);
            let sum = own.map(map).reduce(|a, b| a + b).expect("a model has at least one stage");
            sum / stages as f32
        };
        let (plain, seen) = (mean(0), mean(1));
        let largest = |map: &Array2<f32>| {
            let mut values = counted(map.view(), ignored);
            values.sort_unstable_by(|a, b| b.total_cmp(a));
            values.truncate(self.score_pixels);
            values.iter().sum::<f32>() / values.len() as f32
        };
        let score = (largest(&plain) + largest(&seen)) / 2.0;
        let map = plain * (1.0 - self.seen_weight) + seen * self.seen_weight;
        Prediction { score, map: spread(&self.smooth, map.view(), ignored) }
    }
}

impl Scorer for VcpScorer {
    fn score_scale(&self, _compared: bool) -> ScoreScale {
        ScoreScale::Unit
    }

    fn detect(&self, images: &[Array3<f32>], ignored: Ignored<'_>) -> Vec<Prediction> {
        let margins = self.model.margins(&self.model.tower.see(batch(images, &self.device)));
        let [b, maps, h, w] = margins.dims();
        let margins = grids(margins.reshape([b * maps, h, w]));
        let of_image = |i: usize| {
            let own = margins.slice_axis(Axis(0), (i * maps..(i + 1) * maps).into()).to_owned();
            self.prediction(&own, of_image(ignored, i))
        };
        (0..b).map(of_image).collect()
    }
}
