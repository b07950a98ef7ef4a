//! InCTRL: learned scores of how an image differs from a few normal ones of its category.
//!
//! Source: Zhu and Pang, Toward generalist anomaly detection via in-context residual learning with
//! few-shot sample prompts, CVPR 2024, and its code.

use burn::tensor::activation::{sigmoid, softplus};
use burn::tensor::{Device, Tensor, TensorData};
use clip_vit::{Clip, highest_products};
use ndarray::{Array2, Array3, Axis};
use serde::{Deserialize, Serialize};

use super::kept::FrozenTower;
use super::staged::to_pixels;
use crate::Error;
use crate::counted::{Ignored, of_image, spread};
use crate::head::{Head, OwnPart};
use crate::inctrl::Inctrl;
use crate::loss::{LossForm, LossTerms};
use crate::memory::Memory;
use crate::model::{stage_ends, usual_size};
use crate::score::ScoreScale;
use crate::scorer::{Base, Normals, Prediction, Scorer};
use crate::settings::fe_clip::FeClipConfig;
use crate::settings::stage_ends::StageEnds;
use crate::settings::train::{Optimizer, Supervision, TrainConfig};
use crate::tensors::{batch, floats, grids, normalize};
use crate::trainee::{Trainee, Truth};
use crate::wording::{CutText, TextAxes, UNNAMED, Wording};

/// Its code multiplies cosines of texts by 100.
const SCALE: f64 = 100.0;

/// What `[model]` says of InCTRL beside the keys of every method.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InctrlConfig {
    /// Patch tokens are compared after these layers, counted from 1. Default: 7, 9 and 11 of 12,
    /// and in proportion of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_ends: Option<StageEnds>,
    /// Side of the grid of patches that its head is made for. Default: that of the backbone's usual
    /// `image_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_grid: Option<usize>,
    /// Gaussian smoothing of the map, in pixels at `image_size`; 0 = off. Default: 4 at 518
    /// pixels and in proportion at other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing_sigma: Option<f64>,
}

impl InctrlConfig {
    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.head_grid.is_some_and(|grid| !(1..=512).contains(&grid)) {
            return Err("model.head_grid: expected 1 to 512".into());
        }
        self.core().check()
    }

    /// # Errors
    /// If it cannot be trained so; the message names the key.
    pub(super) fn check_training(train: &TrainConfig) -> Result<(), String> {
        if train.supervision != Supervision::Labels {
            return Err("train.supervision: method inctrl learns from labels alone".into());
        }
        if train.references == 0 {
            return Err("train.references: method inctrl needs at least 1".into());
        }
        if train.batch_size < 2 || train.micro_batch_size.is_some() {
            return Err(
                "train: method inctrl has norms of whole batches, of two images at least: \
                        no micro_batch_size"
                    .into(),
            );
        }
        Ok(())
    }

    /// Training as its authors have it.
    pub(super) fn usual_training() -> TrainConfig {
        TrainConfig {
            optimizer: Optimizer::AdamW,
            learning_rate: 1e-3,
            weight_decay: 0.01,
            batch_size: 16,
            epochs: 10,
            epoch_steps: Some(100),
            balanced: true,
            references: 2,
            supervision: Supervision::Labels,
            ..TrainConfig::default()
        }
    }

    pub(super) fn new_head(&self, clip: &Clip, device: &Device) -> Result<Head, Error> {
        let grid = self.grid(clip);
        let [_, embed_dim] = clip.vision.projection.weight.dims();
        self.ends(clip)?;
        let part = Inctrl::new(embed_dim, grid * grid, device);
        Ok(Head { own: Some(OwnPart::Inctrl(part)), ..Head::default() })
    }

    pub(super) fn trainee(&self, base: &Base<'_>, head: Head) -> Result<Box<dyn Trainee>, Error> {
        Ok(Box::new(self.model(base, head)?))
    }

    pub(super) fn scorer(&self, base: &Base<'_>, head: Head) -> Result<Box<dyn Scorer>, Error> {
        Ok(Box::new(InctrlScorer {
            model: self.model(base, head)?,
            normal: None,
            to_pixels: to_pixels(&self.core(), base.grid, base.size),
            device: base.device.clone(),
        }))
    }

    pub(super) fn loss_form(&self, train: &TrainConfig) -> LossForm {
        LossForm::new(&self.core(), train)
    }

    fn grid(&self, clip: &Clip) -> usize {
        self.head_grid.unwrap_or(usual_size(clip) / clip.vision.patch_size())
    }

    fn ends(&self, clip: &Clip) -> Result<Vec<usize>, Error> {
        let depth = clip.vision.blocks.len();
        let usual = || StageEnds::Layers([7, 9, 11].map(|n| (depth * n / 12).max(1)).to_vec());
        let stage_ends_of = self.stage_ends.clone().unwrap_or_else(usual);
        stage_ends(&FeClipConfig { stage_ends: Some(stage_ends_of), ..self.core() }, clip)
    }

    fn model(&self, base: &Base<'_>, head: Head) -> Result<InctrlModel, Error> {
        let Some(OwnPart::Inctrl(part)) = &head.own else {
            return Err(Error::Settings(
                "the trained part that was given is another method's".into(),
            ));
        };
        let (made_for, grid) = (part.patch_head.first.weight.shape()[0], base.grid);
        if made_for != grid * grid {
            let own = made_for.isqrt();
            return Err(Error::Settings(format!(
                "model.head_grid: the head is made for {own} x {own} patches, at this image_size \
                 there are {grid} x {grid}: set one of them"
            )));
        }
        let tower = FrozenTower::new(base, self.ends(base.clip)?);
        let mut texts = TextAxes::new(base.clip, Wording::inctrl(), base.device);
        let axis = texts.of(&[UNNAMED]);
        Ok(InctrlModel { tower, texts, axis, head })
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

struct InctrlModel {
    tower: FrozenTower,
    texts: TextAxes,
    /// Anomalous minus normal text embedding, `[1 or batch, embed_dim, 1]`.
    axis: Tensor<3>,
    head: Head,
}

/// Normal images as others are compared with them.
struct Normal {
    /// Unit tokens of every stage, `[images * patches, width]`.
    tokens: Vec<Tensor<2>>,
    /// Mean adapted embedding, `[1, embed_dim]`.
    embedding: Tensor<2>,
}

/// What both heads say, `[batch, 1]` each.
struct Scores {
    /// Of the embedding's difference.
    image: Tensor<2>,
    /// Of the patches' distances with that and the texts' score added to each.
    patches: Tensor<2>,
}

impl InctrlModel {
    fn part(&self) -> &Inctrl {
        match &self.head.own {
            Some(OwnPart::Inctrl(part)) => part,
            _ => unreachable!("a model is made with a head of its own"),
        }
    }

    /// Unit tokens of images of a stage, `[images * patches, width]`.
    fn tokens(&self, kept: &Tensor<3>, stage: usize) -> Tensor<2> {
        let tokens = self.tower.stage(kept, stage);
        let [b, patches, width] = tokens.dims();
        normalize(tokens.reshape([b * patches, width]))
    }

    fn stages(&self) -> std::ops::Range<usize> {
        0..self.tower.ends().len()
    }

    /// Distances of an image's patches from the nearest normal ones, half of 1 - cosine, mean over
    /// the stages: `[images, patches]` in [0, 1].
    fn distances(&self, kept: &Tensor<3>, normal: &[Tensor<2>]) -> Tensor<2> {
        let nearest = self
            .stages()
            .map(|stage| highest_products(self.tokens(kept, stage), normal[stage].clone()));
        let count = self.stages().len() as f64;
        let sum = nearest.reduce(|a, b| a + b).expect("a model has at least one stage");
        let mean = (sum / count).neg() + 1.0;
        let patches = self.tower.grid() * self.tower.grid();
        (mean.clamp_min(0.0) / 2.0).reshape([kept.dims()[0], patches])
    }

    /// What the heads say of images with these distances, when their normal images have that
    /// adapted embedding on average, `[1 or batch, embed_dim]`.
    fn scores(
        &self,
        kept: &Tensor<3>,
        distances: Tensor<2>,
        normal: Tensor<2>,
        training: bool,
    ) -> Scores {
        let (part, embedding) = (self.part(), self.tower.embedding(kept));
        let image = normal - part.adapt(embedding.clone());
        let image = part.image_head.forward(image, training);
        let margins = normalize(embedding).unsqueeze_dim::<3>(1).matmul(self.axis.clone());
        let texts = sigmoid(margins.squeeze_dim::<2>(2) * SCALE); // [b, 1]
        let patches = part.patch_head.forward(distances + texts + image.clone(), training);
        Scores { image, patches }
    }
}

/// The largest of each row, `[batch, 1]`.
fn largest(distances: &Tensor<2>) -> Tensor<2> {
    distances.clone().max_dim(1)
}

impl Trainee for InctrlModel {
    fn prefix(&self, images: Tensor<4>) -> Tensor<3> {
        self.tower.see(images)
    }

    fn prefix_shape(&self) -> [usize; 2] {
        self.tower.shape()
    }

    fn describe(&mut self, categories: &[&str]) {
        self.axis = self.texts.of(categories);
    }

    fn cut_texts(&self, category: &str) -> Vec<CutText> {
        self.texts.cut(category)
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
        1.0 / SCALE
    }

    fn loss(
        &self,
        form: &LossForm,
        prefix: Tensor<3>,
        truth: &Truth<'_>,
    ) -> (Tensor<1>, LossTerms) {
        let (b, device) = (truth.anomalous.len(), prefix.device());
        let k = prefix.dims()[0] / b - 1;
        let images = prefix.clone().narrow(0, 0, b);
        let normal = prefix.clone().narrow(0, b, b * k);
        // Nothing that is learned changes distances.
        let constant = prefix.inner();
        let distances = (0..b).map(|i| {
            let own = constant.clone().narrow(0, b + i * k, k);
            let own: Vec<Tensor<2>> = self.stages().map(|stage| self.tokens(&own, stage)).collect();
            self.distances(&constant.clone().narrow(0, i, 1), &own)
        });
        let distances = Tensor::from_inner(Tensor::cat(distances.collect(), 0));
        let adapted = self.part().adapt(self.tower.embedding(&normal));
        let [_, channels] = adapted.dims();
        let normal = adapted.reshape([b, k, channels]).mean_dim(1).squeeze_dim(1);
        let fixed = largest(&distances);
        let Scores { image, patches } = self.scores(&images, distances, normal, true);
        let labels = TensorData::new(truth.anomalous.to_vec(), [b, 1]);
        let labels = Tensor::<2>::from_data(labels, &device);
        let score = (patches + fixed) / 2.0;
        let total = focal(score, labels.clone(), form.gamma) + focal(image, labels, form.gamma);
        let value = f64::from(floats(total.clone().inner())[0]);
        (total, LossTerms { loss: value, loss_cls: value, ..LossTerms::default() })
    }
}

/// Focal loss of binary labels, mean over images. As in the authors' code, probabilities stand
/// where logits are meant.
fn focal(logits: Tensor<2>, labels: Tensor<2>, gamma: f64) -> Tensor<1> {
    let entropy = softplus(logits.clone(), 1.0) - logits * labels;
    let miss = entropy.clone().neg().exp().neg() + 1.0;
    let focus = if gamma == 2.0 { miss.square() } else { miss.clamp_min(1e-12).powf_scalar(gamma) };
    (focus * entropy).mean()
}

/// The score is the mean of the patches' head and of the largest distance; the map is the
/// distances, of which the original makes none.
struct InctrlScorer {
    model: InctrlModel,
    normal: Option<Normal>,
    /// Upsampling and smoothing of one axis, `[size, grid]`.
    to_pixels: Array2<f32>,
    device: Device,
}

impl Scorer for InctrlScorer {
    fn normals(&self) -> Normals {
        Normals::Needed
    }

    fn remember(&mut self, normals: &[Array3<f32>]) {
        let model = &self.model;
        let each = normals
            .iter()
            .map(|image| model.tower.see(batch(std::slice::from_ref(image), &self.device)));
        let kept = Tensor::cat(each.collect(), 0);
        let tokens = model.stages().map(|stage| model.tokens(&kept, stage)).collect();
        let embedding = model.part().adapt(model.tower.embedding(&kept)).mean_dim(0);
        self.normal = Some(Normal { tokens, embedding });
    }

    fn exchange_memory(&mut self, memory: Memory) -> Memory {
        memory.exchange(&mut self.normal)
    }

    fn describe(&mut self, category: &str) {
        self.model.axis = self.model.texts.of(&[category]);
    }

    fn cut_texts(&self, category: &str) -> Vec<CutText> {
        self.model.texts.cut(category)
    }

    fn score_scale(&self, _compared: bool) -> ScoreScale {
        ScoreScale::Unit
    }

    fn detect(&self, images: &[Array3<f32>], ignored: Ignored<'_>) -> Vec<Prediction> {
        let normal = self.normal.as_ref().expect("inctrl: expected normal images first");
        let kept = self.model.tower.see(batch(images, &self.device));
        let distances = self.model.distances(&kept, &normal.tokens);
        let (b, grid) = (images.len(), self.model.tower.grid());
        let mut maps = grids(distances.reshape([b, grid, grid]));
        // Distances that are not looked at are none, for the head, too.
        let same = Array2::eye(grid);
        for (i, mut map) in maps.axis_iter_mut(Axis(0)).enumerate() {
            if let Some(ignored) = of_image(ignored, i) {
                let counted = spread(&same, map.view(), Some(ignored));
                map.assign(&counted);
            }
        }
        let distances: Vec<f32> = maps.iter().copied().collect();
        let distances = TensorData::new(distances, [b, grid * grid]);
        let distances = Tensor::<2>::from_data(distances, &self.device);
        let fixed = largest(&distances);
        let scores = self.model.scores(&kept, distances, normal.embedding.clone(), false);
        let scores = floats((scores.patches + fixed) / 2.0);
        let each = scores.into_iter().zip(maps.axis_iter(Axis(0))).enumerate();
        let prediction = |(i, (score, map))| Prediction {
            score,
            map: spread(&self.to_pixels, map, of_image(ignored, i)),
        };
        each.map(prediction).collect()
    }
}
