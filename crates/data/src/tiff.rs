//! TIFF: 1 to 16 bits and float, grey, RGB, CMYK, with alpha or without, palette colours; the first page.

mod jpeg;
mod palette;

use std::io::{Cursor, Read, Seek};
use std::path::Path;

use ::tiff::decoder::{BufferLayoutPreference, Decoder, DecodingResult};
use ::tiff::tags::Tag;
use ::tiff::{ColorType, TiffError};
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageBuffer, RgbImage};

use crate::colour::{cmyk_to_rgb, ycbcr_to_rgb};
use crate::read::io_error;
use crate::{Error, Limits};

/// Size as stored and orientation, from the header alone.
pub(crate) fn header(
    reader: impl Read + Seek,
    path: &Path,
    limits: &Limits,
) -> Result<((u32, u32), Orientation), Error> {
    let mut page = open(reader, path, limits)?;
    Ok(((page.width, page.height), page.orientation(path)?))
}

/// Grey or RGB samples of 8 or 16 bits and the orientation still to be applied.
pub(crate) fn decode(
    bytes: &[u8],
    path: &Path,
    limits: &Limits,
) -> Result<(DynamicImage, Orientation), Error> {
    let failed = |e| tiff_error(e, path);
    let mut page = open(Cursor::new(bytes), path, limits)?;
    let orientation = page.orientation(path)?;
    if let ColorType::Palette(bits) = page.color {
        let colours = palette::colours(&mut page.decoder, bits).map_err(failed)?;
        let grey = palette::declared_grey(bytes, &mut page.decoder)
            .ok_or_else(|| unsupported("a palette in a strange place".to_owned(), path))?;
        let mut page = open(Cursor::new(grey.as_slice()), path, limits)?;
        return Ok((page.indexed(&colours, path)?, orientation));
    }
    jpeg::check(bytes, &mut page.decoder, path, limits)?;
    let mut samples = DecodingResult::U8(Vec::new());
    let layout = page.decoder.read_image_to_buffer(&mut samples).map_err(failed)?;
    Ok((page.image(samples, &layout, path)?, orientation))
}

struct Page<R: Read + Seek> {
    decoder: Decoder<R>,
    width: u32,
    height: u32,
    color: ColorType,
    /// Samples a pixel in the file.
    samples: usize,
    /// Samples a pixel that we keep: 1 (grey), 3 (RGB) or 4 (CMYK).
    kept: usize,
}

fn open<R: Read + Seek>(reader: R, path: &Path, limits: &Limits) -> Result<Page<R>, Error> {
    let failed = |e| tiff_error(e, path);
    let mut decoder = Decoder::new(reader).map_err(failed)?;
    let (width, height) = decoder.dimensions().map_err(failed)?;
    let color = match palette::index_bits(&mut decoder).map_err(failed)? {
        Some(bits) => ColorType::Palette(bits),
        None => decoder.colortype().map_err(failed)?,
    };
    let (samples, kept) = match color {
        ColorType::Gray(_) | ColorType::Palette(1..=8) => (1, 1),
        ColorType::GrayA(_) | ColorType::Multiband { num_samples: 2, .. } => (2, 1),
        ColorType::RGB(_) | ColorType::YCbCr(_) => (3, 3),
        ColorType::RGBA(_) => (4, 3),
        ColorType::CMYK(_) => (4, 4),
        ColorType::CMYKA(_) => (5, 4),
        other => return Err(unsupported(format!("{other:?}"), path)),
    };
    let bits = u64::from(color.bit_depth()) * samples as u64;
    let decoded = u64::from(width) * u64::from(height) * bits.div_ceil(8);
    limits.check(path, width, height, decoded)?;
    let mut bounds = ::tiff::decoder::Limits::default();
    bounds.decoding_buffer_size = limits.max_bytes as usize;
    bounds.intermediate_buffer_size = limits.max_bytes as usize;
    Ok(Page { decoder: decoder.with_limits(bounds), width, height, color, samples, kept })
}

impl<R: Read + Seek> Page<R> {
    fn orientation(&mut self, path: &Path) -> Result<Orientation, Error> {
        let tag = self.decoder.find_tag_unsigned::<u16>(Tag::Orientation);
        let value = tag.map_err(|e| tiff_error(e, path))?.unwrap_or(1);
        Ok(Orientation::from_exif(value.min(255) as u8).unwrap_or(Orientation::NoTransforms))
    }

    fn image(
        &self,
        samples: DecodingResult,
        layout: &BufferLayoutPreference,
        path: &Path,
    ) -> Result<DynamicImage, Error> {
        match samples {
            DecodingResult::U8(packed) if self.color.bit_depth() < 8 => {
                let bits = self.color.bit_depth();
                let white = (1u8 << bits) - 1;
                let mut bytes = unpack(&packed, self.width as usize, bits);
                bytes.iter_mut().for_each(|sample| *sample *= 255 / white);
                self.bytes(self.pixels(&bytes, layout, path)?, path)
            }
            DecodingResult::U8(bytes) => self.bytes(self.pixels(&bytes, layout, path)?, path),
            DecodingResult::U16(words) => self.words(self.pixels(&words, layout, path)?, path),
            DecodingResult::F16(v) => {
                let v: Vec<f64> = v.into_iter().map(f64::from).collect();
                self.floats(self.pixels(&v, layout, path)?, path)
            }
            DecodingResult::F32(v) => {
                let v: Vec<f64> = v.into_iter().map(f64::from).collect();
                self.floats(self.pixels(&v, layout, path)?, path)
            }
            DecodingResult::F64(v) => self.floats(self.pixels(&v, layout, path)?, path),
            _ => Err(unsupported(format!("signed or wide integers, {:?}", self.color), path)),
        }
    }

    /// The colours that the samples of a page declared grey stand for.
    fn indexed(&mut self, colours: &[[u8; 3]], path: &Path) -> Result<DynamicImage, Error> {
        let bits = self.color.bit_depth();
        let mut samples = DecodingResult::U8(Vec::new());
        let layout = self.decoder.read_image_to_buffer(&mut samples);
        let layout = layout.map_err(|e| tiff_error(e, path))?;
        let DecodingResult::U8(samples) = samples else {
            return Err(unsupported(format!("a palette, {:?}", self.color), path));
        };
        let indices = if bits < 8 { unpack(&samples, self.width as usize, bits) } else { samples };
        let indices = self.pixels(&indices, &layout, path)?;
        // Every index has a colour: there are two to the power of `bits`.
        let rgb = indices.iter().flat_map(|&index| colours[usize::from(index)]).collect();
        RgbImage::from_raw(self.width, self.height, rgb)
            .map(DynamicImage::from)
            .ok_or_else(|| unsupported(format!("a palette, {:?}", self.color), path))
    }

    /// The kept samples of each pixel, interleaved, from either arrangement of the planes.
    fn pixels<T: Copy>(
        &self,
        samples: &[T],
        layout: &BufferLayoutPreference,
        path: &Path,
    ) -> Result<Vec<T>, Error> {
        let pixels = self.width as usize * self.height as usize;
        if samples.len() != pixels * self.samples {
            let what = format!("{} samples for {pixels} pixels", samples.len());
            return Err(unsupported(what, path));
        }
        if layout.planes > 1 {
            let plane_major =
                |pixel| (0..self.kept).map(move |plane| samples[plane * pixels + pixel]);
            return Ok((0..pixels).flat_map(plane_major).collect());
        }
        Ok(samples.chunks_exact(self.samples).flat_map(|p| &p[..self.kept]).copied().collect())
    }

    fn bytes(&self, samples: Vec<u8>, path: &Path) -> Result<DynamicImage, Error> {
        let (w, h) = (self.width, self.height);
        let image = match (self.color, self.kept) {
            (_, 1) => GrayImage::from_raw(w, h, samples).map(DynamicImage::from),
            (ColorType::YCbCr(_), _) => {
                let rgb = samples.as_chunks().0.iter().copied().flat_map(ycbcr_to_rgb).collect();
                RgbImage::from_raw(w, h, rgb).map(DynamicImage::from)
            }
            (_, 3) => RgbImage::from_raw(w, h, samples).map(DynamicImage::from),
            _ => {
                let rgb = samples.as_chunks().0.iter().copied().flat_map(cmyk_to_rgb).collect();
                RgbImage::from_raw(w, h, rgb).map(DynamicImage::from)
            }
        };
        image.ok_or_else(|| unsupported(format!("{:?}", self.color), path))
    }

    fn words(&self, samples: Vec<u16>, path: &Path) -> Result<DynamicImage, Error> {
        let (w, h) = (self.width, self.height);
        let image = match (self.color, self.kept) {
            (_, 1) => ImageBuffer::from_raw(w, h, samples).map(DynamicImage::ImageLuma16),
            (ColorType::RGB(_) | ColorType::RGBA(_), _) => {
                ImageBuffer::from_raw(w, h, samples).map(DynamicImage::ImageRgb16)
            }
            _ => None,
        };
        image.ok_or_else(|| unsupported(format!("{:?}", self.color), path))
    }

    fn floats(&self, samples: Vec<f64>, path: &Path) -> Result<DynamicImage, Error> {
        let (low, high) = samples.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| {
            if l.is_nan() || v.is_nan() { (f64::NAN, f64::NAN) } else { (l.min(v), h.max(v)) }
        });
        let range = [1.0, 255.0, 65535.0].into_iter().find(|&range| low >= 0.0 && high <= range);
        let scale = 255.0
            / range.ok_or_else(|| Error::FloatRange { path: path.to_path_buf(), low, high })?;
        self.bytes(samples.into_iter().map(|v| (v * scale).round() as u8).collect(), path)
    }
}

/// Samples of 1, 2 or 4 bits, rows padded to whole bytes.
fn unpack(packed: &[u8], width: usize, bits: u8) -> Vec<u8> {
    let per_byte = usize::from(8 / bits);
    let white = (1u8 << bits) - 1;
    let row = |row: &[u8]| -> Vec<u8> {
        (0..width)
            .map(|x| {
                let shift = 8 - bits * (1 + (x % per_byte) as u8);
                (row[x / per_byte] >> shift) & white
            })
            .collect()
    };
    packed.chunks_exact(width.div_ceil(per_byte)).flat_map(row).collect()
}

fn unsupported(what: String, path: &Path) -> Error {
    Error::Unsupported { path: path.to_path_buf(), format: "TIFF", what }
}

fn tiff_error(error: TiffError, path: &Path) -> Error {
    match error {
        TiffError::UnsupportedError(what) => unsupported(what.to_string(), path),
        TiffError::IoError(e) => io_error(e, path.to_path_buf(), "TIFF"),
        other => {
            Error::Broken { path: path.to_path_buf(), format: "TIFF", reason: other.to_string() }
        }
    }
}
