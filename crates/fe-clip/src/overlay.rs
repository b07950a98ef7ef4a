//! The picture that a person looks at: image, heat map on a fixed scale, contour at the
//! threshold, colour bar, caption.

use colorous::INFERNO;
use font8x8::{BASIC_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage};
use ndarray::ArrayView2;

const INK: Rgb<u8> = Rgb([235, 235, 235]);
/// The ground beside and above a picture.
pub const PAPER: Rgb<u8> = Rgb([24, 24, 24]);
/// The contour, in a colour that is not on the scale, and the dark line around it.
const CONTOUR: Rgb<u8> = Rgb([0, 229, 255]);
/// The edge of what is not looked at, in another such colour.
const EDGE: Rgb<u8> = Rgb([90, 230, 90]);
/// The borders of zones.
const BORDER: Rgb<u8> = Rgb([205, 205, 205]);
const SHADE: Rgb<u8> = Rgb([10, 20, 30]);
/// Width of the colour bar, in units of the letters' size.
const BAR: u32 = 8;

/// Draws the heat map over an image. Colours stand for values in [0, 1] whatever the image, so a
/// normal image stays as it is. Above the image stands the caption, right of it the scale; a line
/// runs around what is at least the level of its zone, or the only one, and the scale has a mark at
/// each level; others run along the borders of zones, and along the edge of what is ignored.
///
/// # Shapes
/// - map, zones, ignored: as high and wide as the image; values are clamped to [0, 1] here
/// - levels: one; none; or of what lies in no zone, then of each zone
///
/// # Panics
/// If the map has another size, or there are zones without a level.
pub fn overlay(
    image: &RgbImage,
    map: ArrayView2<'_, f32>,
    caption: &str,
    levels: &[f32],
    zones: Option<ArrayView2<'_, u8>>,
    ignored: Option<ArrayView2<'_, bool>>,
) -> RgbImage {
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
    if let Some(ignored) = ignored {
        draw_contour(&mut picture, (w, h), top, zoom, EDGE, |y, x| !ignored[[y, x]]);
    }
    let zone = |y: usize, x: usize| zones.map_or(0, |zones| usize::from(zones[[y, x]]));
    for number in 1..levels.len() {
        draw_contour(&mut picture, (w, h), top, zoom, BORDER, |y, x| zone(y, x) == number);
    }
    if !levels.is_empty() {
        let reached = |y: usize, x: usize| map[[y, x]] >= levels[zone(y, x)];
        draw_contour(&mut picture, (w, h), top, zoom, CONTOUR, reached);
    }
    write(&mut picture, caption, 2 * zoom, 2 * zoom, zoom);
    let bar_left = w + 4 * zoom;
    scale(&mut picture, bar_left, top, h, zoom);
    for threshold in levels {
        let y = ((1.0 - threshold.clamp(0.0, 1.0)) * h.saturating_sub(zoom) as f32) as u32;
        for (dx, dy) in (0..(BAR + 2) * zoom * zoom).map(|k| (k / zoom, k % zoom)) {
            picture.put_pixel(bar_left - zoom + dx, (y + dy).min(h - 1) + top, CONTOUR);
        }
    }
    picture
}

/// Draws the colour bar over [0, 1], `h` pixels high, with its numbers at the right: 36 `zoom`
/// pixels in all.
///
/// # Panics
/// If the picture has no room for it.
pub fn scale(picture: &mut RgbImage, left: u32, top: u32, h: u32, zoom: u32) {
    for y in 0..h {
        let value = 1.0 - y as f32 / (h - 1).max(1) as f32;
        for x in 0..BAR * zoom {
            picture.put_pixel(left + x, y + top, colour(value));
        }
    }
    for (label, value) in [("1.0", 1.0), ("0.5", 0.5), ("0.0", 0.0f32)] {
        let y = ((1.0 - value) * h.saturating_sub(8 * zoom) as f32) as u32;
        write(picture, label, left + (BAR + 2) * zoom, top + y, zoom);
    }
}

/// A line of `width` pixels inside the edge of what is inside, row and column, a dark one outside.
fn draw_contour(
    picture: &mut RgbImage,
    (columns, rows): (u32, u32),
    top: u32,
    width: u32,
    colour: Rgb<u8>,
    is_inside: impl Fn(usize, usize) -> bool,
) {
    let (columns, rows, reach) = (columns as usize, rows as usize, width as usize);
    for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
        let inside = is_inside(y, x);
        let across = |y: usize, x: usize| y < rows && x < columns && is_inside(y, x) != inside;
        let (up, left) = (y.wrapping_sub(reach), x.wrapping_sub(reach));
        if across(up, x) || across(y + reach, x) || across(y, left) || across(y, x + reach) {
            let line = if inside { colour } else { SHADE };
            picture.put_pixel(x as u32, y as u32 + top, line);
        }
    }
}

/// The colour of a value in [0, 1] on the perceptually uniform scale of all pictures.
pub fn colour(value: f32) -> Rgb<u8> {
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

/// Writes ASCII text in letters of 8 `zoom` pixels; what does not fit on the picture is cut off.
pub fn write(picture: &mut RgbImage, text: &str, left: u32, top: u32, zoom: u32) {
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
    use ndarray::Array2;

    use super::*;

    #[test]
    fn a_cold_map_leaves_the_image_as_it_is() {
        let image = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8, y as u8, 7]));
        let cold = Array2::from_elem((30, 40), 0.09);
        let picture = overlay(&image, cold.view(), "0.090", &[0.5], None, None);
        for (x, y, pixel) in image.enumerate_pixels() {
            assert_eq!(picture.get_pixel(x, y + 12), pixel);
        }
    }

    #[test]
    fn the_contour_runs_just_inside_what_reaches_the_threshold() {
        let image = RgbImage::from_pixel(40, 30, Rgb([90, 90, 90]));
        let inside = |y: usize, x: usize| (5..15).contains(&y) && (10..25).contains(&x);
        let map = Array2::from_shape_fn((30, 40), |(y, x)| if inside(y, x) { 0.5 } else { 0.0 });
        let ignored = Array2::from_shape_fn((30, 40), |(y, x)| !inside(y, x));
        let at_threshold = overlay(&image, map.view(), "", &[0.5], None, None);
        let at_edge = overlay(&image, map.view(), "", &[], None, Some(ignored.view()));
        for (picture, colour) in [(at_threshold, CONTOUR), (at_edge, EDGE)] {
            let is_line =
                |y: usize, x: usize| *picture.get_pixel(x as u32, y as u32 + 12) == colour;
            for (y, x) in (0..30 * 40).map(|k| (k / 40, k % 40)) {
                let edge = y == 5 || y == 14 || x == 10 || x == 24;
                assert_eq!(is_line(y, x), inside(y, x) && edge, "row {y}, column {x}");
            }
        }
    }
    #[test]
    fn each_zone_has_a_contour_at_its_level_inside_its_border() {
        let image = RgbImage::from_pixel(40, 30, Rgb([90, 90, 90]));
        let zones = Array2::from_shape_fn((30, 40), |(_, x)| u8::from(x >= 20));
        let map = Array2::from_elem((30, 40), 0.05);
        let picture =
            |levels: &[f32]| overlay(&image, map.view(), "", levels, Some(zones.view()), None);
        let row = |picture: &RgbImage| [18, 19, 20, 21].map(|x| *picture.get_pixel(x, 12 + 15));
        let plain = Rgb([90, 90, 90]);
        assert_eq!(row(&picture(&[0.5, 0.5])), [plain, SHADE, BORDER, plain]);
        assert_eq!(row(&picture(&[0.5, 0.01])), [plain, SHADE, CONTOUR, plain]);
    }
}
