//! The window transforms as matrices.

use burn::tensor::{Device, Tensor, TensorData};
use ndarray::Array2;
use ndarray::linalg::kron;
use serde::{Deserialize, Serialize};

/// The transform of the adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Orthonormal DCT-II, the paper's choice.
    Dct,
    /// Discrete Fourier transform scaled by 1 / sqrt(n) an axis, the paper's Table 4.
    Fft,
}

impl Transform {
    /// One-dimensional bases `[n, n]`, row = frequency: one real matrix for the DCT, real and
    /// imaginary part for the FFT.
    pub(crate) fn bases(self, n: usize) -> Vec<Array2<f64>> {
        match self {
            Self::Dct => vec![dct::basis(n)],
            Self::Fft => {
                let scale = 1.0 / (n as f64).sqrt();
                let angle =
                    |k: usize, i: usize| -std::f64::consts::TAU * ((k * i) % n) as f64 / n as f64;
                vec![
                    Array2::from_shape_fn((n, n), |(k, i)| scale * angle(k, i).cos()),
                    Array2::from_shape_fn((n, n), |(k, i)| scale * angle(k, i).sin()),
                ]
            }
        }
    }

    /// Two-dimensional bases `[n * n, n * n]` over row-major windows, row = frequency: the
    /// coefficients of a window `x` are each basis times `x`.
    pub(crate) fn bases_2d(self, n: usize) -> Vec<Array2<f64>> {
        match (self, &self.bases(n)[..]) {
            (Self::Fft, [re, im]) => {
                vec![kron(re, re) - kron(im, im), kron(re, im) + kron(im, re)]
            }
            _ => vec![dct::basis_2d(n)],
        }
    }
}

/// A matrix as a tensor in single precision.
pub(crate) fn matrix(values: &Array2<f64>, device: &Device) -> Tensor<2> {
    let (rows, columns) = values.dim();
    let data: Vec<f32> = values.iter().map(|v| *v as f32).collect();
    Tensor::from_data(TensorData::new(data, [rows, columns]), device)
}
