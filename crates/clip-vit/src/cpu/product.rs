//! Matrix products whose results are finished while they are in registers.
//!
//! A tile of six rows times a panel of sixteen columns is summed in twelve vector registers over the whole depth, so
//! that no partial result goes to memory. Each sum is one chain of fused multiply-adds in the order of the depth: the
//! result of a row depends neither on the rows beside it nor on the number of threads.
//!
//! Source: Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008.

use std::cell::Cell;

use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::instructions::{has_fused_multiply_add, simd};
use super::tiles::{Form, Tiles};
use super::weights::Weights;
use crate::panels::{COLUMNS, Row, Words};

/// Rows of a tile.
pub(super) const ROWS: usize = 6;
/// Columns that one task computes: a tile meets their panels while it is in the first-level cache, and they stay in the
/// second.
pub(super) const SHARE: usize = 2 * COLUMNS;

/// The product of a tile and a panel.
pub(super) type Tile = [Row; ROWS];

/// The columns of a row-major matrix in shares, the last of which may be smaller.
pub(super) fn shares<T>(
    values: &mut [T],
    width: usize,
    columns: usize,
) -> Vec<ArrayViewMut2<'_, T>> {
    let rows = values.len() / width;
    let mut rest = ArrayViewMut2::from_shape((rows, width), values).expect("whole rows");
    let mut shares = Vec::with_capacity(width.div_ceil(columns));
    while rest.ncols() > columns {
        let (share, others) = rest.split_at(Axis(1), columns);
        shares.push(share);
        rest = others;
    }
    shares.push(rest);
    shares
}

/// The product of rows and weights, given to `finish` tile by tile: the task's share of the output, the tile's
/// number, the first column in the share, and the sums.
///
/// # Shapes
/// - rows: `[rows, depth]`, in the form of the weights
/// - weights: `[depth, columns]`
/// - shares: the output's columns, from [`shares`] or [`Tiles::shares_mut`]
pub(super) fn multiply<O: Send>(
    rows: &Tiles,
    weights: Weights<'_>,
    shares: Vec<O>,
    finish: impl Fn(&mut O, usize, usize, Tile) + Sync,
) {
    assert_eq!(rows.depth(), weights.nrows(), "the depths of a product's factors agree");
    let fused = has_fused_multiply_add();
    shares.into_par_iter().with_max_len(1).enumerate().for_each(|(share, mut out)| {
        let columns = share * SHARE..((share + 1) * SHARE).min(weights.ncols());
        let weights = weights.columns(columns);
        let mut scratch = SCRATCH.take();
        match (rows.form(), weights) {
            (Form::Pairs(native), Weights::Bfloat16(panels)) => {
                packed_products(
                    native,
                    rows,
                    panels,
                    #[inline(always)]
                    |tile, column, sums| finish(&mut out, tile, column, sums),
                );
            }
            (Form::Bytes(native), Weights::Int8 { panels, .. }) => {
                packed_products(
                    native,
                    rows,
                    panels,
                    #[inline(always)]
                    |tile, column, sums| finish(&mut out, tile, column, sums),
                );
            }
            (_, weights) => {
                let panels = weights.floats(&mut scratch);
                simd(
                    #[inline(always)]
                    || {
                        for (t, tile) in rows.floats().enumerate() {
                            for (p, panel) in panels.outer_iter().enumerate() {
                                let panel = panel.to_slice().expect("panels are contiguous");
                                let sums = product_by(fused, tile, panel);
                                finish(&mut out, t, p * COLUMNS, sums);
                            }
                        }
                    },
                );
            }
        }
        SCRATCH.set(scratch);
    });
}

/// Products of packed numbers.
pub(super) trait PackedProduct: Copy + Sync {
    /// A tile of so many columns times each of some panels of as many rows.
    fn product<const P: usize>(
        self,
        depth: usize,
        tile: &[[u32; ROWS]],
        panels: [&[Words]; P],
    ) -> [Tile; P];
}

/// The products of all rows and the panels of a share, of which there are one or two: two together have more sums in
/// registers, and the wait for one of them is shorter.
#[inline(always)]
fn packed_products(
    native: impl PackedProduct,
    rows: &Tiles,
    panels: ArrayView2<'_, Words>,
    mut finish: impl FnMut(usize, usize, Tile),
) {
    let panel = |p| panels.index_axis_move(Axis(0), p).to_slice().expect("panels are contiguous");
    let (first, second) = (panel(0), (panels.nrows() == 2).then(|| panel(1)));
    let depth = rows.depth();
    simd(
        #[inline(always)]
        || {
            for (t, tile) in rows.words().enumerate() {
                if let Some(second) = second {
                    let [left, right] = native.product(depth, tile, [first, second]);
                    finish(t, 0, left);
                    finish(t, COLUMNS, right);
                } else {
                    let [sums] = native.product(depth, tile, [first]);
                    finish(t, 0, sums);
                }
            }
        },
    );
}

thread_local! {
    /// A thread's panels: clearing new memory for every share would take a fiftieth of the time.
    static SCRATCH: Cell<Vec<Row>> = const { Cell::new(Vec::new()) };
}

/// A tile times a panel of the same depth, where the machine multiplies and adds in one instruction or not.
#[inline(always)]
pub(super) fn product_by(fused: bool, tile: &[[f32; ROWS]], panel: &[Row]) -> Tile {
    if fused { product(tile, panel) } else { separate(tile, panel) }
}

/// A tile times a panel of the same depth.
#[inline(always)]
pub(super) fn product(tile: &[[f32; ROWS]], panel: &[Row]) -> Tile {
    let mut sums = [[0f32; COLUMNS]; ROWS];
    for (a, b) in tile.iter().zip(panel) {
        for (sums, a) in sums.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = a.mul_add(*b, *sum);
            }
        }
    }
    sums
}

/// A tile times a panel where a fused multiplication and addition would be a call of a function.
#[inline(always)]
pub(super) fn separate(tile: &[[f32; ROWS]], panel: &[Row]) -> Tile {
    let mut sums = [[0f32; COLUMNS]; ROWS];
    for (a, b) in tile.iter().zip(panel) {
        for (sums, a) in sums.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum += a * b;
            }
        }
    }
    sums
}

/// Adds to the sums what the share holds at their place.
#[inline(always)]
pub(super) fn add_rows(
    sums: &mut Tile,
    share: &ArrayViewMut2<'_, f32>,
    tile: usize,
    column: usize,
) {
    for (sums, row) in sums.iter_mut().zip(tile * ROWS..share.nrows()) {
        let row = share.row(row).to_slice().expect("rows of a share are contiguous");
        for (sum, x) in sums.iter_mut().zip(&row[column..]) {
            *sum += x;
        }
    }
}

/// Writes the sums to their place in the share.
#[inline(always)]
pub(super) fn write_rows(
    sums: &Tile,
    share: &mut ArrayViewMut2<'_, f32>,
    tile: usize,
    column: usize,
) {
    for (sums, row) in sums.iter().zip(tile * ROWS..share.nrows()) {
        let row = share.row_mut(row).into_slice().expect("rows of a share are contiguous");
        row[column..][..COLUMNS].copy_from_slice(sums);
    }
}

/// Adds a bias to every row.
#[inline(always)]
pub(super) fn add_bias(sums: &mut Tile, bias: &[f32]) {
    let bias: &Row = bias.first_chunk().expect("shares have whole panels");
    for row in sums {
        for (x, bias) in row.iter_mut().zip(bias) {
            *x += bias;
        }
    }
}

#[cfg(test)]
mod tests;
