//! FE-CLIP and the methods that it is compared with, behind one interface.

mod april_gan;
mod fe_clip;
mod memory_bank;
mod spectral_residual;
mod winclip;

use burn::tensor::{Device, Tensor};
use clip_vit::Clip;
use ndarray::{Array2, Array3, ArrayView2, Axis};

pub(crate) use april_gan::AprilGan;
pub(crate) use fe_clip::FeClipScorer;
pub(crate) use memory_bank::BankScorer;
pub(crate) use spectral_residual::SpectralResidual;
pub(crate) use winclip::Winclip;

use crate::detect::{Prediction, batch, grids};
use crate::export::Source;
use crate::memory::{Memory, MemoryBank};
use crate::model::{FeClip, LastStage, Stages};
use crate::resample::{bilinear, bilinear_aligned, gaussian};
use crate::run::{Method, ModelConfig, ProjectionInit, StageEnds, Temperature};
use crate::score::ScoreScale;
use crate::switch::Switch;

/// What a method makes of normal images of the category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Normals {
    /// Nothing.
    Unused,
    /// They improve it.
    Optional,
    /// It cannot do without.
    Needed,
}

/// A method that is ready to score images. Images are preprocessed, `[3, size, size]`.
pub(crate) trait Scorer: Send + Sync {
    /// What it makes of normal images.
    fn normals(&self) -> Normals {
        Normals::Unused
    }

    /// Replaces what is remembered by these normal images; there is at least one.
    fn remember(&mut self, _normals: &[Array3<f32>]) {}

    /// Replaces what is remembered by what was remembered another time, and returns it.
    fn exchange_memory(&mut self, memory: Memory) -> Memory {
        memory
    }

    /// Says what the next images show, for methods whose prompts name it.
    fn describe(&mut self, _category: &str) {}

    /// What its raw scores are, with normal images or without.
    fn score_scale(&self, compared: bool) -> ScoreScale;

    /// Scores and maps; there is at least one image.
    fn detect(&self, images: &[Array3<f32>]) -> Vec<Prediction>;

    /// The features of the last stage, where there are adapters.
    fn last_stage(&self, _image: &Array3<f32>) -> Option<LastStage> {
        None
    }

    /// The parts that become an ONNX graph, where the method has one.
    fn source(&self) -> Option<Source<'_>> {
        None
    }

    /// The model under FE-CLIP and APRIL-GAN, for training.
    fn into_model(self: Box<Self>) -> Option<FeClip> {
        None
    }
}

/// A model with stages and what it remembers of normal images.
struct Staged {
    model: FeClip,
    memory: Option<MemoryBank>,
    device: Device,
}

impl Staged {
    fn new(model: FeClip, device: &Device) -> Self {
        Self { model, memory: None, device: device.clone() }
    }

    fn stages(&self, images: &[Array3<f32>]) -> Stages {
        self.model.stages(self.model.prefix(batch(images, &self.device)))
    }

    fn remember(&mut self, normals: &[Array3<f32>]) {
        let mut bank: Option<MemoryBank> = None;
        for image in self.views(normals) {
            let tokens = self.compared(&self.stages(&[image]));
            bank.get_or_insert_with(|| MemoryBank::new(tokens.len())).add(&tokens);
        }
        self.memory = bank;
    }

    /// The normal images to remember: themselves, or each in four rotations.
    fn views<'a>(&self, normals: &'a [Array3<f32>]) -> impl Iterator<Item = Array3<f32>> + 'a {
        let turns = if self.model.config().few_rotate { 4 } else { 1 };
        normals.iter().flat_map(move |image| (0..turns).map(move |turn| rotated(image, turn)))
    }

    /// Tokens of the stages that the memory bank compares.
    fn compared(&self, stages: &Stages) -> Vec<Tensor<4>> {
        match &self.model.config().few_stages {
            None => stages.tokens.clone(),
            Some(chosen) => chosen.iter().map(|stage| stages.tokens[stage - 1].clone()).collect(),
        }
    }

    /// Weighted distances to what is remembered, `[batch, height, width]`.
    fn few(&self, stages: &Stages) -> Option<Array3<f32>> {
        let weight = self.model.config().few_weight as f32;
        let distance = |bank: &MemoryBank| grids(bank.distance(&self.compared(stages))) * weight;
        self.memory.as_ref().map(distance)
    }
}

/// An image turned by so many quarters.
fn rotated(image: &Array3<f32>, quarters: usize) -> Array3<f32> {
    let mut view = image.view();
    for _ in 0..quarters {
        view.swap_axes(1, 2);
        view.invert_axis(Axis(1));
    }
    view.as_standard_layout().into_owned()
}

/// Temperature of APRIL-GAN, whose code multiplies cosines by 100.
const APRIL_GAN_TEMPERATURE: f64 = 0.01;

/// The settings of the model that a method runs: those of CLIP and APRIL-GAN are special cases
/// of FE-CLIP's, without adapters and with other projections.
pub(crate) fn core(config: &ModelConfig, clip: &Clip) -> ModelConfig {
    let plain =
        ModelConfig { ffe: Switch::Off, lfs: Switch::Off, conv_adapter: None, ..config.clone() };
    match config.method {
        Method::FeClip => config.clone(),
        Method::Clip => ModelConfig {
            stage_ends: Some(StageEnds::Layers(vec![clip.vision.blocks.len()])),
            projection_init: ProjectionInit::Clip,
            ..plain
        },
        Method::AprilGan => ModelConfig {
            shared_projection: false,
            patch_ln_post: false,
            temperature: Temperature::Value(APRIL_GAN_TEMPERATURE),
            ..plain
        },
        Method::Winclip | Method::MemoryBank | Method::SpectralResidual => plain,
    }
}

/// Upsampling and smoothing of one axis, `[size, grid]`: sigma 4 at 518 pixels, in proportion
/// elsewhere, where the settings say nothing.
fn to_pixels(config: &ModelConfig, grid: usize, size: usize) -> Array2<f32> {
    let sigma = config.smoothing_sigma.unwrap_or(4.0 * size as f64 / 518.0);
    let upsample = if config.align_corners { bilinear_aligned } else { bilinear };
    gaussian(size, sigma).dot(&upsample(grid, size))
}

fn highest(map: ArrayView2<'_, f32>) -> f32 {
    map.iter().copied().fold(0.0, f32::max)
}
