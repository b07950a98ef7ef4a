//! What counts of a map where part of the image is ignored.
//!
//! Ignored pixels are those of the model's input, `[size, size]`; absent where all count.

use ndarray::{Array2, ArrayView2, Zip};

use crate::resample::both_axes;

/// Weight below which what counts says nothing of a pixel.
const NOTHING: f32 = 1e-6;

/// Of which pixels of the images of a batch nothing counts: one entry an image, or none at all.
pub(crate) type Ignored<'a> = &'a [Option<Array2<bool>>];

/// The ignored pixels of an image of a batch.
pub(crate) fn of_image(ignored: Ignored<'_>, image: usize) -> Option<&Array2<bool>> {
    ignored.get(image).and_then(Option::as_ref)
}

/// The values of a map of the image, of any size, that count; at least one.
pub(crate) fn counted(map: ArrayView2<'_, f32>, ignored: Option<&Array2<bool>>) -> Vec<f32> {
    let Some(ignored) = ignored else { return map.iter().copied().collect() };
    let counts = cells(ignored, map.dim());
    map.iter().zip(&counts).filter(|(_, counts)| **counts).map(|(value, _)| *value).collect()
}

/// The highest value of a map that counts, at least 0.
pub(crate) fn highest(map: ArrayView2<'_, f32>, ignored: Option<&Array2<bool>>) -> f32 {
    counted(map, ignored).into_iter().fold(0.0, f32::max)
}

/// A map enlarged or smoothed by a matrix an axis whose rows are weights: what is ignored weighs
/// nothing and is 0 in the end.
pub(crate) fn spread(
    matrix: &Array2<f32>,
    map: ArrayView2<'_, f32>,
    ignored: Option<&Array2<bool>>,
) -> Array2<f32> {
    let Some(ignored) = ignored else { return both_axes(matrix, map) };
    let weights = cells(ignored, map.dim()).mapv(|counts| f32::from(u8::from(counts)));
    let mut sum = both_axes(matrix, (&map * &weights).view());
    let weight = both_axes(matrix, weights.view());
    let ignored_there = cells(ignored, sum.dim()).mapv(|counts| !counts);
    Zip::from(&mut sum).and(&weight).and(&ignored_there).for_each(|value, weight, ignored| {
        *value = if *ignored || *weight < NOTHING { 0.0 } else { *value / *weight };
    });
    sum
}

/// Which cells of a map of the image count: those of which at least half is looked at; if there
/// is none, those of which anything is.
pub(crate) fn cells(ignored: &Array2<bool>, (rows, columns): (usize, usize)) -> Array2<bool> {
    let (height, width) = ignored.dim();
    if (rows, columns) == (height, width) {
        return ignored.mapv(|ignored| !ignored);
    }
    let span = |cell: usize, cells: usize, pixels: usize| {
        let start = cell * pixels / cells;
        start..((cell + 1) * pixels / cells).max(start + 1)
    };
    let seen = Array2::from_shape_fn((rows, columns), |(row, column)| {
        let (y, x) = (span(row, rows, height), span(column, columns, width));
        let all = y.len() * x.len();
        let ignored = ignored.slice(ndarray::s![y, x]).iter().filter(|ignored| **ignored).count();
        (all - ignored, all)
    });
    let half = seen.mapv(|(seen, all)| 2 * seen >= all);
    if half.iter().any(|counts| *counts) { half } else { seen.mapv(|(seen, _)| seen > 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resample::bilinear;

    #[test]
    fn a_token_counts_where_half_of_it_is_looked_at() {
        let mut ignored = Array2::from_elem((8, 8), false);
        ignored.slice_mut(ndarray::s![.., ..3]).fill(true);
        let map = ndarray::array![[0.9, 0.1], [0.8, 0.2f32]];
        assert_eq!(counted(map.view(), Some(&ignored)), [0.1, 0.2]);
        assert_eq!(highest(map.view(), Some(&ignored)), 0.2);
        ignored.fill(true);
        ignored[[7, 0]] = false;
        assert_eq!(counted(map.view(), Some(&ignored)), [0.8]);
        assert_eq!(counted(map.view(), None).len(), 4);
    }

    #[test]
    fn what_is_ignored_changes_no_pixel_that_counts() {
        let mut ignored = Array2::from_elem((8, 8), false);
        ignored.slice_mut(ndarray::s![.., ..4]).fill(true);
        let matrix = bilinear(2, 8);
        let maps = [[0.9, 0.1], [0.0, 0.1]].map(|row| {
            let map = ndarray::array![row, row].mapv(|v: f64| v as f32);
            spread(&matrix, map.view(), Some(&ignored))
        });
        assert_eq!(maps[0], maps[1]);
        for ((_, column), value) in maps[0].indexed_iter() {
            let expected = if column < 4 { 0.0 } else { 0.1 };
            assert!((value - expected).abs() < 1e-6, "column {column}: {value}");
        }
    }
}
