//! Local frequency statistics.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::activation::gelu;
use crate::conv::Conv;
use crate::pad::{Padding, pad};
use crate::transform::{Transform, matrix};

/// How the coefficients of a window become one value a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Mean of the coefficients with their signs: the paper's words taken literally. A fixed
    /// linear filter.
    SignedMean,
    /// Mean of absolute values.
    AbsMean,
    /// Mean of squares.
    PowerMean,
    /// Mean of log(1 + |coefficient|).
    LogAbsMean,
}

/// Settings of [`Lfs`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LfsConfig {
    /// Side of the sliding window in tokens, 3 in the paper.
    pub window: usize,
    /// Reduction over the coefficients. Default: `signed_mean` with the DCT, `abs_mean` with
    /// the FFT, whose signed mean is one corner token.
    pub statistic: Option<Statistic>,
    /// Side of the learnable convolution's kernel: 1 or 3.
    pub kernel: usize,
    /// What windows see beyond the border.
    pub padding: Padding,
    /// Transform of a window; set for the whole model.
    #[serde(skip)]
    pub transform: Option<Transform>,
}

impl Default for LfsConfig {
    fn default() -> Self {
        Self { window: 3, statistic: None, kernel: 3, padding: Padding::Replicate, transform: None }
    }
}

/// Statistics of the sliding-window transform, then convolution and GELU. Windows reach
/// `window / 2` tokens back; the convolution is padded by zeros.
///
/// Source: FE-CLIP, section 3.4.
#[derive(Module, Debug)]
pub struct Lfs {
    /// The learnable convolution.
    pub conv: Conv,
    window: usize,
    #[module(skip)]
    padding: Padding,
    #[module(skip)]
    statistic: Statistic,
    #[module(skip)]
    transform: Transform,
}

impl Lfs {
    /// A randomly initialised adapter for tokens of so many channels.
    ///
    /// # Panics
    /// If the window is 0 or the kernel even.
    pub fn new(config: &LfsConfig, channels: usize, device: &Device) -> Self {
        assert!(config.window > 0, "lfs: expected a window of at least 1, got 0");
        let transform = config.transform.unwrap_or(Transform::Dct);
        let statistic = config.statistic.unwrap_or(match transform {
            Transform::Dct => Statistic::SignedMean,
            Transform::Fft => Statistic::AbsMean,
        });
        let conv = Conv::new(config.kernel, channels, device);
        Self { conv, window: config.window, padding: config.padding, statistic, transform }
    }

    /// # Shapes
    /// - tokens, output: `[batch, height, width, channels]`
    pub fn forward(&self, tokens: Tensor<4>) -> Tensor<4> {
        gelu(self.conv.forward(self.statistics(tokens)))
    }

    /// The statistic at every token, before the convolution.
    ///
    /// # Shapes
    /// - tokens, output: `[batch, height, width, channels]`
    pub fn statistics(&self, tokens: Tensor<4>) -> Tensor<4> {
        let q = self.window;
        let count = (q * q) as f64;
        let bases = self.transform.bases(q);
        match self.statistic {
            // The mean over all coefficients is one fixed separable kernel: the mean of the
            // basis over its frequencies. Of the FFT only the real parts contribute; the
            // imaginary ones have the mean zero.
            Statistic::SignedMean => {
                let mean = |basis: &Array2<f64>| {
                    basis.mean_axis(Axis(0)).expect("a basis has rows").to_vec()
                };
                let both =
                    |tokens, kernel: &[f64]| self.filter(self.filter(tokens, 1, kernel), 2, kernel);
                match bases.get(1) {
                    None => both(tokens, &mean(&bases[0])),
                    Some(imaginary) => {
                        both(tokens.clone(), &mean(&bases[0])) - both(tokens, &mean(imaginary))
                    }
                }
            }
            // Parseval: the coefficients' energy is the window's.
            Statistic::PowerMean => {
                let sides = vec![1.0; q];
                self.filter(self.filter(tokens.square(), 1, &sides), 2, &sides) / count
            }
            Statistic::AbsMean => self.streamed(tokens, &bases, |c| c.abs()) / count,
            Statistic::LogAbsMean => self.streamed(tokens, &bases, |c| c.abs().log1p()) / count,
        }
    }

    /// Sum over all coefficients of a function of each, without holding them all.
    fn streamed(
        &self,
        tokens: Tensor<4>,
        bases: &[Array2<f64>],
        reduce: impl Fn(Tensor<4>) -> Tensor<4>,
    ) -> Tensor<4> {
        let mut sum: Option<Tensor<4>> = None;
        let mut add = |c: Tensor<4>| {
            let c = reduce(c);
            sum = Some(match sum.take() {
                Some(sum) => sum + c,
                None => c,
            });
        };
        let row = |basis: &Array2<f64>, k: usize| basis.row(k).to_vec();
        for v in 0..self.window {
            let across: Vec<_> =
                bases.iter().map(|basis| self.filter(tokens.clone(), 2, &row(basis, v))).collect();
            for u in 0..self.window {
                let down =
                    |x: &Tensor<4>, part: usize| self.filter(x.clone(), 1, &row(&bases[part], u));
                match &across[..] {
                    [re, im] => {
                        add(down(re, 0) - down(im, 1));
                        add(down(im, 0) + down(re, 1));
                    }
                    _ => add(down(&across[0], 0)),
                }
            }
        }
        sum.expect("a window has at least one coefficient")
    }

    /// Correlates one axis, 1 or 2, with the kernel of a window: the product with a banded matrix, whose first and
    /// last rows hold what the padding repeats.
    fn filter(&self, x: Tensor<4>, axis: usize, kernel: &[f64]) -> Tensor<4> {
        let [b, h, w, d] = x.dims();
        let band = matrix(&self.band(kernel, [h, w][axis - 1]), &x.device()).unsqueeze::<3>();
        let x = if axis == 1 { x.reshape([b, h, w * d]) } else { x.reshape([b * h, w, d]) };
        band.matmul(x).reshape([b, h, w, d])
    }

    /// Side of the sliding window in tokens.
    pub fn window(&self) -> usize {
        self.window
    }

    /// The reduction over the coefficients.
    pub fn statistic(&self) -> Statistic {
        self.statistic
    }

    /// Bases of the transform of one axis, `[window, window]`, row = frequency: one of the DCT,
    /// real and imaginary part of the FFT.
    pub fn bases(&self) -> Vec<Array2<f64>> {
        self.transform.bases(self.window)
    }

    /// The matrix `[n, n]` that correlates an axis of `n` tokens with the kernel of a window,
    /// padding included.
    pub fn band(&self, kernel: &[f64], n: usize) -> Array2<f64> {
        let mut band = Array2::zeros((n, n));
        for at in 0..n {
            for (tap, factor) in kernel.iter().enumerate() {
                let place = (at + tap) as isize - (self.window / 2) as isize;
                if let Some(from) = self.padding.source(place, n) {
                    band[[at, from]] += factor;
                }
            }
        }
        band
    }
}

/// The same statistic by its definition: gather every window, transform it whole, reduce. Kept
/// as the reference for tests; `window * window` times the memory.
///
/// # Shapes
/// - tokens, output: `[batch, height, width, channels]`
pub fn literal_statistic(
    tokens: Tensor<4>,
    window: usize,
    padding: Padding,
    statistic: Statistic,
    transform: Transform,
) -> Tensor<4> {
    let [b, h, w, d] = tokens.dims();
    let (q, device) = (window, tokens.device());
    let border = (q / 2, q - 1 - q / 2);
    let padded = pad(tokens, border, border, padding);
    let taps = (0..q * q)
        .map(|tap| padded.clone().narrow(1, tap / q, h).narrow(2, tap % q, w))
        .map(|tap| tap.reshape([1, b * h * w * d]))
        .collect();
    let windows = Tensor::cat(taps, 0); // [q², b * h * w * d]
    let parts = transform.bases_2d(q).into_iter().map(|basis| {
        let c = matrix(&basis, &device).matmul(windows.clone());
        let c = match statistic {
            Statistic::SignedMean => c,
            Statistic::AbsMean => c.abs(),
            Statistic::PowerMean => c.square(),
            Statistic::LogAbsMean => c.abs().log1p(),
        };
        c.mean_dim(0)
    });
    let sum = parts.reduce(|a, b| a + b).expect("a transform has at least one basis");
    sum.reshape([b, h, w, d])
}
