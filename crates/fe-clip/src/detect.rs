//! From preprocessed images to scores and pixel maps.

use std::path::Path;

use burn::tensor::Device;
use clip_vit::{Arithmetic, Clip};
use data::Preprocess;
use ndarray::{Array2, Array3};
use rayon::prelude::*;

use crate::Error;
use crate::backbone::check_vocabulary;
use crate::export::{Export, Exported, Facts, export};
use crate::head::Head;
use crate::memory::Memory;
use crate::model::{LastStage, usual_size};
use crate::run::{Interpolation, RunConfig};
use crate::score::ScoreScale;
use crate::scorer::{Base, GraphSource, Normals, Prediction, Scorer};
use crate::tile::Tiling;
use crate::trainee::Trainee;
use crate::wording::{CutText, UNNAMED};

/// A method with everything around it that turns images into predictions.
pub struct Detector {
    scorer: Box<dyn Scorer>,
    /// The method's name.
    method: &'static str,
    preprocess: Preprocess,
    /// How large images are scored in tiles, where they are.
    tiling: Option<Tiling>,
    /// What the image tower computes in.
    precision: Arithmetic,
    /// Whether each image has a pass of its own, side by side: on this CPU threads wait less for one
    /// another than within one pass for all, and what an image scores cannot depend on the others.
    apart: bool,
}

impl Detector {
    /// Assembles what the settings describe from what they need: a backbone, unless the method
    /// has none, and a trained part if the method has one. Without a backbone images are 256
    /// pixels wide where `image_size` is not set.
    ///
    /// # Errors
    /// If something needed is missing, something is given that the method has no use for, or the
    /// settings do not fit the backbone, or it was loaded for another precision.
    pub fn new(
        run: &RunConfig,
        clip: Option<Clip>,
        head: Option<Head>,
        device: &Device,
    ) -> Result<Self, Error> {
        let method = &run.model.method;
        let Some(mut clip) = clip else {
            let preprocess = Preprocess::clip(size_alone(run)?, run.model.resize);
            let scorer = method.scorer_alone(&preprocess)?;
            return Ok(Self::with(scorer, run, preprocess, Arithmetic::Float32, true));
        };
        let precision = run.model.precision;
        let loaded = clip.vision.arithmetic();
        if loaded != precision {
            return Err(Error::Settings(format!(
                "model.precision: expected a backbone loaded for {}, this one is for {}",
                precision.name(),
                loaded.name()
            )));
        }
        let size = image_size(&clip, run)?;
        let grid = regrid(&mut clip, size, run.model.positional_interpolation);
        check_vocabulary(&clip)?;
        let base = Base { clip: &clip, grid, size, prompts: &run.prompts, device };
        let scorer = method.scorer(&base, head)?;
        let preprocess = Preprocess::clip(size, run.model.resize);
        Ok(Self::with(scorer, run, preprocess, precision, *device == Device::flex()))
    }

    fn with(
        scorer: Box<dyn Scorer>,
        run: &RunConfig,
        preprocess: Preprocess,
        precision: Arithmetic,
        apart: bool,
    ) -> Self {
        let tiling = run.model.tile.map(|tile| Tiling::new(tile, &preprocess));
        Self { scorer, method: run.model.method.name(), preprocess, tiling, precision, apart }
    }

    pub(crate) fn tiling(&self) -> Option<&Tiling> {
        self.tiling.as_ref()
    }

    pub(crate) fn scorer(&self) -> &dyn Scorer {
        &*self.scorer
    }

    pub(crate) fn method_name(&self) -> &'static str {
        self.method
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
        Err(Error::Settings(format!("method {} {reason}", self.method)))
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
        self.scorer.cut_texts(category.unwrap_or(UNNAMED))
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

    /// Refuses what cannot be exported: all methods but FE-CLIP and plain CLIP, tiles, and a
    /// precision other than float32.
    ///
    /// # Errors
    /// If it is such.
    pub fn check_export(&self) -> Result<(), Error> {
        self.graph_source().map(drop)
    }

    fn graph_source(&self) -> Result<GraphSource<'_>, Error> {
        if self.tiling.is_some() {
            let reason = "export: model.tile is no part of a graph, which takes one image or tile";
            return Err(Error::Settings(reason.into()));
        }
        if self.precision != Arithmetic::Float32 {
            return Err(Error::Settings(format!(
                "export: graphs are float32, and the backbone was loaded for {}: leave \
                 model.precision out",
                self.precision.name()
            )));
        }
        self.scorer.graph_source().ok_or_else(|| {
            let method = self.method;
            Error::Settings(format!("export: method {method} has no graph, fe-clip and clip have"))
        })
    }

    /// Writes the method as one ONNX graph, with what it remembers of normal images: input
    /// `image` `[n, 3, size, size]`, RGB in [0, 1]; outputs `score` `[n]` and `map`
    /// `[n, size, size]`, raw.
    ///
    /// # Errors
    /// If the method is another than FE-CLIP and plain CLIP, or has tiles, a file cannot be written, or a weight
    /// is too large for half precision.
    pub fn export(&self, path: &Path, settings: &Export) -> Result<Exported, Error> {
        let source = self.graph_source()?;
        if source.bank.is_some() && source.model.config().few_foreground {
            return Err(Error::Settings(
                "export: a graph finds no objects; leave out model.few_foreground".into(),
            ));
        }
        let facts = Facts {
            method: self.method,
            preprocess: &self.preprocess,
            scale: self.scorer.score_scale(source.bank.is_some()),
        };
        export(path, &source, &facts, settings)
    }

    /// Scores and maps of a batch of preprocessed images, each `[3, size, size]`; of tiles,
    /// [`Inspector`](crate::Inspector) asks.
    ///
    /// # Panics
    /// If an image has another size, the method needs normal images and remembers none, or it
    /// scores the images of a group against each other alone.
    pub fn detect(&self, images: &[Array3<f32>]) -> Vec<Prediction> {
        self.detect_without(images, &[])
    }

    /// The same where not all of some images counts: `ignored` has an entry an image, or none at
    /// all, `[size, size]` each, `true` where the image is not looked at. Such pixels are 0 in maps,
    /// and nothing of a map there is in a score; what a score has of the class token is of the
    /// whole image. Something of each image has to count.
    ///
    /// # Panics
    /// Those of [`detect`](Self::detect).
    pub fn detect_without(
        &self,
        images: &[Array3<f32>],
        ignored: &[Option<Array2<bool>>],
    ) -> Vec<Prediction> {
        let one = |(i, image): (usize, &Array3<f32>)| {
            self.scorer.detect(std::slice::from_ref(image), ignored.get(i..=i).unwrap_or_default())
        };
        match images.len() {
            0 => Vec::new(),
            2.. if self.apart => images.par_iter().enumerate().flat_map_iter(one).collect(),
            _ => self.scorer.detect(images, ignored),
        }
    }
}

/// The model that is trained, and the preprocessing that its images need.
///
/// # Errors
/// If the settings do not fit the backbone, or the method trains nothing.
pub fn model_to_train(
    run: &RunConfig,
    mut clip: Clip,
    head: Head,
    device: &Device,
) -> Result<(Box<dyn Trainee>, Preprocess), Error> {
    let size = image_size(&clip, run)?;
    let grid = regrid(&mut clip, size, run.model.positional_interpolation);
    check_vocabulary(&clip)?;
    let base = Base { clip: &clip, grid, size, prompts: &run.prompts, device };
    Ok((run.model.method.trainee(&base, head)?, Preprocess::clip(size, run.model.resize)))
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
fn image_size(clip: &Clip, run: &RunConfig) -> Result<usize, Error> {
    let patch = clip.vision.patch_size();
    let size = run.model.image_size.unwrap_or(usual_size(clip));
    if size == 0 || !size.is_multiple_of(patch) || size > MAX_SIZE {
        return Err(Error::Settings(format!(
            "model.image_size: expected a multiple of the patch, {patch}, up to {MAX_SIZE}, got {size}"
        )));
    }
    Ok(size)
}

/// Side of the input of a method without backbone.
fn size_alone(run: &RunConfig) -> Result<usize, Error> {
    let size = run.model.image_size.unwrap_or(256);
    if (8..=MAX_SIZE).contains(&size) {
        return Ok(size);
    }
    let reason = format!("model.image_size: expected 8 to {MAX_SIZE}, got {size}");
    Err(Error::Settings(reason))
}
