//! Images as Python hands them over.

use std::path::PathBuf;

use fe_clip::Input;
use image::RgbImage;
use numpy::PyReadonlyArray3;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::unread;

/// An image: its name, and its content unless that is what the file of that name holds. The
/// content is a file's bytes or pixels `uint8 [height, width, 3]`, which are copied.
///
/// # Errors
/// If it is something else, or has no pixels.
pub(crate) fn input(given: &Bound<'_, PyAny>) -> PyResult<Input> {
    let (name, content): (PathBuf, Bound<'_, PyAny>) = given.extract()?;
    if content.is_none() {
        return Ok(Input::from(name));
    }
    if let Ok(bytes) = content.cast::<PyBytes>() {
        return Ok(Input::bytes(name, bytes.as_bytes().to_vec()));
    }
    Ok(Input::pixels(name, pixels(&content.extract()?)?))
}

/// A copy of pixels `[height, width, 3]`.
///
/// # Errors
/// If there are none, or not three channels.
pub(crate) fn pixels(array: &PyReadonlyArray3<'_, u8>) -> PyResult<RgbImage> {
    let array = array.as_array();
    let (height, width, channels) = array.dim();
    let sides = u32::try_from(width).ok().zip(u32::try_from(height).ok());
    let (Some((columns, rows)), 3, 1..) = (sides, channels, array.len()) else {
        let shape = array.shape();
        return Err(PyValueError::new_err(format!("expected [height, width, 3], got {shape:?}")));
    };
    let (values, _) = array.as_standard_layout().into_owned().into_raw_vec_and_offset();
    Ok(RgbImage::from_raw(columns, rows, values).expect("as many values as the shape says"))
}

/// The images below a folder, in the order of their paths.
///
/// # Errors
/// If it cannot be read, or holds no image.
#[pyfunction]
pub(crate) fn find_images(folder: PathBuf) -> PyResult<Vec<PathBuf>> {
    let found = data::find_images(&folder).map_err(unread)?;
    found.into_iter().map(|path| path.map_err(unread)).collect()
}
