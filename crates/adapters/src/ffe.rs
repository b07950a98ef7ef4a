//! Frequency feature extraction.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::pad;
use crate::transform::{Transform, matrix};

/// Settings of [`Ffe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FfeConfig {
    /// Side of a window in tokens, 3 in the paper.
    pub window: usize,
    /// Transform of a window; set for the whole model.
    #[serde(skip)]
    pub transform: Option<Transform>,
}

impl Default for FfeConfig {
    fn default() -> Self {
        Self { window: 3, transform: None }
    }
}

/// Window-wise transform, linear layer and GELU on every coefficient position, inverse
/// transform. A grid that the window does not divide is padded on the right and at the bottom
/// by its border tokens, and cropped again.
///
/// With the FFT the same layer acts on real and imaginary parts, and the real part of the
/// inverse is kept.
///
/// Source: FE-CLIP, section 3.3.
#[derive(Module, Debug)]
pub struct Ffe {
    /// The linear layer, channels to channels.
    pub linear: Linear,
    window: usize,
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
        Self {
            linear: LinearConfig::new(channels, channels).init(device),
            window: config.window,
            transform: config.transform.unwrap_or(Transform::Dct),
        }
    }

    /// # Shapes
    /// - tokens, output: `[batch, height, width, channels]`
    pub fn forward(&self, tokens: Tensor<4>) -> Tensor<4> {
        let device = tokens.device();
        let [b, h, w, d] = tokens.dims();
        let p = self.window;
        let (hp, wp) = (h.div_ceil(p), w.div_ceil(p));
        let x = pad::replicate(tokens, (0, hp * p - h), (0, wp * p - w))
            .reshape([b, hp, p, wp, p, d])
            .permute([2, 4, 0, 1, 3, 5]) // [p, p, b, hp, wp, d]
            .reshape([p * p, b * hp * wp * d]);
        let parts = self.transform.bases_2d(p).into_iter().map(|basis| {
            let basis = matrix(&basis, &device);
            let coefficients = basis.clone().matmul(x.clone()).reshape([p * p, b * hp * wp, d]);
            let mapped = gelu(self.linear.forward(coefficients)); // [p², windows, d]
            // Real part of the inverse: both bases are symmetric or orthogonal.
            basis.transpose().matmul(mapped.reshape([p * p, b * hp * wp * d]))
        });
        let x = parts.reduce(|a, b| a + b).expect("a transform has at least one basis");
        x.reshape([p, p, b, hp, wp, d])
            .permute([2, 3, 0, 4, 1, 5]) // [b, hp, p, wp, p, d]
            .reshape([b, hp * p, wp * p, d])
            .narrow(1, 0, h)
            .narrow(2, 0, w)
    }
}
