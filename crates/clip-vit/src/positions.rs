//! Positional embeddings for images of another size than the trained one.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

use crate::VisionTower;

/// How positional embeddings between the trained ones are interpolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// Bicubic with antialiasing, as open_clip has it.
    Bicubic,
    /// Bilinear without, as AnomalyCLIP has it.
    Bilinear,
}

impl VisionTower {
    /// The tower for images of `rows` x `columns` patches: its positions are resampled from the square grid that
    /// they were trained for, bicubic with antialiasing; the class token's stays.
    ///
    /// Resample from the trained tower each time: resampling twice is not the same.
    ///
    /// Source: open_clip `src/open_clip/model.py`, `resize_pos_embed`.
    ///
    /// # Panics
    /// If `rows` or `columns` is zero or the tower's own grid is not square.
    pub fn with_grid(self, rows: usize, columns: usize) -> Self {
        self.with_grid_by(rows, columns, Interpolation::Bicubic)
    }

    /// The same with a choice of interpolation.
    ///
    /// # Panics
    /// As [`with_grid`](Self::with_grid).
    pub fn with_grid_by(
        mut self,
        rows: usize,
        columns: usize,
        interpolation: Interpolation,
    ) -> Self {
        assert!(
            rows > 0 && columns > 0,
            "with_grid: expected a patch, got a grid of {rows}x{columns}"
        );
        let positions = self.positional_embedding.val();
        let [n, width] = positions.dims();
        let side = (n - 1).isqrt();
        assert!(
            side * side == n - 1,
            "with_grid: expected a square grid to start from, got {} places",
            n - 1
        );
        if (rows, columns) == (side, side) {
            return self;
        }
        let device = positions.device();
        let class = positions.clone().narrow(0, 0, 1);
        let grid = positions.narrow(0, 1, n - 1).reshape([side, side * width]);
        let weights = |to| match interpolation {
            Interpolation::Bicubic => weights(side, to, &device),
            Interpolation::Bilinear => bilinear(side, to, &device),
        };
        let grid = weights(rows).matmul(grid).reshape([rows, side, width]);
        let across = weights(columns).unsqueeze::<3>().expand([rows, columns, side]);
        let grid = across.matmul(grid).reshape([rows * columns, width]);
        let resampled = Tensor::cat(vec![class, grid], 0);
        self.positional_embedding = Param::from_tensor(resampled);
        self
    }
}

/// Weights that resample an axis of `from` places to `to` places, `[to, from]`; rows sum to one.
///
/// The cubic filter (a = -1/2) is stretched when shrinking and reaches two places to either side when growing.
/// Source: PyTorch `aten/src/ATen/native/cpu/UpSampleKernel.cpp`, `_compute_indices_min_size_weights_aa`.
fn weights(from: usize, to: usize, device: &Device) -> Tensor<2> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = 2.0 * stretch;
    let mut weights = vec![0f32; to * from];
    for (place, row) in weights.chunks_exact_mut(from).enumerate() {
        let center = scale * (place as f64 + 0.5);
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let taps: Vec<f64> =
            (first..end).map(|i| cubic((i as f64 - center + 0.5) / stretch)).collect();
        let sum: f64 = taps.iter().sum();
        for (weight, tap) in row[first..end].iter_mut().zip(taps) {
            *weight = (tap / sum) as f32;
        }
    }
    Tensor::from_data(TensorData::new(weights, [to, from]), device)
}

/// Bilinear weights of one axis, `[to, from]`; places beyond the outer ones repeat them.
fn bilinear(from: usize, to: usize, device: &Device) -> Tensor<2> {
    let mut weights = vec![0f32; to * from];
    for (place, row) in weights.chunks_exact_mut(from).enumerate() {
        let center = (from as f64 * (place as f64 + 0.5) / to as f64 - 0.5).max(0.0);
        let low = (center as usize).min(from - 1);
        let fraction = (center - low as f64) as f32;
        row[low] += 1.0 - fraction;
        row[(low + 1).min(from - 1)] += fraction;
    }
    Tensor::from_data(TensorData::new(weights, [to, from]), device)
}

/// Keys' cubic convolution kernel with a = -1/2.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}
