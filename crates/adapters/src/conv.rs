//! The learnable convolution of LFS and of the Conv adapter.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use crate::activation::gelu;
use crate::pad::{Padding, gather_grid};

/// A `k x k` convolution over tokens, without an activation; zeros around the grid keep its size.
///
/// It runs as one matrix product over gathered neighbourhoods: a matrix
/// `[k * k * channels, channels]`, rows in the order row, column, input channel.
#[derive(Module, Debug)]
pub struct Conv {
    /// The kernel as a matrix, with its bias.
    pub linear: Linear,
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
        Self { linear, kernel }
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
        if k == 1 {
            return self.linear.forward(tokens);
        }
        let (reach, size) = ((k / 2) as isize, k as isize);
        let places = (0..(h * w) as isize).flat_map(|at| {
            let (y, x) = (at / w as isize - reach, at % w as isize - reach);
            (0..size * size).map(move |tap| (y + tap / size, x + tap % size))
        });
        let taps = gather_grid(tokens, Padding::Zero, places); // [b, h * w * k * k, d]
        self.linear.forward(taps.reshape([b, h, w, k * k * d])) // [b, h, w, d]
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
