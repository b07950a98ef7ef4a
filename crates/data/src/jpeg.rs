//! JPEG through zune-jpeg in its strict mode: damaged data is an error.

use std::io::{BufRead, Seek};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::{ZByteReaderTrait, ZCursor};
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::{Error, Limits};

/// Size as stored and orientation, from the header alone.
pub(crate) fn header(
    reader: impl BufRead + Seek,
    path: &Path,
    limits: &Limits,
) -> Result<((u32, u32), Orientation), Error> {
    let (decoder, size) = open(reader, path, limits)?;
    Ok((size, orientation(&decoder)))
}

/// RGB samples and the orientation still to be applied.
pub(crate) fn decode(
    bytes: &[u8],
    path: &Path,
    limits: &Limits,
) -> Result<(DynamicImage, Orientation), Error> {
    let (mut decoder, (width, height)) = open(ZCursor::new(bytes), path, limits)?;
    let mut pixels = vec![0; width as usize * height as usize * 3];
    decoder.decode_into(&mut pixels).map_err(|e| jpeg_error(e, path))?;
    if !has_end(bytes) {
        return Err(cut_short(path)); // the decoder invents up to a row of blocks
    }
    let orientation = orientation(&decoder);
    let image = RgbImage::from_raw(width, height, pixels).expect("three bytes a pixel");
    Ok((image.into(), orientation))
}

fn open<T: ZByteReaderTrait>(
    reader: T,
    path: &Path,
    limits: &Limits,
) -> Result<(JpegDecoder<T>, (u32, u32)), Error> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX) // our own limits are checked below
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(reader, options);
    decoder.decode_headers().map_err(|e| jpeg_error(e, path))?;
    let info = decoder.info().expect("headers are decoded");
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    // A progressive file keeps all coefficients, 2 bytes each, until the last scan.
    let coefficients = u64::from(width) * u64::from(height) * u64::from(info.components) * 2;
    limits.check(path, width, height, coefficients)?;
    Ok((decoder, (width, height)))
}

fn orientation<T: ZByteReaderTrait>(decoder: &JpegDecoder<T>) -> Orientation {
    decoder
        .exif()
        .and_then(|chunk| Orientation::from_exif_chunk(chunk))
        .unwrap_or(Orientation::NoTransforms)
}

/// Whether an end mark follows the start of the first scan. In the segments before, a thumbnail may hold one.
fn has_end(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    let mut at = 2; // behind the start mark
    while let Some(&[mark, kind, high, low]) = bytes.get(at..at + 4) {
        if mark != 0xff || kind == 0xff {
            at += 1; // filling
        } else if kind == START_OF_SCAN {
            return bytes[at..].windows(2).any(|pair| pair == [0xff, 0xd9]);
        } else {
            at += 2 + usize::from(u16::from_be_bytes([high, low]));
        }
    }
    false
}

fn cut_short(path: &Path) -> Error {
    let reason = "the file is cut short".to_owned();
    Error::Broken { path: path.to_path_buf(), format: "JPEG", reason }
}

fn jpeg_error(error: DecodeErrors, path: &Path) -> Error {
    let (path, format) = (path.to_path_buf(), "JPEG");
    match error {
        DecodeErrors::Unsupported(what) => {
            Error::Unsupported { path, format, what: format!("{what:?}") }
        }
        DecodeErrors::ExhaustedData | DecodeErrors::FormatStatic("Premature end of buffer") => {
            cut_short(&path)
        }
        other => Error::Broken { path, format, reason: format!("{other:?}") },
    }
}
