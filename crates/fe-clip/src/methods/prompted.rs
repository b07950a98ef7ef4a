//! What methods share that learn their prompts and leave the image tower as it is.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use clip_vit::VisionTower;
use ndarray::{Array2, Array3, ArrayView2};

use super::learned_text::LearnedText;
use crate::Error;
use crate::counted::{Ignored, of_image, spread};
use crate::head::{Head, LearnedPrompts};
use crate::loss::{LossForm, LossTerms};
use crate::resample::{bilinear, bilinear_aligned, gaussian};
use crate::score::ScoreScale;
use crate::scorer::{Base, Prediction, Scorer};
use crate::tensors::{batch, floats};
use crate::trainee::{Trainee, Truth};
use crate::wording::{CutText, UNNAMED};

/// Unit embeddings of the class token and of every patch of images.
///
/// # Shapes
/// - images: `[batch, 3, size, size]`
/// - output: `[batch, 1 + patches, embed_dim]`
pub(super) type See = Box<dyn Fn(&VisionTower, Tensor<4>) -> Tensor<3> + Send + Sync>;

/// What a method is made of whose words are learned.
pub(super) struct Prompted {
    vision: VisionTower,
    see: See,
    text: LearnedText,
    head: Head,
    temperature: f64,
    grid: usize,
    device: Device,
}

impl Prompted {
    pub(super) fn new(
        base: &Base<'_>,
        see: See,
        (head, context): (Head, usize),
        temperature: f64,
    ) -> Result<Self, Error> {
        if head.prompts.is_none() {
            return Err(Error::Settings("the trained part that was given has no prompts".into()));
        }
        let text = LearnedText::new(base.clip, base.prompts, context, base.device)?;
        let (vision, device) = (base.clip.vision.clone(), base.device.clone());
        Ok(Self { vision, see, text, head, temperature, grid: base.grid, device })
    }

    fn see(&self, images: Tensor<4>) -> Tensor<3> {
        (self.see)(&self.vision, images)
    }

    fn vectors(&self) -> &LearnedPrompts {
        self.head.prompts.as_ref().expect("prompted: expected a head with prompts")
    }

    /// What scores images with it.
    pub(super) fn scorer(
        self,
        base: &Base<'_>,
        align_corners: bool,
        smoothing_sigma: Option<f64>,
    ) -> Box<dyn Scorer> {
        let sigma = smoothing_sigma.unwrap_or(4.0 * base.size as f64 / 518.0);
        let upsample = if align_corners { bilinear_aligned } else { bilinear };
        let to_pixels = gaussian(base.size, sigma).dot(&upsample(base.grid, base.size));
        let axis = Tensor::zeros([1, 1], &self.device);
        let mut scorer = PromptedScorer { model: self, axis, to_pixels };
        scorer.describe(UNNAMED);
        Box::new(scorer)
    }

    /// What is trained of it, by the class token alone or by patches, too.
    pub(super) fn trainee(self, patches: bool) -> Box<dyn Trainee> {
        Box::new(PromptedTrainee { model: self, patches, categories: Vec::new() })
    }
}

/// Eq. 1 of the class token and, brought to pixels, of every patch.
struct PromptedScorer {
    model: Prompted,
    /// Anomalous minus normal text embedding, `[embed_dim, 1]`.
    axis: Tensor<2>,
    /// Upsampling and smoothing of one axis, `[size, grid]`.
    to_pixels: Array2<f32>,
}

impl Scorer for PromptedScorer {
    fn describe(&mut self, category: &str) {
        self.model.text.prepare(category);
        self.axis = self.model.text.axis(self.model.vectors(), category);
    }

    fn cut_texts(&self, category: &str) -> Vec<CutText> {
        self.model.text.cut(category)
    }

    fn score_scale(&self, _compared: bool) -> ScoreScale {
        ScoreScale::Unit
    }

    fn detect(&self, images: &[Array3<f32>], ignored: Ignored<'_>) -> Vec<Prediction> {
        let Prompted { grid, temperature, device, .. } = &self.model;
        let margins = self.model.see(batch(images, device)).matmul(self.axis.clone().unsqueeze());
        let values = floats(sigmoid(margins / *temperature));
        let each = values.chunks_exact(1 + grid * grid);
        let prediction = |(i, values): (usize, &[f32])| {
            let map = ArrayView2::from_shape((*grid, *grid), &values[1..]);
            let map = map.expect("a map has one value a patch");
            let map = spread(&self.to_pixels, map, of_image(ignored, i));
            Prediction { score: values[0], map }
        };
        each.enumerate().map(prediction).collect()
    }
}

struct PromptedTrainee {
    model: Prompted,
    /// Whether patches are learned from, or the class token alone.
    patches: bool,
    /// What the images of the next batch show.
    categories: Vec<String>,
}

impl PromptedTrainee {
    /// Anomalous minus normal text embedding for each image, `[batch, embed_dim, 1]`.
    fn axes(&self) -> Tensor<3> {
        let mut different: Vec<&str> = Vec::new();
        for category in &self.categories {
            if !different.contains(&category.as_str()) {
                different.push(category);
            }
        }
        let axis = |category: &&str| self.model.text.axis(self.model.vectors(), category);
        let axes: Vec<Tensor<2>> = different.iter().map(axis).collect();
        let place = |category: &String| different.iter().position(|known| known == category);
        let own = |category| axes[place(category).expect("every category is among them")].clone();
        Tensor::stack(self.categories.iter().map(own).collect(), 0)
    }
}

impl Trainee for PromptedTrainee {
    fn prefix(&self, images: Tensor<4>) -> Tensor<3> {
        let [rows, _] = self.prefix_shape();
        self.model.see(images).narrow(1, 0, rows)
    }

    fn prefix_shape(&self) -> [usize; 2] {
        let patches = if self.patches { self.model.grid * self.model.grid } else { 0 };
        [1 + patches, self.model.vision.projection.weight.dims()[1]]
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
        vec![self.model.vision.blocks.len()]
    }

    fn temperature(&self) -> f64 {
        self.model.temperature
    }

    fn loss(
        &self,
        form: &LossForm,
        prefix: Tensor<3>,
        truth: &Truth<'_>,
    ) -> (Tensor<1>, LossTerms) {
        let margins = prefix.matmul(self.axes()); // [b, rows, 1]
        let ([b, rows, _], grid) = (margins.dims(), self.model.grid);
        let image = margins.clone().narrow(1, 0, 1).squeeze_dim(2);
        let pixel = (rows > 1).then(|| margins.narrow(1, 1, rows - 1).reshape([b, 1, grid, grid]));
        let Truth { anomalous, masks, size } = *truth;
        let masks = masks.zip(Some(size));
        form.of_margins(image, pixel, self.model.temperature, anomalous, masks)
    }
}
