//! A block as one differentiated operation, for training on the CPU.
//!
//! Differentiation of Burn's operations passes over memory once for every one of them: of a training step of a small
//! tower three quarters were no product. Here a pass keeps what its gradients need, some images go through the whole
//! block before the next ones, and products are those of `gemm`.

mod attention;
mod layers;
mod rows;

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, BackendTypes, Flex};
use burn::module::Param;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::activation::activate;
use super::instructions::simd;
use super::{AT_ONCE, FlexTensor, values};
use crate::block::Block;
use crate::config::Activation;
use attention::{attend, attend_backward};
use layers::{Layer, LayerSums, Norm, NormSums, Normed};
use rows::through_activation;

type Differentiated = <Autodiff<Flex> as BackendTypes>::FloatTensorPrimitive;

/// Parameters of a block.
const PARAMETERS: usize = 12;
/// Sums of gradients that are computed side by side, whatever the number of threads.
const SUMS: usize = 4;

/// `x += attention(ln_1(x)); x += mlp(ln_2(x))`.
///
/// # Shapes
/// - tokens, output: `[batch, tokens, width]`
pub(crate) fn forward(block: &Block, tokens: Tensor<3>) -> Tensor<3> {
    let shape = tokens.dims();
    let x = differentiated(tokens);
    let [ln_1, ln_2] = [&block.ln_1, &block.ln_2].map(of_norm);
    let [qkv, out, fc, proj] = [&block.qkv, &block.out, &block.fc, &block.proj].map(of_layer);
    let parameters: [Differentiated; PARAMETERS] = [ln_1, qkv, out, ln_2, fc, proj]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .try_into()
        .expect("six layers have two parameters each");
    let mut nodes = std::iter::once(&x).chain(&parameters).map(|tensor| tensor.node());
    let nodes = std::array::from_fn(|_| nodes.next().expect("a node for each"));
    let pass = Pass {
        parameters: Parameters::new(parameters.map(|x| x.into_primitive().to_contiguous())),
        heads: block.heads(),
        causal: block.causal(),
        activation: block.activation(),
        tokens: shape[1],
    };
    let mut x = values(&x.into_primitive().to_contiguous()).to_vec();
    let parts = pass.forward(&mut x);
    let y = tensor(x, shape);
    let y = match BlockGradient.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(Arc::new((pass, parts)), y),
        OpsKind::UnTracked(step) => step.finish(y),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(y)
}

fn of_norm(norm: &LayerNorm) -> [Differentiated; 2] {
    [&norm.gamma, norm.beta.as_ref().expect("every norm of a block has a bias")].map(parameter)
}

fn of_layer(layer: &Linear) -> [Differentiated; 2] {
    let bias = layer.bias.as_ref().expect("every layer of a block has a bias");
    [parameter(&layer.weight), parameter(bias)]
}

fn parameter<const D: usize>(parameter: &Param<Tensor<D>>) -> Differentiated {
    let value = parameter.val();
    differentiated(if value.device().is_autodiff() { value } else { value.autodiff() })
}

fn differentiated<const D: usize>(x: Tensor<D>) -> Differentiated {
    x.try_into_primitive::<Autodiff<Flex>>().expect("parameters are on the device of the input")
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    let tensor = Tensor::<D>::from_data(TensorData::new(values, shape), &Device::flex());
    tensor.try_into_primitive::<Flex>().expect("it is on this device")
}

#[derive(Debug)]
struct BlockGradient;

impl Backward<Flex, { 1 + PARAMETERS }> for BlockGradient {
    type State = Arc<(Pass, Vec<Part>)>;

    fn backward(
        self,
        ops: Ops<Self::State, { 1 + PARAMETERS }>,
        gradients: &mut Gradients,
        _: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let shape: [usize; 3] = gradient.layout().shape().dims();
        let (pass, parts) = &*ops.state;
        let mut dx = values(&gradient).to_vec();
        let [x, parameters @ ..] = ops.parents;
        if parameters.iter().any(Option::is_some) {
            let sums = pass.backward_and_sum(parts, &mut dx);
            for (node, sum) in parameters.into_iter().zip(sums.into_tensors(&pass.parameters)) {
                if let Some(node) = node {
                    gradients.register::<Flex>(node.id, sum);
                }
            }
        } else {
            pass.backward(parts, &mut dx);
        }
        if let Some(node) = x {
            gradients.register::<Flex>(node.id, tensor(dx, shape));
        }
    }
}

/// A block's settings and parameters in one pass.
#[derive(Debug)]
struct Pass {
    parameters: Parameters,
    heads: usize,
    causal: bool,
    activation: Activation,
    /// Tokens of an image.
    tokens: usize,
}

#[derive(Debug)]
struct Parameters {
    ln_1: Norm,
    qkv: Layer,
    out: Layer,
    ln_2: Norm,
    fc: Layer,
    proj: Layer,
}

/// Sums of the gradients of [`Parameters`].
struct Sums {
    ln_1: NormSums,
    qkv: LayerSums,
    out: LayerSums,
    ln_2: NormSums,
    fc: LayerSums,
    proj: LayerSums,
}

/// What the pass of some images keeps.
#[derive(Debug)]
struct Part {
    ln_1: Normed,
    /// `[rows, 3 * width]`
    qkv: Vec<f32>,
    /// Of every image and head, `[tokens, tokens]`.
    attention: Vec<f32>,
    /// `[rows, width]`
    attended: Vec<f32>,
    ln_2: Normed,
    /// Before the activation, `[rows, mlp width]`.
    hidden: Vec<f32>,
}

impl Pass {
    fn width(&self) -> usize {
        self.parameters.out.inputs()
    }

    /// Numbers of as many images as go through the block together.
    fn share(&self) -> usize {
        self.width() * self.tokens * (AT_ONCE / self.tokens).max(1)
    }

    fn forward(&self, x: &mut [f32]) -> Vec<Part> {
        x.par_chunks_mut(self.share()).map(|x| self.forward_of(x)).collect()
    }

    fn forward_of(&self, x: &mut [f32]) -> Part {
        let Parameters { ln_1: first, qkv, out, ln_2: second, fc, proj } = &self.parameters;
        let ln_1 = first.normalise(x);
        let qkv = qkv.of(&first.affine(&ln_1));
        let (attention, attended) = attend(self, &qkv);
        out.add_to(x, &attended);
        let ln_2 = second.normalise(x);
        let hidden = fc.of(&second.affine(&ln_2));
        let (mut active, activation) = (hidden.clone(), self.activation);
        simd(
            #[inline(always)]
            || activate(activation, &mut active),
        );
        proj.add_to(x, &active);
        Part { ln_1, qkv, attention, attended, ln_2, hidden }
    }

    /// Turns the gradient of what came out into that of what went in.
    fn backward(&self, parts: &[Part], dx: &mut [f32]) {
        dx.par_chunks_mut(self.share())
            .zip(parts)
            .for_each(|(dx, part)| self.backward_of(part, dx, None));
    }

    fn backward_and_sum(&self, parts: &[Part], dx: &mut [f32]) -> Sums {
        let each = parts.len().div_ceil(SUMS).max(1);
        let sums: Vec<Sums> = dx
            .par_chunks_mut(each * self.share())
            .zip(parts.par_chunks(each))
            .map(|(dx, parts)| {
                let mut sums = Sums::of(&self.parameters);
                for (dx, part) in dx.chunks_mut(self.share()).zip(parts) {
                    self.backward_of(part, dx, Some(&mut sums));
                }
                sums
            })
            .collect();
        let both = |mut all: Sums, some: Sums| {
            all.add(&some);
            all
        };
        sums.into_iter().reduce(both).unwrap_or_else(|| Sums::of(&self.parameters))
    }

    fn backward_of(&self, part: &Part, dx: &mut [f32], mut sums: Option<&mut Sums>) {
        let Parameters { ln_1, qkv, out, ln_2, fc, proj } = &self.parameters;
        let mut d_hidden = proj.to_input(dx);
        let (mut active, activation) = (part.hidden.clone(), self.activation);
        simd(
            #[inline(always)]
            || through_activation(activation, &mut active, &mut d_hidden),
        );
        let d_normed = fc.to_input(&d_hidden);
        if let Some(sums) = &mut sums {
            sums.proj.add(&active, dx);
            sums.fc.add(&ln_2.affine(&part.ln_2), &d_hidden);
            sums.ln_2.add(&part.ln_2, &d_normed);
        }
        ln_2.add_to_input(&part.ln_2, &d_normed, dx);

        let d_qkv = attend_backward(self, part, &out.to_input(dx));
        let d_normed = qkv.to_input(&d_qkv);
        if let Some(sums) = &mut sums {
            sums.out.add(&part.attended, dx);
            sums.qkv.add(&ln_1.affine(&part.ln_1), &d_qkv);
            sums.ln_1.add(&part.ln_1, &d_normed);
        }
        ln_1.add_to_input(&part.ln_1, &d_normed, dx);
    }
}

impl Parameters {
    /// Weight and bias of each, in the order of the fields.
    fn new(parameters: [FlexTensor; PARAMETERS]) -> Self {
        let [g_1, b_1, qkv, b_qkv, out, b_out, g_2, b_2, fc, b_fc, proj, b_proj] = parameters;
        Self {
            ln_1: Norm::new(g_1, b_1),
            qkv: Layer::new(qkv, b_qkv),
            out: Layer::new(out, b_out),
            ln_2: Norm::new(g_2, b_2),
            fc: Layer::new(fc, b_fc),
            proj: Layer::new(proj, b_proj),
        }
    }
}

impl Sums {
    fn of(parameters: &Parameters) -> Self {
        Self {
            ln_1: NormSums::of(&parameters.ln_1),
            qkv: LayerSums::of(&parameters.qkv),
            out: LayerSums::of(&parameters.out),
            ln_2: NormSums::of(&parameters.ln_2),
            fc: LayerSums::of(&parameters.fc),
            proj: LayerSums::of(&parameters.proj),
        }
    }

    fn add(&mut self, other: &Self) {
        self.ln_1.add_sums(&other.ln_1);
        self.qkv.add_sums(&other.qkv);
        self.out.add_sums(&other.out);
        self.ln_2.add_sums(&other.ln_2);
        self.fc.add_sums(&other.fc);
        self.proj.add_sums(&other.proj);
    }

    /// In the order of [`Parameters::new`].
    fn into_tensors(self, parameters: &Parameters) -> [FlexTensor; PARAMETERS] {
        let [g_1, b_1] = self.ln_1.into_tensors();
        let [qkv, b_qkv] = self.qkv.into_tensors(&parameters.qkv);
        let [out, b_out] = self.out.into_tensors(&parameters.out);
        let [g_2, b_2] = self.ln_2.into_tensors();
        let [fc, b_fc] = self.fc.into_tensors(&parameters.fc);
        let [proj, b_proj] = self.proj.into_tensors(&parameters.proj);
        [g_1, b_1, qkv, b_qkv, out, b_out, g_2, b_2, fc, b_fc, proj, b_proj]
    }
}
