//! Between arrays and tensors, and the few operations that several modules need.

use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{Array3, Array4, ArrayView3, Axis};

/// Scales the vectors of the last axis to unit length; a zero vector stays zero.
pub fn normalize<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let norm = x.clone().square().sum_dim(D - 1).add_scalar(1e-12).sqrt();
    x / norm
}

/// Preprocessed images as one tensor `[batch, 3, height, width]`.
pub(crate) fn batch(images: &[Array3<f32>], device: &Device) -> Tensor<4> {
    let views: Vec<ArrayView3<'_, f32>> = images.iter().map(|image| image.view()).collect();
    let stacked: Array4<f32> =
        ndarray::stack(Axis(0), &views).expect("images of a batch have one size");
    let (b, c, h, w) = stacked.dim();
    let (values, _) = stacked.into_raw_vec_and_offset();
    Tensor::from_data(TensorData::new(values, [b, c, h, w]), device)
}

/// Maps on the host, `[batch, height, width]`.
pub(crate) fn grids(maps: Tensor<3>) -> Array3<f32> {
    let [b, h, w] = maps.dims();
    Array3::from_shape_vec((b, h, w), floats(maps)).expect("a map has one value a token")
}

/// A tensor's values, row-major.
pub(crate) fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().expect("tensors here are float32")
}
