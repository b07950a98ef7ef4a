//! The pre-norm transformer block that both towers are made of.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::{gelu, sigmoid};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};

use crate::config::Activation;
use crate::cpu;

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

    /// Runs the block.
    ///
    /// # Shapes
    /// - tokens, output: `[batch, tokens, width]`
    pub fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        if cpu::applies(self, &tokens) {
            return cpu::forward(self, tokens);
        }
        let attended = self.attend(self.ln_1.forward(tokens.clone()));
        let tokens = tokens + attended;
        let hidden = self.activate(self.fc.forward(self.ln_2.forward(tokens.clone())));
        tokens + self.proj.forward(hidden)
    }

    fn attend(&self, tokens: Tensor<3>) -> Tensor<3> {
        let [b, n, d] = tokens.dims();
        let qkv = self
            .qkv
            .forward(tokens)
            .reshape([b, n, 3, self.heads, d / self.heads])
            .permute([2, 0, 3, 1, 4]); // [3, b, heads, n, head_dim]
        let part = |i: usize| qkv.clone().narrow(0, i, 1).squeeze_dim::<4>(0); // [b, heads, n, head_dim]
        let options = AttentionModuleOptions { is_causal: self.causal, ..Default::default() };
        let values = attention(part(0), part(1), part(2), None, None, options);
        self.out.forward(values.permute([0, 2, 1, 3]).reshape([b, n, d]))
    }

    fn activate(&self, x: Tensor<3>) -> Tensor<3> {
        match self.activation() {
            Activation::QuickGelu => x.clone() * sigmoid(x * 1.702),
            Activation::Gelu => gelu(x),
        }
    }

    pub(crate) fn activation(&self) -> Activation {
        if self.quick_gelu { Activation::QuickGelu } else { Activation::Gelu }
    }
}
