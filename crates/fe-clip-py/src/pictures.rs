//! Pictures of results.

use std::io::Cursor;
use std::path::PathBuf;

use data::{Limits, Preprocess, Resize, decode_image};
use fe_clip::geometry;
use image::{ImageFormat, RgbImage};
use ndarray::Array3;
use numpy::{IntoPyArray, PyArray2, PyArray3, PyReadonlyArray2, PyReadonlyArray3};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::unread;
use crate::images::pixels;

/// How images become squares, as `run.toml` calls it.
pub(crate) const WAYS: [(Resize, &str); 3] = [
    (Resize::Squash, "squash"),
    (Resize::ShortestCrop, "shortest_crop"),
    (Resize::Letterbox, "letterbox"),
];

fn array(image: RgbImage) -> Array3<u8> {
    let (width, height) = image.dimensions();
    let shape = (height as usize, width as usize, 3);
    Array3::from_shape_vec(shape, image.into_raw()).expect("three values a pixel")
}

/// Reads an image as the detector does, `[height, width, 3]`: the file of that name, or bytes
/// that such a file would hold.
///
/// # Errors
/// Of the library.
#[pyfunction]
pub(crate) fn read_image<'py>(
    py: Python<'py>,
    name: PathBuf,
    content: Option<&[u8]>,
) -> PyResult<Bound<'py, PyArray3<u8>>> {
    let limits = Limits::default();
    let read = py.detach(|| match content {
        Some(bytes) => decode_image(bytes, &name.to_string_lossy(), &limits),
        None => data::read_image(&name, &limits),
    });
    Ok(array(read.map_err(unread)?).into_pyarray(py))
}

/// A square map of the model's input at the size of the image.
///
/// # Errors
/// `ValueError` if the map is not square, or there is no such way of resizing.
#[pyfunction]
pub(crate) fn map_on_image<'py>(
    py: Python<'py>,
    map: PyReadonlyArray2<'py, f32>,
    resize: &str,
    size: (u32, u32),
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let map = map.as_array();
    let (rows, columns) = map.dim();
    if rows != columns || rows == 0 || size.0 == 0 || size.1 == 0 {
        return Err(PyValueError::new_err(format!(
            "expected a square map, got {rows} x {columns}"
        )));
    }
    let Some((way, _)) = WAYS.into_iter().find(|(_, name)| *name == resize) else {
        return Err(PyValueError::new_err(format!("no way of resizing is called {resize}")));
    };
    let preprocess = Preprocess::clip(rows, way);
    let whole = py.detach(|| geometry::to_image(map, &preprocess, size, size));
    Ok(whole.into_pyarray(py))
}

/// The image with the heat map over it, `[height, width, 3]`; the map has the image's size.
///
/// # Errors
/// `ValueError` if it has not.
#[pyfunction]
pub(crate) fn overlay<'py>(
    py: Python<'py>,
    image: PyReadonlyArray3<'py, u8>,
    map: PyReadonlyArray2<'py, f32>,
    caption: &str,
    threshold: Option<f32>,
) -> PyResult<Bound<'py, PyArray3<u8>>> {
    let (image, map) = (pixels(&image)?, map.as_array());
    let (width, height) = image.dimensions();
    if map.dim() != (height as usize, width as usize) {
        let text = format!("expected a map of {height} x {width}, got {:?}", map.dim());
        return Err(PyValueError::new_err(text));
    }
    let levels = threshold.as_slice();
    let picture = py.detach(|| fe_clip::overlay::overlay(&image, map, caption, levels, None, None));
    Ok(array(picture).into_pyarray(py))
}

/// A picture `[height, width, 3]` as a PNG file's bytes.
///
/// # Errors
/// `ValueError` if it has no pixels.
#[pyfunction]
pub(crate) fn png<'py>(
    py: Python<'py>,
    picture: PyReadonlyArray3<'py, u8>,
) -> PyResult<Bound<'py, PyBytes>> {
    let picture = pixels(&picture)?;
    let written = py.detach(|| {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).map(|()| bytes.into_inner())
    });
    let bytes = written.map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(PyBytes::new(py, &bytes))
}
