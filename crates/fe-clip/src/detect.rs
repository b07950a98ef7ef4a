//! From preprocessed images to scores and pixel maps.

use burn::tensor::{Device, Tensor, TensorData};
use clip_vit::Clip;
use data::Preprocess;
use ndarray::{Array2, Array3, Array4, ArrayView2, ArrayView3, Axis};

use crate::Error;
use crate::head::Head;
use crate::memory::MemoryBank;
use crate::model::{FeClip, Stages};
use crate::resample::{bilinear, both_axes, gaussian};
use crate::run::{ImageScore, RunConfig};

/// What the model says about one image.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// Anomaly score: in [0, 1] without a memory bank; the bank adds up to 2.
    pub score: f32,
    /// Anomaly of every pixel of the model's input, `[image_size, image_size]`; range as `score`.
    pub map: Array2<f32>,
}

/// The model with everything around it that turns images into predictions.
pub struct Detector {
    model: FeClip,
    memory: Option<MemoryBank>,
    preprocess: Preprocess,
    /// Upsampling and smoothing of one axis, `[image_size, grid]`.
    to_pixels: Array2<f32>,
    device: Device,
}

impl Detector {
    /// Assembles a detector.
    ///
    /// # Errors
    /// If the settings do not fit the backbone.
    pub fn new(
        mut clip: Clip,
        run: &RunConfig,
        head: Head,
        device: &Device,
    ) -> Result<Self, Error> {
        let size = image_size(&clip, run)?;
        let grid = size / clip.vision.patch_size();
        clip.vision = clip.vision.with_grid(grid, grid);
        let model = FeClip::new(&clip, &run.model, &run.prompts, head, device)?;
        // Four pixels at 518, in proportion elsewhere.
        let sigma = run.model.smoothing_sigma.unwrap_or(4.0 * size as f64 / 518.0);
        let to_pixels = gaussian(size, sigma).dot(&bilinear(grid, size));
        let preprocess = Preprocess::clip(size, run.model.resize);
        Ok(Self { model, memory: None, preprocess, to_pixels, device: device.clone() })
    }

    /// The preprocessing that images need before [`detect`](Self::detect).
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The model alone; training goes on from there.
    pub fn into_model(self) -> FeClip {
        self.model
    }

    /// Remembers the tokens of normal images: from now on their distance is added.
    ///
    /// # Panics
    /// If there is no image, or one has another size than [`preprocess`](Self::preprocess) says.
    pub fn remember(&mut self, normals: &[Array3<f32>]) {
        let mut bank = MemoryBank::new(self.model.head.stages.len());
        for image in normals {
            bank.add(&self.stages(std::slice::from_ref(image)).tokens);
        }
        self.memory = Some(bank);
    }

    /// Scores and maps of a batch of preprocessed images, each `[3, size, size]`.
    ///
    /// # Panics
    /// If an image has another size.
    pub fn detect(&self, images: &[Array3<f32>]) -> Vec<Prediction> {
        if images.is_empty() {
            return Vec::new();
        }
        let stages = self.stages(images);
        let scores = floats(self.model.image_score(&stages));
        let maps = grids(self.model.patch_map(&stages));
        let few = self.memory.as_ref().map(|bank| grids(bank.distance(&stages.tokens)));
        let each = scores.into_iter().zip(maps.axis_iter(Axis(0))).enumerate();
        each.map(|(i, (score, map))| {
            let score = match self.model.config().image_score {
                ImageScore::ClassToken => score,
                ImageScore::ClassTokenAndMap => (score + highest(map)) / 2.0,
            };
            let Some(few) = &few else {
                return Prediction { score, map: both_axes(&self.to_pixels, map) };
            };
            // M = M_a + M_few, S = S_a + max(M_few); the maximum before smoothing.
            let few = few.index_axis(Axis(0), i);
            let map = both_axes(&self.to_pixels, (&map + &few).view());
            Prediction { score: score + highest(few), map }
        })
        .collect()
    }

    fn stages(&self, images: &[Array3<f32>]) -> Stages {
        self.model.stages(self.model.prefix(batch(images, &self.device)))
    }
}

/// Side of the model's input for a backbone.
pub(crate) fn image_size(clip: &Clip, run: &RunConfig) -> Result<usize, Error> {
    let patch = clip.vision.patch_size();
    let [positions, width] = clip.vision.positional_embedding.dims();
    let own = (positions - 1).isqrt() * patch;
    // The paper's backbone runs at its peers' size (spec of the method, A2).
    let usual = if (patch, width, own) == (14, 1024, 336) { 518 } else { own };
    let size = run.model.image_size.unwrap_or(usual);
    if size == 0 || !size.is_multiple_of(patch) || size > 4096 {
        return Err(Error::Settings(format!(
            "model.image_size: expected a multiple of the patch, {patch}, up to 4096, got {size}"
        )));
    }
    Ok(size)
}

/// Preprocessed images as one tensor `[batch, 3, height, width]`.
pub(crate) fn batch(images: &[Array3<f32>], device: &Device) -> Tensor<4> {
    let views: Vec<ArrayView3<'_, f32>> = images.iter().map(|image| image.view()).collect();
    let stacked: Array4<f32> =
        ndarray::stack(Axis(0), &views).expect("images of a batch have one size");
    let (b, c, h, w) = stacked.dim();
    let (values, _) = stacked.into_raw_vec_and_offset();
    Tensor::from_data(TensorData::new(values, [b, c, h, w]), device)
}

fn grids(maps: Tensor<3>) -> Array3<f32> {
    let [b, h, w] = maps.dims();
    Array3::from_shape_vec((b, h, w), floats(maps)).expect("a map has one value a token")
}

fn highest(map: ArrayView2<'_, f32>) -> f32 {
    map.iter().copied().fold(0.0, f32::max)
}

/// A tensor's values, row-major.
pub(crate) fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().expect("tensors here are float32")
}
