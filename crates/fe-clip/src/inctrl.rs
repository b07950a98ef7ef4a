//! The trained part of InCTRL: an adapter of image embeddings and two heads.
//!
//! Source: Zhu and Pang, Toward generalist anomaly detection via in-context residual learning with
//! few-shot sample prompts, CVPR 2024, and its code.

use burn::module::{Module, Param, RunningState};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};

/// The adapter's middle has so many times fewer channels.
const REDUCTION: usize = 4;
const HIDDEN: [usize; 2] = [128, 64];
const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// What is learned of differences from normal images.
#[derive(Module, Debug)]
pub struct Inctrl {
    /// First layer of the adapter, without bias.
    pub down: Linear,
    /// Second layer of the adapter, without bias.
    pub up: Linear,
    /// Scores an image's adapted difference, of the embedding's channels.
    pub image_head: ScoreHead,
    /// Scores the distances of all patches.
    pub patch_head: ScoreHead,
}

impl Inctrl {
    /// First weights as PyTorch draws them.
    pub(crate) fn new(embed_dim: usize, patches: usize, device: &Device) -> Self {
        let middle = embed_dim / REDUCTION;
        let linear = |from, to| LinearConfig::new(from, to).with_bias(false).init(device);
        Self {
            down: linear(embed_dim, middle),
            up: linear(middle, embed_dim),
            image_head: ScoreHead::new(embed_dim, device),
            patch_head: ScoreHead::new(patches, device),
        }
    }

    /// Adapted embeddings, `[n, embed_dim]`.
    pub(crate) fn adapt(&self, embeddings: Tensor<2>) -> Tensor<2> {
        relu(self.up.forward(relu(self.down.forward(embeddings))))
    }
}

/// Three layers with norms of batches between them, and a sigmoid.
#[derive(Module, Debug)]
pub struct ScoreHead {
    /// First layer.
    pub first: Linear,
    /// Norm of its output.
    pub first_norm: ColumnNorm,
    /// Second layer.
    pub second: Linear,
    /// Norm of its output.
    pub second_norm: ColumnNorm,
    /// Third layer.
    pub last: Linear,
}

impl ScoreHead {
    fn new(inputs: usize, device: &Device) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        Self {
            first: linear(inputs, HIDDEN[0]),
            first_norm: ColumnNorm::new(HIDDEN[0], device),
            second: linear(HIDDEN[0], HIDDEN[1]),
            second_norm: ColumnNorm::new(HIDDEN[1], device),
            last: linear(HIDDEN[1], 1),
        }
    }

    /// Scores in [0, 1], `[n, 1]`; in training by the statistics of these rows, which are
    /// remembered.
    ///
    /// # Shapes
    /// - rows: `[n, inputs]`
    pub(crate) fn forward(&self, rows: Tensor<2>, training: bool) -> Tensor<2> {
        let x = self.first_norm.forward(relu(self.first.forward(rows)), training);
        let x = self.second_norm.forward(relu(self.second.forward(x)), training);
        sigmoid(self.last.forward(x))
    }
}

/// Batch norm of columns as PyTorch has it: what is remembered is the unbiased variance, in Burn's
/// the biased one.
#[derive(Module, Debug)]
pub struct ColumnNorm {
    /// Factor, `[columns]`.
    pub weight: Param<Tensor<1>>,
    /// Summand, `[columns]`.
    pub bias: Param<Tensor<1>>,
    /// Remembered mean, `[columns]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Remembered variance, `[columns]`.
    pub running_var: RunningState<Tensor<1>>,
}

impl ColumnNorm {
    fn new(columns: usize, device: &Device) -> Self {
        Self {
            weight: Initializer::Ones.init([columns], device),
            bias: Initializer::Zeros.init([columns], device),
            running_mean: RunningState::new(Tensor::zeros([columns], device)),
            running_var: RunningState::new(Tensor::ones([columns], device)),
        }
    }

    fn forward(&self, rows: Tensor<2>, training: bool) -> Tensor<2> {
        let (mean, variance) = if training {
            let n = rows.dims()[0] as f64;
            let mean = rows.clone().mean_dim(0);
            let variance = (rows.clone() - mean.clone()).square().mean_dim(0);
            let unbiased = variance.clone() * (n / (n - 1.0).max(1.0));
            remember(&self.running_mean, mean.clone().squeeze_dim(0));
            remember(&self.running_var, unbiased.squeeze_dim(0));
            (mean, variance)
        } else {
            (self.running_mean.value().unsqueeze(), self.running_var.value().unsqueeze())
        };
        let unit = (rows - mean) / (variance + EPSILON).sqrt();
        unit * self.weight.val().unsqueeze() + self.bias.val().unsqueeze()
    }
}

fn remember(state: &RunningState<Tensor<1>>, seen: Tensor<1>) {
    let old = state.value_sync();
    state.update(old * (1.0 - MOMENTUM) + seen.detach() * MOMENTUM);
    // A record of the module holds only what is synchronised.
    state.value_sync();
}
