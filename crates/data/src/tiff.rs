//! The first page of a TIFF, as libtiff reads it. Strips and tiles are assembled here; other crates decompress them.
//!
//! Integers of 1 to 16 bits and floats of 16 to 64; grey, palette, RGB, CMYK and YCbCr. What is not read is refused by
//! the name that the tags give it.

mod compression;
mod directory;
mod fax;
mod kind;
mod page;
mod predictor;
mod samples;
mod ycbcr;

use std::io::{Cursor, Read, Seek};

use image::DynamicImage;
use image::metadata::Orientation;

use crate::Limits;
use crate::error::Fault;

pub(crate) use directory::Directory;

/// The tag of the orientation, also in EXIF.
pub(crate) const ORIENTATION: u16 = 274;

/// Size as stored and orientation, from the header alone.
pub(crate) fn header(
    reader: &mut (impl Read + Seek),
    limits: &Limits,
) -> Result<((u32, u32), Orientation), Fault> {
    let page = page::Page::read(reader, limits)?;
    Ok(((page.width, page.height), page.orientation))
}

/// Grey or RGB samples of 8 or 16 bits and the orientation still to be applied.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<(DynamicImage, Orientation), Fault> {
    let page = page::Page::read(&mut Cursor::new(bytes), limits)?;
    Ok((samples::image(&page, bytes, limits)?, page.orientation))
}
