//! Pictures of bounded size for the page: image, map and mask of one input.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data::Preprocess;
use fe_clip::geometry::to_image;
use fe_clip::overlay::colour;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use ndarray::{Array2, ArrayView2};
use serde::Serialize;

/// Longer side of an image on the page, in pixels.
const IMAGE: u32 = 208;
const QUALITY: u8 = 80;
/// Longer side of a map in points, more than its detail needs.
const MAP: u32 = 48;
/// Longer side of a mask in points.
const MASK: u32 = 104;

/// What the page shows of one input.
pub(crate) struct Picture {
    /// JPEG, base64.
    pub(crate) image: String,
    /// The map in the image's frame.
    pub(crate) map: Grid,
    /// The mask in the image's frame.
    pub(crate) mask: Option<Grid>,
}

/// A grid of points, row-major, base64.
#[derive(Serialize)]
pub(crate) struct Grid {
    width: u32,
    height: u32,
    /// A byte a point, 0 to 255 for 0 to 1; of a mask a bit a point, the lowest first.
    points: String,
}

impl Picture {
    /// Makes the pictures of an image with its map and mask in the model's frame.
    pub(crate) fn new(
        image: &RgbImage,
        map: ArrayView2<'_, f32>,
        mask: Option<ArrayView2<'_, bool>>,
        preprocessing: &Preprocess,
    ) -> Self {
        let size = image.dimensions();
        let (width, height) = fit(size, IMAGE);
        let small = image::imageops::thumbnail(image, width, height);
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
            .write_image(&small, width, height, ExtendedColorType::Rgb8)
            .expect("a small RGB image in memory is a JPEG");
        let (width, height) = fit(size, MAP);
        let levels = to_image(map, preprocessing, size, (width, height));
        let levels: Vec<u8> =
            levels.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
        Self {
            image: STANDARD.encode(jpeg),
            map: Grid { width, height, points: STANDARD.encode(levels) },
            mask: mask.map(|mask| mask_grid(mask, preprocessing, size)),
        }
    }
}

/// A mask at lower resolution: a point is set where any of its pixels is, so that no defect is too
/// small to be seen.
fn mask_grid(mask: ArrayView2<'_, bool>, p: &Preprocess, size: (u32, u32)) -> Grid {
    let (width, height) = fit(size, MASK);
    let place = p.placement(size.0, size.1);
    let axis = |i: usize, offset: i64, size: u64, points: u32| -> usize {
        let at = (i as f64 + 0.5 - offset as f64) / size as f64 * f64::from(points);
        (at.max(0.0) as usize).min(points as usize - 1)
    };
    let mut set = Array2::from_elem((height as usize, width as usize), false);
    for ((y, x), _) in mask.indexed_iter().filter(|(_, anomalous)| **anomalous) {
        let row = axis(y, place.top, place.height, height);
        set[[row, axis(x, place.left, place.width, width)]] = true;
    }
    let bits: Vec<bool> = set.into_iter().collect();
    let bytes: Vec<u8> = bits
        .chunks(8)
        .map(|byte| byte.iter().enumerate().fold(0, |b, (i, set)| b | u8::from(*set) << i))
        .collect();
    Grid { width, height, points: STANDARD.encode(bytes) }
}

/// The largest size of the same aspect ratio whose longer side is at most `side`; never larger than
/// the picture itself.
fn fit((width, height): (u32, u32), side: u32) -> (u32, u32) {
    let longer = width.max(height).max(1);
    let scaled = |length: u32| {
        let scaled = u64::from(length) * u64::from(side.min(longer)) / u64::from(longer);
        (scaled as u32).max(1)
    };
    (scaled(width), scaled(height))
}

/// The colours of 0 to 255 as hexadecimal digits.
pub(crate) fn scale() -> String {
    (0..=255u8)
        .map(|level| {
            let [r, g, b] = colour(f32::from(level) / 255.0).0;
            format!("{r:02x}{g:02x}{b:02x}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use data::Resize;

    use super::*;

    #[test]
    fn pictures_keep_the_shape_and_never_grow() {
        assert_eq!(fit((4000, 3000), 208), (208, 156));
        assert_eq!(fit((30, 40), 208), (30, 40));
        assert_eq!(fit((10_000, 1), 208), (208, 1));
    }

    #[test]
    fn the_smallest_defect_stays_in_a_mask() {
        let mut mask = Array2::from_elem((518, 518), false);
        mask[[259, 517]] = true;
        let p = Preprocess::clip(518, Resize::Squash);
        let grid = mask_grid(mask.view(), &p, (1000, 500));
        assert_eq!((grid.width, grid.height), (104, 52));
        let bytes = STANDARD.decode(&grid.points).unwrap();
        let set: Vec<usize> = (0..104 * 52).filter(|i| bytes[i / 8] >> (i % 8) & 1 == 1).collect();
        assert_eq!(set, [26 * 104 + 103]);
    }
}
