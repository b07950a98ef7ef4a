//! PromptAD: prompts fitted to a few normal images, beside the distance from their tokens.
//!
//! Source: Li et al., PromptAD: learning prompts with only normal samples for few-shot anomaly
//! detection, CVPR 2024, and its code.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use clip_vit::{Clip, highest_products};
use ndarray::{Array2, Array3, Axis, Zip};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::prompt_fit::{PromptFit, PromptVectors, cut};
use crate::Error;
use crate::counted::{Ignored, highest, of_image, spread};
use crate::memory::Memory;
use crate::resample::{bilinear, gaussian};
use crate::score::ScoreScale;
use crate::scorer::{Base, Normals, Prediction, Scorer};
use crate::settings::promptad::{PromptAdConfig, Task};
use crate::tensors::{batch, floats, grids, normalize};
use crate::wording::{CutText, UNNAMED};

impl PromptAdConfig {
    pub(super) fn scorer(&self, base: &Base<'_>) -> Result<Box<dyn Scorer>, Error> {
        Ok(Box::new(PromptAd::new(base.clip, self, (base.grid, base.size), base.device)?))
    }

    fn layers(&self, depth: usize) -> Result<Vec<usize>, Error> {
        let usual = || [3, 8].map(|n| (depth * n / 12).max(1)).to_vec();
        let layers = self.gallery_layers.clone().unwrap_or_else(usual);
        if let Some(layer) = layers.iter().find(|layer| !(1..depth).contains(*layer)) {
            return Err(Error::Settings(format!(
                "model.gallery_layers: expected layers before the last of {depth}, got {layer}"
            )));
        }
        Ok(layers)
    }
}

/// PromptAD with what it has fitted to normal images.
pub struct PromptAd {
    clip: Clip,
    config: PromptAdConfig,
    layers: Vec<usize>,
    grid: usize,
    category: String,
    fitted: Option<Fitted>,
    /// Upsampling of one axis, `[size, grid]`.
    upsample: Array2<f32>,
    /// Upsampling and smoothing of one axis, `[size, grid]`.
    to_pixels: Array2<f32>,
    device: Device,
}

/// What is remembered of normal images.
struct Fitted {
    /// Unit embeddings of both sides for each task, normal first, `[2, embed_dim]`.
    sides: [Tensor<2>; 2],
    /// Unit tokens of each layer, `[images * patches, width]`.
    galleries: Vec<Tensor<2>>,
}

/// What the image tower sees.
struct Seen {
    /// Unit embeddings of the images, `[batch, 1, embed_dim]`.
    class: Tensor<3>,
    /// Unit embeddings of the patches that see each other by their values,
    /// `[batch, patches, embed_dim]`.
    patches: Tensor<3>,
    /// Unit tokens of each layer, `[batch * patches, width]`.
    tokens: Vec<Tensor<2>>,
}

impl PromptAd {
    /// PromptAD of a backbone for inputs of `grid` patches and `size` pixels a side.
    ///
    /// # Errors
    /// If the settings do not fit the backbone.
    pub fn new(
        clip: &Clip,
        config: &PromptAdConfig,
        (grid, size): (usize, usize),
        device: &Device,
    ) -> Result<Self, Error> {
        let [positions, _] = clip.text.positional_embedding.dims();
        let learned = config.context_tokens + config.abnormal_tokens;
        if learned + 3 > positions {
            return Err(Error::Settings(format!(
                "model.context_tokens: the text tower takes {positions} tokens, with start, end \
                 and a word no more than {} vectors, got {learned} with model.abnormal_tokens",
                positions.saturating_sub(3)
            )));
        }
        let sigma = config.smoothing_sigma.unwrap_or(4.0 * size as f64 / 400.0);
        let upsample = bilinear(grid, size);
        Ok(Self {
            layers: config.layers(clip.vision.blocks.len())?,
            clip: clip.clone(),
            config: config.clone(),
            grid,
            category: UNNAMED.into(),
            fitted: None,
            to_pixels: gaussian(size, sigma).dot(&upsample),
            upsample,
            device: device.clone(),
        })
    }

    /// Says what the images show.
    pub fn about(&mut self, category: &str) {
        self.category = category.into();
    }

    /// The prompts about the category.
    pub fn prompts(&self, task: Task) -> PromptFit {
        PromptFit::new(&self.clip, &self.config, &self.category, task, &self.device)
    }

    /// Unit embeddings of images that prompts are fitted to: `[images, tokens, embed_dim]`.
    pub fn features(&self, images: &[Array3<f32>], task: Task) -> Tensor<3> {
        let seen = self.see(images);
        match task {
            Task::Image => seen.class,
            Task::Pixel => seen.patches,
        }
    }

    /// Remembers normal images; prompts are fitted to them from first vectors for image scores
    /// and maps.
    pub fn fit(
        &mut self,
        normals: &[Array3<f32>],
        first: impl Fn(Task, &PromptFit) -> PromptVectors,
    ) {
        let seen: Vec<Seen> =
            normals.iter().map(|image| self.see(std::slice::from_ref(image))).collect();
        let galleries = (0..self.layers.len()).map(|layer| {
            Tensor::cat(seen.iter().map(|seen| seen.tokens[layer].clone()).collect(), 0)
        });
        let galleries = galleries.collect();
        let of_task = |task: Task| {
            let features = seen.iter().map(|seen| match task {
                Task::Image => seen.class.clone(),
                Task::Pixel => seen.patches.clone(),
            });
            let prompts = self.prompts(task);
            let vectors = first(task, &prompts);
            let (vectors, _) = prompts.fit(vectors, Tensor::cat(features.collect(), 0));
            prompts.sides(&vectors)
        };
        let sides = [Task::Image, Task::Pixel].map(of_task);
        self.fitted = Some(Fitted { sides, galleries });
    }

    fn see(&self, images: &[Array3<f32>]) -> Seen {
        let vision = &self.clip.vision;
        let mut tokens = vision.embed(batch(images, &self.device));
        let ([b, n, width], mut path) = (tokens.dims(), tokens.clone());
        let mut galleries = Vec::new();
        for (i, block) in vision.blocks.iter().enumerate() {
            if self.layers.contains(&i) {
                // Their code keeps the tokens after layer i, to which this block adds in place.
                let within = block.forward_attention(tokens.clone()).narrow(1, 1, n - 1);
                galleries.push(normalize(within.reshape([b * (n - 1), width])));
            }
            let (next, added) = block.forward_with_values(tokens);
            tokens = next;
            path = path + added;
        }
        Seen {
            class: normalize(vision.project(tokens.narrow(1, 0, 1))),
            patches: normalize(vision.project(path.narrow(1, 1, n - 1))),
            tokens: galleries,
        }
    }

    /// Probability of the anomalous side, `[batch, tokens]`.
    fn probability(&self, features: Tensor<3>, sides: &Tensor<2>) -> Tensor<2> {
        let side = |n| sides.clone().narrow(0, n, 1);
        let axis = (side(1) - side(0)).transpose().unsqueeze::<3>();
        let scale = f64::from(floats(self.clip.logit_scale.val())[0]);
        sigmoid(features.matmul(axis).squeeze_dim::<2>(2) * scale)
    }

    /// Scores and maps of images, in order.
    ///
    /// # Panics
    /// If nothing was fitted before.
    pub fn predict(&self, images: &[Array3<f32>]) -> Vec<Prediction> {
        self.detect(images, &[])
    }
}

/// As two resistors side by side: 1 / (1 / a + 1 / b), 0 where one of them is.
fn parallel(a: f32, b: f32) -> f32 {
    if a > 0.0 && b > 0.0 { a * b / (a + b) } else { 0.0 }
}

impl Scorer for PromptAd {
    fn normals(&self) -> Normals {
        Normals::Needed
    }

    fn remember(&mut self, normals: &[Array3<f32>]) {
        let seed = self.config.fit_seed;
        let first = |task: Task, prompts: &PromptFit| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(task as u64);
            prompts.first(&mut rng)
        };
        self.fit(normals, first);
    }

    fn exchange_memory(&mut self, memory: Memory) -> Memory {
        memory.exchange(&mut self.fitted)
    }

    fn describe(&mut self, category: &str) {
        self.about(category);
    }

    fn cut_texts(&self, category: &str) -> Vec<CutText> {
        let [positions, _] = self.clip.text.positional_embedding.dims();
        cut(&self.config, category, positions)
    }

    fn score_scale(&self, _compared: bool) -> ScoreScale {
        ScoreScale::Unit
    }

    fn detect(&self, images: &[Array3<f32>], ignored: Ignored<'_>) -> Vec<Prediction> {
        let fitted = self.fitted.as_ref().expect("promptad: expected normal images first");
        let (seen, b, grid) = (self.see(images), images.len(), self.grid);
        let nearest = seen.tokens.iter().zip(&fitted.galleries).map(|(tokens, gallery)| {
            let cosines = highest_products(tokens.clone(), gallery.clone());
            (cosines.neg() + 1.0).clamp_min(0.0) / 2.0
        });
        let sum = nearest.reduce(|a, b| a + b).expect("there is a gallery");
        let visual = grids((sum / self.layers.len() as f64).reshape([b, grid, grid]));
        let scores = floats(self.probability(seen.class, &fitted.sides[0]));
        let textual = self.probability(seen.patches, &fitted.sides[1]);
        let textual = grids(textual.reshape([b, grid, grid]));
        let prediction = |(i, score): (usize, f32)| {
            let ignored = of_image(ignored, i);
            let visual = visual.index_axis(Axis(0), i);
            let enlarged = spread(&self.upsample, visual, ignored);
            let score = parallel(highest(enlarged.view(), ignored), score);
            let mut map = visual.to_owned();
            Zip::from(&mut map)
                .and(textual.index_axis(Axis(0), i))
                .for_each(|map, textual| *map = parallel(*map, *textual));
            Prediction { score, map: spread(&self.to_pixels, map.view(), ignored) }
        };
        scores.into_iter().enumerate().map(prediction).collect()
    }
}
