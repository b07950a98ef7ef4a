use std::ops::Range;

use ndarray::ArrayView2;

use crate::ranking::slice;

/// Which neighbours belong to one region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Connectivity {
    /// Pixels that share an edge.
    Four,
    /// Pixels that share an edge or a corner, as in the evaluation code of MVTec AD; the default.
    #[default]
    Eight,
}

impl Connectivity {
    /// How many neighbours a pixel has.
    pub(crate) fn neighbours(self) -> u8 {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// Anomalous pixels of one row, `start..end`, that touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) row: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) region: usize,
}

/// Finds the connected regions of a mask, ordered by their first pixel in row order. Each is the list of its runs, in
/// row order: a row and the columns of it that belong to the region.
///
/// # Shapes
/// - mask: `[height, width]`
///
/// # Example
/// ```
/// use anomaly_metrics::{Connectivity, connected_regions};
/// use ndarray::array;
///
/// let mask = array![[true, false, true], [true, false, false]];
/// let regions = connected_regions(mask.view(), Connectivity::Eight);
/// assert_eq!(regions, [vec![(0, 0..1), (1, 0..1)], vec![(0, 2..3)]]);
/// ```
pub fn connected_regions(
    mask: ArrayView2<'_, bool>,
    connectivity: Connectivity,
) -> Vec<Vec<(usize, Range<usize>)>> {
    let found = Regions::new(mask, connectivity);
    let mut regions = vec![Vec::new(); found.count];
    for run in found.runs {
        regions[run.region].push((run.row, run.start..run.end));
    }
    regions
}

/// Connected regions of the masks of several images, numbered by their first pixel in row order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Regions {
    /// In row order.
    pub(crate) runs: Vec<Run>,
    pub(crate) count: usize,
}

impl Regions {
    /// Finds the regions of one image.
    ///
    /// # Shapes
    /// - mask: `[height, width]`
    pub(crate) fn new(mask: ArrayView2<'_, bool>, connectivity: Connectivity) -> Self {
        let masks = mask.as_standard_layout();
        Self::of_images(slice(&masks), mask.dim(), connectivity)
    }

    /// Finds the regions by a union-find over runs; no label image is made, and nothing per image.
    ///
    /// # Shapes
    /// - masks: `[n, height, width]`, one after the other; the rows of the runs are those of `[n * height, width]`
    pub(crate) fn of_images(
        masks: &[bool],
        (height, width): (usize, usize),
        connectivity: Connectivity,
    ) -> Self {
        let reach = match connectivity {
            Connectivity::Four => 0,
            Connectivity::Eight => 1,
        };
        let mut runs: Vec<Run> = Vec::new();
        let mut parents: Vec<usize> = Vec::new();
        // The runs of the row above that the next run may touch, and the first run of this row.
        let (mut above, mut first) = (0..0, 0);
        for_each_run(masks, width, |row, start, end| {
            match runs.last() {
                Some(last) if last.row == row => {}
                Some(last) if last.row + 1 == row && !row.is_multiple_of(height) => {
                    (above, first) = (first..runs.len(), runs.len());
                }
                _ => (above, first) = (0..0, runs.len()),
            }
            let region = parents.len();
            parents.push(region);
            while above.start < above.end && runs[above.start].end + reach <= start {
                above.start += 1;
            }
            // The last run above may touch the next run too, so it is not passed.
            for touching in above.clone().take_while(|&run| runs[run].start < end + reach) {
                unite(&mut parents, runs[touching].region, region);
            }
            runs.push(Run { row, start, end, region });
        });
        let count = number(&mut runs, &mut parents);
        Self { runs, count }
    }
}

/// Calls `visit(row, start, end)` for every run of `true` in rows of this width.
fn for_each_run(pixels: &[bool], width: usize, mut visit: impl FnMut(usize, usize, usize)) {
    const BLOCK: usize = 32;
    let (mut row, mut row_start, mut position) = (0, 0, 0);
    while position < pixels.len() {
        // Most of a mask is normal: skip it a block at a time, whatever the rows.
        let block = &pixels[position..(position + BLOCK).min(pixels.len())];
        if !block.iter().fold(false, |any, &pixel| any | pixel) {
            position += block.len();
            continue;
        }
        let Some(offset) = pixels[position..].iter().position(|&pixel| pixel) else { return };
        let start = position + offset;
        if start - row_start >= width {
            row = start / width;
            row_start = row * width;
        }
        let rest = &pixels[start..row_start + width];
        position = start + rest.iter().take_while(|&&pixel| pixel).count();
        visit(row, start - row_start, position - row_start);
    }
}

/// The older of two joined regions stays the root, so that numbers follow the first pixel.
fn unite(parents: &mut [usize], left: usize, right: usize) {
    let (left, right) = (root(parents, left), root(parents, right));
    parents[left.max(right)] = left.min(right);
}

fn root(parents: &mut [usize], mut region: usize) -> usize {
    while parents[region] != region {
        parents[region] = parents[parents[region]];
        region = parents[region];
    }
    region
}

/// Replaces the provisional regions of the runs by consecutive numbers and returns how many there are.
fn number(runs: &mut [Run], parents: &mut [usize]) -> usize {
    let mut numbers = vec![0; parents.len()];
    let mut count = 0;
    for run in runs {
        let root = root(parents, run.region);
        if root == run.region {
            numbers[root] = count;
            count += 1;
        }
        run.region = numbers[root];
    }
    count
}

#[cfg(test)]
mod tests {
    use super::{Connectivity, Regions};
    use ndarray::Array2;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Labels by flood fill from each pixel in row order.
    fn flood(mask: &Array2<bool>, connectivity: Connectivity) -> (Array2<usize>, usize) {
        let (height, width) = mask.dim();
        let mut labels = Array2::from_elem((height, width), usize::MAX);
        let mut count = 0;
        for start in mask.indexed_iter().filter(|&(_, &pixel)| pixel).map(|(at, _)| at) {
            if labels[start] != usize::MAX {
                continue;
            }
            let mut open = vec![start];
            labels[start] = count;
            while let Some((row, column)) = open.pop() {
                for (down, right) in (-1i32..=1).flat_map(|d| (-1i32..=1).map(move |r| (d, r))) {
                    if connectivity == Connectivity::Four && down != 0 && right != 0 {
                        continue;
                    }
                    let at = (
                        row.wrapping_add_signed(down as isize),
                        column.wrapping_add_signed(right as isize),
                    );
                    if mask.get(at) == Some(&true) && labels[at] == usize::MAX {
                        labels[at] = count;
                        open.push(at);
                    }
                }
            }
            count += 1;
        }
        (labels, count)
    }

    #[test]
    fn equals_flood_fill() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for round in 0..600 {
            let shape = (rng.random_range(1..20), rng.random_range(1..80));
            let density = [0.02, 0.3, 0.5, 0.6, 0.97][round % 5];
            let mask = Array2::from_shape_simple_fn(shape, || rng.random_bool(density));
            for connectivity in [Connectivity::Four, Connectivity::Eight] {
                let regions = Regions::new(mask.view(), connectivity);
                let mut labels = Array2::from_elem(shape, usize::MAX);
                for run in &regions.runs {
                    for column in run.start..run.end {
                        labels[(run.row, column)] = run.region;
                    }
                }
                assert_eq!((labels, regions.count), flood(&mask, connectivity), "{mask:?}");
            }
        }
    }

    #[test]
    fn regions_end_with_their_image() {
        let mask = [true, true, false, true];
        for (height, expected) in [(4, [0, 0, 1]), (2, [0, 0, 1]), (1, [0, 1, 2])] {
            let regions = Regions::of_images(&mask, (height, 1), Connectivity::Eight);
            let rows: Vec<_> = regions.runs.iter().map(|run| (run.row, run.region)).collect();
            assert_eq!(rows, [(0, expected[0]), (1, expected[1]), (3, expected[2])]);
        }
    }

    #[test]
    fn empty_masks_have_no_regions() {
        for shape in [(0, 0), (0, 5), (5, 0), (3, 40)] {
            let regions = Regions::new(Array2::default(shape).view(), Connectivity::Eight);
            assert_eq!(regions, Regions { runs: vec![], count: 0 });
        }
    }
}
