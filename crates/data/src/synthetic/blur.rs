//! Blur, as passes of a kernel of three taps.

use super::camera::Radiance;
use super::wide::wide;

/// Weights of three-tap passes whose variances add up to that of the wanted blur.
pub(super) fn binomial_passes(sigma: f32) -> Vec<f32> {
    let variance = sigma * sigma;
    if variance < 0.02 {
        return Vec::new();
    }
    let passes = (variance / 0.5) as usize + 1;
    vec![variance / passes as f32 * 0.5; passes.min(12)]
}

/// A pass of the kernel (w, 1 - 2w, w) in both directions for each weight, edges repeated.
pub(super) fn smooth(picture: &mut Radiance, size: usize, weights: &[f32]) {
    for &weight in weights {
        wide(
            #[inline(always)]
            || pass(picture, size, weight),
        );
    }
}

#[inline(always)]
fn pass(picture: &mut Radiance, size: usize, weight: f32) {
    let centre = 1.0 - 2.0 * weight;
    let rows = picture.len() / size;
    let mut row = vec![[0.0f32; 3]; size + 2];
    for line in picture.chunks_exact_mut(size) {
        row[1..=size].copy_from_slice(line);
        row[0] = line[0];
        row[size + 1] = line[size - 1];
        let flat = row.as_flattened();
        for (i, out) in line.as_flattened_mut().iter_mut().enumerate() {
            *out = weight * (flat[i] + flat[i + 6]) + centre * flat[i + 3];
        }
    }
    let width = size * 3;
    let flat = picture.as_flattened_mut();
    let mut previous = flat[..width].to_vec();
    let mut current = previous.clone();
    for y in 0..rows {
        current.copy_from_slice(&flat[y * width..(y + 1) * width]);
        let below = (y + 1).min(rows - 1) * width;
        for x in 0..width {
            let next = if y + 1 < rows { flat[below + x] } else { current[x] };
            flat[y * width + x] = weight * (previous[x] + next) + centre * current[x];
        }
        std::mem::swap(&mut previous, &mut current);
    }
}
