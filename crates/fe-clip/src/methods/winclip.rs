//! WinCLIP and WinCLIP+: windows and a prompt ensemble without training.
//!
//! Source: Jeong et al., WinCLIP: zero-/few-shot anomaly classification and segmentation,
//! CVPR 2023.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Int, Tensor, TensorData};
use clip_vit::{VisionTower, highest_products};
use ndarray::{Array2, Array3};
use serde::{Deserialize, Serialize};

use crate::counted::{Ignored, highest, of_image, spread};
use crate::memory::Memory;
use crate::model::temperature;
use crate::resample::bilinear;
use crate::score::ScoreScale;
use crate::scorer::{Base, Normals, Prediction, Scorer};
use crate::settings::fe_clip::{FeClipConfig, Temperature};
use crate::tensors::{batch, floats, normalize};
use crate::wording::{CutText, TextAxes, UNNAMED, Wording};

/// Sides of the windows in patches.
const WINDOWS: [usize; 2] = [2, 3];
/// Windows of a forward pass.
const CHUNK: usize = 128;

/// What `[model]` says of WinCLIP beside the keys of every method.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WinclipConfig {
    /// Temperature of eq. 1: a number or `"clip"`.
    pub temperature: Temperature,
}

impl Default for WinclipConfig {
    fn default() -> Self {
        Self { temperature: Temperature::Value(Temperature::DEFAULT) }
    }
}

impl WinclipConfig {
    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(super) fn check(&self) -> Result<(), String> {
        self.temperature.check_fixed()?;
        FeClipConfig { temperature: self.temperature, ..FeClipConfig::default() }.check()
    }

    pub(super) fn scorer(&self, base: &Base<'_>) -> Box<dyn Scorer> {
        let mut texts = TextAxes::new(base.clip, Wording::winclip(), base.device);
        Box::new(Winclip {
            vision: base.clip.vision.clone(),
            axis: texts.of(&[UNNAMED]).squeeze_dim(0),
            texts,
            temperature: temperature(self.temperature, base.clip),
            grid: base.grid,
            memory: None,
            to_pixels: bilinear(base.grid, base.size),
            device: base.device.clone(),
        })
    }
}

/// Every window of patches passes the whole tower with a class token of its own. A patch's
/// anomaly is the harmonic mean over the windows that cover it, then over both scales and the
/// whole image. With normal images the mean of half the cosine distances to the nearest patch
/// and window is averaged with it.
struct Winclip {
    vision: VisionTower,
    texts: TextAxes,
    /// Anomalous minus normal text embedding, `[embed_dim, 1]`.
    axis: Tensor<2>,
    temperature: f64,
    grid: usize,
    memory: Option<Views>,
    /// Upsampling of one axis, `[size, grid]`.
    to_pixels: Array2<f32>,
    device: Device,
}

/// What is seen of an image, of unit length.
struct Views {
    /// The class token in the embedding, `[1, embed_dim]`.
    image: Tensor<2>,
    /// Last tokens without projection, `[patches, channels]`.
    patches: Tensor<2>,
    /// Class tokens of the windows of each scale, `[windows, embed_dim]`.
    windows: Vec<Tensor<2>>,
}

impl Winclip {
    fn look(&self, image: &Array3<f32>) -> Views {
        let tokens = self.vision.embed(batch(std::slice::from_ref(image), &self.device));
        let [_, n, d] = tokens.dims();
        let whole = self.run(tokens.clone());
        let class = self.vision.project(whole.clone().narrow(1, 0, 1)).squeeze_dim(1);
        let windows = self.scales().map(|side| self.window_embeddings(&tokens, side)).collect();
        Views {
            image: normalize(class),
            patches: normalize(whole.narrow(1, 1, n - 1).reshape([n - 1, d])),
            windows,
        }
    }

    /// The scales that the grid has room for.
    fn scales(&self) -> impl Iterator<Item = usize> + '_ {
        WINDOWS.into_iter().filter(|side| *side <= self.grid)
    }

    fn run(&self, tokens: Tensor<3>) -> Tensor<3> {
        self.vision.blocks.iter().fold(tokens, |x, block| block.forward(x))
    }

    /// Windows row by row. The norm before the first block acts on each token alone, so picking
    /// tokens after it is the same as before it.
    fn window_embeddings(&self, tokens: &Tensor<3>, side: usize) -> Tensor<2> {
        let [_, n, d] = tokens.dims();
        let tokens = tokens.clone().reshape([n, d]);
        let places = self.grid + 1 - side;
        let corners: Vec<(usize, usize)> =
            (0..places).flat_map(|row| (0..places).map(move |column| (row, column))).collect();
        let chunks = corners.chunks(CHUNK).map(|corners| {
            let indices: Vec<i64> = corners
                .iter()
                .flat_map(|&(row, column)| {
                    let inside = (0..side * side)
                        .map(move |k| 1 + (row + k / side) * self.grid + column + k % side);
                    std::iter::once(0).chain(inside)
                })
                .map(|index| index as i64)
                .collect();
            let count = indices.len();
            let indices =
                Tensor::<1, Int>::from_data(TensorData::new(indices, [count]), &self.device);
            let windows =
                tokens.clone().select(0, indices).reshape([corners.len(), 1 + side * side, d]);
            let class = self.run(windows).narrow(1, 0, 1);
            normalize(self.vision.project(class).squeeze_dim::<2>(1))
        });
        Tensor::cat(chunks.collect(), 0)
    }

    /// Eq. 1 of every row.
    fn probabilities(&self, embeddings: &Tensor<2>) -> Vec<f32> {
        floats(sigmoid(embeddings.clone().matmul(self.axis.clone()) / self.temperature))
    }

    /// Harmonic mean at every patch over the windows that cover it.
    fn spread(&self, windows: &[f32], side: usize) -> Array2<f32> {
        let places = self.grid + 1 - side;
        let mut inverse = Array2::<f32>::zeros((self.grid, self.grid));
        let mut count = Array2::<f32>::zeros((self.grid, self.grid));
        for (i, value) in windows.iter().enumerate() {
            let (row, column) = (i / places, i % places);
            for k in 0..side * side {
                let at = [row + k / side, column + k % side];
                inverse[at] += 1.0 / value;
                count[at] += 1.0;
            }
        }
        count / inverse
    }

    fn zero_shot(&self, views: &Views) -> (f32, Array2<f32>) {
        let score = self.probabilities(&views.image)[0];
        let mut inverse = Array2::from_elem((self.grid, self.grid), 1.0 / score);
        for (side, windows) in self.scales().zip(&views.windows) {
            inverse += &self.spread(&self.probabilities(windows), side).recip();
        }
        let scales = 1.0 + views.windows.len() as f32;
        (score, inverse.mapv(|sum| scales / sum))
    }

    fn few_shot(&self, views: &Views, memory: &Views) -> Array2<f32> {
        let distance = |query: &Tensor<2>, bank: &Tensor<2>| -> Vec<f32> {
            let cosines = floats(highest_products(query.clone(), bank.clone()));
            cosines.into_iter().map(|cosine| 0.5 * (1.0 - cosine).max(0.0)).collect()
        };
        let patches = distance(&views.patches, &memory.patches);
        let mut sum = Array2::from_shape_vec((self.grid, self.grid), patches)
            .expect("a map has one value a patch");
        let scales = self.scales().zip(views.windows.iter().zip(&memory.windows));
        for (side, (query, bank)) in scales {
            sum += &self.spread(&distance(query, bank), side);
        }
        sum / (1.0 + views.windows.len() as f32)
    }

    fn predict(&self, image: &Array3<f32>, ignored: Option<&Array2<bool>>) -> Prediction {
        let views = self.look(image);
        let (mut score, mut map) = self.zero_shot(&views);
        if let Some(memory) = &self.memory {
            let few = self.few_shot(&views, memory);
            score = (score + highest(few.view(), ignored)) / 2.0;
            map = (map + few) / 2.0;
        }
        Prediction { score, map: spread(&self.to_pixels, map.view(), ignored) }
    }
}

impl Scorer for Winclip {
    fn normals(&self) -> Normals {
        Normals::Optional
    }

    fn remember(&mut self, normals: &[Array3<f32>]) {
        let seen: Vec<Views> = normals.iter().map(|image| self.look(image)).collect();
        let join = |of: &dyn Fn(&Views) -> Tensor<2>| Tensor::cat(seen.iter().map(of).collect(), 0);
        let windows =
            (0..self.scales().count()).map(|i| join(&|v: &Views| v.windows[i].clone())).collect();
        let image = join(&|v: &Views| v.image.clone());
        let patches = join(&|v: &Views| v.patches.clone());
        self.memory = Some(Views { image, patches, windows });
    }

    fn exchange_memory(&mut self, memory: Memory) -> Memory {
        memory.exchange(&mut self.memory)
    }

    fn describe(&mut self, category: &str) {
        self.axis = self.texts.of(&[category]).squeeze_dim(0);
    }

    fn cut_texts(&self, category: &str) -> Vec<CutText> {
        self.texts.cut(category)
    }

    fn score_scale(&self, _compared: bool) -> ScoreScale {
        ScoreScale::Unit
    }

    fn detect(&self, images: &[Array3<f32>], ignored: Ignored<'_>) -> Vec<Prediction> {
        let predict = |(i, image)| self.predict(image, of_image(ignored, i));
        images.iter().enumerate().map(predict).collect()
    }
}
