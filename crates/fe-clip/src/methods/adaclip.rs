//! AdaCLIP: learned prompts in both towers, to which every image adds what it shows.
//!
//! Source: Cao et al., AdaCLIP: adapting CLIP with hybrid learnable prompts for zero-shot anomaly
//! detection, ECCV 2024, and its code.

use burn::nn::LinearConfig;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use clip_vit::{Clip, VisionTower};
use ndarray::{Array2, Array3, Axis};

use super::ada_text::AdaText;
use crate::Error;
use crate::adaclip::AdaClip;
use crate::counted::{Ignored, of_image, spread};
use crate::fusion::Fusion;
use crate::head::{Head, OwnPart};
use crate::loss::{LossForm, LossTerms, OverStages, Upsampled};
use crate::model::stage_ends;
use crate::resample::{bilinear_aligned, gaussian};
use crate::score::ScoreScale;
use crate::scorer::{Base, Prediction, Scorer};
use crate::settings::adaclip::AdaClipConfig;
use crate::settings::train::TrainConfig;
use crate::tensors::{batch, floats, grids, normalize};
use crate::trainee::{Trainee, Truth};
use crate::wording::{CutText, UNNAMED};

/// Its code multiplies cosines by 100.
const SCALE: f64 = 100.0;

impl AdaClipConfig {
    pub(super) fn new_head(&self, clip: &Clip, device: &Device) -> Result<Head, Error> {
        let [width, embed_dim] = clip.vision.projection.weight.dims();
        let [_, text_width] = clip.text.positional_embedding.dims();
        let stages = stage_ends(&self.core(), clip)?.len();
        let most = clip.vision.blocks.len().min(clip.text.blocks.len());
        let blocks = self.prompt_blocks.unwrap_or(most.min(Self::PROMPT_BLOCKS));
        if blocks > most {
            return Err(Error::Settings(format!(
                "model.prompt_blocks: both towers of the backbone have {most} blocks, got {blocks}"
            )));
        }
        let widths = [embed_dim, width, text_width];
        Ok(Head {
            patch_projection: (0..stages)
                .map(|_| LinearConfig::new(width, embed_dim).init(device))
                .collect(),
            own: Some(OwnPart::AdaClip(AdaClip::new(widths, (blocks, self.prompt_tokens), device))),
            ..Head::default()
        })
    }

    pub(super) fn trainee(&self, base: &Base<'_>, head: Head) -> Result<Box<dyn Trainee>, Error> {
        let categories = Vec::new();
        Ok(Box::new(AdaTrainee { model: self.model(base, head)?, categories }))
    }

    pub(super) fn scorer(&self, base: &Base<'_>, head: Head) -> Result<Box<dyn Scorer>, Error> {
        let size = base.size;
        let sigma = self.smoothing_sigma.unwrap_or(4.0 * size as f64 / 518.0);
        let mut scorer = AdaScorer {
            model: self.model(base, head)?,
            category: String::new(),
            upsample: bilinear_aligned(base.grid, size),
            smooth: gaussian(size, sigma),
            device: base.device.clone(),
        };
        scorer.describe(UNNAMED);
        Ok(Box::new(scorer))
    }

    /// Logits are upsampled, and maps summed.
    pub(super) fn loss_form(&self, train: &TrainConfig) -> LossForm {
        LossForm {
            align_corners: true,
            upsampled: Upsampled::Logits,
            over_stages: OverStages::Sum,
            ..LossForm::new(&self.core(), train)
        }
    }

    fn model(&self, base: &Base<'_>, head: Head) -> Result<AdaModel, Error> {
        if !matches!(head.own, Some(OwnPart::AdaClip(_))) {
            return Err(Error::Settings(
                "the trained part that was given is another method's".into(),
            ));
        }
        Ok(AdaModel {
            vision: base.clip.vision.clone(),
            ends: stage_ends(&self.core(), base.clip)?,
            grid: base.grid,
            text: AdaText::new(base.clip, base.device),
            head,
            fusion: Fusion {
                weight: self.fusion_weight,
                patches: self.fusion_patches,
                groups: self.fusion_groups,
            },
        })
    }
}

struct AdaModel {
    vision: VisionTower,
    /// Counted from 1.
    ends: Vec<usize>,
    grid: usize,
    text: AdaText,
    head: Head,
    fusion: Fusion,
}

/// What the tower with prompts makes of images, all of unit length.
struct Seen {
    /// Of each stage, `[batch, patches, embed_dim]`.
    patches: Vec<Tensor<3>>,
    /// `[batch, embed_dim]`.
    class: Tensor<2>,
}

impl AdaModel {
    fn part(&self) -> &AdaClip {
        match &self.head.own {
            Some(OwnPart::AdaClip(part)) => part,
            _ => unreachable!("a model is made with a head of its own"),
        }
    }

    /// What prompts change nothing of: the class token after the last layer of the tower without
    /// them, then what the first block takes, `[batch, 2 + patches, width]`.
    fn before_prompts(&self, images: Tensor<4>) -> Tensor<3> {
        let embedded = self.vision.embed(images);
        let blocks = self.vision.blocks.iter();
        let last = blocks.fold(embedded.clone(), |x, block| block.forward(x));
        Tensor::cat(vec![last.narrow(1, 0, 1), embedded], 1)
    }

    /// CLIP's embedding of the images without prompts, `[batch, embed_dim]`, not normalised.
    fn embedding(&self, before: &Tensor<3>) -> Tensor<2> {
        self.vision.project(before.clone().narrow(1, 0, 1)).squeeze_dim(1)
    }

    /// The tower once more, with prompts behind the patches.
    fn see(&self, before: &Tensor<3>, embedding: &Tensor<2>) -> Seen {
        let (part, patches) = (self.part(), self.grid * self.grid);
        let own = part.of_images(embedding);
        let mut tokens = before.clone().narrow(1, 1, 1 + patches);
        let mut stages = Vec::with_capacity(self.ends.len());
        for (i, block) in self.vision.blocks.iter().enumerate() {
            if let Some(learned) = part.image_rows.get(i) {
                let rows = own.clone() + learned.val().unsqueeze();
                tokens = Tensor::cat(vec![tokens.narrow(1, 0, 1 + patches), rows], 1);
            }
            tokens = block.forward(tokens);
            if self.ends.contains(&(i + 1)) {
                let own = tokens.clone().narrow(1, 1, patches);
                stages.push(normalize(self.head.project(stages.len(), own)));
            }
        }
        let class = self.vision.project(tokens.narrow(1, 0, 1)).squeeze_dim::<2>(1);
        Seen { patches: stages, class: normalize(part.class_projection.forward(class)) }
    }

    /// Logits, anomalous minus normal: of images, `[batch, 1]`, and of the patches of every stage,
    /// `[batch, stages, grid, grid]`.
    ///
    /// # Shapes
    /// - axis: anomalous minus normal unit embedding for each image, `[batch, embed_dim, 1]`
    fn margins(&self, seen: Seen, axis: Tensor<3>, ignored: Ignored<'_>) -> (Tensor<2>, Tensor<4>) {
        let (b, grid) = (seen.class.dims()[0], self.grid);
        let margin =
            |x: &Tensor<3>| (x.clone().matmul(axis.clone()) * SCALE).reshape([b, 1, grid, grid]);
        let pixel = Tensor::cat(seen.patches.iter().map(margin).collect(), 1);
        let anomalous = grids(pixel.clone().inner().mean_dim(1).squeeze_dim(1));
        let image = self.fusion.fuse(&seen.patches, seen.class, &anomalous, ignored);
        let image = image.unsqueeze_dim::<3>(1).matmul(axis) * SCALE; // [b, 1, 1]
        (image.squeeze_dim(2), pixel)
    }
}

struct AdaTrainee {
    model: AdaModel,
    /// What the images of the next batch show.
    categories: Vec<String>,
}

impl Trainee for AdaTrainee {
    fn prefix(&self, images: Tensor<4>) -> Tensor<3> {
        self.model.before_prompts(images)
    }

    fn prefix_shape(&self) -> [usize; 2] {
        let [_, width] = self.model.vision.positional_embedding.dims();
        [2 + self.model.grid * self.model.grid, width]
    }

    fn describe(&mut self, categories: &[&str]) {
        categories.iter().for_each(|category| self.model.text.prepare(category));
        self.categories = categories.iter().map(ToString::to_string).collect();
    }

    fn cut_texts(&self, category: &str) -> Vec<CutText> {
        self.model.text.cut(category)
    }

    fn head(&self) -> &Head {
        &self.model.head
    }

    fn set_head(&mut self, head: Head) {
        self.model.head = head;
    }

    fn stage_ends(&self) -> Vec<usize> {
        self.model.ends.clone()
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
        let Truth { anomalous, masks, size } = *truth;
        let (model, b) = (&self.model, anomalous.len());
        let embedding = model.embedding(&prefix);
        let axis = |(i, category): (usize, &String)| {
            let own = embedding.clone().narrow(0, i, 1);
            model.text.axes(model.part(), &own, category)
        };
        let axes = Tensor::cat(self.categories.iter().enumerate().map(axis).collect(), 0);
        let (image, pixel) = model.margins(model.see(&prefix, &embedding), axes, &[]);
        let stages = model.ends.len();
        let of_maps = LossForm { image_weight: 0.0, ..form.clone() };
        let none = Tensor::zeros([b, stages], &pixel.device());
        let masks = masks.zip(Some(size));
        let (maps, terms) = of_maps.of_margins(none, Some(pixel), 1.0, anomalous, masks);
        let labels = TensorData::new(anomalous.to_vec(), [b, 1]);
        let labels = Tensor::<2>::from_data(labels, &image.device());
        let image = form.focal(sigmoid(image), labels) * form.image_weight;
        let value = f64::from(floats(image.clone().inner())[0]);
        (maps + image, LossTerms { loss: terms.loss + value, loss_cls: value, ..terms })
    }
}

/// The map is of the mean logits of all stages; the image score is of the class token and of the
/// patches that stand out.
struct AdaScorer {
    model: AdaModel,
    category: String,
    /// Upsampling of one axis, `[size, grid]`.
    upsample: Array2<f32>,
    /// Smoothing of one axis, `[size, size]`.
    smooth: Array2<f32>,
    device: Device,
}

impl Scorer for AdaScorer {
    fn describe(&mut self, category: &str) {
        self.model.text.prepare(category);
        self.category = category.to_string();
    }

    fn cut_texts(&self, category: &str) -> Vec<CutText> {
        self.model.text.cut(category)
    }

    fn score_scale(&self, _compared: bool) -> ScoreScale {
        ScoreScale::Unit
    }

    fn detect(&self, images: &[Array3<f32>], ignored: Ignored<'_>) -> Vec<Prediction> {
        let model = &self.model;
        let before = model.before_prompts(batch(images, &self.device));
        let embedding = model.embedding(&before);
        let axes = model.text.axes(model.part(), &embedding, &self.category);
        let (image, pixel) = model.margins(model.see(&before, &embedding), axes, ignored);
        let scores = floats(sigmoid(image));
        let grids = grids(pixel.mean_dim(1).squeeze_dim(1));
        let each = scores.into_iter().zip(grids.axis_iter(Axis(0))).enumerate();
        let prediction = |(i, (score, grid))| {
            let ignored = of_image(ignored, i);
            let map = spread(&self.upsample, grid, ignored);
            let map = map.mapv(|margin: f32| 1.0 / (1.0 + (-margin).exp()));
            Prediction { score, map: spread(&self.smooth, map.view(), ignored) }
        };
        each.map(prediction).collect()
    }
}
