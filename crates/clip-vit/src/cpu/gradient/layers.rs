//! Linear layers, norms, and sums of their gradients.

use ndarray::ArrayView2;

use super::rows::{
    add_product, add_products_to_row, add_rows, add_to_rows, normalise, rows_of, rows_of_mut,
    scale_and_shift, through_norm,
};
use super::tensor;
use crate::cpu::instructions::simd;
use crate::cpu::{FlexTensor, values};

#[derive(Debug)]
pub(super) struct Layer {
    /// `[inputs, outputs]`
    weight: FlexTensor,
    bias: FlexTensor,
}

#[derive(Debug)]
pub(super) struct Norm {
    gamma: FlexTensor,
    beta: FlexTensor,
}

/// Rows of mean 0 and variance 1, and what they were multiplied by.
#[derive(Debug)]
pub(super) struct Normed {
    rows: Vec<f32>,
    scales: Vec<f32>,
}

pub(super) struct LayerSums {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

pub(super) struct NormSums {
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Layer {
    pub(super) fn new(weight: FlexTensor, bias: FlexTensor) -> Self {
        Self { weight, bias }
    }

    pub(super) fn inputs(&self) -> usize {
        values(&self.weight).len() / self.outputs()
    }

    fn outputs(&self) -> usize {
        values(&self.bias).len()
    }

    fn matrix(&self) -> ArrayView2<'_, f32> {
        rows_of(values(&self.weight), self.outputs())
    }

    /// `x W + b`
    pub(super) fn of(&self, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0f32; x.len() / self.inputs() * self.outputs()];
        self.add_to(&mut y, x);
        y
    }

    /// `y += x W + b`
    pub(super) fn add_to(&self, y: &mut [f32], x: &[f32]) {
        let bias = values(&self.bias);
        simd(
            #[inline(always)]
            || add_to_rows(y, bias),
        );
        add_product(rows_of_mut(y, self.outputs()), rows_of(x, self.inputs()), self.matrix(), 1.0);
    }

    /// `dy W^T`
    pub(super) fn to_input(&self, dy: &[f32]) -> Vec<f32> {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let mut dx = vec![0f32; dy.len() / outputs * inputs];
        let (of_input, of_output) = (rows_of_mut(&mut dx, inputs), rows_of(dy, outputs));
        add_product(of_input, of_output, self.matrix().reversed_axes(), 1.0);
        dx
    }
}

impl LayerSums {
    pub(super) fn of(layer: &Layer) -> Self {
        let zeros = |like: &FlexTensor| vec![0f32; values(like).len()];
        Self { weight: zeros(&layer.weight), bias: zeros(&layer.bias) }
    }

    /// Adds the gradients of rows that went into the layer as `x`.
    pub(super) fn add(&mut self, x: &[f32], dy: &[f32]) {
        let outputs = self.bias.len();
        let x = rows_of(x, self.weight.len() / outputs);
        let of_weight = rows_of_mut(&mut self.weight, outputs);
        add_product(of_weight, x.reversed_axes(), rows_of(dy, outputs), 1.0);
        let bias = &mut self.bias;
        simd(
            #[inline(always)]
            || add_rows(bias, dy),
        );
    }

    pub(super) fn add_sums(&mut self, other: &Self) {
        add_rows(&mut self.weight, &other.weight);
        add_rows(&mut self.bias, &other.bias);
    }

    pub(super) fn into_tensors(self, layer: &Layer) -> [FlexTensor; 2] {
        let outputs = self.bias.len();
        [tensor(self.weight, [layer.inputs(), outputs]), tensor(self.bias, [outputs])]
    }
}

impl Norm {
    pub(super) fn new(gamma: FlexTensor, beta: FlexTensor) -> Self {
        Self { gamma, beta }
    }

    pub(super) fn normalise(&self, x: &[f32]) -> Normed {
        let width = values(&self.gamma).len();
        let mut rows = x.to_vec();
        let mut scales = vec![0f32; x.len() / width];
        simd(
            #[inline(always)]
            || {
                for (row, scale) in rows.chunks_exact_mut(width).zip(&mut scales) {
                    *scale = normalise(row);
                }
            },
        );
        Normed { rows, scales }
    }

    pub(super) fn affine(&self, normed: &Normed) -> Vec<f32> {
        let mut rows = normed.rows.clone();
        let (gamma, beta) = (values(&self.gamma), values(&self.beta));
        simd(
            #[inline(always)]
            || scale_and_shift(&mut rows, gamma, beta),
        );
        rows
    }

    /// Adds to `dx` the gradient of what was normalised.
    pub(super) fn add_to_input(&self, normed: &Normed, dy: &[f32], dx: &mut [f32]) {
        let gamma = values(&self.gamma);
        simd(
            #[inline(always)]
            || through_norm(gamma, &normed.rows, &normed.scales, dy, dx),
        );
    }
}

impl NormSums {
    pub(super) fn of(norm: &Norm) -> Self {
        let zeros = vec![0f32; values(&norm.gamma).len()];
        Self { gamma: zeros.clone(), beta: zeros }
    }

    pub(super) fn add(&mut self, normed: &Normed, dy: &[f32]) {
        let Self { gamma, beta } = self;
        simd(
            #[inline(always)]
            || {
                add_products_to_row(gamma, &normed.rows, dy);
                add_rows(beta, dy);
            },
        );
    }

    pub(super) fn add_sums(&mut self, other: &Self) {
        add_rows(&mut self.gamma, &other.gamma);
        add_rows(&mut self.beta, &other.beta);
    }

    pub(super) fn into_tensors(self) -> [FlexTensor; 2] {
        let width = self.gamma.len();
        [tensor(self.gamma, [width]), tensor(self.beta, [width])]
    }
}
