//! Pictures of objects with a transparent background.

use std::path::Path;

use image::RgbaImage;

use crate::read::{decode, read_file};
use crate::{Error, Limits};

/// Reads an image as [`read_image`](crate::read_image) does, but keeps its transparency: the fourth channel is 255
/// on the object, and everywhere in a picture without transparency.
///
/// # Errors
/// As [`read_image`](crate::read_image).
pub fn read_cutout(path: &Path, limits: &Limits) -> Result<RgbaImage, Error> {
    decode(&read_file(path, limits)?, path, limits).map(|(image, _)| image.into_rgba8())
}
