//! Distances to the nearest point of another set, both ways, from one product.

use super::instructions::{has_fused_multiply_add, simd};
use super::product::{ROWS, product_by};
use super::tiles::{Form, Tiles};
use crate::panels::{COLUMNS, Row, interleave};

/// Panels that all tiles meet before the next ones: at a depth of 1024 they stay in the second-level cache.
const PANELS: usize = 4;

/// Points, one a row, packed for [`nearest`](Self::nearest).
///
/// ```
/// use clip_vit::Points;
/// let a = Points::new(&[0.0, 0.0, 3.0, 0.0], 2);
/// let b = Points::new(&[0.0, 1.0, 0.0, 2.0, 5.0, 0.0], 2);
/// assert_eq!(a.nearest(&b), (vec![1.0, 4.0], vec![1.0, 4.0, 4.0]));
/// ```
pub struct Points {
    /// As the first factor of a product, `[points / 6, depth]`.
    tiles: Tiles,
    /// As the second, `[points / 16, depth]`.
    panels: Vec<Row>,
    /// Half the squared length of each; infinite for what fills up tiles and panels.
    halves: Vec<f32>,
    depth: usize,
}

impl Points {
    /// Packs points of `depth` coordinates each; they are in memory twice then.
    ///
    /// # Panics
    /// If the values make no whole points.
    pub fn new(values: &[f32], depth: usize) -> Self {
        assert!(depth > 0 && values.len().is_multiple_of(depth), "points: expected whole rows");
        let points = values.len() / depth;
        let mut tiles = Tiles::default();
        tiles.pack(values, depth, Form::Float32);
        let mut panels = vec![[0.0; COLUMNS]; points.div_ceil(COLUMNS) * depth];
        for (panel, rows) in panels.chunks_mut(depth).zip(values.chunks(COLUMNS * depth)) {
            interleave(rows, panel);
        }
        let fused = has_fused_multiply_add();
        let mut halves = vec![f32::INFINITY; points.next_multiple_of(ROWS * COLUMNS)];
        simd(
            #[inline(always)]
            || {
                for (half, row) in halves.iter_mut().zip(values.chunks_exact(depth)) {
                    *half = squared(row, fused) / 2.0;
                }
            },
        );
        Self { tiles, panels, halves, depth }
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.tiles.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The squared Euclidean distance of every point from the nearest of the other points, and of every other point
    /// from the nearest of these; on one thread.
    ///
    /// Each product is one chain over the coordinates: distances are the same bit for bit with the two sets exchanged,
    /// and exactly zero between equal points. Without points on the other side they are infinite.
    ///
    /// # Panics
    /// If the points have other numbers of coordinates.
    pub fn nearest(&self, others: &Self) -> (Vec<f32>, Vec<f32>) {
        let depth = self.depth;
        assert!(depth == others.depth, "nearest: expected points of one space");
        let fused = has_fused_multiply_add();
        // Largest a b - b b / 2 of every point a, and a b - a a / 2 of every other point b.
        let mut own = vec![[f32::NEG_INFINITY; ROWS]; self.len().div_ceil(ROWS)];
        let mut theirs = vec![[f32::NEG_INFINITY; COLUMNS]; others.len().div_ceil(COLUMNS)];
        let own_halves: &[[f32; ROWS]] = self.halves.as_chunks().0;
        let their_halves: &[Row] = others.halves.as_chunks().0;
        simd(
            #[inline(always)]
            || {
                let shares = others.panels.chunks(PANELS * depth).zip(theirs.chunks_mut(PANELS));
                for ((share, theirs), halves) in shares.zip(their_halves.chunks(PANELS)) {
                    let tiles = self.tiles.floats().zip(&mut own).zip(own_halves);
                    for ((tile, own), own_halves) in tiles {
                        let mut best = [[f32::NEG_INFINITY; COLUMNS]; ROWS];
                        let panels = share.chunks_exact(depth).zip(theirs.iter_mut()).zip(halves);
                        for ((panel, theirs), halves) in panels {
                            let sums = product_by(fused, tile, panel);
                            for ((best, sums), own_half) in
                                best.iter_mut().zip(&sums).zip(own_halves)
                            {
                                for c in 0..COLUMNS {
                                    best[c] = larger(best[c], sums[c] - halves[c]);
                                    theirs[c] = larger(theirs[c], sums[c] - own_half);
                                }
                            }
                        }
                        for (own, best) in own.iter_mut().zip(&best) {
                            *own = best.iter().copied().fold(*own, larger);
                        }
                    }
                }
            },
        );
        let distances = |points: &Self, best: &[f32]| {
            let each = points.halves.iter().zip(best).take(points.len());
            each.map(|(half, best)| (2.0 * (half - best)).max(0.0)).collect()
        };
        (distances(self, own.as_flattened()), distances(others, theirs.as_flattened()))
    }
}

#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// A squared length by the same chain as a product.
#[inline(always)]
fn squared(row: &[f32], fused: bool) -> f32 {
    row.iter().fold(0.0, |sum, x| if fused { x.mul_add(*x, sum) } else { x * x + sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    #[test]
    fn distances_are_those_of_a_plain_loop_and_symmetric() {
        for (rows, others, depth) in [(1, 1, 1), (7, 17, 5), (13, 100, 33), (96, 48, 16)] {
            let (a, b) = (values(rows * depth, 1), values(others * depth, 2));
            let (x, y) = (Points::new(&a, depth), Points::new(&b, depth));
            let (own, theirs) = x.nearest(&y);
            assert_eq!((own.len(), theirs.len()), (rows, others));
            assert_eq!(y.nearest(&x), (theirs.clone(), own.clone()));
            for (from, to, found) in [(&a, &b, &own), (&b, &a, &theirs)] {
                for (p, found) in from.chunks(depth).zip(found) {
                    let squared = |q: &[f32]| -> f64 {
                        p.iter().zip(q).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum()
                    };
                    let nearest = to.chunks(depth).map(squared).fold(f64::INFINITY, f64::min);
                    // Rounding of sums of `depth` products of numbers up to 1.
                    let bound = 4.0 * depth as f64 * f64::from(f32::EPSILON);
                    assert!((nearest - f64::from(*found)).abs() <= bound, "{nearest} {found}");
                }
            }
        }
    }

    #[test]
    fn equal_points_have_no_distance() {
        let a = Points::new(&values(20 * 37, 3), 37);
        let (own, theirs) = a.nearest(&a);
        assert!(own.iter().chain(&theirs).all(|d| *d == 0.0));
        let none = Points::new(&[], 37);
        assert!(none.is_empty() && a.nearest(&none).0.iter().all(|d| *d == f32::INFINITY));
    }
}
