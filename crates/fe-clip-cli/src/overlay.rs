//! The picture that a person looks at: image, heat map on a fixed scale, colour bar, score.

use colorous::INFERNO;
use font8x8::{BASIC_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage};
use ndarray::{Array2, ArrayView2};

const INK: Rgb<u8> = Rgb([235, 235, 235]);
const PAPER: Rgb<u8> = Rgb([24, 24, 24]);

/// Draws the heat map over an image. Colours stand for values in [0, 1] whatever the image, so a
/// normal image stays as it is. Above the image stands the caption, right of it the scale.
///
/// # Shapes
/// - map: as high and wide as the image, clamped to [0, 1] here
///
/// # Panics
/// If the map has another size.
pub(crate) fn overlay(image: &RgbImage, map: ArrayView2<'_, f32>, caption: &str) -> RgbImage {
    let (w, h) = image.dimensions();
    assert_eq!(map.dim(), (h as usize, w as usize), "overlay: expected a map of the image's size");
    // One size of letters for every picture, relative to its shorter side.
    let zoom = (w.min(h) / 250).max(1);
    let (top, side) = (12 * zoom, 40 * zoom);
    let mut picture = RgbImage::from_pixel(w + side, h + top, PAPER);
    for (x, y, pixel) in image.enumerate_pixels() {
        let value = map[[y as usize, x as usize]].clamp(0.0, 1.0);
        picture.put_pixel(x, y + top, blend(*pixel, value));
    }
    write(&mut picture, caption, 2 * zoom, 2 * zoom, zoom);
    let (bar_left, bar_width) = (w + 4 * zoom, 8 * zoom);
    for y in 0..h {
        let value = 1.0 - y as f32 / (h - 1).max(1) as f32;
        for x in 0..bar_width {
            picture.put_pixel(bar_left + x, y + top, colour(value));
        }
    }
    for (label, value) in [("1.0", 1.0), ("0.5", 0.5), ("0.0", 0.0f32)] {
        let y = ((1.0 - value) * h.saturating_sub(8 * zoom) as f32) as u32;
        write(&mut picture, label, bar_left + bar_width + 2 * zoom, top + y, zoom);
    }
    picture
}

/// Bilinear interpolation of a map to an image's size, `align_corners = false`.
pub(crate) fn stretch(map: &Array2<f32>, width: u32, height: u32) -> Array2<f32> {
    let (h, w) = map.dim();
    let axis = |from: usize, to: u32| -> Vec<(usize, usize, f32)> {
        (0..to)
            .map(|i| {
                let at = ((i as f32 + 0.5) * from as f32 / to as f32 - 0.5).max(0.0);
                let low = (at as usize).min(from - 1);
                (low, (low + 1).min(from - 1), at - low as f32)
            })
            .collect()
    };
    let (rows, columns) = (axis(h, height), axis(w, width));
    Array2::from_shape_fn((height as usize, width as usize), |(y, x)| {
        let ((y0, y1, fy), (x0, x1, fx)) = (rows[y], columns[x]);
        let mix = |a: f32, b: f32, f: f32| a + (b - a) * f;
        mix(mix(map[[y0, x0]], map[[y0, x1]], fx), mix(map[[y1, x0]], map[[y1, x1]], fx), fy)
    })
}

fn colour(value: f32) -> Rgb<u8> {
    let colour = INFERNO.eval_continuous(f64::from(value));
    Rgb([colour.r, colour.g, colour.b])
}

/// The heat covers more of the image the hotter it is; below 0.1 the image is untouched.
fn blend(pixel: Rgb<u8>, value: f32) -> Rgb<u8> {
    let weight = 0.75 * ((value - 0.1) / 0.5).clamp(0.0, 1.0);
    let heat = colour(value);
    let mix = |i: usize| {
        (f32::from(pixel[i]) * (1.0 - weight) + f32::from(heat[i]) * weight).round() as u8
    };
    Rgb([mix(0), mix(1), mix(2)])
}

/// Writes ASCII text; what does not fit on the picture is cut off.
fn write(picture: &mut RgbImage, text: &str, left: u32, top: u32, zoom: u32) {
    for (i, glyph) in text.chars().map(|c| BASIC_FONTS.get(c).unwrap_or([0; 8])).enumerate() {
        for (y, row) in glyph.iter().enumerate() {
            for x in (0..8).filter(|x| row & (1 << x) != 0) {
                for (dy, dx) in (0..zoom * zoom).map(|k| (k / zoom, k % zoom)) {
                    let px = left + (i as u32 * 8 + x) * zoom + dx;
                    let py = top + y as u32 * zoom + dy;
                    if px < picture.width() && py < picture.height() {
                        picture.put_pixel(px, py, INK);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cold_map_leaves_the_image_as_it_is() {
        let image = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8, y as u8, 7]));
        let picture = overlay(&image, Array2::from_elem((30, 40), 0.09).view(), "0.090");
        for (x, y, pixel) in image.enumerate_pixels() {
            assert_eq!(picture.get_pixel(x, y + 12), pixel);
        }
    }

    #[test]
    fn stretching_keeps_constants_and_the_middle() {
        let map = ndarray::array![[0.0, 1.0], [0.0, 1.0]];
        let wide = stretch(&map, 4, 3);
        assert_eq!(wide.row(1).to_vec(), [0.0, 0.25, 0.75, 1.0]);
    }
}
