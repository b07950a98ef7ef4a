//! Masks: which pixels are anomalous.

use std::path::Path;

use image::DynamicImage;
use ndarray::Array2;

use crate::read::{Format, decode, read_file};
use crate::{Error, Limits};

/// A lossless mask with more distinct levels than this is a drawing with soft edges, not a set of labels.
const MOST_LABELS: usize = 16;

/// Reads a mask: `true` where the pixel is anomalous.
///
/// A pixel's level is the largest of its colour channels; alpha is ignored.
/// - JPEG, where compression blurs the labels: a level above 127.
/// - Lossless with at most 16 distinct levels (0 and 255, class numbers, palette colours): any level but zero.
///   Sixteen-bit class numbers are kept, not scaled to nothing.
/// - Lossless with more levels (edges drawn anti-aliased, or a JPEG mask saved again): a level above 127.
///
/// # Shapes
/// - output: `[height, width]`
///
/// # Errors
/// As [`read_image`](crate::read_image).
pub fn read_mask(path: &Path, limits: &Limits) -> Result<Array2<bool>, Error> {
    decode_mask(&read_file(path, limits)?, path, limits)
}

/// Reads the bytes of a mask, as [`read_mask`] does its file; errors call it `name`.
///
/// # Errors
/// As [`read_mask`].
pub fn decode_mask(bytes: &[u8], name: &Path, limits: &Limits) -> Result<Array2<bool>, Error> {
    let (image, format) = decode(bytes, name, limits)?;
    let shape = (image.height() as usize, image.width() as usize);
    let levels = levels(image);
    let soft = format == Format::Jpeg || distinct(&levels) > MOST_LABELS;
    let least = if soft { 128 } else { 1 };
    let mask = levels.into_iter().map(|level| level >= least).collect();
    Ok(Array2::from_shape_vec(shape, mask).expect("one level a pixel"))
}

/// Reads the mask of an image of this width and height, as [`read_mask`].
///
/// # Errors
/// As [`read_mask`], and [`Error::MaskSize`].
pub fn read_mask_of(
    image: (u32, u32),
    path: &Path,
    limits: &Limits,
) -> Result<Array2<bool>, Error> {
    let mask = read_mask(path, limits)?;
    let (height, width) = mask.dim();
    let size = (width as u32, height as u32);
    if size != image {
        return Err(Error::MaskSize { path: path.to_path_buf(), mask: size, image });
    }
    Ok(mask)
}

fn levels(image: DynamicImage) -> Vec<u8> {
    use DynamicImage::{ImageLuma8, ImageLuma16, ImageLumaA16, ImageRgb16, ImageRgba16};
    /// Scales as images are scaled, but keeps small class numbers apart from zero.
    fn level(channels: &[u16]) -> u8 {
        let top = channels.iter().copied().max().unwrap_or(0);
        ((u32::from(top) + 128) / 257).max(u32::from(top > 0)) as u8
    }
    match image {
        ImageLuma8(image) => image.into_raw(),
        ImageLuma16(image) => image.as_raw().chunks_exact(1).map(level).collect(),
        ImageLumaA16(image) => image.as_raw().chunks_exact(2).map(|p| level(&p[..1])).collect(),
        ImageRgb16(image) => image.as_raw().chunks_exact(3).map(level).collect(),
        ImageRgba16(image) => image.as_raw().chunks_exact(4).map(|p| level(&p[..3])).collect(),
        other => {
            let rgb = other.into_rgb8().into_raw();
            rgb.as_chunks::<3>().0.iter().map(|&[r, g, b]| r.max(g).max(b)).collect()
        }
    }
}

fn distinct(levels: &[u8]) -> usize {
    let mut seen = [false; 256];
    levels.iter().for_each(|&level| seen[usize::from(level)] = true);
    seen.into_iter().filter(|&s| s).count()
}
