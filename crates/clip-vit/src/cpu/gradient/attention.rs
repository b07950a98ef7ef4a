//! Attention whose weights are kept.

use ndarray::{ArrayView2, s};

use super::rows::{add_product, of_head, rows_of, rows_of_mut, softmax, through_softmax};
use super::{Part, Pass};
use crate::cpu::instructions::simd;

/// Weights of the attention of every image and head, and what is attended to.
pub(super) fn attend(pass: &Pass, qkv: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (n, width, heads, causal) = (pass.tokens, pass.width(), pass.heads, pass.causal);
    let images = qkv.len() / (3 * width * n);
    let mut weights = vec![0f32; images * heads * n * n];
    let mut attended = vec![0f32; images * n * width];
    let each = qkv.chunks_exact(3 * width * n).zip(attended.chunks_exact_mut(width * n));
    for ((qkv, attended), weights) in each.zip(weights.chunks_exact_mut(heads * n * n)) {
        let mut attended = rows_of_mut(attended, width);
        for (head, weights) in weights.chunks_exact_mut(n * n).enumerate() {
            let [q, k, v] = queries_keys_values(qkv, width, heads, head);
            let scale = (q.ncols() as f32).sqrt().recip();
            add_product(rows_of_mut(weights, n), q, k.reversed_axes(), scale);
            simd(
                #[inline(always)]
                || softmax(weights, n, causal),
            );
            let of_head = attended.slice_mut(s![.., of_head(head, width / heads)]);
            add_product(of_head, rows_of(weights, n), v, 1.0);
        }
    }
    (weights, attended)
}

/// The gradient of query, key and value, from that of what was attended to.
pub(super) fn attend_backward(pass: &Pass, part: &Part, d_attended: &[f32]) -> Vec<f32> {
    let (n, width, heads) = (pass.tokens, pass.width(), pass.heads);
    let mut d_qkv = vec![0f32; part.qkv.len()];
    let mut d_weights = vec![0f32; n * n];
    let images = part.qkv.chunks_exact(3 * width * n).zip(d_qkv.chunks_exact_mut(3 * width * n));
    let changes = d_attended.chunks_exact(width * n);
    for (((qkv, d_qkv), d_attended), weights) in
        images.zip(changes).zip(part.attention.chunks_exact(heads * n * n))
    {
        let d_attended = rows_of(d_attended, width);
        let mut d_qkv = rows_of_mut(d_qkv, 3 * width);
        for (head, weights) in weights.chunks_exact(n * n).enumerate() {
            let [q, k, v] = queries_keys_values(qkv, width, heads, head);
            let scale = (q.ncols() as f32).sqrt().recip();
            let d_out = d_attended.slice(s![.., of_head(head, width / heads)]);
            let mut add = |third: usize, a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, scale| {
                let of_head = of_head(third * heads + head, width / heads);
                add_product(d_qkv.slice_mut(s![.., of_head]), a, b, scale);
            };
            add(2, rows_of(weights, n).reversed_axes(), d_out, 1.0);
            d_weights.fill(0.0);
            add_product(rows_of_mut(&mut d_weights, n), d_out, v.reversed_axes(), 1.0);
            simd(
                #[inline(always)]
                || through_softmax(weights, &mut d_weights, n),
            );
            add(0, rows_of(&d_weights, n), k, scale);
            add(1, rows_of(&d_weights, n).reversed_axes(), q, scale);
        }
    }
    d_qkv
}

/// Of one head, `[tokens, head_dim]` each.
fn queries_keys_values(
    qkv: &[f32],
    width: usize,
    heads: usize,
    head: usize,
) -> [ArrayView2<'_, f32>; 3] {
    [0, 1, 2].map(|third| {
        let of_head = of_head(third * heads + head, width / heads);
        rows_of(qkv, 3 * width).slice_move(s![.., of_head])
    })
}
