//! The loss of JPEG compression, without the file: quantised 8 × 8 cosine coefficients.
//!
//! A codec's own decoder may round differently from one instruction set to another; this does not.

use crate::dice::floor;
use crate::wide::wide;

/// Quantisation steps of the luminance example table (ITU-T T.81, Annex K), out of 255.
const LUMINANCE: [u8; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113,
    92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];

/// cos(k π / 16) for k = 0..8, scaled for an orthonormal transform.
const COSINES: [f32; 8] = [
    0.353_553_4,
    0.490_392_64,
    0.461_939_78,
    0.415_734_8,
    0.353_553_4,
    0.277_785_1,
    0.191_341_71,
    0.097_545_16,
];

/// Row k holds the orthonormal basis vector of frequency k.
fn basis() -> [[f32; 8]; 8] {
    std::array::from_fn(|k| {
        std::array::from_fn(|n| {
            // cos((2n + 1) k π / 16): fold the angle, in sixteenths of π, into the first quadrant.
            let angle = (2 * n + 1) * k % 32;
            let folded = if angle > 16 { 32 - angle } else { angle };
            match (k, folded) {
                (0, _) => COSINES[0],
                (_, 8) => 0.0,
                (_, a) if a < 8 => {
                    if a == 0 {
                        0.5
                    } else {
                        COSINES[a]
                    }
                }
                (_, 16) => -0.5,
                (_, a) => -COSINES[16 - a],
            }
        })
    })
}

#[inline(always)]
fn multiply(a: &[[f32; 8]; 8], b: &[[f32; 8]; 8]) -> [[f32; 8]; 8] {
    let mut out = [[0.0; 8]; 8];
    for (row, a) in out.iter_mut().zip(a) {
        for (k, b) in b.iter().enumerate() {
            for j in 0..8 {
                row[j] += a[k] * b[j];
            }
        }
    }
    out
}

#[inline(always)]
fn transpose(a: &[[f32; 8]; 8]) -> [[f32; 8]; 8] {
    std::array::from_fn(|i| std::array::from_fn(|j| a[j][i]))
}

/// The quantisation steps at a coarseness.
fn steps(coarseness: f32) -> [f32; 64] {
    LUMINANCE.map(|step| (f32::from(step) * coarseness).max(1.0) / 255.0)
}

#[inline(always)]
fn quantise(
    block: &mut [[f32; 8]; 8],
    basis: &[[f32; 8]; 8],
    inverse: &[[f32; 8]; 8],
    steps: &[f32; 64],
) {
    let mut spectrum = multiply(&multiply(basis, block), inverse);
    for (c, step) in spectrum.as_flattened_mut().iter_mut().zip(steps) {
        let scaled = *c / step;
        // Round half away from zero; `f32::round` is a call on old targets, and a cast is not vectorised.
        let whole = floor(scaled.abs() + 0.5);
        *c = if scaled < 0.0 { -whole } else { whole } * step;
    }
    *block = multiply(&multiply(inverse, &spectrum), basis);
}

/// Compresses and restores the picture; `coarseness` 1 is about quality 50, 0.2 about 90.
pub(crate) fn compress(picture: &mut [[f32; 3]], size: usize, coarseness: f32, grey: bool) {
    wide(
        #[inline(always)]
        || compress_with(picture, size, coarseness, grey),
    );
}

#[inline(always)]
fn compress_with(picture: &mut [[f32; 3]], size: usize, coarseness: f32, grey: bool) {
    let basis = basis();
    let inverse = transpose(&basis);
    let (luma_steps, color_steps) = (steps(coarseness), steps(coarseness * 1.6));
    for top in (0..size).step_by(8) {
        for left in (0..size).step_by(8) {
            let place =
                |j: usize, i: usize| (top + j).min(size - 1) * size + (left + i).min(size - 1);
            let mut planes = [[[0.0f32; 8]; 8]; 3];
            for j in 0..8 {
                for i in 0..8 {
                    let [r, g, b] = picture[place(j, i)].map(|c| c.clamp(0.0, 1.0));
                    let luma = 0.299 * r + 0.587 * g + 0.114 * b;
                    planes[0][j][i] = luma - 0.5;
                    planes[1][j][i] = (b - luma) * 0.564;
                    planes[2][j][i] = (r - luma) * 0.713;
                }
            }
            quantise(&mut planes[0], &basis, &inverse, &luma_steps);
            if !grey {
                quantise(&mut planes[1], &basis, &inverse, &color_steps);
                quantise(&mut planes[2], &basis, &inverse, &color_steps);
            }
            for j in 0..8.min(size - top) {
                for i in 0..8.min(size - left) {
                    let luma = planes[0][j][i] + 0.5;
                    let (blue, red) = (planes[1][j][i], planes[2][j][i]);
                    picture[place(j, i)] = [
                        luma + red * 1.402,
                        luma - 0.344 * blue - 0.714 * red,
                        luma + blue * 1.773,
                    ];
                }
            }
        }
    }
}
