//! From the token grid to pixels: bilinear upsampling and Gaussian smoothing as matrices.

use ndarray::{Array2, ArrayView2};

/// Bilinear interpolation of one axis, `align_corners = false`: `[to, from]`.
pub fn bilinear(from: usize, to: usize) -> Array2<f32> {
    let scale = from as f64 / to as f64;
    interpolation(from, to, |i| ((i as f64 + 0.5) * scale - 0.5).max(0.0))
}

/// Bilinear interpolation of one axis, `align_corners = true`: `[to, from]`.
pub fn bilinear_aligned(from: usize, to: usize) -> Array2<f32> {
    let scale = if to > 1 { (from - 1) as f64 / (to - 1) as f64 } else { 0.0 };
    interpolation(from, to, |i| i as f64 * scale)
}

fn interpolation(from: usize, to: usize, position: impl Fn(usize) -> f64) -> Array2<f32> {
    let mut matrix = Array2::zeros((to, from));
    for i in 0..to {
        let position = position(i);
        let low = (position as usize).min(from - 1);
        let high = (low + 1).min(from - 1);
        let fraction = (position - low as f64) as f32;
        matrix[[i, low]] += 1.0 - fraction;
        matrix[[i, high]] += fraction;
    }
    matrix
}

/// Gaussian filter of one axis as `scipy.ndimage.gaussian_filter` defines it: radius
/// `int(4 sigma + 0.5)`, border mode `reflect`; `[size, size]`. Sigma 0 is the identity.
pub fn gaussian(size: usize, sigma: f64) -> Array2<f32> {
    if sigma <= 0.0 {
        return Array2::eye(size);
    }
    let radius = (4.0 * sigma + 0.5) as isize;
    let weights: Vec<f64> =
        (-radius..=radius).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut matrix = Array2::<f64>::zeros((size, size));
    let period = 2 * size as isize;
    for row in 0..size {
        for (offset, weight) in (-radius..=radius).zip(&weights) {
            let at = (row as isize + offset).rem_euclid(period);
            let column = if at < size as isize { at } else { period - 1 - at };
            matrix[[row, column as usize]] += weight / total;
        }
    }
    matrix.mapv(|v| v as f32)
}

/// Applies one matrix to both axes of a square grid: `matrix grid matrix^T`.
pub fn both_axes(matrix: &Array2<f32>, grid: ArrayView2<'_, f32>) -> Array2<f32> {
    matrix.dot(&grid).dot(&matrix.t())
}
