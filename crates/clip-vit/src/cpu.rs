//! What a block does between its matrix products, for the pure-Rust CPU backend.
//!
//! Burn's operations take an element at a time through the scalar `exp` and one thread, and pass over memory once
//! more for every bias, product and copy. These kernels do the same in single passes, vectorised and on all threads,
//! in place on the tensors' own memory. Other backends and differentiated tensors use Burn's operations.

use burn::tensor::{DType, Device, Tensor, TensorData};
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayView5, ArrayViewMut2, s};
use rayon::prelude::*;

use crate::config::Activation;

/// Query rows of a head that are attended at once: their scores stay in the second-level cache.
const QUERIES: usize = 96;
/// Numbers that the compiler keeps in vector registers.
const LANES: usize = 16;

/// Whether the kernels apply: plain single-precision tensors on the CPU backend.
pub(crate) fn applies(x: &Tensor<3>) -> bool {
    let device = x.device();
    !device.is_autodiff() && device == Device::flex() && x.dtype() == DType::F32
}

/// `activation(x + bias)`.
///
/// # Shapes
/// - x, output: `[batch, tokens, width]`
/// - bias: `[width]`
pub(crate) fn activate(x: Tensor<3>, bias: Tensor<1>, activation: Activation) -> Tensor<3> {
    let bias = bias.into_data();
    map_rows(
        x,
        #[inline(always)]
        |row: &mut [f32]| match activation {
            Activation::QuickGelu => quick_gelu(row, values(&bias)),
            Activation::Gelu => gelu(row, values(&bias)),
        },
    )
}

/// `x + update + bias`.
///
/// # Shapes
/// - x, update, output: `[batch, tokens, width]`
/// - bias: `[width]`
pub(crate) fn add(x: Tensor<3>, update: Tensor<3>, bias: Tensor<1>) -> Tensor<3> {
    let width = bias.dims()[0];
    let (update, bias) = (update.into_data(), bias.into_data());
    let device = x.device();
    let mut data = x.into_data();
    let rows = values_mut(&mut data).par_chunks_mut(width);
    rows.zip(values(&update).par_chunks(width)).for_each(|(row, update)| {
        simd(
            #[inline(always)]
            || {
                for ((x, update), bias) in row.iter_mut().zip(update).zip(values(&bias)) {
                    *x += update + bias;
                }
            },
        );
    });
    Tensor::from_data(data, &device)
}

/// Attention of every head, from query, key and value without their bias.
///
/// # Shapes
/// - qkv: `[batch, tokens, 3 * width]`
/// - bias: `[3 * width]`
/// - output: `[batch, tokens, width]`
pub(crate) fn attention(qkv: Tensor<3>, bias: Tensor<1>, heads: usize, causal: bool) -> Tensor<3> {
    let [b, n, width] = qkv.dims();
    let width = width / 3;
    let head_dim = width / heads;
    let device = qkv.device();
    let bias = bias.into_data();
    let scale = (head_dim as f32).powf(-0.5);
    let qkv = map_rows(
        qkv,
        #[inline(always)]
        |row: &mut [f32]| {
            for (x, bias) in row.iter_mut().zip(values(&bias)) {
                *x += bias;
            }
            for x in &mut row[..width] {
                *x *= scale;
            }
        },
    )
    .into_data();
    let qkv = ArrayView5::from_shape([b, n, 3, heads, head_dim], values(&qkv))
        .expect("the shape is the tensor's");
    let mut by_head = vec![0f32; b * n * width]; // [b, heads, n, head_dim]
    let scratch = || vec![0f32; QUERIES.min(n) * n];
    by_head.par_chunks_mut(n * head_dim).enumerate().for_each_init(scratch, |scratch, (i, out)| {
        let part = |part: usize| qkv.slice(s![i / heads, .., part, i % heads, ..]);
        attend(part(0), part(1), part(2), causal, scratch, out);
    });
    let mut tokens = vec![0f32; b * n * width];
    tokens.par_chunks_mut(width).enumerate().for_each(|(i, row)| {
        for (head, out) in row.chunks_exact_mut(head_dim).enumerate() {
            let start = ((i / n * heads + head) * n + i % n) * head_dim;
            out.copy_from_slice(&by_head[start..start + head_dim]);
        }
    });
    Tensor::from_data(TensorData::new(tokens, [b, n, width]), &device)
}

/// One head: `softmax(q kᵀ) v`, a tile of queries at a time.
fn attend(
    q: ArrayView2<'_, f32>,
    k: ArrayView2<'_, f32>,
    v: ArrayView2<'_, f32>,
    causal: bool,
    scratch: &mut [f32],
    out: &mut [f32],
) {
    let (n, head_dim) = q.dim();
    for (tile, out) in out.chunks_mut(QUERIES * head_dim).enumerate() {
        let first = tile * QUERIES;
        let rows = out.len() / head_dim;
        let visible = if causal { first + rows } else { n };
        let scores = &mut scratch[..rows * visible];
        let shape = "the slice has the shape's length";
        let mut view = ArrayViewMut2::from_shape((rows, visible), scores).expect(shape);
        let q = q.slice(s![first..first + rows, ..]);
        general_mat_mul(1.0, &q, &k.slice(s![..visible, ..]).t(), 0.0, &mut view);
        let scores = &mut scratch[..rows * visible];
        let mut inverse_sums = [0f32; QUERIES];
        for (row, (scores, inverse_sum)) in
            scores.chunks_exact_mut(visible).zip(&mut inverse_sums).enumerate()
        {
            let seen = if causal { first + row + 1 } else { n };
            let (scores, future) = scores.split_at_mut(seen);
            *inverse_sum = 1.0
                / simd(
                    #[inline(always)]
                    || exponentiate(scores),
                );
            future.fill(0.0);
        }
        let view = ArrayView2::from_shape((rows, visible), &*scores).expect(shape);
        let mut attended = ArrayViewMut2::from_shape((rows, head_dim), &mut *out).expect(shape);
        general_mat_mul(1.0, &view, &v.slice(s![..visible, ..]), 0.0, &mut attended);
        for (out, inverse_sum) in out.chunks_exact_mut(head_dim).zip(inverse_sums) {
            for x in out {
                *x *= inverse_sum;
            }
        }
    }
}

/// Applies a function to the rows along the last axis, in place.
fn map_rows(x: Tensor<3>, f: impl Fn(&mut [f32]) + Sync) -> Tensor<3> {
    let width = x.dims()[2];
    let device = x.device();
    let mut data = x.into_data();
    values_mut(&mut data).par_chunks_mut(width).for_each(|row| {
        simd(
            #[inline(always)]
            || f(row),
        )
    });
    Tensor::from_data(data, &device)
}

fn values(data: &TensorData) -> &[f32] {
    data.as_slice().expect("the tensor holds f32")
}

fn values_mut(data: &mut TensorData) -> &mut [f32] {
    data.as_mut_slice().expect("the tensor holds f32")
}

/// Compiles the body, which must be inlined whole, for AVX2 and FMA where the machine has them; elsewhere for the target's own vectors.
#[inline(always)]
fn simd<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if let Some(v3) = pulp::x86::V3::try_new() {
        return v3.vectorize(f);
    }
    f()
}

#[inline(always)]
fn quick_gelu(row: &mut [f32], bias: &[f32]) {
    for (x, bias) in row.iter_mut().zip(bias) {
        let y = *x + bias;
        *x = y / (1.0 + exp(-1.702 * y));
    }
}

#[inline(always)]
fn gelu(row: &mut [f32], bias: &[f32]) {
    for (x, bias) in row.iter_mut().zip(bias) {
        let y = *x + bias;
        *x = 0.5 * y * (1.0 + erf(y * std::f32::consts::FRAC_1_SQRT_2));
    }
}

/// Replaces each score by the exponential of its distance from the largest; returns their sum.
#[inline(always)]
fn exponentiate(scores: &mut [f32]) -> f32 {
    let mut maxima = [f32::NEG_INFINITY; LANES];
    let larger = |maxima: &mut [f32; LANES], chunk: &[f32]| {
        for (maximum, x) in maxima.iter_mut().zip(chunk) {
            *maximum = if *x > *maximum { *x } else { *maximum };
        }
    };
    let chunks = scores.chunks_exact(LANES);
    larger(&mut maxima, chunks.remainder());
    for chunk in chunks {
        larger(&mut maxima, chunk);
    }
    let maximum = maxima.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0f32; LANES];
    let mut chunks = scores.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *x = exp(*x - maximum);
            *sum += *x;
        }
    }
    for (sum, x) in sums.iter_mut().zip(chunks.into_remainder()) {
        *x = exp(*x - maximum);
        *sum += *x;
    }
    sums.iter().sum()
}

/// The exponential, to 2e-7 of its value; 0 below -87 and 1.7e38 above 88. Not a number stays one.
///
/// Source: Cephes `expf`.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Comparisons in this order let not-a-number through.
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let power = rounded - ROUND;
    // The logarithm of two in two parts, the first of which is exact in few bits.
    let r = x - power * (355.0 / 512.0) + power * 2.121_944_4e-4;
    let p = 1.987_569_2e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    p * f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()))
}

/// The error function, to 5e-7.
///
/// Source: Eigen `generic_fast_erf_float`: a rational function on [-4, 4], beyond which it is 1 in single precision.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = if x < -4.0 { -4.0 } else { x };
    let x = if x > 4.0 { 4.0 } else { x };
    let y = x * x;
    let p = -2.726_142_3e-10;
    let p = p * y + 2.770_681_4e-8;
    let p = p * y - 2.101_024e-6;
    let p = p * y - 5.692_506_5e-5;
    let p = p * y - 7.349_906e-4;
    let p = p * y - 2.954_6e-3;
    let p = p * y - 1.609_603_3e-2;
    let q = -1.456_607_2e-5;
    let q = q * y - 2.133_740_6e-4;
    let q = q * y - 1.682_827e-3;
    let q = q * y - 7.373_329e-3;
    let q = q * y - 1.426_473_9e-2;
    x * p / q
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_close() {
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let expected = f64::from(x).exp();
            let relative = (f64::from(exp(x)) - expected) / expected;
            assert!(relative.abs() < 2e-7, "exp({x}) is off by {relative}");
        }
        assert!(exp(-1e30) < 2e-38 && exp(f32::NEG_INFINITY) < 2e-38);
        assert!(exp(1e30) > 1e38);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn error_function_is_close() {
        // The series of the error function in double precision.
        let series = |x: f64| {
            let mut term = x;
            let mut sum = x;
            for n in 1..200 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * std::f64::consts::FRAC_2_SQRT_PI
        };
        for i in -45_000..45_000 {
            let x = i as f32 * 1e-4;
            let error = f64::from(erf(x)) - series(f64::from(x));
            assert!(error.abs() < 5e-7, "erf({x}) is off by {error}");
        }
        assert!(erf(f32::NAN).is_nan());
    }
}
