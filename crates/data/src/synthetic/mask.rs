//! The ground truth: where two exposures of a scene visibly differ.

use ndarray::Array2;

use super::camera::Radiance;

/// Smallest and largest share of the picture that a defect may cover.
const LARGEST: f32 = 0.4;

/// Largest difference of a channel at each pixel.
fn difference(a: &[f32; 3], b: &[f32; 3]) -> f32 {
    (0..3).fold(0.0, |d, k| d.max((a[k] - b[k]).abs()))
}

/// Grows (`wanted` true) or shrinks (false) a mask by one pixel in the four directions.
fn spread(mask: &Array2<bool>, wanted: bool) -> Array2<bool> {
    let (rows, columns) = mask.dim();
    Array2::from_shape_fn((rows, columns), |(y, x)| {
        let near = mask[[y, x]] == wanted
            || (y > 0 && mask[[y - 1, x]] == wanted)
            || (x > 0 && mask[[y, x - 1]] == wanted)
            || (y + 1 < rows && mask[[y + 1, x]] == wanted)
            || (x + 1 < columns && mask[[y, x + 1]] == wanted);
        near == wanted
    })
}

/// The mask of the change, gaps of a pixel or two closed; `None` if too little or too much changed.
pub(super) fn changed(
    clean: &Radiance,
    exposed: &Radiance,
    size: usize,
    visible: f32,
) -> Option<Array2<bool>> {
    let raw = Array2::from_shape_fn((size, size), |(y, x)| {
        difference(&clean[y * size + x], &exposed[y * size + x]) > visible
    });
    let passes = 1 + size / 400;
    let mut mask = raw;
    for _ in 0..passes {
        mask = spread(&mask, true);
    }
    for _ in 0..passes {
        mask = spread(&mask, false);
    }
    let count = mask.iter().filter(|&&m| m).count();
    let least = 6 + size * size / 12_000;
    (count >= least && (count as f32) < LARGEST * (size * size) as f32).then_some(mask)
}

/// The changed picture within two pixels of the mask, the clean one elsewhere.
pub(super) fn compose(
    clean: &Radiance,
    exposed: Radiance,
    mask: &Array2<bool>,
    size: usize,
) -> Radiance {
    let near = spread(&spread(mask, true), true);
    let mut picture = exposed;
    for (i, &inside) in near.iter().enumerate().take(size * size) {
        if !inside {
            picture[i] = clean[i];
        }
    }
    picture
}
