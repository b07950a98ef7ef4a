//! A transformer block for the pure-Rust CPU backend.
//!
//! Burn's operations pass over memory once more for every bias, product and copy, mostly on one thread. Here norms,
//! biases, activations and residuals are computed where a product's rows are read or its sums are still in registers,
//! and the wide hidden layer is never in memory whole. Other backends and differentiated tensors use Burn's operations.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::{BackendTypes, Flex};
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{DType, Device, Tensor};
use ndarray::{ArrayView2, ArrayView4, s};
use rayon::prelude::*;

use crate::block::Block;
use crate::config::Activation;
use crate::panels::{COLUMNS, Panels, Row};

mod activation;
mod attention;
mod product;

use activation::activate;
use attention::Scratch;
use product::{
    ROWS, SHARE, Tiles, Weights, add_bias, add_rows, interleave, multiply, shares, write_rows,
};

/// Added to the variance, as in every CLIP.
const EPSILON: f32 = 1e-5;
/// Width of the part of the hidden layer that is in memory at once.
const HIDDEN: usize = 1024;

/// Whether the kernels apply: plain single-precision tensors on the CPU backend, of widths in whole vectors.
pub(crate) fn applies(block: &Block, x: &Tensor<3>) -> bool {
    let shape = block.fc.weight.lazy_shape();
    reads_panels(&x.device())
        && x.dtype() == DType::F32
        && shape.iter().all(|width| width.is_multiple_of(COLUMNS))
}

/// Whether the kernels apply on a device: the CPU backend without differentiation, on a machine that multiplies and
/// adds in one instruction.
pub(crate) fn reads_panels(device: &Device) -> bool {
    !device.is_autodiff() && *device == Device::flex() && has_fused_multiply_add()
}

/// `x += attention(ln_1(x)); x += mlp(ln_2(x))`.
///
/// # Shapes
/// - tokens, output: `[batch, tokens, width]`
pub(crate) fn forward(block: &Block, tokens: Tensor<3>) -> Tensor<3> {
    let [_, n, width] = tokens.dims();
    let device = tokens.device();
    let mut data = tokens.into_data();
    let x: &mut [f32] = data.as_mut_slice().expect("the tensor holds f32");

    let (mut tiles, mut hidden) = (Tiles::default(), Tiles::default());

    normalise(x, &block.ln_1, &mut tiles);
    let qkv = biased(&tiles, &Layer::new(&block.qkv, &block.panels.qkv));
    let attended = attend(&qkv, n, width, block.heads(), block.causal());
    drop(qkv);
    tiles.pack(&attended, width);
    drop(attended);
    add(x, &tiles, &Layer::new(&block.out, &block.panels.out), 0..width);

    normalise(x, &block.ln_2, &mut tiles);
    let (fc, proj) =
        (Layer::new(&block.fc, &block.panels.fc), Layer::new(&block.proj, &block.panels.proj));
    let hidden_width = fc.bias().len();
    for first in (0..hidden_width).step_by(HIDDEN) {
        let part = first..hidden_width.min(first + HIDDEN);
        activated(&tiles, &fc, part.clone(), block.activation(), &mut hidden);
        add(x, &hidden, &proj, part);
    }
    Tensor::from_data(data, &device)
}

/// Rows of mean 0 and variance 1, scaled and shifted.
fn normalise(x: &[f32], norm: &LayerNorm, tiles: &mut Tiles) {
    let gamma = primitive(norm.gamma.val());
    let beta = primitive(norm.beta.as_ref().expect("CLIP's norms have a shift").val());
    let (gamma, beta) = (values(&gamma), values(&beta));
    let width = gamma.len();
    tiles.reshape(x.len() / width, width);
    let scratch = || vec![0f32; ROWS * width];
    tiles.par_iter_mut().zip(x.par_chunks(ROWS * width)).for_each_init(
        scratch,
        |scratch, (tile, rows)| {
            let scratch = &mut scratch[..rows.len()];
            simd(
                #[inline(always)]
                || {
                    for (to, row) in scratch.chunks_exact_mut(width).zip(rows.chunks_exact(width)) {
                        let mean = sum(row.iter().copied()) / width as f32;
                        let variance =
                            sum(row.iter().map(|x| (x - mean) * (x - mean))) / width as f32;
                        let scale = 1.0 / (variance + EPSILON).sqrt();
                        for (((to, x), gamma), beta) in to.iter_mut().zip(row).zip(gamma).zip(beta)
                        {
                            *to = (x - mean) * scale * gamma + beta;
                        }
                    }
                    interleave(scratch, tile);
                },
            );
        },
    );
}

/// A linear layer.
fn biased(rows: &Tiles, layer: &Layer) -> Vec<f32> {
    let width = layer.weights().ncols();
    let mut out = vec![0f32; rows.len() * width];
    let shares =
        shares(&mut out, width, SHARE).into_iter().zip(layer.bias().chunks(SHARE)).collect();
    multiply(
        rows,
        layer.weights(),
        shares,
        #[inline(always)]
        |(share, bias), tile, column, mut sums| {
            add_bias(&mut sums, &bias[column..]);
            write_rows(&sums, share, tile, column);
        },
    );
    out
}

/// Columns of a linear layer's activated output.
fn activated(
    rows: &Tiles,
    layer: &Layer,
    columns: Range<usize>,
    activation: Activation,
    out: &mut Tiles,
) {
    let weights = layer.weights().columns(columns.clone());
    out.reshape(rows.len(), columns.len());
    let bias = &layer.bias()[columns];
    let shares = out.shares_mut().into_iter().zip(bias.chunks(SHARE)).collect();
    multiply(
        rows,
        weights,
        shares,
        #[inline(always)]
        |(share, bias), tile, column, mut sums| {
            add_bias(&mut sums, &bias[column..]);
            activate(activation, sums.as_flattened_mut());
            let out = share.row_mut(tile).into_slice().expect("rows of a share are contiguous");
            for (c, out) in out[column..][..COLUMNS].iter_mut().enumerate() {
                *out = std::array::from_fn(|r| sums[r][c]);
            }
        },
    );
}

/// Adds to `x` what rows of a linear layer's weights make of as many columns of its input, and once its bias.
fn add(x: &mut [f32], columns: &Tiles, layer: &Layer, part: Range<usize>) {
    let width = layer.weights().ncols();
    let once = part.start == 0;
    let weights = layer.weights().rows(part);
    let shares = shares(x, width, SHARE).into_iter().zip(layer.bias().chunks(SHARE)).collect();
    multiply(
        columns,
        weights,
        shares,
        #[inline(always)]
        |(share, bias), tile, column, mut sums| {
            if once {
                add_bias(&mut sums, &bias[column..]);
            }
            add_rows(&mut sums, share, tile, column);
            write_rows(&sums, share, tile, column);
        },
    );
}

/// Attention of every head.
///
/// # Shapes
/// - qkv: `[batch * tokens, 3 * width]`
/// - output: `[batch * tokens, width]`
fn attend(qkv: &[f32], n: usize, width: usize, heads: usize, causal: bool) -> Vec<f32> {
    let rows = qkv.len() / (3 * width);
    let head_dim = width / heads;
    let qkv = ArrayView4::from_shape((rows, 3, heads, head_dim), qkv).expect("whole rows");
    let mut out = vec![0f32; rows * width];
    let mut tasks = Vec::new();
    for (image, out) in out.chunks_exact_mut(n * width).enumerate() {
        let shares = shares(out, width, head_dim).into_iter().enumerate();
        tasks.extend(shares.map(|(head, out)| (image, head, out)));
    }
    let scratch = || Scratch::new(n, head_dim);
    tasks.into_par_iter().with_max_len(1).for_each_init(
        scratch,
        |scratch, (image, head, mut out)| {
            let part = |i| qkv.slice(s![image * n..(image + 1) * n, i, head, ..]);
            simd(
                #[inline(always)]
                || scratch.attend(part(0), part(1), part(2), causal, &mut out),
            );
        },
    );
    out
}

/// Sixteen sums side by side, then their sum.
#[inline(always)]
fn sum(values: impl Iterator<Item = f32>) -> f32 {
    let mut sums = [0f32; COLUMNS];
    for (i, x) in values.enumerate() {
        sums[i % COLUMNS] += x;
    }
    sums.iter().sum()
}

type FlexTensor = <Flex as BackendTypes>::FloatTensorPrimitive;

/// A linear layer's parameters, held while they are read.
struct Layer {
    weights: Stored,
    bias: FlexTensor,
}

enum Stored {
    Matrix(FlexTensor),
    Panels { panels: Arc<Vec<Row>>, depth: usize },
}

impl Layer {
    fn new(linear: &Linear, panels: &Panels) -> Self {
        let bias = linear.bias.as_ref().expect("every layer of a block has a bias").val();
        let weights = match panels.get() {
            Some(panels) => Stored::Panels { panels, depth: linear.weight.lazy_shape()[0] },
            None => Stored::Matrix(primitive(linear.weight.val())),
        };
        Self { weights, bias: primitive(bias) }
    }

    fn weights(&self) -> Weights<'_> {
        let shape = "the shape is the tensor's";
        match &self.weights {
            Stored::Matrix(matrix) => {
                let [rows, columns] = matrix.layout().shape().dims();
                let matrix = ArrayView2::from_shape((rows, columns), values(matrix)).expect(shape);
                Weights::Matrix(matrix)
            }
            Stored::Panels { panels, depth } => {
                let panels = ArrayView2::from_shape((panels.len() / depth, *depth), panels);
                Weights::Panels(panels.expect(shape))
            }
        }
    }

    fn bias(&self) -> &[f32] {
        values(&self.bias)
    }
}

/// The tensor itself: reading it copies nothing.
fn primitive<const D: usize>(x: Tensor<D>) -> FlexTensor {
    x.try_into_primitive::<Flex>().expect("parameters are on the device of the input")
}

fn values(x: &FlexTensor) -> &[f32] {
    x.as_slice().expect("parameters are contiguous and hold f32")
}

/// Whether the machine multiplies and adds in one instruction.
fn has_fused_multiply_add() -> bool {
    cfg!(not(target_arch = "x86_64")) || v3().is_some()
}

#[cfg(target_arch = "x86_64")]
fn v3() -> Option<pulp::x86::V3> {
    pulp::x86::V3::try_new()
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
