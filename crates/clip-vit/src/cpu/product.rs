//! Matrix products whose results are finished while they are in registers.
//!
//! A tile of six rows times a panel of sixteen columns is summed in twelve vector registers over the whole depth, so
//! that no partial result goes to memory. Each sum is one chain of fused multiply-adds in the order of the depth: the
//! result of a row depends neither on the rows beside it nor on the number of threads.
//!
//! Source: Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008.

use std::cell::Cell;
use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::simd;
use crate::panels::{COLUMNS, Row, interleave};

/// Rows of a tile.
pub(super) const ROWS: usize = 6;
/// Columns that one task computes: a tile meets their panels while it is in the first-level cache, and they stay in the
/// second.
pub(super) const SHARE: usize = 2 * COLUMNS;

/// The product of a tile and a panel.
pub(super) type Tile = [Row; ROWS];

/// The rows of a matrix in tiles of six, each column by column, `[tiles, depth]`.
///
/// What stands after the last row is of no meaning: no product's result is read there.
#[derive(Default)]
pub(super) struct Tiles {
    values: Vec<[f32; ROWS]>,
    rows: usize,
    depth: usize,
}

impl Tiles {
    /// Makes room for another matrix; its elements are whatever was there before.
    pub(super) fn reshape(&mut self, rows: usize, depth: usize) {
        self.values.resize(rows.div_ceil(ROWS) * depth, [0.0; ROWS]);
        (self.rows, self.depth) = (rows, depth);
    }

    /// Takes the rows of a matrix of `depth` columns.
    pub(super) fn pack(&mut self, rows: &[f32], depth: usize) {
        self.reshape(rows.len() / depth, depth);
        let tiles = self.par_iter_mut().zip(rows.par_chunks(ROWS * depth));
        tiles.for_each(|(tile, rows)| interleave(rows, tile));
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// The tiles, each of `depth` columns.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[[f32; ROWS]]> {
        self.values.chunks_exact(self.depth)
    }

    /// Columns in shares, for the tasks of [`multiply`].
    pub(super) fn shares_mut(&mut self) -> Vec<ArrayViewMut2<'_, [f32; ROWS]>> {
        shares(&mut self.values, self.depth, SHARE)
    }

    /// The tiles, each of `depth` columns.
    pub(super) fn par_iter_mut(
        &mut self,
    ) -> impl IndexedParallelIterator<Item = &mut [[f32; ROWS]]> {
        self.values.par_chunks_mut(self.depth)
    }
}

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
/// - rows: `[rows, depth]`
/// - weights: `[depth, columns]`
/// - shares: the output's columns, from [`shares`] or [`Tiles::shares_mut`]
pub(super) fn multiply<O: Send>(
    rows: &Tiles,
    weights: Weights<'_>,
    shares: Vec<O>,
    finish: impl Fn(&mut O, usize, usize, Tile) + Sync,
) {
    let depth = rows.depth;
    shares.into_par_iter().with_max_len(1).enumerate().for_each(|(share, mut out)| {
        let mut scratch = SCRATCH.take();
        let panels = weights.share(share, &mut scratch);
        assert_eq!(panels.ncols(), depth, "the depths of a product's factors agree");
        simd(
            #[inline(always)]
            || {
                for (t, tile) in rows.iter().enumerate() {
                    for (p, panel) in panels.outer_iter().enumerate() {
                        let panel = panel.to_slice().expect("panels are contiguous");
                        finish(&mut out, t, p * COLUMNS, product(tile, panel));
                    }
                }
            },
        );
        SCRATCH.set(scratch);
    });
}

thread_local! {
    /// A thread's panels: clearing new memory for every share would take a fiftieth of the time.
    static SCRATCH: Cell<Vec<Row>> = const { Cell::new(Vec::new()) };
}

/// The second factor of a product; its columns are a multiple of sixteen.
#[derive(Clone, Copy)]
pub(super) enum Weights<'a> {
    /// `[depth, columns]`
    Matrix(ArrayView2<'a, f32>),
    /// `[columns / 16, depth]`
    Panels(ArrayView2<'a, Row>),
}

impl<'a> Weights<'a> {
    pub(super) fn ncols(&self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.ncols(),
            Self::Panels(panels) => panels.nrows() * COLUMNS,
        }
    }

    pub(super) fn rows(self, rows: Range<usize>) -> Self {
        match self {
            Self::Matrix(matrix) => Self::Matrix(matrix.slice_move(s![rows, ..])),
            Self::Panels(panels) => Self::Panels(panels.slice_move(s![.., rows])),
        }
    }

    /// Some columns, in whole panels.
    pub(super) fn columns(self, columns: Range<usize>) -> Self {
        match self {
            Self::Matrix(matrix) => Self::Matrix(matrix.slice_move(s![.., columns])),
            Self::Panels(panels) => {
                let panel = columns.start / COLUMNS..columns.end / COLUMNS;
                Self::Panels(panels.slice_move(s![panel, ..]))
            }
        }
    }

    /// The panels of a share, `[columns / 16, depth]`; a matrix's are copied, each row by row.
    fn share<'b>(self, share: usize, scratch: &'b mut Vec<Row>) -> ArrayView2<'b, Row>
    where
        'a: 'b,
    {
        let columns = share * SHARE..((share + 1) * SHARE).min(self.ncols());
        let matrix = match self.columns(columns) {
            Self::Panels(panels) => return panels,
            Self::Matrix(matrix) => matrix,
        };
        let (depth, columns) = matrix.dim();
        let shape = (columns / COLUMNS, depth);
        scratch.resize(scratch.len().max(shape.0 * depth), [0.0; COLUMNS]);
        for (k, row) in matrix.rows().into_iter().enumerate() {
            let row = row.to_slice().expect("rows of weights are contiguous");
            for (p, part) in row.as_chunks().0.iter().enumerate() {
                scratch[p * depth + k] = *part;
            }
        }
        ArrayView2::from_shape(shape, &scratch[..shape.0 * depth])
            .expect("the slice has the shape's length")
    }
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
