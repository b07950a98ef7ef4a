use ndarray::{Array2, ArrayView2, Axis};

use crate::{DctType, Float, Normalization, dctn, idctn};

/// Orthonormal 2-D DCT-II over the whole array, `[H, W]` to `[H, W]`.
///
/// ```text
/// X = C_H x C_W^T
/// ```
///
/// with `C_n` the [`basis`](crate::basis) of length `n`; `X[u, v]` is vertical frequency `u`,
/// horizontal frequency `v`.
///
/// ```
/// let x = ndarray::array![[1.0, 2.0], [3.0, 4.0]];
/// let y = dct::dct_2d(x.view());
/// approx::assert_abs_diff_eq!(y, ndarray::array![[5.0, -1.0], [-2.0, 0.0]], epsilon = 1e-14);
/// ```
///
/// # Panics
/// If a side is zero.
#[track_caller]
pub fn dct_2d<T: Float>(block: ArrayView2<'_, T>) -> Array2<T> {
    dctn(block, DctType::II, [Axis(0), Axis(1)], Normalization::Ortho)
}

/// Inverse of [`dct_2d`]: orthonormal 2-D DCT-III over the whole array, `x = C_H^T X C_W`.
///
/// ```
/// let y = ndarray::array![[5.0, -1.0], [-2.0, 0.0]];
/// let x = dct::idct_2d(y.view());
/// approx::assert_abs_diff_eq!(x, ndarray::array![[1.0, 2.0], [3.0, 4.0]], epsilon = 1e-14);
/// ```
///
/// # Panics
/// If a side is zero.
#[track_caller]
pub fn idct_2d<T: Float>(coefficients: ArrayView2<'_, T>) -> Array2<T> {
    idctn(coefficients, DctType::II, [Axis(0), Axis(1)], Normalization::Ortho)
}
