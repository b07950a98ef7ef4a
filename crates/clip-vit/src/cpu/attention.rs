//! Attention of one head.

use ndarray::{ArrayView2, ArrayViewMut2, s};

use super::activation::exp;
use super::instructions::has_fused_multiply_add;
use super::product::{ROWS, product_by};
use crate::panels::{COLUMNS, Row};

mod pairs;

pub(super) use pairs::PairScratch;

/// Buffers for the attention of a head.
pub(super) struct Scratch {
    /// Keys, `[tiles of keys, head_dim]`.
    keys: Vec<[f32; ROWS]>,
    /// Values, `[tiles of channels, tokens]`.
    values: Vec<[f32; ROWS]>,
    /// A panel of queries, `[head_dim]`.
    queries: Vec<Row>,
    /// Their scores, `[tokens]`, up to whole tiles.
    scores: Vec<Row>,
}

impl Scratch {
    pub(super) fn new(tokens: usize, head_dim: usize) -> Self {
        let tiles = tokens.div_ceil(ROWS);
        Self {
            keys: vec![[0.0; ROWS]; tiles * head_dim],
            values: vec![[0.0; ROWS]; head_dim.div_ceil(ROWS) * tokens],
            queries: vec![[0.0; COLUMNS]; head_dim],
            scores: vec![[0.0; COLUMNS]; tiles * ROWS],
        }
    }

    /// `softmax(scale q kᵀ) v`, sixteen queries at a time: their scores stay in the cache.
    ///
    /// # Shapes
    /// - q, k, v, out: `[tokens, head_dim]`
    #[inline(always)]
    pub(super) fn attend(
        &mut self,
        q: ArrayView2<'_, f32>,
        k: ArrayView2<'_, f32>,
        v: ArrayView2<'_, f32>,
        causal: bool,
        out: &mut ArrayViewMut2<'_, f32>,
    ) {
        let (n, head_dim) = q.dim();
        let scale = (head_dim as f32).powf(-0.5);
        let fused = has_fused_multiply_add();
        for (t, tile) in self.keys.chunks_exact_mut(head_dim).enumerate() {
            gather(k, t * ROWS, 1.0, tile);
        }
        for (key, v) in v.rows().into_iter().enumerate() {
            let v = v.to_slice().expect("rows are contiguous");
            for (tile, channels) in self.values.chunks_exact_mut(n).zip(v.chunks(ROWS)) {
                tile[key][..channels.len()].copy_from_slice(channels);
            }
        }
        for first in (0..n).step_by(COLUMNS) {
            gather(q, first, scale, &mut self.queries);
            let seen = if causal { n.min(first + COLUMNS) } else { n };
            let tiles = self.keys.chunks_exact(head_dim);
            for (scores, keys) in
                self.scores.chunks_exact_mut(ROWS).zip(tiles).take(seen.div_ceil(ROWS))
            {
                scores.copy_from_slice(&product_by(fused, keys, &self.queries));
            }
            let scores = &mut self.scores[..seen];
            if causal {
                for (key, scores) in scores.iter_mut().enumerate().skip(first) {
                    scores[..key - first].fill(f32::NEG_INFINITY);
                }
            }
            let shares = exponentiate(scores).map(|sum| 1.0 / sum);
            let mut out = out.slice_mut(s![first..n.min(first + COLUMNS), ..]);
            for (j, values) in self.values.chunks_exact(n).enumerate() {
                let mut attended = product_by(fused, &values[..seen], scores);
                for row in &mut attended {
                    for (x, share) in row.iter_mut().zip(&shares) {
                        *x *= share;
                    }
                }
                for (query, mut out) in out.rows_mut().into_iter().enumerate() {
                    let out = out.as_slice_mut().expect("rows are contiguous");
                    for (out, attended) in out[j * ROWS..].iter_mut().zip(attended) {
                        *out = attended[query];
                    }
                }
            }
        }
    }
}

/// Rows from `first` on as the columns of a tile, scaled, zeros where there are none.
#[inline(always)]
fn gather<const N: usize>(
    rows: ArrayView2<'_, f32>,
    first: usize,
    scale: f32,
    tile: &mut [[f32; N]],
) {
    if first + N > rows.nrows() {
        tile.fill([0.0; N]);
    }
    for (r, row) in (first..rows.nrows()).take(N).enumerate() {
        let row = rows.row(row).to_slice().expect("rows are contiguous");
        for (column, x) in tile.iter_mut().zip(row) {
            column[r] = scale * x;
        }
    }
}

/// Replaces the scores of every query by the exponentials of their distances from the largest; returns their sums.
#[inline(always)]
fn exponentiate(scores: &mut [Row]) -> Row {
    let mut maxima = [f32::NEG_INFINITY; COLUMNS];
    for scores in &*scores {
        for (maximum, x) in maxima.iter_mut().zip(scores) {
            *maximum = if *x > *maximum { *x } else { *maximum };
        }
    }
    let mut sums = [0f32; COLUMNS];
    for scores in scores {
        for ((x, maximum), sum) in scores.iter_mut().zip(&maxima).zip(&mut sums) {
            *x = exp(*x - maximum);
            *sum += *x;
        }
    }
    sums
}
