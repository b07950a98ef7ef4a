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

use super::instructions::{has_fused_multiply_add, simd};
use super::tiles::{Form, Tiles};
use crate::bfloat16::unpair;
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
            (Form::Pairs(native), Weights::Bfloat16(panels)) => simd(
                #[inline(always)]
                || {
                    for (t, tile) in rows.words().enumerate() {
                        by_panels(
                            native,
                            tile,
                            panels,
                            #[inline(always)]
                            |column, sums| finish(&mut out, t, column, sums),
                        );
                    }
                },
            ),
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
pub(super) trait PackedProduct: Copy {
    /// A tile times each of some panels, all of the same depth.
    fn product<const P: usize>(self, tile: &[[u32; ROWS]], panels: [&[Words]; P]) -> [Tile; P];
}

/// The products of a tile and the panels of a share, of which there are one or two: two together have more sums in
/// registers, and the wait for one of them is shorter.
#[inline(always)]
fn by_panels(
    native: impl PackedProduct,
    tile: &[[u32; ROWS]],
    panels: ArrayView2<'_, Words>,
    mut finish: impl FnMut(usize, Tile),
) {
    let panel = |p| panels.index_axis_move(Axis(0), p).to_slice().expect("panels are contiguous");
    if panels.nrows() == 2 {
        for (p, sums) in native.product(tile, [panel(0), panel(1)]).into_iter().enumerate() {
            finish(p * COLUMNS, sums);
        }
    } else {
        let [sums] = native.product(tile, [panel(0)]);
        finish(0, sums);
    }
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
    Float32(ArrayView2<'a, Row>),
    /// `[columns / 16, depth / 2]`
    Bfloat16(ArrayView2<'a, Words>),
}

impl<'a> Weights<'a> {
    /// The form in which the first factor is wanted.
    pub(super) fn form(&self) -> Form {
        match self {
            Self::Matrix(_) | Self::Float32(_) => Form::Float32,
            Self::Bfloat16(_) => Form::of_bfloat16(),
        }
    }

    fn nrows(&self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.nrows(),
            Self::Float32(panels) => panels.ncols(),
            Self::Bfloat16(panels) => 2 * panels.ncols(),
        }
    }

    pub(super) fn ncols(&self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.ncols(),
            Self::Float32(panels) => panels.nrows() * COLUMNS,
            Self::Bfloat16(panels) => panels.nrows() * COLUMNS,
        }
    }

    /// Some rows, an even number each.
    pub(super) fn rows(self, rows: Range<usize>) -> Self {
        match self {
            Self::Matrix(matrix) => Self::Matrix(matrix.slice_move(s![rows, ..])),
            Self::Float32(panels) => Self::Float32(panels.slice_move(s![.., rows])),
            Self::Bfloat16(panels) => {
                Self::Bfloat16(panels.slice_move(s![.., rows.start / 2..rows.end / 2]))
            }
        }
    }

    /// Some columns, in whole panels.
    pub(super) fn columns(self, columns: Range<usize>) -> Self {
        let panel = columns.start / COLUMNS..columns.end / COLUMNS;
        match self {
            Self::Matrix(matrix) => Self::Matrix(matrix.slice_move(s![.., columns])),
            Self::Float32(panels) => Self::Float32(panels.slice_move(s![panel, ..])),
            Self::Bfloat16(panels) => Self::Bfloat16(panels.slice_move(s![panel, ..])),
        }
    }

    /// Panels in float32, `[columns / 16, depth]`; where there are others they are made, a matrix's row by row.
    fn floats<'b>(self, scratch: &'b mut Vec<Row>) -> ArrayView2<'b, Row>
    where
        'a: 'b,
    {
        if let Self::Float32(panels) = self {
            return panels;
        }
        let (depth, panels) = (self.nrows(), self.ncols() / COLUMNS);
        scratch.resize(scratch.len().max(panels * depth), [0.0; COLUMNS]);
        let scratch = &mut scratch[..panels * depth];
        match self {
            Self::Float32(_) => unreachable!("returned above"),
            Self::Matrix(matrix) => {
                for (k, row) in matrix.rows().into_iter().enumerate() {
                    let row = row.to_slice().expect("rows of weights are contiguous");
                    for (p, part) in row.as_chunks().0.iter().enumerate() {
                        scratch[p * depth + k] = *part;
                    }
                }
            }
            Self::Bfloat16(panels) => {
                for (rows, panel) in scratch.chunks_exact_mut(depth).zip(panels.outer_iter()) {
                    for ([first, second], words) in rows.as_chunks_mut().0.iter_mut().zip(panel) {
                        for ((first, second), word) in first.iter_mut().zip(second).zip(words) {
                            [*first, *second] = unpair(*word);
                        }
                    }
                }
            }
        }
        ArrayView2::from_shape((panels, depth), scratch).expect("the slice has the shape's length")
    }
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
mod tests {
    use super::*;
    use crate::Arithmetic;
    use crate::panels::Packed;

    /// Numbers of both signs and of sizes from 1 to 2^-8.
    fn values(n: usize, seed: usize) -> Vec<f32> {
        let value = |i: usize| {
            let x = ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
            x * 0.5f32.powi((i * 31 % 9) as i32)
        };
        (0..n).map(value).collect()
    }

    fn product_of(rows: &[f32], columns: &[f32], depth: usize, arithmetic: Arithmetic) -> Vec<f32> {
        let packed = Packed::of_columns(&[columns], depth, arithmetic).unwrap();
        let weights = packed.weights();
        let width = weights.ncols();
        let mut tiles = Tiles::default();
        tiles.pack(rows, depth, weights.form());
        let mut out = vec![0f32; tiles.len() * width];
        let each = shares(&mut out, width, SHARE);
        multiply(&tiles, weights, each, |share, tile, column, sums| {
            write_rows(&sums, share, tile, column);
        });
        out
    }

    const SHAPES: [(usize, usize, usize); 7] = [
        (1, 16, 16),
        (5, 48, 32),
        (6, 16, 48),
        (7, 80, 16),
        (13, 336, 96),
        (25, 1056, 48),
        (12, 1024, 32),
    ];

    #[test]
    fn products_are_those_of_float64() {
        for (rows, depth, width) in SHAPES {
            let (a, b) = (values(rows * depth, 1), values(width * depth, 2));
            for arithmetic in [Arithmetic::Float32, Arithmetic::Bfloat16] {
                let number = |x: &f32| match arithmetic {
                    Arithmetic::Float32 => f64::from(*x),
                    Arithmetic::Bfloat16 => half::bf16::from_f32(*x).to_f64(),
                };
                let found = product_of(&a, &b, depth, arithmetic);
                for (i, found) in found.into_iter().enumerate() {
                    let (row, column) = (&a[i / width * depth..], &b[i % width * depth..]);
                    let products = row.iter().zip(column).take(depth);
                    let products = products.map(|(x, y)| number(x) * number(y));
                    let (sum, size) =
                        products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()));
                    // Each of `depth` additions rounds a sum that is at most `size`.
                    let bound = depth as f64 * size * f64::from(f32::EPSILON) / 2.0;
                    let error = (f64::from(found) - sum).abs();
                    assert!(
                        error <= bound,
                        "{arithmetic:?}, {rows} {depth} {width}: {error} {bound}"
                    );
                }
            }
        }
    }

    #[test]
    fn products_depend_neither_on_other_rows_nor_on_threads() {
        let (rows, depth, width) = (25, 336, 96);
        let (a, b) = (values(rows * depth, 3), values(width * depth, 4));
        for arithmetic in [Arithmetic::Float32, Arithmetic::Bfloat16] {
            let together = product_of(&a, &b, depth, arithmetic);
            for (row, expected) in a.chunks(depth).zip(together.chunks(width)) {
                assert_eq!(product_of(row, &b, depth, arithmetic), expected);
            }
            for threads in [1, 3, 8] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert_eq!(pool.install(|| product_of(&a, &b, depth, arithmetic)), together);
            }
        }
    }

    #[test]
    fn without_fused_operations_the_sums_are_the_same_but_for_rounding() {
        let (a, b) = (values(ROWS * 9, 4), values(COLUMNS * 9, 5));
        let (tile, panel) = (a.as_chunks().0, b.as_chunks().0);
        let (fused, plain) = (product(tile, panel), separate(tile, panel));
        for (x, y) in fused.as_flattened().iter().zip(plain.as_flattened()) {
            // Each of nine sums, of at most 9, is rounded.
            assert!((x - y).abs() <= 81.0 * f32::EPSILON, "{x} {y}");
        }
    }
}
