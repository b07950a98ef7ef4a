//! Rows of numbers, and products of matrices of them.
//!
//! What goes through rows is inlined into `simd`, where it is compiled for wide vectors.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2};

use crate::config::Activation;
use crate::cpu::EPSILON;
use crate::cpu::activation::{erf, exp};

/// Partial sums of a row.
const LANES: usize = 16;
/// The normal density at 0.
const INVERSE_ROOT_OF_TAU: f32 = 0.398_942_3;

#[inline(always)]
pub(super) fn add_to_rows(rows: &mut [f32], x: &[f32]) {
    for row in rows.chunks_exact_mut(x.len()) {
        for (y, x) in row.iter_mut().zip(x) {
            *y += x;
        }
    }
}

#[inline(always)]
pub(super) fn add_rows(sum: &mut [f32], rows: &[f32]) {
    for row in rows.chunks_exact(sum.len()) {
        for (sum, x) in sum.iter_mut().zip(row) {
            *sum += x;
        }
    }
}

/// Turns a row into one of mean 0 and variance 1; returns what it was multiplied by.
#[inline(always)]
pub(super) fn normalise(row: &mut [f32]) -> f32 {
    let width = row.len() as f32;
    let mean = sum(row) / width;
    for x in row.iter_mut() {
        *x -= mean;
    }
    let scale = (dot(row, row) / width + EPSILON).sqrt().recip();
    for x in row.iter_mut() {
        *x *= scale;
    }
    scale
}

#[inline(always)]
pub(super) fn scale_and_shift(rows: &mut [f32], gamma: &[f32], beta: &[f32]) {
    for row in rows.chunks_exact_mut(gamma.len()) {
        for ((x, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
            *x = x.mul_add(*gamma, *beta);
        }
    }
}

/// Adds to `dx` the gradient of what was normalised, from that of what came out of the norm.
#[inline(always)]
pub(super) fn through_norm(
    gamma: &[f32],
    rows: &[f32],
    scales: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    let width = gamma.len();
    let mut scaled = vec![0f32; width];
    let rows = rows.chunks_exact(width).zip(scales);
    let changes = dy.chunks_exact(width).zip(dx.chunks_exact_mut(width));
    for ((row, scale), (dy, dx)) in rows.zip(changes) {
        for ((scaled, dy), gamma) in scaled.iter_mut().zip(dy).zip(gamma) {
            *scaled = dy * gamma;
        }
        let mean = sum(&scaled) / width as f32;
        let along = dot(&scaled, row) / width as f32;
        for ((dx, scaled), x) in dx.iter_mut().zip(&scaled).zip(row) {
            *dx = scale.mul_add(scaled - mean - x * along, *dx);
        }
    }
}

/// Adds to `sum` the products of both rows, number by number, for all rows.
#[inline(always)]
pub(super) fn add_products_to_row(sum: &mut [f32], a: &[f32], b: &[f32]) {
    let width = sum.len();
    for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
        for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
            *sum = a.mul_add(*b, *sum);
        }
    }
}

/// Turns rows of logits into weights; where it is causal a row sees no later column.
#[inline(always)]
pub(super) fn softmax(weights: &mut [f32], n: usize, causal: bool) {
    for (i, row) in weights.chunks_exact_mut(n).enumerate() {
        let (seen, unseen) = row.split_at_mut(if causal { i + 1 } else { n });
        unseen.fill(0.0);
        let most = largest(seen);
        for x in seen.iter_mut() {
            *x = exp(*x - most);
        }
        let scale = sum(seen).recip();
        for x in seen.iter_mut() {
            *x *= scale;
        }
    }
}

/// Turns the gradient of a row's weights into that of its logits.
#[inline(always)]
pub(super) fn through_softmax(weights: &[f32], gradient: &mut [f32], n: usize) {
    for (weights, gradient) in weights.chunks_exact(n).zip(gradient.chunks_exact_mut(n)) {
        let mean = dot(weights, gradient);
        for (weight, d) in weights.iter().zip(gradient) {
            *d = weight * (*d - mean);
        }
    }
}

/// Turns what went into the activation into what came out, and the gradient of that into that of what went in.
#[inline(always)]
pub(super) fn through_activation(activation: Activation, values: &mut [f32], gradient: &mut [f32]) {
    match activation {
        Activation::QuickGelu => {
            for (x, d) in values.iter_mut().zip(gradient) {
                let share = (1.0 + exp(-1.702 * *x)).recip();
                *d *= share * (1.702 * *x).mul_add(1.0 - share, 1.0);
                *x *= share;
            }
        }
        Activation::Gelu => {
            for (x, d) in values.iter_mut().zip(gradient) {
                let share = 0.5 * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
                let density = INVERSE_ROOT_OF_TAU * exp(-0.5 * *x * *x);
                *d *= x.mul_add(density, share);
                *x *= share;
            }
        }
    }
}

#[inline(always)]
pub(super) fn largest(x: &[f32]) -> f32 {
    let mut most = [f32::MIN; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (most, x) in most.iter_mut().zip(chunk) {
            *most = if *x > *most { *x } else { *most };
        }
    }
    most.iter().chain(rest).fold(f32::MIN, |m, x| m.max(*x))
}

#[inline(always)]
pub(super) fn sum(x: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x;
        }
    }
    sums.iter().chain(rest).sum()
}

#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for i in 0..LANES {
            sums[i] = a[i].mul_add(b[i], sums[i]);
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// `y += scale * a b`
pub(super) fn add_product(
    mut y: ArrayViewMut2<'_, f32>,
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    scale: f32,
) {
    let ((m, k), n) = (a.dim(), b.ncols());
    assert_eq!((y.dim(), b.nrows()), ((m, n), k), "shapes of a product");
    let strides = |strides: &[isize]| (strides[1], strides[0]);
    let (y_columns, y_rows) = strides(y.strides());
    let (a_columns, a_rows) = strides(a.strides());
    let (b_columns, b_rows) = strides(b.strides());
    // SAFETY: the views hold the elements at these strides, and nothing else reads or writes `y`.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            y_columns,
            y_rows,
            true,
            a.as_ptr(),
            a_columns,
            a_rows,
            b.as_ptr(),
            b_columns,
            b_rows,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

pub(super) fn rows_of(x: &[f32], width: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((x.len() / width, width), x).expect("whole rows")
}

pub(super) fn rows_of_mut(x: &mut [f32], width: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((x.len() / width, width), x).expect("whole rows")
}

pub(super) fn of_head(head: usize, width: usize) -> Range<usize> {
    head * width..(head + 1) * width
}
