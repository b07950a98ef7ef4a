//! The largest product of every row of a matrix with any row of another.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::instructions::{has_fused_multiply_add, simd};
use super::nearest::larger;
use super::product::{ROWS, product_by};
use super::tiles::{Form, Tiles};
use super::{primitive, values};
use crate::panels::{COLUMNS, Row, interleave};

/// Panels that all tiles meet before the next ones: at a depth of 1024 they stay in the second-level cache.
const PANELS: usize = 4;

/// As [`highest_products`](crate::highest_products), of tensors whose values are in this machine's memory.
pub(crate) fn highest_products(query: Tensor<2>, bank: Tensor<2>) -> Tensor<2> {
    let device = query.device();
    let [rows, depth] = query.dims();
    let (query, bank) = (primitive(query), primitive(bank));
    let highest = highest(values(&query), values(&bank), depth);
    Tensor::from_data(TensorData::new(highest, [rows, 1]), &device)
}

/// Of rows of `depth` numbers. Each product is one chain over the depth, so that a result depends neither on the rows
/// beside nor on the number of threads.
fn highest(query: &[f32], bank: &[f32], depth: usize) -> Vec<f32> {
    let mut tiles = Tiles::default();
    tiles.pack(query, depth, Form::Float32);
    let fused = has_fused_multiply_add();
    let lowest = || vec![[f32::NEG_INFINITY; ROWS]; tiles.len().div_ceil(ROWS)];
    let shares = bank.par_chunks(PANELS * COLUMNS * depth);
    let best = shares.fold(
        || (lowest(), vec![[0.0; COLUMNS]; PANELS * depth]),
        |(mut best, mut panels), rows| {
            simd(
                #[inline(always)]
                || {
                    pack(rows, depth, &mut panels);
                    let used = rows.len().div_ceil(COLUMNS * depth) * depth;
                    for (tile, best) in tiles.floats().zip(&mut best) {
                        let mut lanes = [[f32::NEG_INFINITY; COLUMNS]; ROWS];
                        for panel in panels[..used].chunks_exact(depth) {
                            let sums = product_by(fused, tile, panel);
                            for (lanes, sums) in lanes.iter_mut().zip(&sums) {
                                for (lane, sum) in lanes.iter_mut().zip(sums) {
                                    *lane = larger(*sum, *lane);
                                }
                            }
                        }
                        for (best, lanes) in best.iter_mut().zip(&lanes) {
                            *best = lanes.iter().copied().fold(*best, larger);
                        }
                    }
                },
            );
            (best, panels)
        },
    );
    let best = best.map(|(best, _)| best).reduce(lowest, |mut best, others| {
        let pairs = best.as_flattened_mut().iter_mut().zip(others.as_flattened());
        pairs.for_each(|(best, other)| *best = larger(*other, *best));
        best
    });
    best.as_flattened()[..tiles.len()].to_vec()
}

/// Puts rows into panels; where they do not fill the last one, its first row stands in for those that are not there.
#[inline(always)]
fn pack(rows: &[f32], depth: usize, panels: &mut [Row]) {
    let each = rows.chunks(COLUMNS * depth).zip(panels.chunks_exact_mut(depth));
    for (rows, panel) in each {
        interleave(rows, panel);
        for row in panel {
            let (given, missing) = row.split_at_mut(rows.len() / depth);
            missing.fill(given[0]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    #[test]
    fn products_are_those_of_a_plain_loop() {
        for (n, m, depth) in [(1, 1, 1), (7, 17, 5), (13, 200, 33), (100, 65, 16), (6, 16, 8)] {
            let (query, bank) = (matrix(n * depth, 1), matrix(m * depth, 2));
            let found = highest(&query, &bank, depth);
            assert_eq!(found.len(), n);
            for (row, found) in query.chunks(depth).zip(&found) {
                let product = |other: &[f32]| -> f64 {
                    row.iter().zip(other).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
                };
                let exact = bank.chunks(depth).map(product).fold(f64::NEG_INFINITY, f64::max);
                // Rounding of sums of `depth` products of numbers up to 1.
                let bound = depth as f64 * f64::from(f32::EPSILON);
                assert!((exact - f64::from(*found)).abs() <= bound, "{exact} {found}");
            }
        }
    }

    #[test]
    fn what_fills_up_a_panel_is_not_found() {
        assert_eq!(highest(&[1.0, 1.0], &[-2.0, -1.0], 2), [-3.0]);
    }
}
