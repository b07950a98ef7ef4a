//! The learnable convolution of LFS and of the Conv adapter.

use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor};

use crate::pad::{Padding, gather_grid};

/// A `k x k` convolution over tokens with zero padding that keeps the grid, then nothing.
///
/// It runs as one matrix product over gathered neighbourhoods: a matrix
/// `[k * k * channels, channels]`, rows in the order row, column, input channel.
/// The separable form is a kernel for each channel and a matrix `[channels, channels]` after it.
#[derive(Module, Debug)]
pub struct Conv {
    /// The kernel as a matrix, with its bias; of the separable form the matrix that mixes channels.
    pub linear: Linear,
    /// Of the separable form, the kernel of each channel: `[k * k, channels]`.
    pub depthwise: Option<Param<Tensor<2>>>,
    kernel: usize,
}

impl Conv {
    /// A randomly initialised convolution, U(-1, 1) / sqrt(fan-in) as PyTorch draws it.
    ///
    /// # Panics
    /// If `kernel` is even.
    pub fn new(kernel: usize, channels: usize, device: &Device) -> Self {
        assert!(kernel % 2 == 1, "conv: expected an odd kernel, got {kernel}");
        let linear = LinearConfig::new(kernel * kernel * channels, channels).init(device);
        Self { linear, depthwise: None, kernel }
    }

    /// A depthwise-separable one, without a bias between its two steps.
    ///
    /// # Panics
    /// If `kernel` is even.
    pub fn separable(kernel: usize, channels: usize, device: &Device) -> Self {
        assert!(kernel % 2 == 1, "conv: expected an odd kernel, got {kernel}");
        let linear = LinearConfig::new(channels, channels).init(device);
        let bound = 1.0 / kernel as f64;
        let weights = Initializer::Uniform { min: -bound, max: bound };
        let depthwise = Some(weights.init([kernel * kernel, channels], device));
        Self { linear, depthwise, kernel }
    }

    /// Side of the kernel.
    pub fn kernel(&self) -> usize {
        self.kernel
    }

    /// # Shapes
    /// - tokens, output: `[batch, height, width, channels]`
    pub fn forward(&self, tokens: Tensor<4>) -> Tensor<4> {
        let [b, h, w, d] = tokens.dims();
        let k = self.kernel;
        if k == 1 && self.depthwise.is_none() {
            return self.linear.forward(tokens);
        }
        let (reach, size) = ((k / 2) as isize, k as isize);
        let places = (0..(h * w) as isize).flat_map(|at| {
            let (y, x) = (at / w as isize - reach, at % w as isize - reach);
            (0..size * size).map(move |tap| (y + tap / size, x + tap % size))
        });
        let taps = gather_grid(tokens, Padding::Zero, places); // [b, h * w * k * k, d]
        let gathered = match &self.depthwise {
            None => taps.reshape([b, h, w, k * k * d]),
            Some(kernels) => {
                let products = taps.reshape([b, h * w, k * k, d]) * kernels.val().unsqueeze();
                products.sum_dim(2).reshape([b, h, w, d])
            }
        };
        self.linear.forward(gathered) // [b, h, w, d]
    }
}

/// Convolution and GELU on the tokens themselves: the Conv adapter of the paper's Table 3.
#[derive(Module, Debug)]
pub struct ConvAdapter {
    /// The convolution.
    pub conv: Conv,
}

impl ConvAdapter {
    /// A randomly initialised adapter.
    pub fn new(kernel: usize, channels: usize, device: &Device) -> Self {
        Self { conv: Conv::new(kernel, channels, device) }
    }

    /// # Shapes
    /// - tokens, output: `[batch, height, width, channels]`
    pub fn forward(&self, tokens: Tensor<4>) -> Tensor<4> {
        gelu(self.conv.forward(tokens))
    }
}
