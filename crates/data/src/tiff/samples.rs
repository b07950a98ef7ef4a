//! Assembles strips and tiles into one picture.

use half::f16;
use image::{DynamicImage, GrayImage, ImageBuffer, RgbImage};

use super::compression::{self, Part};
use super::directory::unsigned;
use super::kind::{Compression, Photometric};
use super::page::Page;
use super::ycbcr::Converter;
use crate::Limits;
use crate::colour::{cmyk_to_rgb, divide_by_alpha};
use crate::error::Fault;

/// The picture of a page as stored, not yet upright.
pub(super) fn image(page: &Page, bytes: &[u8], limits: &Limits) -> Result<DynamicImage, Fault> {
    let little = page.directory.little;
    match (page.float, page.bits) {
        (true, 64) => {
            let samples = assemble(page, bytes, limits, |row, samples: &mut [f64]| {
                let bits = row.chunks_exact(8).map(|bytes| unsigned(bytes, little));
                samples
                    .iter_mut()
                    .zip(bits)
                    .for_each(|(sample, bits)| *sample = f64::from_bits(bits));
            })?;
            from_bytes(page, scale_floats(&samples)?)
        }
        (true, bits) => {
            let samples = assemble(page, bytes, limits, |row, samples: &mut [f32]| {
                let numbers =
                    row.chunks_exact(bits as usize / 8).map(|bytes| unsigned(bytes, little));
                samples
                    .iter_mut()
                    .zip(numbers)
                    .for_each(|(sample, number)| *sample = float(number, bits));
            })?;
            from_bytes(page, scale_floats(&samples)?)
        }
        (false, 8) => {
            let samples = assemble(page, bytes, limits, |row, samples: &mut [u8]| {
                samples.copy_from_slice(&row[..samples.len()]);
            })?;
            from_levels(page, samples)
        }
        (false, bits @ ..8) => {
            let samples = assemble(page, bytes, limits, |row, samples: &mut [u8]| {
                unpack(row, bits, samples, |number| number as u8);
            })?;
            from_levels(page, samples)
        }
        (false, 16) => {
            let samples = assemble(page, bytes, limits, |row, samples: &mut [u16]| {
                let numbers = row.as_chunks().0.iter();
                let number = |&bytes| {
                    if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
                };
                samples.iter_mut().zip(numbers).for_each(|(sample, bytes)| *sample = number(bytes));
            })?;
            from_words(page, samples)
        }
        (false, bits) => {
            let samples = assemble(page, bytes, limits, |row, samples: &mut [u16]| {
                unpack(row, bits, samples, |number| number as u16);
            })?;
            from_words(page, samples)
        }
    }
}

/// The kept samples of each pixel, interleaved; `read` decodes the first samples of a row, as many as it has room for.
fn assemble<T: Copy + Default>(
    page: &Page,
    bytes: &[u8],
    limits: &Limits,
    read: impl Fn(&[u8], &mut [T]),
) -> Result<Vec<T>, Fault> {
    let (width, kept) = (page.width as usize, page.kept);
    let mut image = vec![T::default(); width * page.height as usize * kept];
    let (across, down) = page.grid();
    let per_plane = across as usize * down as usize;
    let mut scratch = Vec::new();
    for index in 0..page.places.len() {
        let (plane, cell) = (index / per_plane, (index % per_plane) as u32);
        let (x, y) = (cell % across * page.chunk.0, cell / across * page.chunk.1);
        let shown = (page.chunk.0.min(page.width - x), page.chunk.1.min(page.height - y));
        let rows = if page.tiled { page.chunk.1 } else { shown.1 };
        let part = Part { index, rows, shown };
        let samples = compression::samples(page, bytes, part, limits)?;
        let row_bytes = samples.len() / rows as usize;
        let shown_samples = shown.0 as usize * page.samples;
        for (row, y) in samples.chunks_exact(row_bytes).zip(y as usize..page.height as usize) {
            let place = &mut image[(y * width + x as usize) * kept..][..shown.0 as usize * kept];
            if page.samples == kept {
                read(row, place);
                continue;
            }
            scratch.resize(shown_samples, T::default());
            read(row, &mut scratch);
            for (pixel, stored) in
                place.chunks_exact_mut(kept).zip(scratch.chunks_exact(page.samples))
            {
                if page.planes {
                    pixel[plane] = stored[0];
                } else {
                    pixel.copy_from_slice(&stored[..kept]);
                }
            }
        }
    }
    Ok(image)
}

/// Samples of at most 16 bits that are packed without gaps, the highest bit first.
fn unpack<T>(row: &[u8], bits: u32, samples: &mut [T], to: impl Fn(u32) -> T) {
    for (index, sample) in samples.iter_mut().enumerate() {
        let at = index * bits as usize;
        let byte = |offset| u32::from(row.get(at / 8 + offset).copied().unwrap_or(0));
        let window = byte(0) << 16 | byte(1) << 8 | byte(2);
        *sample = to(window >> (24 - at as u32 % 8 - bits) & ((1 << bits) - 1));
    }
}

fn float(number: u64, bits: u32) -> f32 {
    match bits {
        16 => f16::from_bits(number as u16).to_f32(),
        24 => float_of_24_bits(number as u32),
        _ => f32::from_bits(number as u32),
    }
}

/// Sign, 7 bits of exponent and 16 of fraction, as in Adobe's technical note 3.
fn float_of_24_bits(number: u32) -> f32 {
    let (sign, exponent, fraction) = (number >> 23 << 31, number >> 16 & 0x7f, number & 0xffff);
    match exponent {
        0 => {
            let magnitude = fraction as f32 * f32::from_bits((127 - 62 - 16) << 23);
            if sign == 0 { magnitude } else { -magnitude }
        }
        0x7f => f32::from_bits(sign | 0xff << 23 | fraction << 7),
        _ => f32::from_bits(sign | (exponent + 127 - 63) << 23 | fraction << 7),
    }
}

/// To 8 bits, from the narrowest of the ranges in use.
fn scale_floats<T: Copy + Into<f64>>(samples: &[T]) -> Result<Vec<u8>, Fault> {
    let values = samples.iter().map(|&v| v.into());
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v: f64| {
        if l.is_nan() || v.is_nan() { (f64::NAN, f64::NAN) } else { (l.min(v), h.max(v)) }
    });
    let range = [1.0, 255.0, 65535.0].into_iter().find(|&range| low >= 0.0 && high <= range);
    let scale = 255.0 / range.ok_or(Fault::FloatRange { low, high })?;
    Ok(samples.iter().map(|&v| (v.into() * scale).round() as u8).collect())
}

/// A picture from whole numbers of at most 8 bits.
fn from_levels(page: &Page, mut samples: Vec<u8>) -> Result<DynamicImage, Fault> {
    let most = ((1u32 << page.bits) - 1) as u8;
    if page.photometric == Photometric::Palette {
        return indexed(page, samples.into_iter().map(usize::from));
    }
    if page.photometric == Photometric::WhiteIsZero {
        samples.chunks_exact_mut(page.kept).for_each(|pixel| pixel[0] = most - pixel[0]);
    }
    if most < 255 {
        let (half, most) = (u32::from(most) / 2, u32::from(most));
        samples.iter_mut().for_each(|v| *v = ((u32::from(*v) * 255 + half) / most) as u8);
    }
    from_bytes(page, samples)
}

/// A picture from whole numbers of 9 to 16 bits.
fn from_words(page: &Page, mut samples: Vec<u16>) -> Result<DynamicImage, Fault> {
    let most = ((1u32 << page.bits) - 1) as u16;
    if page.photometric == Photometric::Palette {
        return indexed(page, samples.into_iter().map(usize::from));
    }
    if page.photometric == Photometric::WhiteIsZero {
        samples.chunks_exact_mut(page.kept).for_each(|pixel| pixel[0] = most - pixel[0]);
    }
    if most < u16::MAX {
        samples.iter_mut().for_each(|v| *v = widen(*v, most));
    }
    let (w, h) = (page.width, page.height);
    let image = match (page.photometric, page.kept) {
        (Photometric::WhiteIsZero | Photometric::BlackIsZero, 1) => {
            ImageBuffer::from_raw(w, h, samples).map(DynamicImage::ImageLuma16)
        }
        (Photometric::Rgb, 3) => ImageBuffer::from_raw(w, h, samples).map(DynamicImage::ImageRgb16),
        // As Pillow, by the upper bytes.
        _ => return from_bytes(page, samples.into_iter().map(|v| (v >> 8) as u8).collect()),
    };
    image.ok_or_else(wrong_size)
}

/// A sample of less than 16 bits, such that rounding it to 8 bits later gives the level nearest to it now.
fn widen(sample: u16, most: u16) -> u16 {
    let (sample, most) = (u32::from(sample), u32::from(most));
    let scale = |to: u32| (sample * to + most / 2) / most;
    let level = scale(255) * 257;
    scale(65535).clamp(level.saturating_sub(128), level + 128).min(65535) as u16
}

/// The colours that samples stand for.
fn indexed(page: &Page, indices: impl Iterator<Item = usize>) -> Result<DynamicImage, Fault> {
    let map = page.colour_map()?;
    let count = 1 << page.bits;
    // Some writers give levels of 8 bits, as libtiff knows; else the upper byte counts, as Pillow has it.
    let shift = if map.iter().all(|&level| level < 256) { 0 } else { 8 };
    let colour = |index| [0, 1, 2].map(|channel| (map[channel * count + index] >> shift) as u8);
    RgbImage::from_raw(page.width, page.height, indices.flat_map(colour).collect())
        .map(DynamicImage::from)
        .ok_or_else(wrong_size)
}

/// A picture from samples of 8 bits, scaled.
fn from_bytes(page: &Page, samples: Vec<u8>) -> Result<DynamicImage, Fault> {
    let samples = match page.kept > page.photometric.colours() {
        true => divide_by_alpha(&samples, page.kept),
        false => samples,
    };
    let rgb = match page.photometric {
        Photometric::WhiteIsZero | Photometric::BlackIsZero | Photometric::Palette => {
            let grey = GrayImage::from_raw(page.width, page.height, samples);
            return grey.map(DynamicImage::from).ok_or_else(wrong_size);
        }
        Photometric::Cmyk => samples.as_chunks().0.iter().copied().flat_map(cmyk_to_rgb).collect(),
        Photometric::YCbCr if is_converted(page) => samples,
        Photometric::YCbCr => {
            let converter = Converter::new(&page.directory);
            samples.as_chunks().0.iter().flat_map(|&pixel| converter.rgb(pixel)).collect()
        }
        Photometric::Rgb => samples,
    };
    RgbImage::from_raw(page.width, page.height, rgb).map(DynamicImage::from).ok_or_else(wrong_size)
}

/// Whether the codec has converted YCbCr to RGB.
fn is_converted(page: &Page) -> bool {
    match page.compression {
        Compression::Jpeg => !page.planes,
        Compression::WebP => true,
        _ => false,
    }
}

fn wrong_size() -> Fault {
    Fault::broken("samples that do not make the page")
}
