//! JPEG: headers from a stream through zune-jpeg, samples through libjpeg-turbo-rs, which gives those of libjpeg-turbo
//! and so of Pillow to the bit. Both in their strict modes: damaged data is an error.

use std::io::{BufRead, Seek};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use libjpeg_turbo_rs::{ComponentInfo, DecodeLimits, Decoder, JpegError, PixelFormat};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::{ZByteReaderTrait, ZCursor};
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::colour::cmyk_to_rgb;
use crate::{Error, Limits};

/// Most scans of a progressive file: each costs a walk over all blocks for a few bytes. Encoders write about ten.
const MAX_SCANS: usize = 500;

/// Size as stored and orientation, from the header alone.
pub(crate) fn header(
    reader: impl BufRead + Seek,
    path: &Path,
    limits: &Limits,
) -> Result<((u32, u32), Orientation), Error> {
    let (decoder, size) = open(reader, path, limits)?;
    Ok((size, orientation(&decoder)))
}

/// Grey or RGB samples and the orientation still to be applied.
pub(crate) fn decode(
    bytes: &[u8],
    path: &Path,
    limits: &Limits,
) -> Result<(DynamicImage, Orientation), Error> {
    let (header, (width, height)) = open(ZCursor::new(bytes), path, limits)?;
    let orientation = orientation(&header);
    if !has_end(bytes) {
        return Err(cut_short(path)); // the decoder would invent up to a row of blocks
    }
    let bounds = DecodeLimits {
        max_scans: MAX_SCANS,
        max_memory: Some(limits.max_bytes),
        ..DecodeLimits::default()
    };
    let failed = |e| sample_error(e, path);
    let mut decoder = Decoder::new_with_limits(bytes, bounds).map_err(failed)?;
    let format = match decoder.header().components.as_slice() {
        [_] => PixelFormat::Grayscale,
        [first, second, third, fourth] => {
            let sampling = |c: &ComponentInfo| [c.horizontal_sampling, c.vertical_sampling];
            let mut steps = sampling(first).into_iter().zip(sampling(second));
            // The decoder takes this for granted.
            if sampling(first) != sampling(fourth)
                || sampling(second) != sampling(third)
                || steps.any(|(fine, coarse)| coarse == 0 || fine % coarse != 0)
            {
                let what = "CMYK of unusual sampling".to_owned();
                return Err(Error::Unsupported { path: path.to_path_buf(), format: "JPEG", what });
            }
            PixelFormat::Cmyk
        }
        _ => PixelFormat::Rgb,
    };
    decoder.set_output_format(format);
    decoder.set_stop_on_warning(true);
    let samples = decoder.decode_image().map_err(failed)?.data;
    let image = match format {
        PixelFormat::Grayscale => GrayImage::from_raw(width, height, samples).map(Into::into),
        PixelFormat::Cmyk => {
            // Ink is stored inverted, as Adobe does and Pillow assumes.
            let ink = |pixel: &[u8; 4]| cmyk_to_rgb(pixel.map(|sample| 255 - sample));
            let rgb = samples.as_chunks().0.iter().flat_map(ink).collect();
            RgbImage::from_raw(width, height, rgb).map(Into::into)
        }
        _ => RgbImage::from_raw(width, height, samples).map(Into::into),
    };
    let image = image.ok_or_else(|| broken(path, "two headers of different sizes"))?;
    Ok((image, orientation))
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
    // A progressive file keeps all coefficients, 2 bytes each, until the last scan; then come the planes.
    let samples = u64::from(width) * u64::from(height) * u64::from(info.components);
    limits.check(path, width, height, samples * 3)?;
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
    broken(path, "the file is cut short")
}

fn broken(path: &Path, reason: &str) -> Error {
    Error::Broken { path: path.to_path_buf(), format: "JPEG", reason: reason.to_owned() }
}

fn sample_error(error: JpegError, path: &Path) -> Error {
    match error {
        JpegError::Unsupported(what) => {
            Error::Unsupported { path: path.to_path_buf(), format: "JPEG", what }
        }
        JpegError::LimitExceeded { what, actual, limit } => {
            Error::TooLarge { path: path.to_path_buf(), what: format!("{what} of {actual}"), limit }
        }
        JpegError::UnexpectedEof => cut_short(path),
        other => broken(path, &other.to_string()),
    }
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
