//! Image files to RGB: every format by its content, limits before allocation.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use image::codecs::{png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, RgbImage};

use crate::Error;
use crate::error::Fault;
use crate::guard::guarded;
use crate::metadata::Metadata;
use crate::{bmp, dicom, jpeg, png, tiff};

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    Tiff,
    Bmp,
    WebP,
    Dicom,
}

/// Bytes from a file's start on that tell its format.
pub(crate) const HEAD: usize = dicom::MAGIC_AT + dicom::MAGIC.len();

/// Bounds on what one image may take; checked against the header before anything is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels (width x height) of an image.
    pub max_pixels: u64,
    /// Most bytes of decoded samples, the decoder's own and the RGB image together, and most bytes of the file.
    pub max_bytes: u64,
}

impl Default for Limits {
    /// 178,956,970 pixels, where Pillow refuses an image as a decompression bomb, and 2 GiB.
    fn default() -> Self {
        Self { max_pixels: 178_956_970, max_bytes: 2 << 30 }
    }
}

impl Limits {
    /// Checks an image of which the decoder holds `decoded` bytes besides the RGB image.
    pub(crate) fn check(&self, width: u32, height: u32, decoded: u64) -> Result<(), Fault> {
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.max_pixels {
            let what = format!("{width} x {height} = {pixels} pixels");
            return Err(Fault::TooLarge { what, limit: self.max_pixels });
        }
        let bytes = decoded.saturating_add(pixels.saturating_mul(3));
        if bytes > self.max_bytes {
            let what = format!("{width} x {height} pixels, {bytes} bytes decoded");
            return Err(Fault::TooLarge { what, limit: self.max_bytes });
        }
        Ok(())
    }
}

/// Reads an image as 8-bit RGB.
///
/// The format is found by content, whatever the extension says: JPEG (baseline and progressive; grey, YCbCr, RGB,
/// CMYK, YCCK), PNG, TIFF (first page), BMP, WebP (first frame) and DICOM (first frame; raw, run lengths, baseline JPEG).
/// The EXIF orientation is applied. Grey becomes three equal channels, alpha is dropped (as Pillow's
/// `convert("RGB")` does), a palette is looked up. Samples of 16 bits are scaled by 255/65535 and rounded.
/// Float samples of a TIFF are scaled from the narrowest of the ranges 0 to 1, 0 to 255 and 0 to 65535 that holds all
/// of them, then rounded; samples outside of all three, or not finite, are an error.
/// Grey values of DICOM are rescaled, then seen through the file's first window; without one, the least value that its
/// bits can hold is black and the largest white. `MONOCHROME1` is the other way round. Lookup tables are not read.
/// A file cut short or with damaged image data is an error, never a picture with a grey rest.
///
/// # Errors
/// Every variant of [`Error`] about one file.
pub fn read_image(path: &Path, limits: &Limits) -> Result<RgbImage, Error> {
    decode(&read_file(path, limits)?, path, limits).map(|(image, _)| image.into_rgb8())
}

/// Decodes an image held in memory as [`read_image`] does; `name` stands for the path in errors.
///
/// # Errors
/// As [`read_image`].
pub fn decode_image(bytes: &[u8], name: &str, limits: &Limits) -> Result<RgbImage, Error> {
    decode(bytes, Path::new(name), limits).map(|(image, _)| image.into_rgb8())
}

/// Reads the size `(width, height)` that [`read_image`] would give, from the header alone.
///
/// # Errors
/// As [`read_image`], but damage behind the header goes unnoticed.
pub fn image_size(path: &Path, limits: &Limits) -> Result<(u32, u32), Error> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let mut head = Vec::with_capacity(HEAD);
    file.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(io)?;
    file.seek_relative(-(head.len() as i64)).map_err(io)?;
    let format = format(&head, path)?;
    let (size, orientation) =
        guarded(path, format_name(format), || header(file, &head, format, limits))?;
    Ok(match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (size.1, size.0),
        _ => size,
    })
}

/// Decodes with the samples as stored (grey stays grey, 16 bits stay 16 bits), upright.
pub(crate) fn decode(
    bytes: &[u8],
    path: &Path,
    limits: &Limits,
) -> Result<(DynamicImage, Format), Error> {
    let format = format(bytes, path)?;
    let image = guarded(path, format_name(format), || {
        let (mut image, orientation) = pixels(bytes, format, limits)?;
        image.apply_orientation(orientation);
        Ok(image)
    })?;
    Ok((image, format))
}

/// Size as stored and orientation.
fn header(
    mut file: impl BufRead + Seek,
    head: &[u8],
    format: Format,
    limits: &Limits,
) -> Result<((u32, u32), Orientation), Fault> {
    match format {
        Format::Jpeg => {
            let header = jpeg::Header::read(file)?;
            Ok((header.size(limits)?, header.orientation()))
        }
        Format::Tiff => tiff::header(&mut file, limits),
        Format::Png => {
            let chunks = png::chunks(file, false)?;
            let decoder = PngDecoder::with_limits(Cursor::new(chunks.critical), bounds(limits));
            Ok((size(&decoder.map_err(fault)?, limits)?, chunks.metadata.orientation()))
        }
        Format::WebP => {
            let mut decoder = WebPDecoder::new(file).map_err(fault)?;
            let metadata = metadata(&mut decoder);
            Ok((size(&decoder, limits)?, metadata.orientation()))
        }
        Format::Dicom => dicom::header(file, limits),
        Format::Bmp => {
            let decoder = bmp::decoder(file, bmp::is_bare(head)).map_err(fault)?;
            Ok((size(&decoder, limits)?, Orientation::NoTransforms))
        }
    }
}

/// The samples as stored and the orientation still to be applied.
fn pixels(
    bytes: &[u8],
    format: Format,
    limits: &Limits,
) -> Result<(DynamicImage, Orientation), Fault> {
    match format {
        Format::Jpeg => jpeg::decode(bytes, limits),
        Format::Tiff => tiff::decode(bytes, limits),
        Format::Png => {
            let chunks = png::chunks(Cursor::new(bytes), true)?;
            let decoder = PngDecoder::with_limits(Cursor::new(chunks.critical), bounds(limits));
            Ok((image(decoder.map_err(fault)?, limits)?, chunks.metadata.orientation()))
        }
        Format::WebP => {
            let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(fault)?;
            decoder.set_limits(bounds(limits)).map_err(fault)?;
            let metadata = metadata(&mut decoder);
            Ok((image(decoder, limits)?, metadata.orientation()))
        }
        Format::Dicom => dicom::decode(bytes, limits),
        Format::Bmp => {
            let decoder = bmp::decoder(Cursor::new(bytes), bmp::is_bare(bytes)).map_err(fault)?;
            let mut image = image(decoder, limits)?;
            bmp::round_down(&mut image, bytes);
            Ok((image, Orientation::NoTransforms))
        }
    }
}

fn size(decoder: &impl ImageDecoder, limits: &Limits) -> Result<(u32, u32), Fault> {
    let (width, height) = decoder.dimensions();
    limits.check(width, height, decoder.total_bytes())?;
    Ok((width, height))
}

fn image(decoder: impl ImageDecoder, limits: &Limits) -> Result<DynamicImage, Fault> {
    size(&decoder, limits)?;
    DynamicImage::from_decoder(decoder).map_err(fault)
}

/// What a decoder knows beside the pixels; what makes no sense counts as missing.
fn metadata(decoder: &mut impl ImageDecoder) -> Metadata {
    Metadata {
        exif: decoder.exif_metadata().ok().flatten(),
        xmp: decoder.xmp_metadata().ok().flatten(),
    }
}

fn bounds(limits: &Limits) -> image::Limits {
    let mut bounds = image::Limits::default();
    bounds.max_alloc = Some(limits.max_bytes);
    bounds
}

/// Reads a whole file, unless it is larger than the limit.
pub(crate) fn read_file(path: &Path, limits: &Limits) -> Result<Vec<u8>, Error> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(io)?;
    let too_large = |bytes: u64| Error::TooLarge {
        path: path.to_path_buf(),
        what: format!("a file of {bytes} bytes or more"),
        limit: limits.max_bytes,
    };
    let length = file.metadata().map_err(io)?.len();
    if length > limits.max_bytes {
        return Err(too_large(length));
    }
    let mut bytes = Vec::with_capacity(length as usize + 1);
    file.take(limits.max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limits.max_bytes {
        return Err(too_large(bytes.len() as u64)); // a pipe, or a file that grows
    }
    Ok(bytes)
}

/// The name of a format in messages.
pub(crate) fn format_name(format: Format) -> &'static str {
    match format {
        Format::Jpeg => "JPEG",
        Format::Png => "PNG",
        Format::Tiff => "TIFF",
        Format::Bmp => "BMP",
        Format::WebP => "WebP",
        Format::Dicom => "DICOM",
    }
}

/// The format, if it is one that is read.
pub(crate) fn image_format(head: &[u8]) -> Option<Format> {
    if head.starts_with(b"II+\0") || head.starts_with(b"MM\0+") {
        return Some(Format::Tiff); // BigTIFF
    }
    if bmp::is_bare(head) {
        return Some(Format::Bmp);
    }
    if head.get(dicom::MAGIC_AT..).is_some_and(|rest| rest.starts_with(dicom::MAGIC)) {
        return Some(Format::Dicom);
    }
    Some(match image::guess_format(head).ok()? {
        ImageFormat::Jpeg => Format::Jpeg,
        ImageFormat::Png => Format::Png,
        ImageFormat::Tiff => Format::Tiff,
        ImageFormat::Bmp => Format::Bmp,
        ImageFormat::WebP => Format::WebP,
        _ => return None,
    })
}

fn format(bytes: &[u8], path: &Path) -> Result<Format, Error> {
    image_format(bytes).ok_or_else(|| {
        let found = match image::guess_format(bytes) {
            Ok(other) => format!("it looks like {}", format!("{other:?}").to_uppercase()),
            Err(_) if bytes.is_empty() => "the file is empty".to_owned(),
            Err(_) => format!("it starts with {:02x?}", &bytes[..bytes.len().min(8)]),
        };
        Error::NotAnImage { path: path.to_path_buf(), found }
    })
}

fn fault(error: ImageError) -> Fault {
    match error {
        ImageError::Unsupported(e) => Fault::Unsupported(e.to_string()),
        ImageError::IoError(e) => e.into(),
        other => Fault::Broken(other.to_string()),
    }
}
