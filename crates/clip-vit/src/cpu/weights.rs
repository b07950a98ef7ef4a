//! The second factor of a product.

use std::ops::Range;

use ndarray::{ArrayView2, s};

use super::dot::ByteProducts;
use super::tiles::Form;
use crate::bfloat16::unpair;
use crate::int8;
use crate::panels::{COLUMNS, HEAD, Packed, Row, Words};

/// The second factor of a product; its columns are a multiple of sixteen.
#[derive(Clone, Copy)]
pub(super) enum Weights<'a> {
    /// `[depth, columns]`
    Matrix(ArrayView2<'a, f32>),
    /// `[columns / 16, depth]`
    Float32(ArrayView2<'a, Row>),
    /// `[columns / 16, depth / 2]`
    Bfloat16(ArrayView2<'a, Words>),
    /// `[columns / 16, words]`: groups of `depth` rows, each after its head.
    Int8 { panels: ArrayView2<'a, Words>, depth: usize },
}

impl<'a> Weights<'a> {
    /// The form in which the first factor is wanted.
    pub(super) fn form(&self) -> Form {
        match self {
            Self::Matrix(_) | Self::Float32(_) => Form::Float32,
            Self::Bfloat16(_) => Form::of_bfloat16(),
            Self::Int8 { .. } => Form::Bytes(ByteProducts::best()),
        }
    }

    pub(super) fn nrows(&self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.nrows(),
            Self::Float32(panels) => panels.ncols(),
            Self::Bfloat16(panels) => 2 * panels.ncols(),
            Self::Int8 { depth, .. } => *depth,
        }
    }

    pub(super) fn ncols(&self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.ncols(),
            Self::Float32(panels) => panels.nrows() * COLUMNS,
            Self::Bfloat16(panels) => panels.nrows() * COLUMNS,
            Self::Int8 { panels, .. } => panels.nrows() * COLUMNS,
        }
    }

    /// Some rows, from the beginning of a whole group of [`int8`] on.
    pub(super) fn rows(self, rows: Range<usize>) -> Self {
        match self {
            Self::Matrix(matrix) => Self::Matrix(matrix.slice_move(s![rows, ..])),
            Self::Float32(panels) => Self::Float32(panels.slice_move(s![.., rows])),
            Self::Bfloat16(panels) => {
                Self::Bfloat16(panels.slice_move(s![.., rows.start / 2..rows.end / 2]))
            }
            Self::Int8 { panels, .. } => {
                let words = |rows| int8::words(rows, HEAD);
                let part = words(rows.start)..words(rows.start) + words(rows.len());
                Self::Int8 { panels: panels.slice_move(s![.., part]), depth: rows.len() }
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
            Self::Int8 { panels, depth } => {
                Self::Int8 { panels: panels.slice_move(s![panel, ..]), depth }
            }
        }
    }

    /// Panels in float32, `[columns / 16, depth]`; where there are others they are made, a matrix's row by row.
    pub(super) fn floats<'b>(self, scratch: &'b mut Vec<Row>) -> ArrayView2<'b, Row>
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
            Self::Int8 { .. } => unreachable!("the other factor is in bytes, too"),
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

impl Packed {
    /// As the second factor of a product.
    pub(super) fn weights(&self) -> Weights<'_> {
        match self {
            Self::Float32(panels) => Weights::Float32(panels.view()),
            Self::Bfloat16(panels) => Weights::Bfloat16(panels.view()),
            Self::Int8 { panels, depth } => Weights::Int8 { panels: panels.view(), depth: *depth },
        }
    }
}
