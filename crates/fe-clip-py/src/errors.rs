//! The library's errors as exceptions, in its words.

use std::io;

use fe_clip::Failed;
use pyo3::create_exception;
use pyo3::exceptions::{PyFileNotFoundError, PyOSError, PyPermissionError, PyValueError};
use pyo3::prelude::*;

create_exception!(
    fe_clip,
    Error,
    PyValueError,
    "What the library refuses: images, models, settings and calibrations that are not what they should be."
);
create_exception!(fe_clip, Undefined, Error, "A metric that its definition leaves open.");

/// The exception for an error that says `text`.
fn exception(text: String, error: &(dyn std::error::Error + 'static)) -> PyErr {
    let mut cause = Some(error);
    while let Some(now) = cause {
        if let Some(refused) = now.downcast_ref::<io::Error>() {
            return match refused.kind() {
                io::ErrorKind::NotFound => PyFileNotFoundError::new_err(text),
                io::ErrorKind::PermissionDenied => PyPermissionError::new_err(text),
                _ => PyOSError::new_err(text),
            };
        }
        cause = now.source();
    }
    Error::new_err(text)
}

/// The exception for an error of the library.
pub(crate) fn raised(error: fe_clip::Error) -> PyErr {
    exception(error.to_string(), &error)
}

/// The exception for an image without a verdict.
pub(crate) fn failed(failed: Failed) -> PyErr {
    exception(failed.to_string(), &failed.error)
}

/// The exception for an image that cannot be read.
pub(crate) fn unread(error: data::Error) -> PyErr {
    exception(error.to_string(), &error)
}

/// The exception for a metric that has no value.
pub(crate) fn undefined(why: metrics::Undefined) -> PyErr {
    Undefined::new_err(why.to_string())
}
