//! Verdicts as Python takes them.

use fe_clip::{Failed, Label, Region, Verdict};
use ndarray::Array2;
use numpy::{IntoPyArray, PyArray2};
use pyo3::prelude::*;

use crate::errors::failed;

/// Score and raw score, label, map, regions, width and height.
pub(crate) type Found<'py> =
    (f64, f64, Option<&'static str>, Bound<'py, PyArray2<f32>>, Vec<Place<'py>>, (u32, u32));

/// Left, top, width, height, area, highest value and outline `[corners, 2]` of a region.
type Place<'py> = (u32, u32, u32, u32, u64, f64, Bound<'py, PyArray2<f64>>);

/// What is kept of a verdict: all but the image, which the caller has.
pub(crate) struct Kept {
    score: f64,
    raw_score: f32,
    label: Option<Label>,
    map: Array2<f32>,
    regions: Vec<Region>,
    size: (u32, u32),
}

impl From<Verdict> for Kept {
    fn from(verdict: Verdict) -> Self {
        let Verdict { score, raw_score, label, map, regions, size, .. } = verdict;
        Self { score, raw_score, label, map, regions, size }
    }
}

impl Kept {
    fn into_python(self, py: Python<'_>) -> Found<'_> {
        let Self { score, raw_score, label, map, regions, size } = self;
        let regions = regions.into_iter().map(|region| place(region, py)).collect();
        let label = label.map(Label::as_str);
        (score, shortest(raw_score), label, map.into_pyarray(py), regions, size)
    }
}

/// A verdict, or the exception that says why there is none.
pub(crate) fn to_python(found: Result<Kept, Failed>, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    match found {
        Ok(kept) => Ok(kept.into_python(py).into_pyobject(py)?.into_any()),
        Err(error) => Ok(failed(error).into_value(py).into_bound(py).into_any()),
    }
}

fn place(region: Region, py: Python<'_>) -> Place<'_> {
    let Region { x, y, width, height, area, peak, polygon, .. } = region;
    let outline = Array2::from_shape_fn((polygon.len(), 2), |(corner, axis)| polygon[corner][axis]);
    (x, y, width, height, area, shortest(peak), outline.into_pyarray(py))
}

/// The double that prints as the single-precision number does, so that numbers read as those of
/// the program.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
