//! The image tower as nodes.

use burn::module::Param;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use clip_vit::{Activation, Block, VisionTower};
use data::Preprocess;

use super::graph::{Graph, Kernel, Value};
use crate::tensors::floats;

/// Added to the variance, as in every CLIP.
const EPSILON: f32 = 1e-5;

/// From an image `[n, 3, side, side]` in [0, 1] to the input of the first block,
/// `[n, 1 + patches, width]`.
pub(super) fn embed<'a>(
    g: &mut Graph<'a>,
    tower: &'a VisionTower,
    preprocess: &Preprocess,
    image: &Value,
) -> Value {
    g.scope("preprocess");
    let (mean, std) = (preprocess.mean, preprocess.std);
    let mean = g.constant("preprocess.mean", &[3, 1, 1], move || mean.to_vec());
    let std = g.constant("preprocess.std", &[3, 1, 1], move || std.to_vec());
    let centred = g.sub(image, &mean);
    let x = g.div(&centred, &std);

    g.scope("vision/embed");
    let [tokens, width] = shape(&tower.positional_embedding);
    let patch = tower.patch_size();
    let kernels = g.weight("vision.patch_embedding.weight", &[width, 3, patch, patch], move || {
        let ours = floats(tower.patch_embedding.weight.val());
        transposed(&ours, width)
    });
    let kernel = Kernel { side: patch, stride: patch, padding: 0 };
    let x = g.conv(&x, (&kernels, None), &kernel); // [n, width, grid, grid]
    let x = g.reshape(&x, &[0, width, tokens - 1]);
    let x = g.transpose(&x, &[0, 2, 1]);
    // The class token is the same for every image: it comes with its position.
    let x = g.pad(&x, 1, 0);
    let positions = g.weight("vision.positions", &[tokens, width], move || {
        let mut positions = floats(tower.positional_embedding.val());
        let class = floats(tower.class_embedding.val());
        positions.iter_mut().zip(class).for_each(|(position, class)| *position += class);
        positions
    });
    let x = g.add(&x, &positions);
    norm(g, "vision.ln_pre", &tower.ln_pre, &x)
}

/// `x += attention(ln_1(x)); x += mlp(ln_2(x))` of `[n, tokens, width]`.
pub(super) fn block<'a>(
    g: &mut Graph<'a>,
    name: &str,
    block: &'a Block,
    tokens: usize,
    x: &Value,
) -> Value {
    g.scope(name.replace('.', "/"));
    let attended = norm(g, &format!("{name}.ln_1"), &block.ln_1, x);
    let attended = attend(g, name, block, tokens, &attended);
    let x = g.add(x, &attended);
    let hidden = norm(g, &format!("{name}.ln_2"), &block.ln_2, &x);
    let hidden = linear(g, &format!("{name}.fc"), &block.fc, &hidden);
    let hidden = match block.activation() {
        Activation::QuickGelu => quick_gelu(g, &hidden),
        Activation::Gelu => gelu(g, &hidden),
    };
    let hidden = linear(g, &format!("{name}.proj"), &block.proj, &hidden);
    g.add(&x, &hidden)
}

fn attend<'a>(g: &mut Graph<'a>, name: &str, block: &'a Block, tokens: usize, x: &Value) -> Value {
    let [width] = shape(&block.ln_1.gamma);
    let (heads, each) = (block.heads(), width / block.heads());
    let qkv = linear(g, &format!("{name}.qkv"), &block.qkv, x);
    let [q, k, v] = g.split(&qkv);
    let mut by_head = |x: &Value, order: [usize; 4]| {
        let x = g.reshape(x, &[0, tokens, heads, each]);
        g.transpose(&x, &order)
    };
    let q = by_head(&q, [0, 2, 1, 3]); // [n, heads, tokens, each]
    let k = by_head(&k, [0, 2, 3, 1]); // [n, heads, each, tokens]
    let v = by_head(&v, [0, 2, 1, 3]);
    let scale = g.number((each as f64).powf(-0.5));
    let q = g.mul(&q, &scale);
    let similarity = g.matmul(&q, &k);
    let attention = g.softmax(&similarity);
    let values = g.matmul(&attention, &v);
    let values = g.transpose(&values, &[0, 2, 1, 3]);
    let values = g.reshape(&values, &[0, tokens, width]);
    linear(g, &format!("{name}.out"), &block.out, &values)
}

/// A linear layer on the last axis.
pub(super) fn linear<'a>(g: &mut Graph<'a>, name: &str, layer: &'a Linear, x: &Value) -> Value {
    let weight = parameter(g, &format!("{name}.weight"), &layer.weight);
    let product = g.matmul(x, &weight);
    match bias(g, name, layer) {
        Some(bias) => g.add(&product, &bias),
        None => product,
    }
}

/// The bias of a layer, if it has one.
pub(super) fn bias<'a>(g: &mut Graph<'a>, name: &str, layer: &'a Linear) -> Option<Value> {
    layer.bias.as_ref().map(|bias| vector(g, &format!("{name}.bias"), bias))
}

/// Mean 0 and variance 1 of the last axis, then gain and shift.
pub(super) fn norm<'a>(g: &mut Graph<'a>, name: &str, layer: &'a LayerNorm, x: &Value) -> Value {
    let gain = vector(g, &format!("{name}.weight"), &layer.gamma);
    let shift = layer.beta.as_ref().expect("CLIP's norms have a shift");
    let shift = vector(g, &format!("{name}.bias"), shift);
    g.layer_norm(x, &gain, &shift, EPSILON)
}

/// `x Phi(x)` with the exact error function.
pub(super) fn gelu(g: &mut Graph<'_>, x: &Value) -> Value {
    let (root, one, half) = (g.number(2f64.sqrt()), g.number(1.0), g.number(0.5));
    let scaled = g.div(x, &root);
    let erf = g.unary("Erf", &scaled);
    let twice = g.add(&erf, &one);
    let product = g.mul(x, &twice);
    g.mul(&product, &half)
}

fn quick_gelu(g: &mut Graph<'_>, x: &Value) -> Value {
    let factor = g.number(1.702);
    let scaled = g.mul(x, &factor);
    let gate = g.unary("Sigmoid", &scaled);
    g.mul(x, &gate)
}

/// A learnt matrix.
fn parameter<'a, const D: usize>(
    g: &mut Graph<'a>,
    name: &str,
    parameter: &'a Param<Tensor<D>>,
) -> Value {
    g.weight(name, &shape(parameter), move || floats(parameter.val()))
}

/// A learnt gain, shift or bias: too few numbers to be worth a loss of precision.
fn vector<'a>(g: &mut Graph<'a>, name: &str, parameter: &'a Param<Tensor<1>>) -> Value {
    g.constant(name, &shape(parameter), move || floats(parameter.val()))
}

/// A parameter's shape, without making its matrix.
pub(super) fn shape<const D: usize>(parameter: &Param<Tensor<D>>) -> [usize; D] {
    let shape = parameter.lazy_shape();
    std::array::from_fn(|axis| shape[axis])
}

/// Columns of a matrix as rows; it has so many columns.
pub(super) fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let column = |c: usize| matrix.iter().skip(c).step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}
