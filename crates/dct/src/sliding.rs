use ndarray::{Array2, Array4, ArrayView3};

use crate::definition::{DctType, Definition, Normalization};
use crate::{Float, Padding, dct_2d};

/// All orthonormal DCT-II coefficients of the window around every position,
/// `[H, W, C]` to `[window*window, H, W, C]`.
///
/// The window of position `(i, j)` starts `window/2` rows above and `window/2` columns left of it;
/// outside, the nearest sample is repeated.
/// Frequencies are row-major: plane `u*window + v` holds vertical frequency `u`, horizontal `v`.
///
/// ```
/// let x = ndarray::Array3::from_elem((4, 5, 2), 1.0_f64);
/// let y = dct::sliding_dct_2d(x.view(), 3);
/// assert_eq!(y.dim(), (9, 4, 5, 2));
/// approx::assert_abs_diff_eq!(y[[0, 0, 0, 0]], 3.0, epsilon = 1e-14); // mean x window
/// approx::assert_abs_diff_eq!(y[[5, 0, 0, 0]], 0.0, epsilon = 1e-14);
/// ```
///
/// # Panics
/// If `window == 0`, or if a side of the array is zero.
#[track_caller]
pub fn sliding_dct_2d<T: Float>(image: ArrayView3<'_, T>, window: usize) -> Array4<T> {
    let (height, width, channels) = image.dim();
    let mut out = Array4::zeros((window * window, height, width, channels));
    let source = |at: usize, offset: usize, len: usize| {
        let position = (at + offset) as isize - (window / 2) as isize;
        Padding::Replicate.source(position, len).expect("replication always has a source")
    };
    for i in 0..height {
        for j in 0..width {
            for c in 0..channels {
                let patch = Array2::from_shape_fn((window, window), |(u, v)| {
                    image[[source(i, u, height), source(j, v, width), c]]
                });
                for (k, value) in dct_2d(patch.view()).into_iter().enumerate() {
                    out[[k, i, j, c]] = value;
                }
            }
        }
    }
    out
}

/// The fixed kernel `[q, q]` that the mean of all `q*q` sliding-window coefficients is.
///
/// The coefficients of a window `x` are `X = C x C^T`, so their mean is linear in `x`:
///
/// ```text
/// (1/q^2) sum_{u,v} X[u,v] = sum_{i,j} k[i] k[j] x[i,j],   k[i] = (1/q) sum_u C[u,i]
/// ```
///
/// that is, a correlation (no flip) with the rank-one kernel `k k^T`.
/// `k` is far from symmetric, since all cosines agree near the first sample only: for `q = 3` it is
/// `(0.5642, -0.0797, 0.0929)`, with 91 % of the energy of `k k^T` on the window's first sample.
///
/// ```
/// let k = dct::sliding_mean_kernel::<f64>(2);
/// approx::assert_abs_diff_eq!(k, ndarray::array![[0.5, 0.0], [0.0, 0.0]], epsilon = 1e-15);
/// ```
///
/// # Panics
/// If `q == 0`.
#[track_caller]
pub fn sliding_mean_kernel<T: Float>(q: usize) -> Array2<T> {
    let k = mean_weights(q);
    Array2::from_shape_fn((q, q), |(i, j)| T::of(k[i] * k[j]))
}

/// Column means of the basis.
#[track_caller]
fn mean_weights(q: usize) -> Vec<f64> {
    let c = Definition::forward(DctType::II, q, Normalization::Ortho).matrix();
    c.columns().into_iter().map(|column| column.sum() / q as f64).collect()
}
