//! CLIP's preprocessing, equal to Pillow's to one grey level.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use ndarray::{Array2, Array3, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

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
    /// How the shape is met.
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
    let size = image.dimensions();
    let pixels = resize(image.as_raw(), size, PixelType::U8x3, FilterType::CatmullRom, p, &padding);
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
    let size = (width as u32, height as u32);
    let resized = resize(&levels, size, PixelType::U8, FilterType::Bilinear, p, &[0]);
    let resized = resized.into_iter().map(|v| v > 127).collect();
    Array2::from_shape_vec((p.height, p.width), resized).expect("one value a pixel")
}

/// Horizontal pass, rounding to 8 bits, vertical pass: Pillow's order, on which the clipped overshoot of the bicubic
/// filter depends.
fn resize(
    pixels: &[u8],
    (width, height): (u32, u32),
    kind: PixelType,
    filter: FilterType,
    p: &Preprocess,
    padding: &[u8],
) -> Vec<u8> {
    let placement = p.placement(width, height);
    let x = Axis1::new(width, placement.width, placement.left, p.width);
    let y = Axis1::new(height, placement.height, placement.top, p.height);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    let mut resizer = Resizer::new();

    let source = ImageRef::new(width, height, pixels, kind).expect("as many bytes as pixels");
    let mut wide = Image::new(x.size, height, kind);
    let crop = options.crop(x.start, 0.0, x.length, f64::from(height));
    resizer.resize(&source, &mut wide, &crop).expect("the box lies in the image");
    let mut inner = Image::new(x.size, y.size, kind);
    let crop = options.crop(0.0, y.start, f64::from(x.size), y.length);
    resizer.resize(&wide, &mut inner, &crop).expect("the box lies in the image");

    if (x.size as usize, y.size as usize) == (p.width, p.height) {
        return inner.into_vec();
    }
    let mut canvas = padding.repeat(p.width * p.height);
    let row = x.size as usize * padding.len();
    for (i, line) in inner.into_vec().chunks_exact(row).enumerate() {
        let start = ((y.offset + i) * p.width + x.offset) * padding.len();
        canvas[start..start + row].copy_from_slice(line);
    }
    canvas
}

/// One axis of a resize: which part of the source fills which part of the target.
struct Axis1 {
    /// First source coordinate, in source pixels.
    start: f64,
    /// Length of the source part, in source pixels.
    length: f64,
    /// First target pixel that is filled.
    offset: usize,
    /// Number of target pixels that are filled.
    size: u32,
}

impl Axis1 {
    fn new(source: u32, resized: u64, offset: i64, target: usize) -> Self {
        let source = f64::from(source);
        if offset < 0 || resized > target as u64 {
            let scale = source / resized as f64;
            let start = offset.unsigned_abs() as f64 * scale;
            let length = (target as f64 * scale).min(source - start);
            Self { start, length, offset: 0, size: target as u32 }
        } else {
            Self { start: 0.0, length: source, offset: offset as usize, size: resized as u32 }
        }
    }
}

fn round_half_even(numerator: u64, denominator: u64) -> u64 {
    let (quotient, twice) = (numerator / denominator, numerator % denominator * 2);
    quotient + u64::from(twice > denominator || (twice == denominator && quotient % 2 == 1))
}
