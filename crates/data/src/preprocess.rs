//! CLIP's preprocessing with Pillow's resampling.

use image::RgbImage;
use ndarray::{Array2, Array3, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::resample::{Filter, Span, resample};

/// How an image of any shape becomes one of the wanted height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Each axis scaled on its own: nothing is lost, the shape changes.
    Squash,
    /// The smallest size with the image's shape that covers the target, then the centre of it (CLIP's own way).
    ShortestCrop,
    /// The largest size with the image's shape that fits the target, centred on the mean colour.
    Letterbox,
}

/// What [`preprocess`] does: target size and normalisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Height of the result in pixels, at least 1.
    pub height: usize,
    /// Width of the result in pixels, at least 1.
    pub width: usize,
    /// How the image is fitted to this shape.
    pub resize: Resize,
    /// Subtracted from each channel of values in [0, 1].
    pub mean: [f32; 3],
    /// Divides each channel after that.
    pub std: [f32; 3],
}

impl Preprocess {
    /// A square of `size` with the mean and standard deviation of CLIP's training images.
    ///
    /// Source: openai/CLIP, clip/clip.py, `_transform`.
    pub fn clip(size: usize, resize: Resize) -> Self {
        Self {
            height: size,
            width: size,
            resize,
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
        }
    }

    /// Where an image of `width` x `height` pixels comes to lie.
    ///
    /// # Panics
    /// If a size is zero.
    pub fn placement(&self, width: u32, height: u32) -> Placement {
        assert!(
            width > 0 && height > 0 && self.width > 0 && self.height > 0,
            "placement: expected sizes above zero, got image {width} x {height}, target {} x {}",
            self.width,
            self.height
        );
        let (w, h) = (u64::from(width), u64::from(height));
        let (tw, th) = (self.width as u64, self.height as u64);
        let wider = w * th >= h * tw; // the image is wider than the target
        let (width, height) = match self.resize {
            Resize::Squash => (tw, th),
            // torchvision: int(size * long / short)
            Resize::ShortestCrop if wider => (th * w / h, th),
            Resize::ShortestCrop => (tw, tw * h / w),
            Resize::Letterbox if wider => (tw, round_half_even(h * tw, w).max(1)),
            Resize::Letterbox => (round_half_even(w * th, h).max(1), th),
        };
        // both round half to even: torchvision's CenterCrop, Pillow's ImageOps.pad
        let offset = |target: u64, size: u64| {
            let half = round_half_even(target.abs_diff(size), 2) as i64;
            if size > target { -half } else { half }
        };
        Placement { width, height, left: offset(tw, width), top: offset(th, height) }
    }
}

/// Where the resized image lies in the target, in pixels of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Width of the whole resized image.
    pub width: u64,
    /// Height of the whole resized image.
    pub height: u64,
    /// Column of its left edge: positive where the image is padded, negative where it is cropped.
    pub left: i64,
    /// Row of its top edge, with the same sign.
    pub top: i64,
}

/// Resizes, scales to [0, 1] and normalises an image.
///
/// # Shapes
/// - output: `[3, height, width]`
///
/// # Panics
/// If the image or the target has no pixels.
pub fn preprocess(image: &RgbImage, p: &Preprocess) -> Array3<f32> {
    let resized = resize_rgb(image, p);
    let mut output = Array3::zeros((3, p.height, p.width));
    for (channel, mut plane) in output.axis_iter_mut(Axis(0)).enumerate() {
        let levels: [f32; 256] =
            std::array::from_fn(|v| (v as f32 / 255.0 - p.mean[channel]) / p.std[channel]);
        let plane = plane.as_slice_mut().expect("a new array is contiguous");
        for (out, pixel) in plane.iter_mut().zip(resized.as_raw().as_chunks::<3>().0) {
            *out = levels[usize::from(pixel[channel])];
        }
    }
    output
}

/// Resizes with Pillow's antialiased bicubic filter: the 8-bit image that [`preprocess`] normalises.
///
/// # Panics
/// If the image or the target has no pixels.
pub fn resize_rgb(image: &RgbImage, p: &Preprocess) -> RgbImage {
    let padding = p.mean.map(|mean| (mean * 255.0).round() as u8);
    let size = (image.width() as usize, image.height() as usize);
    let pixels = resize::<3>(image.as_raw(), size, Filter::Bicubic, p, padding);
    RgbImage::from_raw(p.width as u32, p.height as u32, pixels).expect("three bytes a pixel")
}

/// Resizes a mask: 0 and 255 through Pillow's antialiased bilinear filter, then above one half.
///
/// # Shapes
/// - mask: `[image height, image width]`
/// - output: `[height, width]`
///
/// # Panics
/// If the mask or the target has no pixels.
pub fn resize_mask(mask: ArrayView2<'_, bool>, p: &Preprocess) -> Array2<bool> {
    let (height, width) = mask.dim();
    let levels: Vec<u8> = mask.iter().map(|&m| if m { 255 } else { 0 }).collect();
    let resized = resize::<1>(&levels, (width, height), Filter::Bilinear, p, [0]);
    let resized = resized.into_iter().map(|v| v > 127).collect();
    Array2::from_shape_vec((p.height, p.width), resized).expect("one value a pixel")
}

/// Resamples into the placement of `p` and pads with `padding`, the `C` channels of one pixel.
fn resize<const C: usize>(
    pixels: &[u8],
    (width, height): (usize, usize),
    filter: Filter,
    p: &Preprocess,
    padding: [u8; C],
) -> Vec<u8> {
    let placement = p.placement(width as u32, height as u32);
    let (x, left) = span(width, placement.width, placement.left, p.width);
    let (y, top) = span(height, placement.height, placement.top, p.height);
    let inner = resample::<C>(pixels, (width, height), &x, &y, filter);
    if (x.size, y.size) == (p.width, p.height) {
        return inner;
    }
    let mut canvas = padding.repeat(p.width * p.height);
    for (row, line) in inner.chunks_exact(x.size * C).enumerate() {
        let start = ((top + row) * p.width + left) * C;
        canvas[start..start + line.len()].copy_from_slice(line);
    }
    canvas
}

/// The part of the source that fills the target along one axis, and the first pixel of the target that it fills.
fn span(source: usize, resized: u64, offset: i64, target: usize) -> (Span, usize) {
    if resized <= target as u64 {
        let whole = Span { start: 0.0, length: source as f64, size: resized as usize };
        return (whole, offset as usize);
    }
    let scale = source as f64 / resized as f64;
    let start = offset.unsigned_abs() as f64 * scale;
    (Span { start, length: target as f64 * scale, size: target }, 0)
}

fn round_half_even(numerator: u64, denominator: u64) -> u64 {
    let (quotient, twice) = (numerator / denominator, numerator % denominator * 2);
    quotient + u64::from(twice > denominator || (twice == denominator && quotient % 2 == 1))
}
