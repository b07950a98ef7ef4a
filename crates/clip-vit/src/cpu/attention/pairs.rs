//! Attention of one head with products in pairs of bfloat16.

use ndarray::{ArrayView2, ArrayViewMut2};

use super::exponentiate;
use crate::bfloat16::pair;
use crate::cpu::PairProducts;
use crate::cpu::product::{PackedProduct, ROWS};
use crate::panels::{COLUMNS, Row, Words};

/// Buffers for the attention of a head of an even number of channels.
pub(in crate::cpu) struct PairScratch {
    native: PairProducts,
    /// Keys, `[tiles of keys, head_dim / 2]`.
    keys: Vec<[u32; ROWS]>,
    /// Values, `[tiles of channels, tokens / 2]`.
    values: Vec<[u32; ROWS]>,
    /// Two panels of queries, `[head_dim / 2]` each.
    queries: [Vec<Words>; 2],
    /// Their scores, `[tokens]`, up to whole tiles of an even number.
    scores: [Vec<Row>; 2],
    /// The exponentials of these, `[tokens / 2]`.
    shares: [Vec<Words>; 2],
}

impl PairScratch {
    pub(in crate::cpu) fn new(native: PairProducts, tokens: usize, head_dim: usize) -> Self {
        let (tiles, pairs) = (tokens.div_ceil(ROWS), tokens.div_ceil(2));
        let two = |n| [vec![[0; COLUMNS]; n], vec![[0; COLUMNS]; n]];
        let scores = vec![[0.0; COLUMNS]; tiles * ROWS];
        Self {
            native,
            keys: vec![[0; ROWS]; tiles * (head_dim / 2)],
            values: vec![[0; ROWS]; head_dim.div_ceil(ROWS) * pairs],
            queries: two(head_dim / 2),
            scores: [scores.clone(), scores],
            shares: two(pairs),
        }
    }

    /// `softmax(scale q kᵀ) v`, 32 queries at a time: their scores stay in the cache.
    ///
    /// # Shapes
    /// - q, k, v, out: `[tokens, head_dim]`
    #[inline(always)]
    pub(in crate::cpu) fn attend(
        &mut self,
        q: ArrayView2<'_, f32>,
        k: ArrayView2<'_, f32>,
        v: ArrayView2<'_, f32>,
        out: &mut ArrayViewMut2<'_, f32>,
    ) {
        let (n, head_dim) = q.dim();
        for (t, tile) in self.keys.chunks_exact_mut(head_dim / 2).enumerate() {
            gather(k, t * ROWS, 1.0, tile);
        }
        let row = |i: usize| v.row(i).to_slice().expect("rows are contiguous");
        let pairs = n.div_ceil(2);
        for i in 0..pairs {
            let first = row(2 * i);
            for (j, tile) in self.values.chunks_exact_mut(pairs).enumerate() {
                let channels = j * ROWS..head_dim.min((j + 1) * ROWS);
                if 2 * i + 1 < n {
                    let both = first[channels.clone()].iter().zip(&row(2 * i + 1)[channels]);
                    for (word, (a, b)) in tile[i].iter_mut().zip(both) {
                        *word = pair(*a, *b);
                    }
                } else {
                    for (word, a) in tile[i].iter_mut().zip(&first[channels]) {
                        *word = pair(*a, 0.0);
                    }
                }
            }
        }
        for first in (0..n).step_by(2 * COLUMNS) {
            if first + COLUMNS < n {
                self.attend_some::<2>(q, first, out);
            } else {
                self.attend_some::<1>(q, first, out);
            }
        }
    }

    /// The same for `P` panels of queries.
    #[inline(always)]
    fn attend_some<const P: usize>(
        &mut self,
        q: ArrayView2<'_, f32>,
        first: usize,
        out: &mut ArrayViewMut2<'_, f32>,
    ) {
        let (n, head_dim) = q.dim();
        let scale = (head_dim as f32).powf(-0.5);
        for (p, queries) in self.queries.iter_mut().take(P).enumerate() {
            gather(q, first + p * COLUMNS, scale, queries);
        }
        let queries: [&[Words]; P] = std::array::from_fn(|p| &*self.queries[p]);
        for (t, keys) in self.keys.chunks_exact(head_dim / 2).enumerate() {
            let products = self.native.product(head_dim, keys, queries);
            for (scores, product) in self.scores.iter_mut().zip(&products) {
                scores[t * ROWS..][..ROWS].copy_from_slice(product);
            }
        }
        let mut factors = [[0f32; COLUMNS]; P];
        let each = self.scores.iter_mut().zip(&mut self.shares).zip(&mut factors);
        for ((scores, shares), factors) in each {
            let sums = exponentiate(&mut scores[..n]);
            for (factor, sum) in factors.iter_mut().zip(sums) {
                *factor = 1.0 / sum;
            }
            scores[n..].fill([0.0; COLUMNS]);
            for (i, words) in shares.iter_mut().enumerate() {
                let a = scores[2 * i];
                let b = if 2 * i + 1 < n { scores[2 * i + 1] } else { [0.0; COLUMNS] };
                for ((word, a), b) in words.iter_mut().zip(a).zip(b) {
                    *word = pair(a, b);
                }
            }
        }
        let shares: [&[Words]; P] = std::array::from_fn(|p| &*self.shares[p]);
        for (j, values) in self.values.chunks_exact(n.div_ceil(2)).enumerate() {
            let products = self.native.product(n, values, shares);
            for (p, (mut attended, factors)) in products.into_iter().zip(&factors).enumerate() {
                for row in &mut attended {
                    for (x, factor) in row.iter_mut().zip(factors) {
                        *x *= factor;
                    }
                }
                let begin = first + p * COLUMNS;
                for (query, i) in (begin..n.min(begin + COLUMNS)).enumerate() {
                    let out = out.row_mut(i).into_slice().expect("rows are contiguous");
                    for (out, attended) in out[j * ROWS..].iter_mut().zip(attended) {
                        *out = attended[query];
                    }
                }
            }
        }
    }
}

/// Rows from `first` on as the columns of a tile, scaled, two numbers a word, zeros where there are none.
#[inline(always)]
fn gather<const N: usize>(
    rows: ArrayView2<'_, f32>,
    first: usize,
    scale: f32,
    tile: &mut [[u32; N]],
) {
    if first + N > rows.nrows() {
        tile.fill([0; N]);
    }
    for (r, row) in (first..rows.nrows()).take(N).enumerate() {
        let row = rows.row(row).to_slice().expect("rows are contiguous");
        for (column, [a, b]) in tile.iter_mut().zip(row.as_chunks().0) {
            column[r] = pair(scale * a, scale * b);
        }
    }
}
