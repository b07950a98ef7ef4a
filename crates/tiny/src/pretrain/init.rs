//! Initial weights with which a short run need not spend thousands of steps on finding fine
//! structure inside a patch and the comparison of a patch with similar ones.

use std::f32::consts::FRAC_1_SQRT_2;

use burn::module::Param;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use clip_vit::{Block, Clip, VisionTower};
use ndarray::Array2;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Root mean square of a positional embedding; patches have 1.
const POSITION: f32 = 0.5;
/// Standard deviation of a word's code.
const WORD: f64 = 0.5;
/// Attention logit of a token to itself at the start.
const SELF_LOGIT: f32 = 4.0;
/// Share of the attended mean that a block takes away at the start.
const SURROUND: f32 = 0.4;

/// Mimetic initialisation of the image tower's attention, with sine-cosine positions: tokens
/// attend to what resembles them in content and place, and a block subtracts that mean, so each
/// layer starts as the difference of a patch from its surround.
///
/// Source: Trockman and Kolter, Mimetic Initialization of Self-Attention Layers, 2023.
pub(crate) fn attention(mut tower: VisionTower, seed: u64, device: &Device) -> VisionTower {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let [tokens, width] = tower.positional_embedding.dims();
    let grid = (tokens - 1).isqrt();
    let positions = Array2::from_shape_fn((tokens, width), |(token, channel)| {
        if token == 0 { 0.0 } else { POSITION * wave(token - 1, grid, channel, width) }
    });
    tower.positional_embedding = parameter(positions, device);
    tower.blocks =
        tower.blocks.into_iter().map(|block| mimetic(block, width, &mut rng, device)).collect();
    tower
}

/// Fixed random codes for the words. Captions use a hundredth of the vocabulary: learning would
/// leave all other words where they are, or decay them, and take a fifth of a step's time.
pub(super) fn words(mut clip: Clip, device: &Device) -> Clip {
    let table = clip.text.token_embedding.weight.val();
    let codes = Tensor::random(table.dims(), Distribution::Normal(0.0, WORD), device);
    clip.text.token_embedding.weight = Param::from_tensor(codes).set_require_grad(false);
    let [places, width] = clip.text.positional_embedding.dims();
    let places = Tensor::random([places, width], Distribution::Normal(0.0, WORD / 2.0), device);
    clip.text.positional_embedding = Param::from_tensor(places);
    clip
}

/// Unit-variance sines and cosines: half of the channels tell the row, half the column.
fn wave(cell: usize, grid: usize, channel: usize, width: usize) -> f32 {
    let half = width / 2;
    let place = if channel < half { cell / grid } else { cell % grid };
    let (channel, pairs) = (channel % half, half / 2);
    // Wavelengths from 2.5 tokens to four grids.
    let octave = (channel / 2) as f64 / (pairs - 1).max(1) as f64;
    let wavelength = 2.5 * (4.0 * grid as f64 / 2.5).powf(octave);
    let angle = std::f64::consts::TAU * place as f64 / wavelength;
    let value = if channel % 2 == 0 { angle.sin() } else { angle.cos() };
    (value * std::f64::consts::SQRT_2) as f32
}

fn mimetic(mut block: Block, width: usize, rng: &mut ChaCha8Rng, device: &Device) -> Block {
    let heads = block.heads();
    let head = width / heads;
    // |R^T x|^2 / sqrt(head) = SELF_LOGIT for x of unit variance.
    let gain = (SELF_LOGIT / (head as f32).sqrt()).sqrt();
    let mut gauss = || {
        let sum: f32 = (0..12).map(|_| rng.random::<f32>()).sum();
        sum - 6.0
    };
    let scale = (width as f32).sqrt().recip();
    let similar = Array2::from_shape_simple_fn((width, width), || gauss() * scale);
    let values = orthogonal(Array2::from_shape_simple_fn((width, width), || gauss() * scale));
    let mut qkv = Array2::zeros((width, 3 * width));
    qkv.slice_mut(ndarray::s![.., ..width]).assign(&(&similar * gain));
    qkv.slice_mut(ndarray::s![.., width..2 * width]).assign(&(&similar * gain));
    qkv.slice_mut(ndarray::s![.., 2 * width..]).assign(&values);
    block.qkv.weight = parameter(qkv, device);
    let noise = Array2::from_shape_simple_fn((width, width), || gauss() * scale * 0.1);
    block.out.weight = parameter(values.t().to_owned() * -SURROUND + noise, device);
    block
}

/// Gram-Schmidt over the columns.
fn orthogonal(mut a: Array2<f32>) -> Array2<f32> {
    for j in 0..a.ncols() {
        let mut column = a.column(j).to_owned();
        for i in 0..j {
            let overlap = a.column(i).dot(&column);
            column.scaled_add(-overlap, &a.column(i));
        }
        let norm = column.dot(&column).sqrt();
        a.column_mut(j).assign(&(column / norm));
    }
    a
}

fn parameter(values: Array2<f32>, device: &Device) -> Param<Tensor<2>> {
    let (rows, columns) = values.dim();
    let values: Vec<f32> = values.iter().copied().collect();
    Param::from_tensor(Tensor::from_data(TensorData::new(values, [rows, columns]), device))
}

/// Opponent colours: brightness, red against green, blue against both. Orthonormal.
const COLOURS: [[f32; 3]; 3] = [
    [0.577_35, 0.577_35, 0.577_35],
    [FRAC_1_SQRT_2, -FRAC_1_SQRT_2, 0.0],
    [-0.408_25, -0.408_25, 0.816_5],
];

/// Replaces the random patch embedding by the lowest frequencies of a patch's DCT, brightness
/// before colour, each scaled to unit variance over normalised images of `side` pixels,
/// `[images, 3, side, side]` flattened.
///
/// The mean of a patch is most of its energy and next to none of what tells a defect; a random
/// projection buries the rest under it, and the first thousand steps of a run would go into
/// digging it out.
pub(crate) fn patch_embedding(
    mut tower: VisionTower,
    pixels: &[f32],
    side: usize,
    device: &Device,
) -> VisionTower {
    let patch = tower.patch_size();
    let [inputs, width] = tower.patch_embedding.weight.dims();
    let rows = filters(patch, width);
    let mut weight = vec![0f32; inputs * width];
    for (column, filter) in rows.iter().enumerate() {
        let deviation = deviation(filter, pixels, side, patch);
        for (row, value) in filter.iter().enumerate() {
            weight[row * width + column] = value / deviation.max(1e-3);
        }
    }
    let weight = TensorData::new(weight, [inputs, width]);
    tower.patch_embedding.weight = Param::from_tensor(Tensor::from_data(weight, device));
    tower
}

/// `count` filters over `[3, patch, patch]`, two of three in brightness.
fn filters(patch: usize, count: usize) -> Vec<Vec<f32>> {
    let basis = dct::basis::<f32>(patch);
    let mut frequencies: Vec<(usize, usize)> =
        (0..patch * patch).map(|i| (i / patch, i % patch)).collect();
    frequencies.sort_by_key(|&(u, v)| (u * u + v * v, u));
    let chroma = count / 6;
    let shares = [count - 2 * chroma, chroma, chroma];
    let mut filters = Vec::with_capacity(count);
    for (colour, share) in COLOURS.iter().zip(shares) {
        for &(u, v) in frequencies.iter().take(share) {
            let mut filter = Vec::with_capacity(3 * patch * patch);
            for weight in colour {
                for y in 0..patch {
                    filter.extend((0..patch).map(|x| weight * basis[[u, y]] * basis[[v, x]]));
                }
            }
            filters.push(filter);
        }
    }
    filters
}

/// Standard deviation about zero of a filter's response over all patches.
fn deviation(filter: &[f32], pixels: &[f32], side: usize, patch: usize) -> f32 {
    let grid = side / patch;
    let (mut sum, mut count) = (0f64, 0usize);
    for image in pixels.chunks_exact(3 * side * side) {
        for cell in 0..grid * grid {
            let (top, left) = (cell / grid * patch, cell % grid * patch);
            let mut response = 0f32;
            for (channel, taps) in filter.chunks_exact(patch * patch).enumerate() {
                for (y, row) in taps.chunks_exact(patch).enumerate() {
                    let start = (channel * side + top + y) * side + left;
                    let line = &image[start..start + patch];
                    response += row.iter().zip(line).map(|(a, b)| a * b).sum::<f32>();
                }
            }
            sum += f64::from(response * response);
            count += 1;
        }
    }
    (sum / count.max(1) as f64).sqrt() as f32
}
