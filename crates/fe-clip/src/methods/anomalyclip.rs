//! AnomalyCLIP: prompts that say no category are learned, and patches see each other by their
//! values.
//!
//! Source: Zhou et al., AnomalyCLIP: object-agnostic prompt learning for zero-shot anomaly
//! detection, ICLR 2024, and its code.

use burn::tensor::{Device, Tensor};
use clip_vit::{Clip, VisionTower};
use serde::{Deserialize, Serialize};

use super::prompted::Prompted;
use crate::Error;
use crate::head::{Head, LearnedPrompts};
use crate::loss::LossForm;
use crate::scorer::{Base, Scorer};
use crate::settings::fe_clip::{FeClipConfig, Temperature};
use crate::settings::prompts::Prompts;
use crate::settings::train::TrainConfig;
use crate::tensors::normalize;
use crate::trainee::Trainee;

/// What `[model]` says of AnomalyCLIP beside the keys of every method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnomalyClipConfig {
    /// Learned vectors at the beginning of each prompt.
    pub context_tokens: usize,
    /// Blocks of the text tower, from the second on, before which learned vectors take the place
    /// of the first tokens. Default: 8, or all but the first of a smaller tower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deep_blocks: Option<usize>,
    /// How many tokens those are.
    pub deep_tokens: usize,
    /// Last layers of the image tower whose values attend to themselves. Default: 19 of 24, and
    /// in proportion of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_layers: Option<usize>,
    /// Temperature of eq. 1.
    pub temperature: f64,
    /// Gaussian smoothing of the map, in pixels at `image_size`; 0 = off. Default: 4 at 518
    /// pixels and in proportion at other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing_sigma: Option<f64>,
}

impl Default for AnomalyClipConfig {
    fn default() -> Self {
        Self {
            context_tokens: 12,
            deep_blocks: None,
            deep_tokens: 4,
            value_layers: None,
            temperature: Temperature::DEFAULT,
            smoothing_sigma: None,
        }
    }
}

impl AnomalyClipConfig {
    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.context_tokens == 0 {
            return Err("model.context_tokens: expected at least 1".into());
        }
        if !(1..=self.context_tokens).contains(&self.deep_tokens) {
            let (most, given) = (self.context_tokens, self.deep_tokens);
            return Err(format!(
                "model.deep_tokens: expected 1 to context_tokens, {most}, got {given}"
            ));
        }
        self.core().check()
    }

    /// What follows the learned vectors.
    pub(super) fn usual_prompts() -> Prompts {
        Prompts { normal: vec!["object.".into()], anomalous: vec!["damaged object.".into()] }
    }

    /// Training as its authors have it.
    pub(super) fn usual_training() -> TrainConfig {
        TrainConfig {
            learning_rate: 1e-3,
            adam_betas: [0.5, 0.999],
            batch_size: 8,
            epochs: 15,
            mask_loss_weight: 4.0,
            dice_complement: true,
            seed: 111,
            ..TrainConfig::default()
        }
    }

    pub(super) fn new_head(&self, clip: &Clip, device: &Device) -> Result<Head, Error> {
        let [_, width] = clip.text.positional_embedding.dims();
        let replaceable = clip.text.blocks.len() - 1;
        let blocks = self.deep_blocks.unwrap_or(replaceable.min(8));
        if blocks > replaceable {
            return Err(Error::Settings(format!(
                "model.deep_blocks: expected at most {replaceable}, all blocks of the text tower \
                 but the first, got {blocks}"
            )));
        }
        let (context, deep) = ((2, self.context_tokens), (blocks, self.deep_tokens));
        Ok(Head::of_prompts(LearnedPrompts::new(context, deep, width, device)))
    }

    pub(super) fn trainee(&self, base: &Base<'_>, head: Head) -> Result<Box<dyn Trainee>, Error> {
        Ok(self.model(base, head)?.trainee(true))
    }

    pub(super) fn scorer(&self, base: &Base<'_>, head: Head) -> Result<Box<dyn Scorer>, Error> {
        Ok(self.model(base, head)?.scorer(base, false, self.smoothing_sigma))
    }

    pub(super) fn loss_form(&self, train: &TrainConfig) -> LossForm {
        LossForm::new(&self.core(), train)
    }

    fn model(&self, base: &Base<'_>, head: Head) -> Result<Prompted, Error> {
        let depth = base.clip.vision.blocks.len();
        let layers = self.value_layers.unwrap_or(depth - depth * 5 / 24);
        if !(1..=depth).contains(&layers) {
            return Err(Error::Settings(format!(
                "model.value_layers: expected 1 to {depth}, the layers of the image tower, got \
                 {layers}"
            )));
        }
        let see = move |vision: &VisionTower, images| see(vision, depth - layers, images);
        Prompted::new(base, Box::new(see), (head, self.context_tokens), self.temperature)
    }

    /// What is checked as FE-CLIP's.
    fn core(&self) -> FeClipConfig {
        FeClipConfig {
            temperature: Temperature::Value(self.temperature),
            smoothing_sigma: self.smoothing_sigma,
            ..FeClipConfig::default()
        }
    }
}

/// Patches along a path of their own from the first `ordinary` layers on: each further layer adds
/// its attention of values, and nothing else. The class token goes the ordinary path, and without
/// the last norm into the projection, as in the authors' code.
fn see(vision: &VisionTower, ordinary: usize, images: Tensor<4>) -> Tensor<3> {
    let (first, rest) = vision.blocks.split_at(ordinary);
    let mut tokens = first.iter().fold(vision.embed(images), |x, block| block.forward(x));
    let mut path = tokens.clone();
    for block in rest {
        let (next, added) = block.forward_with_values(tokens);
        tokens = next;
        path = path + added;
    }
    let n = path.dims()[1];
    let class = vision.projection.forward(tokens.narrow(1, 0, 1));
    let patches = vision.project(path.narrow(1, 1, n - 1));
    normalize(Tensor::cat(vec![class, patches], 1))
}
