//! The pre-norm transformer block that both towers are made of.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::{gelu, sigmoid};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};

use crate::config::Activation;
use crate::panels::Panels;
use crate::{Arithmetic, cpu};

/// One transformer block: `x += attention(ln_1(x)); x += mlp(ln_2(x))`.
///
/// Source: openai/CLIP `clip/model.py`, `ResidualAttentionBlock`.
#[derive(Module, Debug)]
pub struct Block {
    /// Norm before the attention.
    pub ln_1: LayerNorm,
    /// Query, key and value in one product, `[width, 3 * width]`, in that order.
    pub qkv: Linear,
    /// Projection of the attended values.
    pub out: Linear,
    /// Norm before the feed-forward part.
    pub ln_2: LayerNorm,
    /// First linear layer of the feed-forward part.
    pub fc: Linear,
    /// Second linear layer of the feed-forward part.
    pub proj: Linear,
    heads: usize,
    causal: bool,
    quick_gelu: bool,
    #[module(skip)]
    pub(crate) panels: BlockPanels,
}

/// Weights of a block's linear layers for the CPU's kernels.
#[derive(Debug, Clone, Default)]
pub(crate) struct BlockPanels {
    pub(crate) qkv: Panels,
    pub(crate) out: Panels,
    pub(crate) fc: Panels,
    pub(crate) proj: Panels,
}

impl Block {
    /// A block with randomly initialised weights.
    ///
    /// # Panics
    /// If `heads` does not divide `width`.
    pub fn new(
        width: usize,
        heads: usize,
        mlp_width: usize,
        causal: bool,
        activation: Activation,
        device: &Device,
    ) -> Self {
        assert!(
            heads > 0 && width.is_multiple_of(heads),
            "block: expected heads to divide width {width}, got {heads}"
        );
        Self {
            ln_1: LayerNormConfig::new(width).init(device),
            qkv: LinearConfig::new(width, 3 * width).init(device),
            out: LinearConfig::new(width, width).init(device),
            ln_2: LayerNormConfig::new(width).init(device),
            fc: LinearConfig::new(width, mlp_width).init(device),
            proj: LinearConfig::new(mlp_width, width).init(device),
            heads,
            causal,
            quick_gelu: activation == Activation::QuickGelu,
            panels: BlockPanels::default(),
        }
    }

    /// Number of attention heads.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Whether a token sees earlier ones only.
    pub(crate) fn causal(&self) -> bool {
        self.causal
    }

    /// What its products are computed in on the CPU: what it was loaded for, as long as no weights were replaced or
    /// looked at.
    pub fn arithmetic(&self) -> Arithmetic {
        let Self { qkv, out, fc, proj, panels, .. } = self;
        let packed = [
            panels.qkv.of(&qkv.weight),
            panels.out.of(&out.weight),
            panels.fc.of(&fc.weight),
            panels.proj.of(&proj.weight),
        ];
        let mut each =
            packed.iter().map(|p| p.as_ref().map_or(Arithmetic::Float32, |p| p.arithmetic()));
        let first = each.next().unwrap_or_default();
        if each.all(|other| other == first) { first } else { Arithmetic::Float32 }
    }

    /// Runs the block.
    ///
    /// # Shapes
    /// - tokens, output: `[batch, tokens, width]`
    pub fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        if cpu::applies(self, &tokens) {
            return cpu::forward(self, tokens);
        }
        self.forward_in_operations(tokens)
    }

    /// The same by Burn's operations, for every backend and for differentiation.
    fn forward_in_operations(&self, tokens: Tensor<3>) -> Tensor<3> {
        let attended = self.attend(self.ln_1.forward(tokens.clone()));
        self.add_mlp(tokens + attended)
    }

    fn add_mlp(&self, tokens: Tensor<3>) -> Tensor<3> {
        let hidden = self.activate(self.fc.forward(self.ln_2.forward(tokens.clone())));
        tokens + self.proj.forward(hidden)
    }

    /// Runs the block; also returns what attention of its values with themselves would add:
    /// `out(softmax(v v^T / sqrt(head_dim)) v)` of `ln_1(tokens)`.
    ///
    /// Source: CLIP Surgery, arXiv 2304.05653.
    ///
    /// # Shapes
    /// - tokens, outputs: `[batch, tokens, width]`
    pub fn forward_with_values(&self, tokens: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        if cpu::applies(self, &tokens) {
            return cpu::forward_with_values(self, tokens);
        }
        let [q, k, v] = self.queries_keys_values(self.ln_1.forward(tokens.clone()));
        let values = self.attended(v.clone(), v.clone(), v.clone());
        (self.add_mlp(tokens + self.attended(q, k, v)), values)
    }

    fn attend(&self, tokens: Tensor<3>) -> Tensor<3> {
        let [q, k, v] = self.queries_keys_values(tokens);
        self.attended(q, k, v)
    }

    fn attended(&self, q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<3> {
        let options = AttentionModuleOptions { is_causal: self.causal, ..Default::default() };
        self.join(attention(q, k, v, None, None, options))
    }

    /// Of every head, `[batch, heads, tokens, head_dim]` each.
    fn queries_keys_values(&self, tokens: Tensor<3>) -> [Tensor<4>; 3] {
        let [b, n, d] = tokens.dims();
        let qkv = self
            .qkv
            .forward(tokens)
            .reshape([b, n, 3, self.heads, d / self.heads])
            .permute([2, 0, 3, 1, 4]); // [3, b, heads, n, head_dim]
        [0, 1, 2].map(|i| qkv.clone().narrow(0, i, 1).squeeze_dim::<4>(0))
    }

    /// The heads' outputs after one another through the last layer of the attention.
    fn join(&self, heads: Tensor<4>) -> Tensor<3> {
        let [b, count, n, head_dim] = heads.dims();
        self.out.forward(heads.permute([0, 2, 1, 3]).reshape([b, n, count * head_dim]))
    }

    fn activate(&self, x: Tensor<3>) -> Tensor<3> {
        match self.activation() {
            Activation::QuickGelu => x.clone() * sigmoid(x * 1.702),
            Activation::Gelu => gelu(x),
        }
    }

    /// Activation of the feed-forward part.
    pub fn activation(&self) -> Activation {
        if self.quick_gelu { Activation::QuickGelu } else { Activation::Gelu }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::tensor::{Distribution, TensorData};

    use super::*;
    use crate::panels::Packed;

    const ARITHMETICS: [Arithmetic; 3] =
        [Arithmetic::Float32, Arithmetic::Bfloat16, Arithmetic::Int8];

    fn block(causal: bool, activation: Activation, device: &Device) -> Block {
        let mut block = Block::new(48, 3, 1056, causal, activation, device);
        let random = |n| Tensor::random([n], Distribution::Normal(0.5, 0.5), device);
        block.ln_1.gamma = Param::from_tensor(random(48));
        block.ln_2.beta = Some(Param::from_tensor(random(48)));
        block
    }

    fn numbers(x: Tensor<3>) -> Vec<f32> {
        x.into_data().try_into_vec().expect("the tensor holds f32")
    }

    #[test]
    fn kernels_agree_with_operations() {
        let device = Device::flex();
        for (causal, activation) in [(false, Activation::QuickGelu), (true, Activation::Gelu)] {
            let block = block(causal, activation, &device);
            let shapes = [(2, 1), (2, 5), (2, 6), (2, 7), (2, 16), (2, 17), (25, 50), (1, 1300)];
            for (images, tokens) in shapes {
                let x = Tensor::random([images, tokens, 48], Distribution::Default, &device) * 4.0;
                assert_eq!(
                    cpu::applies(&block, &x),
                    cpu::reads_panels(&device, Arithmetic::Float32)
                );
                let expected = numbers(block.forward_in_operations(x.clone()));
                let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
                for (ours, expected) in numbers(block.forward(x)).iter().zip(&expected) {
                    assert!(
                        (ours - expected).abs() < 1e-6 * largest,
                        "{images} of {tokens} tokens, causal {causal}: expected {expected}, got {ours}"
                    );
                }
            }
        }
    }

    #[test]
    fn kernels_agree_with_operations_on_attention_of_values() {
        let device = Device::flex();
        let block = block(false, Activation::QuickGelu, &device);
        for (images, tokens) in [(2, 5), (3, 17), (25, 50)] {
            let x = Tensor::random([images, tokens, 48], Distribution::Default, &device) * 4.0;
            let (next, values) = block.forward_with_values(x.clone());
            assert_eq!(numbers(next), numbers(block.forward(x.clone())));
            let [_, _, v] = block.queries_keys_values(block.ln_1.forward(x));
            let expected = numbers(block.attended(v.clone(), v.clone(), v));
            let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
            let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6 * largest;
            assert!(numbers(values).iter().zip(&expected).all(near), "{images} of {tokens} tokens");
        }
    }

    #[test]
    fn an_image_does_not_depend_on_its_neighbours_nor_on_threads() {
        let device = Device::flex();
        let original = block(false, Activation::QuickGelu, &device);
        let images = Tensor::random([40, 17, 48], Distribution::Normal(0.0, 2.0), &device);
        for arithmetic in ARITHMETICS {
            let mut block = original.clone();
            block.keep_panels(arithmetic, &device);
            let together = numbers(block.forward(images.clone()));
            for (i, together) in together.chunks(17 * 48).enumerate() {
                assert_eq!(numbers(block.forward(images.clone().narrow(0, i, 1))), together);
            }
            for threads in [1, 3, 8] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let found = pool.install(|| numbers(block.forward(images.clone())));
                assert_eq!(found, together, "{arithmetic:?} on {threads} threads");
            }
        }
    }

    #[test]
    fn rounded_products_stay_near() {
        let device = Device::flex();
        for (arithmetic, bound) in [(Arithmetic::Bfloat16, 0.01), (Arithmetic::Int8, 0.03)] {
            for (causal, activation) in [(false, Activation::QuickGelu), (true, Activation::Gelu)] {
                let mut block = block(causal, activation, &device);
                let x = Tensor::random([2, 50, 48], Distribution::Normal(0.0, 2.0), &device);
                let change =
                    |y: Tensor<3>| numbers(y - x.clone()).into_iter().map(f64::from).collect();
                let expected: Vec<f64> = change(block.forward_in_operations(x.clone()));
                block.keep_panels(arithmetic, &device);
                assert_eq!(block.arithmetic(), arithmetic);
                let found: Vec<f64> = change(block.forward(x.clone()));
                assert_eq!(block.panels_in_use(), 4, "a pass looked at a matrix");
                let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
                let error: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
                let error = norm(&error) / norm(&expected);
                assert!(error > 1e-5 && error < bound, "{arithmetic:?}: {error}");
            }
        }
    }

    #[test]
    fn panels_give_what_their_matrix_gives() {
        let device = Device::flex();
        let mut block = block(false, Activation::QuickGelu, &device);
        let x = Tensor::random([1, 17, 48], Distribution::Normal(0.0, 2.0), &device);
        let by_matrices = numbers(block.forward(x.clone()));
        block.keep_panels(Arithmetic::Float32, &device);
        assert_eq!(numbers(block.forward(x.clone())), by_matrices);
        let in_use = if cpu::applies(&block, &x) { 4 } else { 0 };
        assert_eq!(block.panels_in_use(), in_use, "a pass looked at a matrix");
        numbers(block.forward_in_operations(x.clone()));
        assert_eq!(block.panels_in_use(), 0, "weights are in memory twice");
        assert_eq!(numbers(block.forward(x)), by_matrices);
    }

    #[test]
    fn weights_that_are_replaced_are_the_ones_computed_with() {
        let device = Device::flex();
        let x = Tensor::random([1, 17, 48], Distribution::Normal(0.0, 2.0), &device);
        let original = block(false, Activation::QuickGelu, &device);
        let before = numbers(original.forward(x.clone()));
        let load = || {
            let mut loaded = original.clone();
            loaded.keep_panels(Arithmetic::Float32, &device);
            loaded
        };
        let untouched = load();
        let check = |what: &str, changed: &Block| {
            let found = numbers(changed.forward(x.clone()));
            assert_ne!(found, before, "{what}: still the old weights");
            let largest = found.iter().fold(0f32, |m, x| m.max(x.abs()));
            let expected = numbers(changed.forward_in_operations(x.clone()));
            let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6 * largest;
            assert!(found.iter().zip(&expected).all(near), "{what}: neither old nor new weights");
            assert_eq!(numbers(untouched.forward(x.clone())), before, "{what}: a copy changed");
        };

        let other = block(false, Activation::QuickGelu, &device);
        type Layer = fn(&mut Block) -> &mut Linear;
        let layers: [(&str, Layer); 4] = [
            ("qkv", |block| &mut block.qkv),
            ("out", |block| &mut block.out),
            ("fc", |block| &mut block.fc),
            ("proj", |block| &mut block.proj),
        ];
        for (name, layer) in layers {
            let mut changed = untouched.clone();
            layer(&mut changed).weight = layer(&mut other.clone()).weight.clone();
            check(name, &changed);
            let mut changed = load();
            let weight = layer(&mut changed).weight.clone();
            layer(&mut changed).weight = weight.map(|matrix| matrix * 2.0);
            check(name, &changed);
        }
        check("a record", &untouched.clone().load_record(other.clone().into_record()));
        check("a layer", &Block { fc: other.fc.clone(), ..untouched.clone() });
    }

    impl Block {
        fn keep_panels(&mut self, arithmetic: Arithmetic, device: &Device) {
            let of = |layer: &mut Linear| {
                let matrix = layer.weight.val();
                let shape = matrix.shape();
                let columns: TensorData = matrix.transpose().into_data();
                let columns = [columns.try_into_vec::<f32>().expect("the tensor holds f32")];
                let packed = Packed::of_columns(&columns, shape[0], arithmetic);
                let (weight, panels) = Panels::parameter(packed.unwrap(), shape, device);
                layer.weight = weight;
                panels
            };
            let [qkv, out, fc, proj] =
                [&mut self.qkv, &mut self.out, &mut self.fc, &mut self.proj].map(of);
            self.panels = BlockPanels { qkv, out, fc, proj };
        }

        fn panels_in_use(&self) -> usize {
            let Self { qkv, out, fc, proj, panels, .. } = self;
            [
                panels.qkv.of(&qkv.weight),
                panels.out.of(&out.weight),
                panels.fc.of(&fc.weight),
                panels.proj.of(&proj.weight),
            ]
            .iter()
            .flatten()
            .count()
        }
    }
}
