//! What every method is asked, and what it answers.

use burn::tensor::Device;
use clip_vit::Clip;
use ndarray::{Array2, Array3, ArrayView2};

use crate::Error;
use crate::counted::Ignored;
use crate::group::{GroupMaps, GroupTokens};
use crate::memory::{Memory, MemoryBank};
use crate::model::{FeClip, LastStage};
use crate::score::ScoreScale;
use crate::settings::group::GroupConfig;
use crate::settings::prompts::Prompts;
use crate::wording::CutText;

/// What a method says about one image.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// Raw anomaly score, which ranks images: in [0, 1] without a memory bank; the bank adds up to 2.
    /// [`Detector::score_scale`](crate::Detector::score_scale) takes it to [0, 1].
    pub score: f32,
    /// Anomaly of every pixel of the model's input, `[image_size, image_size]`; range as `score`.
    pub map: Array2<f32>,
}

impl Prediction {
    /// The map's highest value.
    pub fn map_max(&self) -> f32 {
        self.map.iter().copied().fold(f32::MIN, f32::max)
    }

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

/// What a scorer is built on, beside the settings of its method.
pub(crate) struct Base<'a> {
    /// Both towers; the image tower has positions for the grid.
    pub(crate) clip: &'a Clip,
    /// Tokens along a side of the model's input.
    pub(crate) grid: usize,
    /// Pixels along a side of the model's input.
    pub(crate) size: usize,
    pub(crate) prompts: &'a Prompts,
    pub(crate) device: &'a Device,
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

    /// Texts about a category that its text tower cuts.
    fn cut_texts(&self, _category: &str) -> Vec<CutText> {
        Vec::new()
    }

    /// What its raw scores are, with normal images or without.
    fn score_scale(&self, compared: bool) -> ScoreScale;

    /// How it scores the images of a group against each other, if it can.
    fn group(&self) -> Option<&dyn GroupScorer> {
        None
    }

    /// Whether it can do nothing else.
    fn needs_group(&self) -> bool {
        false
    }

    /// Scores and maps, in the order of the images; there is at least one. Pixels that are ignored
    /// are 0 in maps, and nothing of a map there is in a score.
    fn detect(&self, images: &[Array3<f32>], ignored: Ignored<'_>) -> Vec<Prediction>;

    /// The features of the last stage, where there are adapters.
    fn last_stage(&self, _image: &Array3<f32>) -> Option<LastStage> {
        None
    }

    /// The parts that become an ONNX graph, where the method has one.
    fn graph_source(&self) -> Option<GraphSource<'_>> {
        None
    }
}

/// The parts of a method that become an ONNX graph.
#[derive(Clone, Copy)]
pub(crate) struct GraphSource<'a> {
    pub(crate) model: &'a FeClip,
    /// Tokens of normal images, if the method remembers some.
    pub(crate) bank: Option<&'a MemoryBank>,
    /// Upsampling and smoothing of one axis, `[size, grid]`.
    pub(crate) to_pixels: &'a Array2<f32>,
}

/// What a method says of an image of a group without the others.
pub(crate) struct Alone {
    /// Raw score; 0 where the method only compares.
    pub(crate) score: f32,
    /// Anomaly of every token, `[grid, grid]`.
    pub(crate) map: Array2<f32>,
}

/// A method that scores the images of a group against each other.
pub(crate) trait GroupScorer: Sync {
    /// Its settings.
    fn config(&self) -> &GroupConfig;

    /// What it says of images alone, and what they are compared by.
    fn observe(&self, images: &[Array3<f32>]) -> Vec<(Alone, GroupTokens)>;

    /// An image's score from the group's map of its tokens, before re-scoring.
    fn score(&self, map: ArrayView2<'_, f32>) -> f32;

    /// Scores of the group, re-scored by class tokens.
    fn rescored(&self, maps: &GroupMaps, scores: &[f32]) -> Vec<f32> {
        maps.rescored(scores, self.config())
    }

    /// What it says in the end: of the image alone, by the group's map and by its re-scored score.
    fn conclude(&self, alone: &Alone, map: ArrayView2<'_, f32>, score: f32) -> Prediction;
}
