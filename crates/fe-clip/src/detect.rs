//! From preprocessed images to scores and pixel maps.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use clip_vit::Clip;
use data::Preprocess;
use ndarray::{Array2, Array3, Array4, ArrayView3, Axis};

use crate::Error;
use crate::export::{Export, Exported, Facts, Source, export};
use crate::head::Head;
use crate::memory::Memory;
use crate::methods::{
    AprilGan, BankScorer, FeClipScorer, Normals, Scorer, SpectralResidual, Winclip,
};
use crate::model::{FeClip, LastStage};
use crate::run::{Interpolation, Method, RunConfig};
use crate::score::ScoreScale;
use crate::wording::{CutText, Texts, UNNAMED, Wording};

/// What the model says about one image.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// Raw anomaly score, which ranks images: in [0, 1] without a memory bank; the bank adds up to 2.
    /// [`Detector::score_scale`] takes it to [0, 1].
    pub score: f32,
    /// Anomaly of every pixel of the model's input, `[image_size, image_size]`; range as `score`.
    pub map: Array2<f32>,
}

impl Prediction {
    /// Refuses a score or a map that is not finite: no threshold can judge it.
    ///
    /// # Errors
    /// [`Error::NoNumber`].
    pub fn require_finite(&self) -> Result<(), Error> {
        let what = match (self.score.is_finite(), self.map.iter().all(|value| value.is_finite())) {
            (true, true) => return Ok(()),
            (false, _) => format!("the score is {}", self.score),
            (true, false) => "the map is not finite".into(),
        };
        Err(Error::NoNumber { what })
    }
}

/// A method with everything around it that turns images into predictions.
pub struct Detector {
    scorer: Box<dyn Scorer>,
    method: Method,
    preprocess: Preprocess,
    /// None where the method says nothing in words.
    texts: Option<Texts>,
}

impl Detector {
    /// Assembles a detector from a trained part: FE-CLIP or APRIL-GAN.
    ///
    /// # Errors
    /// If the settings do not fit the backbone, or the method is another.
    pub fn new(
        mut clip: Clip,
        run: &RunConfig,
        head: Head,
        device: &Device,
    ) -> Result<Self, Error> {
        let (size, texts) = (image_size(&clip, run)?, texts(&clip, run));
        let grid = regrid(&mut clip, size, run.model.positional_interpolation);
        let scorer: Box<dyn Scorer> = match run.model.method {
            Method::FeClip => {
                let model = FeClip::new(&clip, &run.model, &run.prompts, head, device)?;
                Box::new(FeClipScorer::new(model, grid, size, device))
            }
            Method::AprilGan => {
                let model = FeClip::worded(&clip, &run.model, Wording::april_gan(), head, device)?;
                Box::new(AprilGan::new(model, grid, size, device))
            }
            method => {
                let name = method.name();
                return Err(Error::Settings(format!("model.method: {name} has no trained part")));
            }
        };
        Ok(Self::of(scorer, run, size, texts))
    }

    /// Assembles a detector of a method that trains nothing.
    ///
    /// # Errors
    /// If the settings do not fit the backbone, or the method has a trained part or no backbone.
    pub fn untrained(mut clip: Clip, run: &RunConfig, device: &Device) -> Result<Self, Error> {
        let (size, texts) = (image_size(&clip, run)?, texts(&clip, run));
        let grid = regrid(&mut clip, size, run.model.positional_interpolation);
        let model = || {
            let head = FeClip::new_head(&clip, &run.model, device)?;
            FeClip::new(&clip, &run.model, &run.prompts, head, device)
        };
        let scorer: Box<dyn Scorer> = match run.model.method {
            Method::Clip => Box::new(FeClipScorer::new(model()?, grid, size, device)),
            Method::Winclip => Box::new(Winclip::new(&clip, &run.model, grid, size, device)),
            Method::MemoryBank => Box::new(BankScorer::new(model()?, grid, size, device)),
            method @ (Method::FeClip | Method::AprilGan | Method::SpectralResidual) => {
                let name = method.name();
                let reason = format!("model.method: {name} is not made of a backbone alone");
                return Err(Error::Settings(reason));
            }
        };
        Ok(Self::of(scorer, run, size, texts))
    }

    /// Assembles the detector that looks through no network; 256 pixels where `image_size` is
    /// not set.
    ///
    /// # Errors
    /// If the image size is out of range.
    pub fn without_backbone(run: &RunConfig) -> Result<Self, Error> {
        let size = run.model.image_size.unwrap_or(256);
        if !(8..=MAX_SIZE).contains(&size) {
            let reason = format!("model.image_size: expected 8 to {MAX_SIZE}, got {size}");
            return Err(Error::Settings(reason));
        }
        let preprocess = Preprocess::clip(size, run.model.resize);
        Ok(Self::of(Box::new(SpectralResidual::new(preprocess)), run, size, None))
    }

    fn of(scorer: Box<dyn Scorer>, run: &RunConfig, size: usize, texts: Option<Texts>) -> Self {
        let preprocess = Preprocess::clip(size, run.model.resize);
        Self { scorer, method: run.model.method, preprocess, texts }
    }

    /// The preprocessing that images need before [`detect`](Self::detect).
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The features of the last stage for one preprocessed image; only FE-CLIP has adapters there.
    ///
    /// # Panics
    /// If the image has another size.
    pub fn last_stage(&self, image: &Array3<f32>) -> Option<LastStage> {
        self.scorer.last_stage(image)
    }

    /// The model alone; training goes on from there.
    ///
    /// # Panics
    /// If the method is not a trained one.
    pub fn into_model(self) -> FeClip {
        self.scorer.into_model().expect("into_model: expected a method with a trained part")
    }

    /// Whether a number of normal images suits the method.
    ///
    /// # Errors
    /// If it needs some and there are none, or has no use for any.
    pub fn check_normals(&self, count: usize) -> Result<(), Error> {
        let reason = match (self.scorer.normals(), count) {
            (Normals::Needed, 0) => "needs normal images of the category",
            (Normals::Unused, 1..) => "makes no use of normal images",
            _ => return Ok(()),
        };
        Err(Error::Settings(format!("method {} {reason}", self.method.name())))
    }

    /// Says what the next images show, for methods whose prompts name it; before that they speak
    /// of an object.
    pub fn describe(&mut self, category: &str) {
        self.scorer.describe(category);
    }

    /// How raw scores become scores in [0, 1], for images that are compared with normal ones or not.
    pub fn score_scale(&self, compared: bool) -> ScoreScale {
        self.scorer.score_scale(compared)
    }

    /// What the method says of a category, or of none, in more tokens than the text tower takes.
    pub fn cut_texts(&self, category: Option<&str>) -> Vec<CutText> {
        let texts = self.texts.as_ref();
        texts.map_or(Vec::new(), |texts| texts.cut(category.unwrap_or(UNNAMED)))
    }

    /// Remembers normal images instead of those before: from now on the distance from them
    /// counts, if the method has a use for it.
    ///
    /// # Panics
    /// If there is no image, or one has another size than [`preprocess`](Self::preprocess) says.
    pub fn remember(&mut self, normals: &[Array3<f32>]) {
        assert!(!normals.is_empty(), "remember: expected an image");
        self.scorer.remember(normals);
    }

    /// Remembers what this detector remembered another time, or nothing, and returns what it
    /// remembered until now.
    ///
    /// # Panics
    /// If the memory is another method's.
    pub fn exchange_memory(&mut self, memory: Memory) -> Memory {
        self.scorer.exchange_memory(memory)
    }

    /// Refuses a method that cannot be exported: all but FE-CLIP and plain CLIP.
    ///
    /// # Errors
    /// If it is another.
    pub fn check_export(&self) -> Result<(), Error> {
        self.source().map(drop)
    }

    fn source(&self) -> Result<Source<'_>, Error> {
        self.scorer.source().ok_or_else(|| {
            let method = self.method.name();
            Error::Settings(format!("export: method {method} has no graph, fe-clip and clip have"))
        })
    }

    /// Writes the method as one ONNX graph, with what it remembers of normal images: input
    /// `image` `[n, 3, size, size]`, RGB in [0, 1]; outputs `score` `[n]` and `map`
    /// `[n, size, size]`, raw.
    ///
    /// # Errors
    /// If the method is another than FE-CLIP and plain CLIP, a file cannot be written, or a weight
    /// is too large for half precision.
    pub fn export(&self, path: &Path, settings: &Export) -> Result<Exported, Error> {
        let source = self.source()?;
        let facts = Facts {
            method: self.method.name(),
            preprocess: &self.preprocess,
            scale: self.scorer.score_scale(source.bank.is_some()),
        };
        export(path, &source, &facts, settings)
    }

    /// Scores and maps of a batch of preprocessed images, each `[3, size, size]`.
    ///
    /// # Panics
    /// If an image has another size, or the method needs normal images and remembers none.
    pub fn detect(&self, images: &[Array3<f32>]) -> Vec<Prediction> {
        if images.is_empty() { Vec::new() } else { self.scorer.detect(images) }
    }
}

fn texts(clip: &Clip, run: &RunConfig) -> Option<Texts> {
    let [context, _] = clip.text.positional_embedding.dims();
    let wording = Wording::of_method(run.model.method, &run.prompts)?;
    Some(Texts { wording, context })
}

/// The image tower for square images of `size` pixels; returns the side of its grid.
fn regrid(clip: &mut Clip, size: usize, interpolation: Interpolation) -> usize {
    let grid = size / clip.vision.patch_size();
    let interpolation = match interpolation {
        Interpolation::Bicubic => clip_vit::Interpolation::Bicubic,
        Interpolation::Bilinear => clip_vit::Interpolation::Bilinear,
    };
    clip.vision = clip.vision.clone().with_grid_by(grid, grid, interpolation);
    grid
}

/// Largest side of a model's input in pixels.
const MAX_SIZE: usize = 4096;

/// Side of the model's input for a backbone.
pub(crate) fn image_size(clip: &Clip, run: &RunConfig) -> Result<usize, Error> {
    let patch = clip.vision.patch_size();
    let [positions, width] = clip.vision.positional_embedding.dims();
    let own = (positions - 1).isqrt() * patch;
    // The paper's backbone runs at its peers' size (spec of the method, A2).
    let usual = if (patch, width, own) == (14, 1024, 336) { 518 } else { own };
    let size = run.model.image_size.unwrap_or(usual);
    if size == 0 || !size.is_multiple_of(patch) || size > MAX_SIZE {
        return Err(Error::Settings(format!(
            "model.image_size: expected a multiple of the patch, {patch}, up to {MAX_SIZE}, got {size}"
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

/// Maps on the host, `[batch, height, width]`.
pub(crate) fn grids(maps: Tensor<3>) -> Array3<f32> {
    let [b, h, w] = maps.dims();
    Array3::from_shape_vec((b, h, w), floats(maps)).expect("a map has one value a token")
}

/// A tensor's values, row-major.
pub(crate) fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().expect("tensors here are float32")
}
