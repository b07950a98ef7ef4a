//! Several pictures of one thing in a row, with the scale of their colours.

use fe_clip::overlay::{PAPER, scale, write};
use image::RgbImage;

/// Pictures of one size side by side, each under its title, which is cut to the picture's width.
///
/// # Panics
/// If there is no picture or their sizes differ.
pub(crate) fn side_by_side(panels: &[(&str, RgbImage)]) -> RgbImage {
    let (w, h) = panels[0].1.dimensions();
    let zoom = (w.min(h) / 250).max(1);
    let (gap, top, side) = (8 * zoom, 12 * zoom, 40 * zoom);
    let width = panels.len() as u32 * (w + gap) - gap;
    let mut picture = RgbImage::from_pixel(width + side, h + top, PAPER);
    for (i, (title, panel)) in (0u32..).zip(panels) {
        assert!(panel.dimensions() == (w, h), "side by side: expected pictures of one size");
        let left = i * (w + gap);
        image::imageops::replace(&mut picture, panel, i64::from(left), i64::from(top));
        let title: String = title.chars().take((w / (8 * zoom)) as usize).collect();
        write(&mut picture, &title, left + 2 * zoom, 2 * zoom, zoom);
    }
    scale(&mut picture, width + 4 * zoom, top, h, zoom);
    picture
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn pictures_stand_in_a_row_untouched() {
        let red = RgbImage::from_pixel(30, 20, Rgb([200, 0, 0]));
        let blue = RgbImage::from_pixel(30, 20, Rgb([0, 0, 200]));
        let row = side_by_side(&[("first of two", red), ("second", blue)]);
        assert_eq!(row.dimensions(), (30 + 8 + 30 + 40, 12 + 20));
        assert_eq!((row.get_pixel(0, 12).0, row.get_pixel(29, 31).0), ([200, 0, 0], [200, 0, 0]));
        assert_eq!((row.get_pixel(38, 12).0, row.get_pixel(67, 31).0), ([0, 0, 200], [0, 0, 200]));
    }
}
