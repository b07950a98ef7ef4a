//! Held-out quality: few normal images of categories and textures that nothing was trained on, and a
//! plain memory bank over the tower's tokens.

use burn::tensor::{Device, Tensor, TensorData};
use clip_vit::VisionTower;
use data::{Crops, Preprocess, Resize, Source};
use fe_clip::Error;
use fe_clip::tensors::normalize;
use image::RgbImage;
use image::imageops::crop_imm;
use ndarray::{Array1, Array2};
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
use synthetic::{Damage, DefectKind, Request, damage};

use super::batch::{GRID, PATCH};
use super::student::{Targets, layer_norm};
use crate::pictures::Pictures;
use crate::teacher::Teacher;

/// Normal images of a category's memory.
const SHOTS: usize = 4;
/// Images of each kind, sound and damaged, that are judged in a category.
const JUDGED: usize = 8;

/// Sources of held-out textures that are judged, at most.
const TEXTURES: usize = 12;

/// AUROC in percent from four normal images: mean over the held-out procedural categories and, where there
/// is a corpus, over its held-out textures with drawn damage.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Quality {
    /// Of procedural images.
    pub image_auroc: f64,
    /// Of their pixels.
    pub pixel_auroc: f64,
    /// Of crops of textures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub texture_image_auroc: Option<f64>,
    /// Of their pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub texture_pixel_auroc: Option<f64>,
}

/// Pictures that nothing is trained on, the normal ones of the memory first.
pub(super) struct HeldOut {
    categories: Vec<Vec<Picture>>,
    textures: Vec<Vec<Picture>>,
}

struct Picture {
    image: RgbImage,
    mask: Array2<bool>,
}

impl HeldOut {
    pub(super) fn draw(pictures: &Pictures, seed: u64) -> Result<Self, Error> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let all = synthetic::categories();
        let held_out = (0..all.len()).filter(|&i| synthetic::HELD_OUT.contains(&all[i].name));
        let categories = held_out.map(|category| {
            let picture = |i: usize| {
                let kind = *DefectKind::ALL.choose(&mut rng).expect("there are kinds");
                let defect = (i >= SHOTS + JUDGED).then_some((kind, i as u64));
                let scene_seed = (category * 1000 + i) as u64 ^ (seed << 32);
                let size = (GRID * PATCH) as u32;
                let request = Request { category, size, scene_seed, defect };
                let synthetic::Scene { image, mask, .. } = synthetic::render(&request);
                Picture { image, mask }
            };
            (0..SHOTS + 2 * JUDGED).map(picture).collect()
        });
        let categories = categories.collect();
        let mut textures = Vec::new();
        if let Some(crops) = pictures.photographs() {
            let enough = |s: &&Source| s.held_out && s.crops >= SHOTS + 2 * JUDGED;
            let sources: Vec<&Source> = crops.corpus().sources.iter().filter(enough).collect();
            for source in sources.iter().step_by(sources.len().div_ceil(TEXTURES).max(1)) {
                textures.push(texture(crops, source, &mut rng)?);
            }
        }
        Ok(Self { categories, textures })
    }
}

/// The middle of crops of one source, the last of them damaged.
fn texture(crops: &Crops, source: &Source, rng: &mut ChaCha8Rng) -> Result<Vec<Picture>, Error> {
    let side = (GRID * PATCH) as u32;
    let mut pictures = Vec::new();
    for i in 0..SHOTS + 2 * JUDGED {
        let crop = crops.get(source.first + i)?;
        let rim = crop.width().saturating_sub(side) / 2;
        let image = crop_imm(&crop, rim, rim, side, side).to_image();
        let size = side as usize;
        let sound = Picture { image, mask: Array2::from_elem((size, size), false) };
        let kind = *DefectKind::ALL.choose(rng).expect("there are kinds");
        if i < SHOTS + JUDGED {
            pictures.push(sound);
        } else if let Some(damaged) = damage(&sound.image, Damage::Defect(kind), i as u64) {
            pictures.push(Picture { image: damaged.image, mask: damaged.mask });
        }
    }
    Ok(pictures)
}

/// The quality of a tower: nearest cosine of its layer-normed tokens after a third and two thirds of
/// the layers, 3 x 3 means; an image's score is the mean of the largest hundredth of its map.
pub(super) fn judge(
    tower: &VisionTower,
    held_out: &HeldOut,
    device: &Device,
) -> Result<Quality, Error> {
    judge_tokens(|picture| tokens(tower, picture, device), held_out)
}

/// The quality of the teacher's stages 3 and 5, compared as a tower's tokens are.
pub(super) fn judge_teacher(teacher: &Teacher, held_out: &HeldOut) -> Result<Quality, Error> {
    let tokens = |picture: &Picture| {
        let targets = Targets::new(teacher.see(picture.image.as_raw(), GRID * PATCH), GRID);
        let [fine, middle, _] = targets.stages;
        joined([fine, middle].map(|tokens| {
            let [_, n, channels] = tokens.dims();
            means(tokens.reshape([GRID, GRID, channels])).reshape([n, channels])
        }))
    };
    judge_tokens(tokens, held_out)
}

fn judge_tokens(
    tokens: impl Fn(&Picture) -> Tensor<2>,
    held_out: &HeldOut,
) -> Result<Quality, Error> {
    let mean = |groups: &[Vec<Picture>]| -> Result<[f64; 2], Error> {
        let (mut image, mut pixel) = (0.0, 0.0);
        for pictures in groups {
            let of = group(&tokens, pictures)?;
            image += of[0];
            pixel += of[1];
        }
        Ok([image, pixel].map(|sum| 100.0 * sum / groups.len() as f64))
    };
    let [image_auroc, pixel_auroc] = mean(&held_out.categories)?;
    let textures = &held_out.textures;
    let textures = if textures.is_empty() { None } else { Some(mean(textures)?) };
    let [texture_image_auroc, texture_pixel_auroc] = [0, 1].map(|i| textures.map(|of| of[i]));
    Ok(Quality { image_auroc, pixel_auroc, texture_image_auroc, texture_pixel_auroc })
}

/// Image and pixel AUROC of one category or texture.
fn group(tokens: impl Fn(&Picture) -> Tensor<2>, pictures: &[Picture]) -> Result<[f64; 2], Error> {
    let tokens: Vec<Tensor<2>> = pictures.iter().map(tokens).collect();
    let memory = Tensor::cat(tokens[..SHOTS].to_vec(), 0).transpose();
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    let (mut pixel_scores, mut pixel_labels) = (Vec::new(), Vec::new());
    for (picture, tokens) in pictures.iter().zip(tokens).skip(SHOTS) {
        let distance = tokens.matmul(memory.clone()).max_dim(1).neg().add_scalar(1.0);
        let map: Vec<f32> = distance
            .into_data()
            .try_into_vec()
            .map_err(|e| Error::Settings(format!("reading scores off the device: {e}")))?;
        let mut sorted = map.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let top = sorted.len().div_ceil(100);
        scores.push(sorted[..top].iter().sum::<f32>() / top as f32);
        labels.push(picture.mask.iter().any(|&on| on));
        for ((y, x), &on) in picture.mask.indexed_iter() {
            pixel_scores.push(map[y / PATCH * GRID + x / PATCH]);
            pixel_labels.push(on);
        }
    }
    Ok([auroc(scores, labels)?, auroc(pixel_scores, pixel_labels)?])
}

fn auroc(scores: Vec<f32>, labels: Vec<bool>) -> Result<f64, Error> {
    let (scores, labels) = (Array1::from(scores), Array1::from(labels));
    metrics::auroc(scores.view(), labels.view())
        .map_err(|e| Error::Settings(format!("held-out quality: {e}")))
}

/// Unit vectors of an image's tokens, `[tokens, 2 width]`.
fn tokens(tower: &VisionTower, picture: &Picture, device: &Device) -> Tensor<2> {
    let side = GRID * PATCH;
    let Preprocess { mean, std, .. } = Preprocess::clip(side, Resize::Squash);
    let mut pixels = Vec::with_capacity(3 * side * side);
    for channel in 0..3 {
        let value = |pixel: &image::Rgb<u8>| {
            (f32::from(pixel[channel]) / 255.0 - mean[channel]) / std[channel]
        };
        pixels.extend(picture.image.pixels().map(value));
    }
    let pixels = Tensor::from_data(TensorData::new(pixels, [1, 3, side, side]), device);
    let mut x = tower.embed(pixels);
    let depth = tower.blocks.len();
    joined([0, 1].map(|third| {
        for block in &tower.blocks[depth * third / 3..depth * (third + 1) / 3] {
            x = block.forward(x.clone());
        }
        let [_, n, width] = x.dims();
        let grid = layer_norm(x.clone().narrow(1, 1, n - 1)).reshape([GRID, GRID, width]);
        means(grid).reshape([n - 1, width])
    }))
}

/// Two descriptions of each token as one of unit length, in which both count alike.
fn joined(tokens: [Tensor<2>; 2]) -> Tensor<2> {
    Tensor::cat(tokens.map(normalize).into(), 1).div_scalar(std::f32::consts::SQRT_2)
}

/// Sums of 3 x 3 tokens.
fn means(grid: Tensor<3>) -> Tensor<3> {
    neighbours(neighbours(grid, 0), 1)
}

/// Sum of each line and its two neighbours along an axis; the rim counts twice.
fn neighbours(x: Tensor<3>, axis: usize) -> Tensor<3> {
    let n = x.dims()[axis];
    let first = x.clone().narrow(axis, 0, 1);
    let last = x.clone().narrow(axis, n - 1, 1);
    let before = Tensor::cat(vec![first, x.clone().narrow(axis, 0, n - 1)], axis);
    let after = Tensor::cat(vec![x.clone().narrow(axis, 1, n - 1), last], axis);
    before + x + after
}
