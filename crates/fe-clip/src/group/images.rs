//! The images of a group while they come in.

use std::path::PathBuf;

use clip_vit::Points;
use ndarray::Array3;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::neighbourhood::{layer_norm, neighbourhoods};
use super::plan::GroupCost;
use super::store::Store;
use crate::Error;
use crate::precision::{Precision, decode, encode};
use crate::settings::group::GroupConfig;

/// What a group's images are compared by, of one of them.
#[derive(Debug, Clone)]
pub struct GroupTokens {
    /// Patch tokens of each stage, `[grid, grid, channels]`, as they leave the tower; stages may differ in channels.
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
    pub(super) config: GroupConfig,
    pub(super) limits: GroupLimits,
    /// Set by the first image.
    pub(super) shape: Option<Shape>,
    /// Of every image the layer-normed tokens of every stage.
    tokens: Store,
    pub(super) classes: Vec<Vec<f32>>,
    /// Hashes of what each image is: references are drawn by them, whatever the images' order.
    pub(super) identities: Vec<[u8; 32]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// Tokens along a side.
    pub(super) grid: usize,
    /// Of each stage.
    pub(super) channels: Vec<usize>,
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
        let bytes = self.limits.precision.bytes();
        let (grid, channels) =
            self.shape.as_ref().map_or((0, 0), |shape| (shape.grid, shape.channels.iter().sum()));
        GroupCost::of(self.len(), grid, channels, bytes, &self.config)
    }

    /// Adds an image.
    ///
    /// # Errors
    /// If a token is not finite, or the file for what memory does not hold cannot be written.
    ///
    /// # Panics
    /// If there is no stage, a stage's grid is not square, or shapes differ from the first image's.
    pub fn add(&mut self, image: &GroupTokens) -> Result<(), Error> {
        let (grid, ..) = image.stages.first().expect("group: expected a stage").dim();
        let square = |stage: &Array3<f32>| stage.dim().0 == grid && stage.dim().1 == grid;
        assert!(image.stages.iter().all(square), "group: expected one square grid");
        let channels = image.stages.iter().map(|stage| stage.dim().2).collect();
        let shape = Shape { grid, channels };
        let first = self.shape.get_or_insert_with(|| shape.clone());
        assert!(*first == shape, "group: expected images of one shape");
        let finite = |stage: &Array3<f32>| stage.iter().all(|x| x.is_finite());
        if !image.stages.iter().all(finite) || !image.class.iter().all(|x| x.is_finite()) {
            return Err(Error::NoNumber { what: "the tokens are not finite".into() });
        }
        let mut bytes = Vec::new();
        for stage in &image.stages {
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

    /// Tokens of a stage of some images, ready to be compared.
    pub(super) fn load(
        &mut self,
        images: &[usize],
        stage: usize,
        side: usize,
    ) -> Result<Vec<Points>, Error> {
        let Shape { grid, channels } = self.shape.as_ref().expect("there is an image");
        let grid = *grid;
        let token_bytes = grid * grid * self.limits.precision.bytes();
        let [all, before] = [channels.len(), stage].map(|n| channels[..n].iter().sum::<usize>());
        let channels = channels[stage];
        let mut stored = Vec::with_capacity(images.len());
        for image in images {
            let start = (image * all + before) * token_bytes;
            stored.push(self.tokens.read(start as u64, channels * token_bytes)?);
        }
        let points = stored.into_par_iter().map(|bytes| {
            let tokens = decode(&bytes, self.limits.precision.dtype());
            let tokens = tokens.expect("a kept format is one that is read");
            Points::new(&neighbourhoods(tokens, grid, channels, side), channels)
        });
        Ok(points.collect())
    }
}
