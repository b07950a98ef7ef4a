//! Tokens of an image as MuSc compares them: normalised maps, means over neighbourhoods, unit length.

use ndarray::ArrayView3;

/// Added to the variance, as in PyTorch's `layer_norm`.
const EPSILON: f64 = 1e-5;

/// The layer norm of an image's whole map, `[rows, columns, channels]`, without scale and shift;
/// row-major.
pub(super) fn layer_norm(map: ArrayView3<'_, f32>) -> Vec<f32> {
    let n = map.len() as f64;
    let mean = map.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = map.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + EPSILON).sqrt();
    map.iter().map(|x| ((f64::from(*x) - mean) * scale) as f32).collect()
}

/// The mean over `side` x `side` neighbours of every token of a square grid, at unit length.
///
/// Neighbours outside the grid count as zeros. A mean and a sum have one direction: this sums.
///
/// # Shapes
/// - tokens, output: `[grid, grid, channels]`, row-major
pub(super) fn neighbourhoods(
    tokens: Vec<f32>,
    grid: usize,
    channels: usize,
    side: usize,
) -> Vec<f32> {
    let reach = side / 2;
    let mut sums = tokens;
    if reach > 0 {
        let row = grid * channels;
        let around = |i: usize| i.saturating_sub(reach)..grid.min(i + reach + 1);
        let mut across = vec![0f32; sums.len()];
        for (from, to) in sums.chunks_exact(row).zip(across.chunks_exact_mut(row)) {
            for (x, to) in to.chunks_exact_mut(channels).enumerate() {
                around(x).for_each(|x| add(to, &from[x * channels..][..channels]));
            }
        }
        sums.fill(0.0);
        for (y, to) in sums.chunks_exact_mut(row).enumerate() {
            around(y).for_each(|y| add(to, &across[y * row..][..row]));
        }
    }
    for token in sums.chunks_exact_mut(channels) {
        let length = token.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
        token.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
    sums
}

fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}
