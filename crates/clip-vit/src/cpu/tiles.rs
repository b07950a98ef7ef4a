//! The first factor of a product.

use ndarray::ArrayViewMut2;
use rayon::prelude::*;

use super::dot::{ByteProducts, PairProducts};
use super::instructions::simd;
use super::product::{ROWS, SHARE, shares};
use crate::panels::interleave;
use crate::{bfloat16, int8};

/// In which numbers a product is computed on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Form {
    #[default]
    Float32,
    /// As float32, of numbers that bfloat16 has.
    Rounded,
    /// Pairs of bfloat16.
    Pairs(PairProducts),
    /// Groups of eight-bit numbers, four a word, after their scale.
    Bytes(ByteProducts),
}

impl Form {
    /// What weights in bfloat16 are multiplied by.
    pub(super) fn of_bfloat16() -> Self {
        PairProducts::try_new().map_or(Self::Rounded, Self::Pairs)
    }

    /// Words that a row of a tile takes.
    fn words(self, depth: usize) -> usize {
        match self {
            Self::Float32 | Self::Rounded => depth,
            Self::Pairs(_) => depth / 2,
            Self::Bytes(_) => int8::words(depth, 1),
        }
    }

    /// Takes up to six rows of `depth` columns that follow one another into a tile.
    #[inline(always)]
    pub(super) fn encode(
        self,
        rows: &[f32],
        depth: usize,
        scratch: &mut Vec<u32>,
        tile: &mut [[u32; ROWS]],
    ) {
        scratch.clear();
        match self {
            Self::Float32 => return interleave(bytemuck::cast_slice(rows), tile),
            Self::Rounded => scratch.extend(rows.iter().map(|x| bfloat16::round(*x).to_bits())),
            Self::Pairs(_) => {
                scratch.extend(rows.as_chunks().0.iter().map(|[a, b]| bfloat16::pair(*a, *b)));
            }
            Self::Bytes(native) => {
                let words = tile.len();
                scratch.resize(rows.len() / depth * words, 0);
                for (row, words) in rows.chunks_exact(depth).zip(scratch.chunks_exact_mut(words)) {
                    int8::pack(row, words, native.flip(), |scale, _| [scale.to_bits()]);
                }
            }
        }
        interleave(scratch, tile);
    }
}

/// The rows of a matrix in tiles of six, each column by column, `[tiles, depth]`, or as many words as the form takes.
///
/// What stands after the last row is of no meaning: no product's result is read there.
#[derive(Default)]
pub(super) struct Tiles {
    /// Bits of the numbers.
    words: Vec<[u32; ROWS]>,
    form: Form,
    rows: usize,
    depth: usize,
}

impl Tiles {
    /// Makes room for another matrix; its elements are whatever was there before.
    pub(super) fn reshape(&mut self, rows: usize, depth: usize, form: Form) {
        self.words.resize(rows.div_ceil(ROWS) * form.words(depth), [0; ROWS]);
        (self.rows, self.depth, self.form) = (rows, depth, form);
    }

    /// Takes the rows of a matrix of `depth` columns.
    pub(super) fn pack(&mut self, rows: &[f32], depth: usize, form: Form) {
        self.reshape(rows.len() / depth, depth, form);
        let tiles = self.par_iter_mut().zip(rows.par_chunks(ROWS * depth));
        tiles.for_each_init(Vec::new, |scratch, (tile, rows)| {
            simd(
                #[inline(always)]
                || form.encode(rows, depth, scratch, tile),
            );
        });
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// Numbers in a row.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// The tiles, each of `depth` columns, of numbers in float32.
    pub(super) fn floats(&self) -> impl Iterator<Item = &[[f32; ROWS]]> {
        assert!(matches!(self.form, Form::Float32 | Form::Rounded), "the numbers are float32");
        bytemuck::cast_slice(&self.words).chunks_exact(self.depth)
    }

    /// The tiles, as many words each as their form takes.
    pub(super) fn words(&self) -> impl Iterator<Item = &[[u32; ROWS]]> {
        self.words.chunks_exact(self.form.words(self.depth))
    }

    /// Columns in shares, for the tasks of [`multiply`](super::product::multiply).
    pub(super) fn shares_mut(&mut self) -> Vec<ArrayViewMut2<'_, [f32; ROWS]>> {
        assert!(self.form == Form::Float32, "the numbers are float32");
        shares(bytemuck::cast_slice_mut(&mut self.words), self.depth, SHARE)
    }

    /// The tiles, as many words each as their form takes.
    pub(super) fn par_iter_mut(
        &mut self,
    ) -> impl IndexedParallelIterator<Item = &mut [[u32; ROWS]]> {
        self.words.par_chunks_mut(self.form.words(self.depth))
    }
}
