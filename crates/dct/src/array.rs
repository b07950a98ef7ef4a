use ndarray::{Array, ArrayView, Axis, Dimension};

use crate::{DctType, Float, Normalization, Plan};

/// Transforms along one axis; the array keeps its shape.
///
/// ```
/// use dct::{DctType, Normalization, dct};
/// let x = ndarray::array![1.0, 2.0, 3.0];
/// let y = dct(x.view(), DctType::II, ndarray::Axis(0), Normalization::Backward);
/// approx::assert_abs_diff_eq!(y, ndarray::array![12.0, -12.0_f64.sqrt(), 0.0], epsilon = 1e-14);
/// ```
///
/// # Panics
/// If the array has no such axis, or if the axis is empty, or for type I shorter than two.
#[track_caller]
pub fn dct<T: Float, D: Dimension>(
    array: ArrayView<'_, T, D>,
    kind: DctType,
    axis: Axis,
    normalization: Normalization,
) -> Array<T, D> {
    along(array, [axis], |len| Plan::forward(kind, len, normalization))
}

/// Inverse of [`dct`] with the same arguments.
///
/// ```
/// use dct::{DctType, Normalization, idct};
/// let y = ndarray::array![12.0, -12.0_f64.sqrt(), 0.0];
/// let x = idct(y.view(), DctType::II, ndarray::Axis(0), Normalization::Backward);
/// approx::assert_abs_diff_eq!(x, ndarray::array![1.0, 2.0, 3.0], epsilon = 1e-14);
/// ```
///
/// # Panics
/// As [`dct`].
#[track_caller]
pub fn idct<T: Float, D: Dimension>(
    array: ArrayView<'_, T, D>,
    kind: DctType,
    axis: Axis,
    normalization: Normalization,
) -> Array<T, D> {
    along(array, [axis], |len| Plan::inverse(kind, len, normalization))
}

/// Transforms along several axes, one after the other: two of them make the 2-D transform.
///
/// ```
/// use dct::{DctType, Normalization, dctn};
/// use ndarray::{Array3, Axis};
/// let x = Array3::from_elem((2, 3, 5), 1.0_f64);
/// let y = dctn(x.view(), DctType::II, [Axis(0), Axis(1)], Normalization::Ortho);
/// approx::assert_abs_diff_eq!(y[[0, 0, 4]], 6.0_f64.sqrt(), epsilon = 1e-14);
/// ```
///
/// # Panics
/// As [`dct`], for each axis.
#[track_caller]
pub fn dctn<T: Float, D: Dimension>(
    array: ArrayView<'_, T, D>,
    kind: DctType,
    axes: impl IntoIterator<Item = Axis>,
    normalization: Normalization,
) -> Array<T, D> {
    along(array, axes, |len| Plan::forward(kind, len, normalization))
}

/// Inverse of [`dctn`] with the same arguments.
///
/// ```
/// use dct::{DctType, Normalization, idctn};
/// use ndarray::Axis;
/// let y = ndarray::array![[40.0, -8.0_f64.sqrt() * 2.0], [-8.0_f64.sqrt() * 4.0, 0.0]];
/// let x = idctn(y.view(), DctType::II, [Axis(0), Axis(1)], Normalization::Backward);
/// approx::assert_abs_diff_eq!(x, ndarray::array![[1.0, 2.0], [3.0, 4.0]], epsilon = 1e-14);
/// ```
///
/// # Panics
/// As [`dct`], for each axis.
#[track_caller]
pub fn idctn<T: Float, D: Dimension>(
    array: ArrayView<'_, T, D>,
    kind: DctType,
    axes: impl IntoIterator<Item = Axis>,
    normalization: Normalization,
) -> Array<T, D> {
    along(array, axes, |len| Plan::inverse(kind, len, normalization))
}

#[track_caller]
fn along<T: Float, D: Dimension>(
    array: ArrayView<'_, T, D>,
    axes: impl IntoIterator<Item = Axis>,
    plan: impl Fn(usize) -> Plan<T>,
) -> Array<T, D> {
    let mut out = Array::zeros(array.raw_dim());
    out.assign(&array);
    for axis in axes {
        assert!(
            axis.index() < out.ndim(),
            "dct: expected an axis below {}, got {}",
            out.ndim(),
            axis.index()
        );
        let plan = plan(out.len_of(axis));
        plan.process_axis(&mut out, axis, &mut plan.scratch());
    }
    out
}
