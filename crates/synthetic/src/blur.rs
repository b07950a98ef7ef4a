//! Blur, as passes of a kernel of three taps.

use crate::camera::Radiance;
use crate::wide::wide;

/// Weights of three-tap passes whose variances add up to that of the wanted blur.
pub(crate) fn binomial_passes(sigma: f32) -> Vec<f32> {
    let variance = sigma * sigma;
    if variance < 0.02 {
        return Vec::new();
    }
    let passes = (variance / 0.5) as usize + 1;
    vec![variance / passes as f32 * 0.5; passes.min(12)]
}

/// A pass of the kernel (w, 1 - 2w, w) in both directions for each weight, edges repeated.
pub(crate) fn smooth(picture: &mut Radiance, size: usize, weights: &[f32]) {
    for &weight in weights {
        wide(
            #[inline(always)]
            || pass(picture, size, weight),
        );
    }
}

/// A kernel of three taps.
struct Kernel {
    side: f32,
    centre: f32,
}

impl Kernel {
    #[inline(always)]
    fn at(&self, before: f32, here: f32, after: f32) -> f32 {
        self.side * (before + after) + self.centre * here
    }

    /// Blurs a row of pixels of three channels, edges repeated.
    #[inline(always)]
    fn across(&self, line: &[f32], out: &mut [f32]) {
        let neighbours = line.iter().zip(&line[3..]).zip(&line[6..]);
        for (out, ((left, here), right)) in out[3..].iter_mut().zip(neighbours) {
            *out = self.at(*left, *here, *right);
        }
        for (first, last) in (0..3).zip(line.len() - 3..) {
            out[first] = self.at(line[first], line[first], line[first + 3]);
            out[last] = self.at(line[last - 3], line[last], line[last]);
        }
    }
}

#[inline(always)]
fn pass(picture: &mut Radiance, size: usize, weight: f32) {
    let kernel = Kernel { side: weight, centre: 1.0 - 2.0 * weight };
    let width = size * 3;
    let flat = picture.as_flattened_mut();
    let rows = flat.len() / width;
    let mut here = vec![0.0; width];
    kernel.across(&flat[..width], &mut here);
    let (mut above, mut below) = (here.clone(), here.clone());
    for y in 0..rows {
        if y + 1 < rows {
            kernel.across(&flat[(y + 1) * width..][..width], &mut below);
        } else {
            below.copy_from_slice(&here);
        }
        let lines = above.iter().zip(&here).zip(&below);
        for (out, ((above, here), below)) in flat[y * width..].iter_mut().zip(lines) {
            *out = kernel.at(*above, *here, *below);
        }
        std::mem::swap(&mut above, &mut here);
        std::mem::swap(&mut here, &mut below);
    }
}
