//! Frequency feature extraction.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::activation::gelu;
use crate::pad::{Padding, gather};
use crate::transform::{Transform, matrix};

/// Settings of [`Ffe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FfeConfig {
    /// Side of a window in tokens, 3 in the paper.
    pub window: usize,
    /// What completes windows at the right and at the bottom: border tokens or mirrored ones.
    pub padding: Padding,
    /// Transform of a window; set for the whole model.
    #[serde(skip)]
    pub transform: Option<Transform>,
}

impl Default for FfeConfig {
    fn default() -> Self {
        Self { window: 3, padding: Padding::Replicate, transform: None }
    }
}

/// Window-wise transform, linear layer and GELU on every coefficient position, inverse
/// transform. A grid that the window does not divide is padded on the right and at the bottom
/// and cropped again.
///
/// With the FFT the same layer acts on real and imaginary parts, and the real part of the inverse
/// is kept.
///
/// Source: FE-CLIP, section 3.3.
#[derive(Module, Debug)]
pub struct Ffe {
    /// The linear layer, channels to channels, the same at every coefficient.
    pub linear: Linear,
    window: usize,
    #[module(skip)]
    padding: Padding,
    #[module(skip)]
    transform: Transform,
}

impl Ffe {
    /// A randomly initialised adapter for tokens of so many channels.
    ///
    /// # Panics
    /// If the window is 0.
    pub fn new(config: &FfeConfig, channels: usize, device: &Device) -> Self {
        assert!(config.window > 0, "ffe: expected a window of at least 1, got 0");
        let transform = config.transform.unwrap_or(Transform::Dct);
        Self {
            linear: LinearConfig::new(channels, channels).init(device),
            window: config.window,
            padding: config.padding,
            transform,
        }
    }

    /// # Shapes
    /// - tokens, output: `[batch, height, width, channels]`
    pub fn forward(&self, tokens: Tensor<4>) -> Tensor<4> {
        let device = tokens.device();
        let [b, h, w, d] = tokens.dims();
        let p = self.window;
        let (rows, columns) = (h.div_ceil(p), w.div_ceil(p));
        let windows = rows * columns;
        let x = gather(tokens.reshape([b, h * w, d]), &self.gathered(h, w));
        let x = x.reshape([b, p * p, windows * d]);
        let parts = self.transform.bases_2d(p).into_iter().map(|basis| {
            let basis = matrix(&basis, &device);
            let coefficients = basis.clone().unsqueeze::<3>().matmul(x.clone());
            let mapped = gelu(self.linear.forward(coefficients.reshape([b, p * p, windows, d])));
            // Real part of the inverse: both bases are symmetric or orthogonal.
            let mapped = mapped.reshape([b, p * p, windows * d]);
            basis.transpose().unsqueeze::<3>().matmul(mapped)
        });
        let x = parts.reduce(|a, b| a + b).expect("a transform has at least one basis");
        let places: Vec<_> = self.scattered(h, w).into_iter().map(Some).collect();
        gather(x.reshape([b, p * p * windows, d]), &places).reshape([b, h, w, d])
    }

    /// Side of a window in tokens.
    pub fn window(&self) -> usize {
        self.window
    }

    /// Bases of the transform, `[window * window, window * window]`, row = frequency: one of the
    /// DCT, real and imaginary part of the FFT. The real part of the inverse is the sum of their
    /// transposes times what became of the coefficients.
    pub fn bases(&self) -> Vec<Array2<f64>> {
        self.transform.bases_2d(self.window)
    }

    /// Where the tokens of all windows lie in a grid `[h, w]`, row by row; position inside a
    /// window first, then window. `None` stands for a zero token.
    pub fn gathered(&self, h: usize, w: usize) -> Vec<Option<usize>> {
        let p = self.window;
        let (rows, columns) = (h.div_ceil(p), w.div_ceil(p));
        let windows = rows * columns;
        let place = |at: usize| {
            let (inside, window) = (at / windows, at % windows);
            let (y, x) = (window / columns * p + inside / p, window % columns * p + inside % p);
            let inside = |position: usize, len: usize| self.padding.source(position as isize, len);
            Some(inside(y, h)? * w + inside(x, w)?)
        };
        (0..p * p * windows).map(place).collect()
    }

    /// Where each token of a grid `[h, w]` lies among those of [`gathered`](Self::gathered).
    pub fn scattered(&self, h: usize, w: usize) -> Vec<usize> {
        let p = self.window;
        let columns = w.div_ceil(p);
        let windows = h.div_ceil(p) * columns;
        let place = |(y, x)| (y % p * p + x % p) * windows + y / p * columns + x / p;
        (0..h * w).map(|at| place((at / w, at % w))).collect()
    }
}
