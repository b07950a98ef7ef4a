//! Where the model's frame lies on an image.

use data::Preprocess;
use ndarray::{Array2, ArrayView2};
use serde::Serialize;

/// Where the whole map lies on the image, in pixels of the image; beyond its edges where the model
/// saw padding, inside where it saw a crop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Extent {
    /// Column of its left edge.
    pub left: f64,
    /// Row of its top edge.
    pub top: f64,
    /// Its width.
    pub width: f64,
    /// Its height.
    pub height: f64,
}

impl Extent {
    /// Of the map of an image of `width` by `height` pixels that was preprocessed like that.
    ///
    /// # Panics
    /// If a size is zero.
    pub fn new(p: &Preprocess, (width, height): (u32, u32)) -> Self {
        let placed = p.placement(width, height);
        let (x, y) =
            (f64::from(width) / placed.width as f64, f64::from(height) / placed.height as f64);
        Self {
            left: -placed.left as f64 * x,
            top: -placed.top as f64 * y,
            width: p.width as f64 * x,
            height: p.height as f64 * y,
        }
    }
}

/// A map in the model's frame as seen in the image's, `width` by `height` points of it: bilinear
/// interpolation with `align_corners = false`. What preprocessing cut off the model never saw: it
/// is 0.
///
/// # Shapes
/// - map: as high and wide as the model's input
/// - output: `[height, width]`
///
/// # Panics
/// If a size is zero.
pub fn to_image(
    map: ArrayView2<'_, f32>,
    preprocessing: &Preprocess,
    (image_width, image_height): (u32, u32),
    (width, height): (u32, u32),
) -> Array2<f32> {
    let (h, w) = map.dim();
    let place = preprocessing.placement(image_width, image_height);
    // Of each point: its two neighbours in the map and the weight of the second; or none.
    let axis =
        |points: u32, size: u64, offset: i64, map: usize| -> Vec<Option<(usize, usize, f32)>> {
            let point = |i: u32| {
                let at = (f64::from(i) + 0.5) * size as f64 / f64::from(points) + offset as f64;
                if !(0.0..=map as f64).contains(&at) {
                    return None;
                }
                let at = (at - 0.5).max(0.0);
                let low = (at as usize).min(map - 1);
                Some((low, (low + 1).min(map - 1), (at - low as f64) as f32))
            };
            (0..points).map(point).collect()
        };
    let rows = axis(height, place.height, place.top, h);
    let columns = axis(width, place.width, place.left, w);
    Array2::from_shape_fn((height as usize, width as usize), |(y, x)| {
        let (Some((y0, y1, fy)), Some((x0, x1, fx))) = (rows[y], columns[x]) else { return 0.0 };
        let mix = |a: f32, b: f32, f: f32| a + (b - a) * f;
        mix(mix(map[[y0, x0]], map[[y0, x1]], fx), mix(map[[y1, x0]], map[[y1, x1]], fx), fy)
    })
}

#[cfg(test)]
mod tests {
    use data::Resize;

    use super::*;

    #[test]
    fn stretching_keeps_constants_and_the_middle() {
        let map = ndarray::array![[0.0, 1.0], [0.0, 1.0]];
        let squash = Preprocess::clip(2, Resize::Squash);
        let wide = to_image(map.view(), &squash, (4, 3), (4, 3));
        assert_eq!(wide.row(1).to_vec(), [0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn a_map_of_a_crop_lies_where_the_crop_was() {
        // 40 x 20 pixels, of which the model saw the middle 20 x 20 at half the size.
        let crop = Preprocess::clip(10, Resize::ShortestCrop);
        let seen = to_image(Array2::ones((10, 10)).view(), &crop, (40, 20), (40, 20));
        for ((_, x), value) in seen.indexed_iter() {
            assert_eq!(*value, if (10..30).contains(&x) { 1.0 } else { 0.0 }, "column {x}");
        }
        // A letterbox of the same image: its map is 10 x 5, the padding around is no part of it.
        let letterbox = Preprocess::clip(10, Resize::Letterbox);
        let map = Array2::from_shape_fn((10, 10), |(y, _)| if y < 5 { 0.0 } else { 1.0 });
        let seen = to_image(map.view(), &letterbox, (40, 20), (40, 20));
        assert!(seen.row(0).iter().all(|v| *v == 0.0) && seen.row(19).iter().all(|v| *v == 1.0));
    }
}
