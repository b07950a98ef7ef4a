//! Cosine transforms of NumPy arrays, which are read where they are.

use dct::{DctType, Float, ImageDim, Normalization, Padding, RaggedBlocks};
use ndarray::{ArrayD, ArrayViewD, Axis, Ix2, Ix3, Ix4};
use numpy::{Element, IntoPyArray, PyReadonlyArrayDyn};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;

/// An array in one of the two precisions.
#[derive(FromPyObject)]
pub(crate) enum Samples<'py> {
    Single(PyReadonlyArrayDyn<'py, f32>),
    Double(PyReadonlyArrayDyn<'py, f64>),
}

/// A computation for both precisions.
trait Transform: Sync {
    fn apply<T: Float>(&self, array: ArrayViewD<'_, T>) -> Result<ArrayD<T>, RaggedBlocks>;
}

fn run<'py>(
    py: Python<'py>,
    samples: &Samples<'_>,
    transform: &impl Transform,
) -> PyResult<Bound<'py, PyAny>> {
    match samples {
        Samples::Single(array) => compute(py, array.as_array(), transform),
        Samples::Double(array) => compute(py, array.as_array(), transform),
    }
}

fn compute<'py, T: Float + Element>(
    py: Python<'py>,
    array: ArrayViewD<'_, T>,
    transform: &impl Transform,
) -> PyResult<Bound<'py, PyAny>> {
    let done = py.detach(|| transform.apply(array));
    let done = done.map_err(|ragged| errors::Error::new_err(ragged.to_string()))?;
    Ok(done.into_pyarray(py).into_any())
}

struct Axes {
    kind: DctType,
    axes: Vec<usize>,
    normalization: Normalization,
    inverse: bool,
}

impl Axes {
    fn new(kind: u8, axes: Vec<usize>, norm: Option<&str>, inverse: bool) -> PyResult<Self> {
        let kind = match kind {
            1 => DctType::I,
            2 => DctType::II,
            3 => DctType::III,
            4 => DctType::IV,
            other => {
                return Err(PyValueError::new_err(format!("type: expected 1 to 4, got {other}")));
            }
        };
        let normalization = match norm {
            None | Some("backward") => Normalization::Backward,
            Some("ortho") => Normalization::Ortho,
            Some("forward") => Normalization::Forward,
            Some(other) => {
                return Err(PyValueError::new_err(format!(
                    "norm: expected \"backward\", \"ortho\" or \"forward\", got \"{other}\""
                )));
            }
        };
        Ok(Self { kind, axes, normalization, inverse })
    }
}

impl Transform for Axes {
    fn apply<T: Float>(&self, array: ArrayViewD<'_, T>) -> Result<ArrayD<T>, RaggedBlocks> {
        let axes = self.axes.iter().map(|axis| Axis(*axis));
        let transform = if self.inverse { dct::idctn } else { dct::dctn };
        Ok(transform(array, self.kind, axes, self.normalization))
    }
}

/// Transforms along axes, each of which is long enough.
///
/// # Errors
/// `ValueError` for a type or a norm that there is not.
#[pyfunction]
pub(crate) fn dctn<'py>(
    py: Python<'py>,
    samples: Samples<'py>,
    kind: u8,
    axes: Vec<usize>,
    norm: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    run(py, &samples, &Axes::new(kind, axes, norm, false)?)
}

/// Undoes `dctn`.
///
/// # Errors
/// As `dctn`.
#[pyfunction]
pub(crate) fn idctn<'py>(
    py: Python<'py>,
    samples: Samples<'py>,
    kind: u8,
    axes: Vec<usize>,
    norm: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    run(py, &samples, &Axes::new(kind, axes, norm, true)?)
}

struct Blocks {
    size: usize,
    inverse: bool,
}

impl Blocks {
    fn of<T: Float, D: ImageDim>(
        &self,
        array: ArrayViewD<'_, T>,
    ) -> Result<ArrayD<T>, RaggedBlocks> {
        let array = array.into_dimensionality::<D>().expect("as many axes as were counted");
        let done = if self.inverse {
            dct::block_idct_2d(array, self.size)
        } else {
            dct::block_dct_2d(array, self.size, Padding::None)
        };
        Ok(done?.into_dyn())
    }
}

impl Transform for Blocks {
    fn apply<T: Float>(&self, array: ArrayViewD<'_, T>) -> Result<ArrayD<T>, RaggedBlocks> {
        match array.ndim() {
            2 => self.of::<T, Ix2>(array),
            3 => self.of::<T, Ix3>(array),
            _ => self.of::<T, Ix4>(array),
        }
    }
}

/// Orthonormal transforms of blocks of `size` by `size`; the array has two, three or four axes.
///
/// # Errors
/// `Error` if the sides are no multiples of the block's.
#[pyfunction]
pub(crate) fn block_dct_2d<'py>(
    py: Python<'py>,
    samples: Samples<'py>,
    size: usize,
) -> PyResult<Bound<'py, PyAny>> {
    run(py, &samples, &Blocks { size, inverse: false })
}

/// Undoes `block_dct_2d`.
///
/// # Errors
/// As `block_dct_2d`.
#[pyfunction]
pub(crate) fn block_idct_2d<'py>(
    py: Python<'py>,
    samples: Samples<'py>,
    size: usize,
) -> PyResult<Bound<'py, PyAny>> {
    run(py, &samples, &Blocks { size, inverse: true })
}
