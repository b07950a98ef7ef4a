//! A transformer block for the pure-Rust CPU backend.
//!
//! Burn's operations pass over memory once more for every bias, product and copy, mostly on one thread. Here norms,
//! biases, activations and residuals are computed where a product's rows are read or its sums are still in registers,
//! and the wide hidden layer is never in memory whole. Other backends use Burn's operations.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::{BackendTypes, Flex};
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{DType, Device, Tensor, TensorData};
use ndarray::{ArrayView2, ArrayView4, s};
use rayon::prelude::*;

use crate::Arithmetic;
use crate::block::Block;
use crate::config::Activation;
use crate::panels::{COLUMNS, Packed, Panels};

mod activation;
mod attention;
mod dot;
mod gradient;
mod highest;
mod instructions;
mod nearest;
mod product;
mod tiles;
mod weights;

use activation::activate;
use attention::{PairScratch, Scratch};
pub(crate) use dot::{ByteProducts, PairProducts};
pub(crate) use gradient::forward as forward_differentiated;
pub(crate) use highest::highest_products;
pub(crate) use instructions::check as check_instructions;
use instructions::{has_fused_multiply_add, simd};
pub use nearest::Points;
use product::{ROWS, SHARE, add_bias, add_rows, multiply, shares, write_rows};
use tiles::{Form, Tiles};
use weights::Weights;

/// Added to the variance, as in every CLIP.
const EPSILON: f32 = 1e-5;
/// Most rows that are gone through before the next ones: in tiles they stay in the third-level cache.
const AT_ONCE: usize = 600;
/// Width of the part of the hidden layer that is in memory at once.
const HIDDEN: usize = 1024;

/// Whether the kernels apply: plain single-precision tensors on the CPU backend, of widths in whole vectors.
pub(crate) fn applies(block: &Block, x: &Tensor<3>) -> bool {
    reads_panels(&x.device(), block.arithmetic()) && fits(block, x)
}

/// The same of differentiated tensors, in float32.
pub(crate) fn differentiates(block: &Block, x: &Tensor<3>) -> bool {
    let device = x.device();
    device.is_autodiff()
        && reads_panels(&device.inner(), Arithmetic::Float32)
        && block.arithmetic() == Arithmetic::Float32
        && fits(block, x)
}

fn fits(block: &Block, x: &Tensor<3>) -> bool {
    let shape = block.fc.weight.lazy_shape();
    x.dtype() == DType::F32 && shape.iter().all(|width| width.is_multiple_of(COLUMNS))
}

/// Whether the kernels apply on a device: the CPU backend without differentiation; float32 on a machine that multiplies
/// and adds in one instruction.
pub(crate) fn reads_panels(device: &Device, arithmetic: Arithmetic) -> bool {
    !device.is_autodiff()
        && *device == Device::flex()
        && (arithmetic != Arithmetic::Float32 || has_fused_multiply_add())
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
    let images = (AT_ONCE / n).max(1);
    for x in x.chunks_mut(images * n * width) {
        let projected = project(block, x, width);
        let attended = attend(&projected, n, block, ATTENTION);
        drop(projected);
        add_attended(block, x, &attended, width);
        add_mlp(block, x, width);
    }
    Tensor::from_data(data, &device)
}

/// The same, and what attention of the values with themselves would add.
pub(crate) fn forward_with_values(block: &Block, tokens: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let [_, n, width] = tokens.dims();
    let (device, shape) = (tokens.device(), tokens.dims());
    let mut data = tokens.into_data();
    let x: &mut [f32] = data.as_mut_slice().expect("the tensor holds f32");
    let mut values = vec![0f32; x.len()];
    let images = (AT_ONCE / n).max(1);
    for (x, values) in x.chunks_mut(images * n * width).zip(values.chunks_mut(images * n * width)) {
        let projected = project(block, x, width);
        let attended = [ATTENTION, OF_VALUES].map(|parts| attend(&projected, n, block, parts));
        drop(projected);
        add_attended(block, x, &attended[0], width);
        add_attended(block, values, &attended[1], width);
        add_mlp(block, x, width);
    }
    let values = Tensor::from_data(TensorData::new(values, shape), &device);
    (Tensor::from_data(data, &device), values)
}

/// Which parts of query, key and value, in that order, act as queries, keys and values.
type Parts = [usize; 3];
const ATTENTION: Parts = [0, 1, 2];
const OF_VALUES: Parts = [2, 2, 2];

/// Query, key and value of `ln_1(x)`, `[rows, 3 * width]`.
fn project(block: &Block, x: &[f32], width: usize) -> Vec<f32> {
    let qkv = Layer::new(&block.qkv, &block.panels.qkv);
    let share = width * rows_at_once(x.len() / width);
    let mut tiles = Tiles::default();
    let mut projected = vec![0f32; 3 * x.len()];
    for (x, projected) in x.chunks(share).zip(projected.chunks_mut(3 * share)) {
        normalise(x, &block.ln_1, &mut tiles, qkv.weights().form());
        write(projected, &tiles, &qkv);
    }
    projected
}

/// `x += out(attended)`.
fn add_attended(block: &Block, x: &mut [f32], attended: &[f32], width: usize) {
    let out = Layer::new(&block.out, &block.panels.out);
    let share = width * rows_at_once(x.len() / width);
    let mut tiles = Tiles::default();
    for (x, attended) in x.chunks_mut(share).zip(attended.chunks(share)) {
        tiles.pack(attended, width, out.weights().form());
        add(x, &tiles, &out, 0..width);
    }
}

/// `x += mlp(ln_2(x))`.
fn add_mlp(block: &Block, x: &mut [f32], width: usize) {
    let fc = Layer::new(&block.fc, &block.panels.fc);
    let proj = Layer::new(&block.proj, &block.panels.proj);
    let hidden_width = fc.bias().len();
    let (mut tiles, mut hidden) = (Tiles::default(), Hidden::default());
    for x in x.chunks_mut(width * rows_at_once(x.len() / width)) {
        normalise(x, &block.ln_2, &mut tiles, fc.weights().form());
        for first in (0..hidden_width).step_by(HIDDEN) {
            let part = first..hidden_width.min(first + HIDDEN);
            hidden.activate(&tiles, &fc, part.clone(), block.activation(), proj.weights().form());
            add(x, &hidden.tiles, &proj, part);
        }
    }
}

/// A number of rows in which as many are gone through in equal shares, of whole tiles.
fn rows_at_once(rows: usize) -> usize {
    rows.div_ceil(rows.div_ceil(AT_ONCE)).next_multiple_of(ROWS)
}

/// Rows of mean 0 and variance 1, scaled and shifted.
fn normalise(x: &[f32], norm: &LayerNorm, tiles: &mut Tiles, form: Form) {
    let gamma = primitive(norm.gamma.val());
    let beta = primitive(norm.beta.as_ref().expect("CLIP's norms have a shift").val());
    let (gamma, beta) = (values(&gamma), values(&beta));
    let width = gamma.len();
    tiles.reshape(x.len() / width, width, form);
    let scratch = || (vec![0f32; ROWS * width], Vec::new());
    tiles.par_iter_mut().zip(x.par_chunks(ROWS * width)).for_each_init(
        scratch,
        |(scratch, words), (tile, rows)| {
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
                    form.encode(scratch, width, words, tile);
                },
            );
        },
    );
}

/// Writes a linear layer's output.
fn write(out: &mut [f32], rows: &Tiles, layer: &Layer) {
    let width = layer.weights().ncols();
    let shares = shares(out, width, SHARE).into_iter().zip(layer.bias().chunks(SHARE)).collect();
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
}

/// Columns of a linear layer's activated output.
#[derive(Default)]
struct Hidden {
    tiles: Tiles,
    /// Row by row, before they are packed in another form than float32.
    rows: Vec<f32>,
}

impl Hidden {
    fn activate(
        &mut self,
        rows: &Tiles,
        layer: &Layer,
        columns: Range<usize>,
        activation: Activation,
        form: Form,
    ) {
        let weights = layer.weights().columns(columns.clone());
        let width = columns.len();
        let bias = &layer.bias()[columns];
        if form == Form::Float32 {
            self.tiles.reshape(rows.len(), width, form);
            let shares = self.tiles.shares_mut().into_iter().zip(bias.chunks(SHARE)).collect();
            multiply(
                rows,
                weights,
                shares,
                #[inline(always)]
                |(share, bias), tile, column, mut sums| {
                    add_bias(&mut sums, &bias[column..]);
                    activate(activation, sums.as_flattened_mut());
                    let out = share.row_mut(tile).into_slice();
                    let out = out.expect("rows of a share are contiguous");
                    for (c, out) in out[column..][..COLUMNS].iter_mut().enumerate() {
                        *out = std::array::from_fn(|r| sums[r][c]);
                    }
                },
            );
            return;
        }
        self.rows.resize(rows.len() * width, 0.0);
        let shares = shares(&mut self.rows, width, SHARE).into_iter();
        multiply(
            rows,
            weights,
            shares.zip(bias.chunks(SHARE)).collect(),
            #[inline(always)]
            |(share, bias), tile, column, mut sums| {
                add_bias(&mut sums, &bias[column..]);
                activate(activation, sums.as_flattened_mut());
                write_rows(&sums, share, tile, column);
            },
        );
        self.tiles.pack(&self.rows, width, form);
    }
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

/// Attention of every head in images of `n` tokens, its products in pairs of bfloat16 where the block is rounded and
/// the machine has them.
///
/// # Shapes
/// - qkv: `[batch * tokens, 3 * width]`
/// - output: `[batch * tokens, width]`
fn attend(qkv: &[f32], n: usize, block: &Block, parts: Parts) -> Vec<f32> {
    let (heads, causal) = (block.heads(), block.causal());
    let width = block.out.weight.lazy_shape()[0];
    let rows = qkv.len() / (3 * width);
    let head_dim = width / heads;
    let qkv = ArrayView4::from_shape((rows, 3, heads, head_dim), qkv).expect("whole rows");
    let mut out = vec![0f32; rows * width];
    let mut tasks = Vec::new();
    for (image, out) in out.chunks_exact_mut(n * width).enumerate() {
        let shares = shares(out, width, head_dim).into_iter().enumerate();
        tasks.extend(shares.map(|(head, out)| (image, head, out)));
    }
    let pairs = PairProducts::try_new().filter(|_| {
        block.arithmetic() != Arithmetic::Float32 && !causal && head_dim.is_multiple_of(2)
    });
    let part = |image: usize, i: usize, head| {
        qkv.slice(s![image * n..(image + 1) * n, parts[i], head, ..])
    };
    let tasks = tasks.into_par_iter().with_max_len(1);
    if let Some(native) = pairs {
        let scratch = || PairScratch::new(native, n, head_dim);
        tasks.for_each_init(scratch, |scratch, (image, head, mut out)| {
            let [q, k, v] = [0, 1, 2].map(|i| part(image, i, head));
            simd(
                #[inline(always)]
                || scratch.attend(q, k, v, &mut out),
            );
        });
    } else {
        let scratch = || Scratch::new(n, head_dim);
        tasks.for_each_init(scratch, |scratch, (image, head, mut out)| {
            let [q, k, v] = [0, 1, 2].map(|i| part(image, i, head));
            simd(
                #[inline(always)]
                || scratch.attend(q, k, v, causal, &mut out),
            );
        });
    }
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
    Packed(Arc<Packed>),
}

impl Layer {
    fn new(linear: &Linear, panels: &Panels) -> Self {
        let bias = linear.bias.as_ref().expect("every layer of a block has a bias").val();
        let weights = match panels.of(&linear.weight) {
            Some(packed) => Stored::Packed(packed),
            None => Stored::Matrix(primitive(linear.weight.val())),
        };
        Self { weights, bias: primitive(bias) }
    }

    fn weights(&self) -> Weights<'_> {
        match &self.weights {
            Stored::Matrix(matrix) => {
                let [rows, columns] = matrix.layout().shape().dims();
                let matrix = ArrayView2::from_shape((rows, columns), values(matrix));
                Weights::Matrix(matrix.expect("the shape is the tensor's"))
            }
            Stored::Packed(packed) => packed.weights(),
        }
    }

    fn bias(&self) -> &[f32] {
        values(&self.bias)
    }
}

/// The tensor itself: unless it is a view of another one, reading it copies nothing.
fn primitive<const D: usize>(x: Tensor<D>) -> FlexTensor {
    let x = x.try_into_primitive::<Flex>().expect("parameters are on the device of the input");
    x.to_contiguous()
}

fn values(x: &FlexTensor) -> &[f32] {
    x.as_slice().expect("parameters hold f32 as their input does")
}
