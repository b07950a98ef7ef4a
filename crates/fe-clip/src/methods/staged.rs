//! What methods share that compare the tokens of stages with those of normal images.

use burn::tensor::{Device, Tensor};
use ndarray::{Array2, Array3, ArrayView2, Axis};

use crate::counted::{Ignored, counted, of_image, spread};
use crate::foreground::foreground;
use crate::group::GroupTokens;
use crate::memory::{MemoryBank, neighbourhood_mean};
use crate::model::{FeClip, Stages};
use crate::resample::{bilinear, bilinear_aligned, gaussian};
use crate::scorer::Prediction;
use crate::settings::fe_clip::FeClipConfig;
use crate::tensors::{batch, floats, grids};

/// A model with stages and what it remembers of normal images.
pub(super) struct Staged {
    pub(super) model: FeClip,
    pub(super) memory: Option<MemoryBank>,
    pub(super) device: Device,
}

impl Staged {
    pub(super) fn new(model: FeClip, device: &Device) -> Self {
        Self { model, memory: None, device: device.clone() }
    }

    pub(super) fn stages(&self, images: &[Array3<f32>]) -> Stages {
        self.model.stages(self.model.prefix(batch(images, &self.device)))
    }

    pub(super) fn remember(&mut self, normals: &[Array3<f32>]) {
        let mut bank: Option<MemoryBank> = None;
        for image in self.views(normals) {
            let tokens = self.compared(&self.stages(&[image]));
            bank.get_or_insert_with(|| MemoryBank::new(tokens.len())).add(&tokens);
        }
        let config = self.model.config();
        bank.iter_mut().for_each(|bank| bank.reduce(config.few_limit, config.few_seed));
        self.memory = bank;
    }

    /// The normal images to remember: themselves, or each in four rotations.
    pub(super) fn views<'a>(
        &self,
        normals: &'a [Array3<f32>],
    ) -> impl Iterator<Item = Array3<f32>> + use<'a> {
        let turns = if self.model.config().few_rotate { 4 } else { 1 };
        normals.iter().flat_map(move |image| (0..turns).map(move |turn| rotated(image, turn)))
    }

    /// Tokens of the stages that the memory bank compares, averaged over neighbourhoods.
    pub(super) fn compared(&self, stages: &Stages) -> Vec<Tensor<4>> {
        let config = self.model.config();
        let tokens = chosen(stages, config.few_stages.as_deref()).into_iter();
        tokens.map(|tokens| neighbourhood_mean(tokens, config.few_neighbourhood)).collect()
    }

    /// What the images of a group are compared by.
    pub(super) fn group_tokens(&self, stages: &Stages) -> Vec<GroupTokens> {
        let [_, embed_dim] = stages.class.dims();
        let classes = floats(stages.class.clone());
        let class = |values: &[f32]| GroupTokens { stages: Vec::new(), class: values.to_vec() };
        let mut images: Vec<GroupTokens> = classes.chunks_exact(embed_dim).map(class).collect();
        for tokens in chosen(stages, self.model.config().group.stages.as_deref()) {
            let [_, h, w, d] = tokens.dims();
            let values = floats(tokens);
            for (image, values) in images.iter_mut().zip(values.chunks_exact(h * w * d)) {
                let map = Array3::from_shape_vec((h, w, d), values.to_vec());
                image.stages.push(map.expect("a token has as many channels as all"));
            }
        }
        images
    }

    /// Predictions from anomalies of tokens, `[batch, height, width]`; scores are taken before
    /// they are enlarged.
    pub(super) fn predictions(
        &self,
        maps: &Array3<f32>,
        to_pixels: &Array2<f32>,
        ignored: Ignored<'_>,
    ) -> Vec<Prediction> {
        let few_score = self.model.config().few_score;
        let prediction = |(i, map): (usize, ArrayView2<'_, f32>)| {
            let ignored = of_image(ignored, i);
            Prediction {
                score: few_score.of(counted(map, ignored)),
                map: spread(to_pixels, map, ignored),
            }
        };
        maps.axis_iter(Axis(0)).enumerate().map(prediction).collect()
    }

    /// Weighted distances to what is remembered, `[batch, height, width]`.
    pub(super) fn few(&self, stages: &Stages) -> Option<Array3<f32>> {
        let weight = self.model.config().few_weight as f32;
        let bank = self.memory.as_ref()?;
        let distances = grids(bank.distance(&self.compared(stages))) * weight;
        Some(self.of_objects(stages, distances))
    }

    /// Distances of tokens, `[batch, height, width]`, without those beside the objects of the
    /// images, where the settings ask for that.
    pub(super) fn of_objects(&self, stages: &Stages, mut distances: Array3<f32>) -> Array3<f32> {
        if !self.model.config().few_foreground {
            return distances;
        }
        let tokens = self.model.vision.ln_post.forward(stages.last.clone());
        let [_, h, w, d] = tokens.dims();
        let tokens = floats(tokens);
        for (mut map, own) in distances.outer_iter_mut().zip(tokens.chunks_exact(h * w * d)) {
            let own = ArrayView2::from_shape((h * w, d), own).expect("a token a place");
            map.zip_mut_with(&foreground(own, (h, w)), |value, object| {
                *value *= f32::from(u8::from(*object));
            });
        }
        distances
    }
}

/// Tokens of some stages, counted from 1, or of all.
fn chosen(stages: &Stages, chosen: Option<&[usize]>) -> Vec<Tensor<4>> {
    match chosen {
        None => stages.tokens.clone(),
        Some(chosen) => chosen.iter().map(|stage| stages.tokens[stage - 1].clone()).collect(),
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

/// Upsampling and smoothing of one axis, `[size, grid]`: sigma 4 at 518 pixels, in proportion
/// elsewhere, where the settings say nothing.
pub(super) fn to_pixels(config: &FeClipConfig, grid: usize, size: usize) -> Array2<f32> {
    let sigma = config.smoothing_sigma.unwrap_or(4.0 * size as f64 / 518.0);
    let upsample = if config.align_corners { bilinear_aligned } else { bilinear };
    gaussian(size, sigma).dot(&upsample(grid, size))
}
