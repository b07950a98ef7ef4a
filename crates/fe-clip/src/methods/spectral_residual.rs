//! Spectral residual saliency: what the smooth part of an image's log spectrum does not explain.
//!
//! Source: Hou and Zhang, Saliency detection: a spectral residual approach, CVPR 2007.

use data::Preprocess;
use ndarray::{Array2, Array3, ArrayView3, Axis};
use serde::{Deserialize, Serialize};

use crate::counted::{Ignored, highest, of_image, spread};
use crate::resample::{bilinear, both_axes, gaussian};
use crate::score::ScoreScale;
use crate::scorer::{Prediction, Scorer};

/// Side of the image that is transformed, as in the paper.
const SIDE: usize = 64;
/// Smoothing of the saliency at that side, as in the authors' code.
const SIGMA: f64 = 2.5;
/// Keeps the logarithm of an empty frequency finite.
const FLOOR: f64 = 1e-9;

/// What `[model]` says of the spectral residual beside the keys of every method: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpectralResidualConfig {}

/// No network and nothing learnt: the classical row of a comparison.
///
/// Saliency `s` over its mean `m` becomes `s / (s + m)`, in [0, 1): a fixed scale that images
/// share. The score is the map's maximum.
pub(super) struct SpectralResidual {
    preprocess: Preprocess,
    /// Mean over the pixels of each place, `[side, size]`.
    shrink: Array2<f32>,
    smooth: Array2<f32>,
    grow: Array2<f32>,
    transform: Fourier,
}

impl SpectralResidual {
    pub(super) fn new(preprocess: Preprocess) -> Self {
        let size = preprocess.height;
        let side = SIDE.min(size);
        Self {
            shrink: area(size, side),
            smooth: gaussian(side, SIGMA * side as f64 / SIDE as f64),
            grow: bilinear(side, size),
            transform: Fourier::new(side),
            preprocess,
        }
    }

    fn saliency(&self, image: ArrayView3<'_, f32>) -> Array2<f32> {
        let grey =
            self.preprocess.mean.iter().zip(&self.preprocess.std).zip(image.axis_iter(Axis(0)));
        let grey = grey
            .map(|((mean, std), channel)| channel.mapv(|v| v * std + mean) / 3.0)
            .reduce(|a, b| a + b)
            .expect("an image has channels");
        let grey = both_axes(&self.shrink, grey.view()).mapv(f64::from);
        let (re, im) = self.transform.forward(&grey);
        let amplitude = ndarray::Zip::from(&re).and(&im).map_collect(|a, b| a.hypot(*b));
        let log = amplitude.mapv(|a| (a + FLOOR).ln());
        let residual = &log - &box_mean(&log);
        // The residual's amplitude with the image's phase.
        let scale =
            ndarray::Zip::from(&residual).and(&amplitude).map_collect(|r, a| r.exp() / (a + FLOOR));
        let (re, im) = self.transform.inverse(&(&re * &scale), &(&im * &scale));
        let energy = ndarray::Zip::from(&re).and(&im).map_collect(|a, b| a * a + b * b);
        let mean = energy.mean().unwrap_or(0.0) + FLOOR;
        let energy = energy.mapv(|s| (s / mean) as f32);
        both_axes(&self.smooth, energy.view()).mapv(|s| s / (s + 1.0))
    }
}

impl Scorer for SpectralResidual {
    fn score_scale(&self, _compared: bool) -> ScoreScale {
        ScoreScale::Unit
    }

    fn detect(&self, images: &[Array3<f32>], ignored: Ignored<'_>) -> Vec<Prediction> {
        let prediction = |(i, image): (usize, &Array3<f32>)| {
            let (saliency, ignored) = (self.saliency(image.view()), of_image(ignored, i));
            let score = highest(saliency.view(), ignored);
            Prediction { score, map: spread(&self.grow, saliency.view(), ignored) }
        };
        images.iter().enumerate().map(prediction).collect()
    }
}

/// The discrete Fourier transform of small squares as matrices `cos`, `sin`: `[side, side]`.
struct Fourier {
    cos: Array2<f64>,
    sin: Array2<f64>,
}

impl Fourier {
    fn new(side: usize) -> Self {
        let angle = |(i, j)| std::f64::consts::TAU * ((i * j) % side) as f64 / side as f64;
        let cos = Array2::from_shape_fn((side, side), |at| angle(at).cos());
        let sin = Array2::from_shape_fn((side, side), |at| angle(at).sin());
        Self { cos, sin }
    }

    /// Real and imaginary part of the transform of a real square, not scaled.
    fn forward(&self, x: &Array2<f64>) -> (Array2<f64>, Array2<f64>) {
        let (c, s) = (self.cos.dot(x), self.sin.dot(x)); // rows: c - i s
        (c.dot(&self.cos) - s.dot(&self.sin), -(c.dot(&self.sin) + s.dot(&self.cos)))
    }

    /// The inverse, scaled by 1 / side².
    fn inverse(&self, re: &Array2<f64>, im: &Array2<f64>) -> (Array2<f64>, Array2<f64>) {
        let rows_re = self.cos.dot(re) - self.sin.dot(im);
        let rows_im = self.cos.dot(im) + self.sin.dot(re);
        let scale = 1.0 / self.cos.len() as f64;
        let out_re = rows_re.dot(&self.cos) - rows_im.dot(&self.sin);
        let out_im = rows_re.dot(&self.sin) + rows_im.dot(&self.cos);
        (out_re * scale, out_im * scale)
    }
}

/// Mean over 3x3 places of a spectrum, which goes on at the other side.
fn box_mean(x: &Array2<f64>) -> Array2<f64> {
    let (h, w) = x.dim();
    Array2::from_shape_fn((h, w), |(i, j)| {
        let around = (0..9).map(|k| x[[(i + h + k / 3 - 1) % h, (j + w + k % 3 - 1) % w]]);
        around.sum::<f64>() / 9.0
    })
}

/// Mean over the pixels that fall into each of `to` places, shared ones by their part: `[to, from]`.
fn area(from: usize, to: usize) -> Array2<f32> {
    let scale = from as f64 / to as f64;
    Array2::from_shape_fn((to, from), |(place, pixel)| {
        let (low, high) = (place as f64 * scale, (place + 1) as f64 * scale);
        let overlap = high.min(pixel as f64 + 1.0) - low.max(pixel as f64);
        (overlap.max(0.0) / scale) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_undoes_the_transform_and_a_known_one_is_right() {
        let transform = Fourier::new(6);
        let x = Array2::from_shape_fn((6, 6), |(i, j)| ((i * 7 + j * 3) % 5) as f64);
        let (re, im) = transform.forward(&x);
        assert!((re[[0, 0]] - x.sum()).abs() < 1e-12);
        let (back, zero) = transform.inverse(&re, &im);
        assert!((&back - &x).iter().chain(&zero).all(|d| d.abs() < 1e-12));
        // One wave along the columns: its energy is at (0, 1) and (0, 5).
        let wave =
            Array2::from_shape_fn((6, 6), |(_, j)| (std::f64::consts::TAU * j as f64 / 6.0).sin());
        let (re, im) = transform.forward(&wave);
        assert!((im[[0, 1]] + 18.0).abs() < 1e-12 && (im[[0, 5]] - 18.0).abs() < 1e-12);
        assert!(re.iter().all(|v| v.abs() < 1e-12));
    }

    #[test]
    fn an_odd_spot_on_a_texture_stands_out() {
        let size = 96;
        let preprocess = Preprocess::clip(size, data::Resize::Squash);
        let mut image = Array3::from_shape_fn((3, size, size), |(_, y, x)| {
            (x as f32 * 0.7).sin() + (y as f32 * 0.7).cos()
        });
        for (y, x) in (60..70).flat_map(|y| (20..30).map(move |x| (y, x))) {
            for channel in 0..3 {
                image[[channel, y, x]] = 2.5;
            }
        }
        let found = SpectralResidual::new(preprocess).detect(&[image], &[]);
        let map = &found[0].map;
        assert!(map.iter().all(|v| (0.0..1.0).contains(v)));
        let (at, _) = map.indexed_iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
        assert!((55..75).contains(&at.0) && (15..35).contains(&at.1), "{at:?}");
    }
}
