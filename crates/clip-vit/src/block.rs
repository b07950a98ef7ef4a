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
        if cpu::differentiates(self, &tokens) {
            return cpu::forward_differentiated(self, tokens);
        }
        self.forward_in_operations(tokens)
    }

    /// The same by Burn's operations, for every backend.
    fn forward_in_operations(&self, tokens: Tensor<3>) -> Tensor<3> {
        self.add_mlp(self.forward_attention(tokens))
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

    /// The first half of the block: the tokens with their attention added, before the feed-forward
    /// part.
    ///
    /// # Shapes
    /// - tokens, output: `[batch, tokens, width]`
    pub fn forward_attention(&self, tokens: Tensor<3>) -> Tensor<3> {
        let attended = self.attend(self.ln_1.forward(tokens.clone()));
        tokens + attended
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
mod tests;
