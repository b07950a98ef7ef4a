//! Images scored against each other, without labels and without references: MuSc.
//!
//! What most images of a group have somewhere is normal; a token that few others are near is not.
//!
//! Source: Li et al., MuSc: Zero-Shot Industrial Anomaly Classification and Segmentation with
//! Mutual Scoring of the Unlabeled Images, ICLR 2024.

mod detection;
mod mutual;
mod neighbourhood;
mod plan;
mod rescore;
mod store;

use std::ops::ControlFlow;
use std::path::PathBuf;

use clip_vit::Points;
use ndarray::{Array2, Array3};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

pub(crate) use detection::{Alone, GroupScorer};
pub use detection::{GroupImages, GroupScores};
pub use plan::GroupCost;
pub use rescore::{relative, rescored};

use crate::Error;
use crate::precision::{Precision, decode, encode};
use crate::settings::group::GroupConfig;
use neighbourhood::{layer_norm, neighbourhoods};
use plan::Plan;
use store::Store;

/// Images that a group needs.
pub const SMALLEST_GROUP: usize = 5;
/// An image whose typical distance from the others is so many times the group's is of another kind.
const ODD: f64 = 1.5;

/// What a group's images are compared by, of one of them.
#[derive(Debug, Clone)]
pub struct GroupTokens {
    /// Patch tokens of each stage, `[grid, grid, channels]`, as they leave the tower.
    pub stages: Vec<Array3<f32>>,
    /// The image's embedding, of unit length.
    pub class: Vec<f32>,
}

/// How a group is kept while it is scored.
#[derive(Debug, Clone)]
pub struct GroupLimits {
    /// Bytes of tokens and distances in memory, half for each; beyond that they go to a file.
    pub memory: u64,
    /// The folder of that file, which has no name and is gone with the process.
    pub folder: PathBuf,
    /// How tokens are kept.
    pub precision: Precision,
}

impl Default for GroupLimits {
    /// 3 GiB, the system's folder for temporary files, half precision.
    fn default() -> Self {
        Self { memory: 3 << 30, folder: std::env::temp_dir(), precision: Precision::Half }
    }
}

/// The tokens of a group's images.
pub struct Group {
    config: GroupConfig,
    limits: GroupLimits,
    /// Stages, side of the grid and channels; set by the first image.
    shape: Option<[usize; 3]>,
    /// Of every image the layer-normed tokens of every stage.
    tokens: Store,
    classes: Vec<Vec<f32>>,
    /// Hashes of what each image is: references are drawn by them, whatever the images' order.
    identities: Vec<[u8; 32]>,
}

/// What the images of a group say of each other.
#[derive(Debug, Clone)]
pub struct GroupMaps {
    /// Anomaly of every token, `[grid, grid]` an image: mean distance to the nearest tokens of
    /// those images that have the nearest, in [0, 2].
    pub maps: Vec<Array2<f32>>,
    /// Pairs of images that were taken for one.
    pub duplicates: Vec<[usize; 2]>,
    /// Images that differ so much from the others that they seem to show something else.
    pub odd: Vec<usize>,
    classes: Vec<Vec<f32>>,
}

impl GroupMaps {
    /// Image scores averaged over the images whose class embeddings are most similar, as
    /// [`rescored`] does it.
    pub fn rescored(&self, scores: &[f32], config: &GroupConfig) -> Vec<f32> {
        rescored(scores, &self.classes, config.rescore.images())
    }
}

impl Group {
    /// A group without images.
    pub fn new(config: &GroupConfig, limits: GroupLimits) -> Self {
        let tokens = Store::new(limits.memory / 2, &limits.folder);
        Self {
            config: config.clone(),
            limits,
            shape: None,
            tokens,
            classes: Vec::new(),
            identities: Vec::new(),
        }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there is no image yet.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Whether tokens are in a file.
    pub fn is_spilled(&self) -> bool {
        self.tokens.is_spilled()
    }

    /// What [`score`](Self::score) will take.
    pub fn cost(&self) -> GroupCost {
        let [stages, grid, channels] = self.shape.unwrap_or_default();
        let bytes = self.limits.precision.bytes();
        GroupCost::of(self.len(), [stages, grid, channels], bytes, &self.config)
    }

    /// Adds an image.
    ///
    /// # Errors
    /// If a token is not finite, or the file for what memory does not hold cannot be written.
    ///
    /// # Panics
    /// If there is no stage, a stage's grid is not square, or shapes differ from the first image's.
    pub fn add(&mut self, image: &GroupTokens) -> Result<(), Error> {
        let (grid, _, channels) = image.stages.first().expect("group: expected a stage").dim();
        let shape = [image.stages.len(), grid, channels];
        assert!(*self.shape.get_or_insert(shape) == shape, "group: expected images of one shape");
        let finite = |stage: &Array3<f32>| stage.iter().all(|x| x.is_finite());
        if !image.stages.iter().all(finite) || !image.class.iter().all(|x| x.is_finite()) {
            return Err(Error::NoNumber { what: "the tokens are not finite".into() });
        }
        let mut bytes = Vec::new();
        for stage in &image.stages {
            assert!(stage.dim() == (grid, grid, channels), "group: expected one square grid");
            bytes.extend(encode(&layer_norm(stage.view()), self.limits.precision));
        }
        let class = encode(&image.class, Precision::Full);
        let seed = self.config.seed.to_le_bytes();
        let identity = Sha256::new().chain_update(seed).chain_update(&bytes).chain_update(class);
        self.tokens.push(&bytes)?;
        self.identities.push(identity.finalize().into());
        self.classes.push(image.class.clone());
        Ok(())
    }

    /// Scores the images against each other. `progress` is given the comparisons done and all that
    /// there are; there is no answer if it breaks off.
    ///
    /// The order of the images changes nothing, bit for bit.
    ///
    /// # Errors
    /// If there are fewer than [`SMALLEST_GROUP`] images, or a file cannot be read or written.
    pub fn score(
        mut self,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<GroupMaps>, Error> {
        let images = self.len();
        let Some([stages, grid, _]) = self.shape.filter(|_| images >= SMALLEST_GROUP) else {
            return Err(Error::SmallGroup { images, needed: SMALLEST_GROUP });
        };
        let plan = Plan::new(&self.identities, &self.config);
        let sides = self.config.neighbourhoods.clone();
        let passes: Vec<_> =
            (0..stages).flat_map(|stage| sides.iter().map(move |side| (stage, *side))).collect();
        let (tokens, count) = (grid * grid, passes.len() as f64);
        let all = plan.comparisons() * passes.len() as u64;
        let mut sums = vec![vec![0f64; tokens]; images];
        let mut between = vec![0f64; images * plan.candidates().len()];
        let mut counted: Option<Vec<Vec<usize>>> = None;
        let mut done = 0;
        for (stage, side) in passes {
            let found = self.compare(&plan, stage, side, |compared| {
                done += compared;
                progress(done, all)
            })?;
            let Some(mut found) = found else { return Ok(None) };
            // What is a duplicate, the first comparison tells for all.
            let counted =
                counted.get_or_insert_with(|| plan.counted(&found.between, self.config.duplicates));
            between.iter_mut().zip(&found.between).for_each(|(sum, d)| *sum += d / count);
            for (image, sums) in sums.iter_mut().enumerate() {
                let scores = found.scores(image, &counted[image], self.config.share)?;
                sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score / count);
            }
        }
        let map = |sums: Vec<f64>| {
            let values = sums.into_iter().map(|sum| sum as f32).collect();
            Array2::from_shape_vec((grid, grid), values).expect("a sum a token")
        };
        let counted = counted.expect("there is a neighbourhood");
        Ok(Some(GroupMaps {
            maps: sums.into_iter().map(map).collect(),
            duplicates: plan.duplicates(&counted),
            odd: plan.odd(&between, &counted, ODD),
            classes: self.classes,
        }))
    }

    /// Tokens of a stage of some images, ready to be compared.
    fn load(&mut self, images: &[usize], stage: usize, side: usize) -> Result<Vec<Points>, Error> {
        let [stages, grid, channels] = self.shape.expect("there is an image");
        let length = grid * grid * channels * self.limits.precision.bytes();
        let mut stored = Vec::with_capacity(images.len());
        for image in images {
            stored.push(self.tokens.read(((image * stages + stage) * length) as u64, length)?);
        }
        let points = stored.into_par_iter().map(|bytes| {
            let tokens = decode(&bytes, self.limits.precision.dtype());
            let tokens = tokens.expect("a kept format is one that is read");
            Points::new(&neighbourhoods(tokens, grid, channels, side), channels)
        });
        Ok(points.collect())
    }
}
