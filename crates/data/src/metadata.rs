//! Which way up: the orientation in EXIF and XMP.

use std::io::Cursor;

use image::metadata::Orientation;

use crate::tiff::{Directory, ORIENTATION};

/// What a file says about its image beside the pixels.
#[derive(Default)]
pub(crate) struct Metadata {
    /// A TIFF file without pixels, with or without the six bytes before it in JPEG.
    pub(crate) exif: Option<Vec<u8>>,
    pub(crate) xmp: Option<Vec<u8>>,
}

impl Metadata {
    /// As in Pillow, XMP counts only where EXIF has no orientation, and invalid numbers leave the image as it is.
    pub(crate) fn orientation(&self) -> Orientation {
        let exif = self.exif.as_deref().and_then(exif_orientation);
        let number = exif.or_else(|| self.xmp.as_deref().and_then(xmp_orientation));
        number.map_or(Orientation::NoTransforms, orientation)
    }
}

/// The transformation that an orientation number stands for.
pub(crate) fn orientation(number: u64) -> Orientation {
    let number = u8::try_from(number).unwrap_or(0);
    Orientation::from_exif(number).unwrap_or(Orientation::NoTransforms)
}

fn exif_orientation(exif: &[u8]) -> Option<u64> {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    Directory::read(&mut Cursor::new(exif), &[ORIENTATION]).ok()?.number(ORIENTATION)
}

/// `tiff:Orientation` as an attribute or as an element.
fn xmp_orientation(xmp: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"tiff:Orientation";
    xmp.windows(NAME.len() + 3).filter_map(|window| window.strip_prefix(NAME)).find_map(|rest| {
        match *rest {
            [b'=', b'"' | b'\'', digit @ b'0'..=b'9'] | [b'>', digit @ b'0'..=b'9', _] => {
                Some(u64::from(digit - b'0'))
            }
            _ => None,
        }
    })
}
