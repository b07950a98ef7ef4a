//! Metrics on NumPy arrays, which are read where they are.

use metrics::{AuproOptions, Connectivity, Score, Undefined};
use ndarray::{ArrayView, ArrayView1, ArrayView3, Dimension};
use numpy::{PyReadonlyArray, PyReadonlyArray1, PyReadonlyArray3};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::undefined;
use crate::started;

/// Scores in one of the two precisions.
#[derive(FromPyObject)]
pub(crate) enum Scores<'py> {
    Single(PyReadonlyArray1<'py, f32>),
    Double(PyReadonlyArray1<'py, f64>),
}

/// Maps in one of the two precisions.
#[derive(FromPyObject)]
pub(crate) enum Maps<'py> {
    Single(PyReadonlyArray3<'py, f32>),
    Double(PyReadonlyArray3<'py, f64>),
}

/// Bytes, each 0 or 1, as truth values.
///
/// # Errors
/// `ValueError` if one is something else, or they are not contiguous.
fn truths<'a, D: Dimension>(
    bytes: &'a PyReadonlyArray<'_, u8, D>,
) -> PyResult<ArrayView<'a, bool, D>> {
    let invalid = |reason: &str| PyValueError::new_err(reason.to_owned());
    let shape = bytes.as_array().raw_dim();
    let bytes = bytes.as_slice().map_err(|_| invalid("labels: expected a contiguous array"))?;
    let truths = bytemuck::checked::try_cast_slice(bytes).map_err(|_| {
        invalid("labels: expected truth values or 0 and 1; a mask of 0 and 255 is `mask > 0`")
    })?;
    ArrayView::from_shape(shape, truths).map_err(|error| invalid(&error.to_string()))
}

/// Computes without holding up other threads of Python.
fn of_scores<T: Send>(
    py: Python<'_>,
    scores: &Scores<'_>,
    labels: &PyReadonlyArray1<'_, u8>,
    single: impl FnOnce(ArrayView1<'_, f32>, ArrayView1<'_, bool>) -> Result<T, Undefined> + Send,
    double: impl FnOnce(ArrayView1<'_, f64>, ArrayView1<'_, bool>) -> Result<T, Undefined> + Send,
) -> PyResult<T> {
    started::enter()?;
    let labels = truths(labels)?;
    match scores {
        Scores::Single(scores) => {
            let scores = scores.as_array();
            py.detach(|| single(scores, labels))
        }
        Scores::Double(scores) => {
            let scores = scores.as_array();
            py.detach(|| double(scores, labels))
        }
    }
    .map_err(undefined)
}

/// Area under the ROC curve.
///
/// # Errors
/// `Undefined`.
#[pyfunction]
pub(crate) fn auroc(
    py: Python<'_>,
    scores: Scores<'_>,
    labels: PyReadonlyArray1<'_, u8>,
) -> PyResult<f64> {
    of_scores(py, &scores, &labels, metrics::auroc, metrics::auroc)
}

/// Average precision.
///
/// # Errors
/// `Undefined`.
#[pyfunction]
pub(crate) fn average_precision(
    py: Python<'_>,
    scores: Scores<'_>,
    labels: PyReadonlyArray1<'_, u8>,
) -> PyResult<f64> {
    of_scores(py, &scores, &labels, metrics::average_precision, metrics::average_precision)
}

/// The largest F1 and its threshold.
///
/// # Errors
/// `Undefined`.
#[pyfunction]
pub(crate) fn f1_max(
    py: Python<'_>,
    scores: Scores<'_>,
    labels: PyReadonlyArray1<'_, u8>,
) -> PyResult<(f64, f64)> {
    let best = of_scores(py, &scores, &labels, metrics::f1_max, metrics::f1_max)?;
    Ok((best.value, best.threshold))
}

/// Area under the per-region overlap curve; maps and masks are `[n, height, width]`.
///
/// # Errors
/// `Undefined`; `ValueError` for another number of neighbours than 4 and 8.
#[pyfunction]
pub(crate) fn aupro(
    py: Python<'_>,
    maps: Maps<'_>,
    masks: PyReadonlyArray3<'_, u8>,
    max_fpr: f64,
    neighbours: u8,
) -> PyResult<f64> {
    started::enter()?;
    let connectivity = match neighbours {
        4 => Connectivity::Four,
        8 => Connectivity::Eight,
        other => {
            let text = format!("neighbours: expected 4 or 8, got {other}");
            return Err(PyValueError::new_err(text));
        }
    };
    let options = AuproOptions { connectivity, max_fpr };
    let masks = truths(&masks)?;
    match &maps {
        Maps::Single(maps) => of_maps(py, maps.as_array(), masks, options),
        Maps::Double(maps) => of_maps(py, maps.as_array(), masks, options),
    }
}

fn of_maps<S: Score>(
    py: Python<'_>,
    maps: ArrayView3<'_, S>,
    masks: ArrayView3<'_, bool>,
    options: AuproOptions,
) -> PyResult<f64> {
    py.detach(|| metrics::aupro(maps, masks, options)).map_err(undefined)
}
