//! The few tensor operations that several modules need.

use burn::tensor::Tensor;

/// Scales the vectors of the last axis to unit length; a zero vector stays zero.
pub fn normalize<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let norm = x.clone().square().sum_dim(D - 1).add_scalar(1e-12).sqrt();
    x / norm
}
