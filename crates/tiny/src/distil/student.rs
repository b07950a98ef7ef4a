//! The network that is trained, and its loss.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use clip_vit::{TokenHead, VisionConfig, VisionTower};
use serde::Serialize;

use super::batch::{Batch, PATCH};
use super::ridge::Ridge;
use crate::pretrain::init;
use crate::teacher::{CHANNELS, Features};

/// Channels that a token predicts of stages 3, 5 and 7: four cells of stage 3 lie under a token.
const TARGETS: [usize; 3] = [4 * CHANNELS[0], CHANNELS[1], CHANNELS[2]];
/// Weight of the pooled features against one stage.
const POOLED: f64 = 0.5;

/// The image tower with linear heads that predict the teacher's features; the heads are discarded afterwards.
#[derive(Module, Debug)]
pub(super) struct Student {
    pub(super) tower: VisionTower,
    heads: Vec<Linear>,
    pooled: Linear,
}

/// Mean squared errors of a step, relative to predicting the mean of each channel.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Terms {
    /// Weighted sum.
    pub loss: f64,
    /// Stages 3, 5 and 7.
    pub stages: [f64; 3],
    /// The pooled features.
    pub pooled: f64,
}

impl Student {
    pub(super) fn new(
        config: &VisionConfig,
        embed_dim: usize,
        batch: &Batch,
        seed: u64,
        device: &Device,
    ) -> Self {
        let tower = VisionTower::new(config, embed_dim, device);
        let tower = init::attention(tower, seed, device);
        let side = batch.grid * PATCH;
        let tower = init::patch_embedding(tower, &batch.pixels, side, device);
        let linear = |channels| LinearConfig::new(config.width, channels).init(device);
        Self { tower, heads: TARGETS.map(linear).into(), pooled: linear(CHANNELS[3]) }
    }

    /// The loss of a batch against the teacher's features of it.
    pub(super) fn loss(
        &self,
        batch: &Batch,
        targets: &Targets,
        device: &Device,
    ) -> (Tensor<1>, Terms) {
        let mut total = Tensor::<1>::zeros([1], device);
        let mut terms = Terms::default();
        let squared = |prediction: Tensor<3>, target: &Tensor<3>| {
            (prediction - target.clone().autodiff()).square().mean()
        };
        let [fine, middle, coarse, class] = self.tokens(batch, device);
        for (stage, tokens) in [fine, middle, coarse].into_iter().enumerate() {
            let error = squared(self.heads[stage].forward(tokens), &targets.stages[stage]);
            terms.stages[stage] = scalar(&error);
            total = total + error;
        }
        let error = squared(self.pooled.forward(class), &targets.pooled);
        terms.pooled = scalar(&error);
        total = total + error.mul_scalar(POOLED);
        terms.loss = scalar(&total);
        (total, terms)
    }

    /// What the heads see: the patch tokens after a third, two thirds and all of the layers, and the class token in
    /// the end.
    fn tokens(&self, batch: &Batch, device: &Device) -> [Tensor<3>; 4] {
        let patches = batch.grid * batch.grid;
        let images = batch.positions.len() / patches;
        let side = batch.grid * PATCH;
        let pixels = TensorData::new(batch.pixels.clone(), [images, 3, side, side]);
        let positions = TensorData::new(batch.positions.clone(), [images, patches]);
        let positions = Tensor::<2, Int>::from_data(positions, device);
        let mut x = self.tower.embed_at(Tensor::from_data(pixels, device), positions);
        let depth = self.tower.blocks.len();
        let mut after = |third: usize| {
            for block in &self.tower.blocks[depth * third / 3..depth * (third + 1) / 3] {
                x = block.forward(x.clone());
            }
            x.clone()
        };
        let fine = layer_norm(after(0)).narrow(1, 1, patches);
        let middle = layer_norm(after(1)).narrow(1, 1, patches);
        let last = self.tower.ln_post.forward(after(2));
        [fine, middle, last.clone().narrow(1, 1, patches), last.narrow(1, 0, 1)]
    }

    /// The heads that predict best from the tower as it is, by ridge regression: drawn ones would have a tower that has
    /// learnt already unlearn first.
    pub(super) fn fit_heads(mut self, batches: &[(Batch, Targets)], device: &Device) -> Self {
        let tower = self.valid();
        let mut fits: [Ridge; 4] = std::array::from_fn(|_| Ridge::default());
        for (batch, targets) in batches {
            let tokens = tower.tokens(batch, &device.clone().inner());
            for ((fit, tokens), target) in fits.iter_mut().zip(tokens).zip(targets.all()) {
                fit.add(tokens, target.clone());
            }
        }
        let heads = self.heads.iter_mut().chain([&mut self.pooled]);
        for (head, fit) in heads.zip(fits) {
            *head = fit.solve(device);
        }
        self
    }

    /// The heads of the patch tokens, for the features as the teacher has them, each after the block whose tokens it
    /// was fitted to.
    pub(super) fn token_heads(
        &self,
        standard: &Standard,
        device: &Device,
    ) -> Vec<Option<TokenHead>> {
        let depth = self.tower.blocks.len();
        let mut heads: Vec<Option<TokenHead>> = (0..depth).map(|_| None).collect();
        for (third, fitted) in self.heads.iter().enumerate() {
            let [width, channels] = fitted.weight.dims();
            let mut head = TokenHead::new(width, channels, device);
            if third + 1 == self.heads.len() {
                head.norm = self.tower.ln_post.clone();
            }
            head.linear = standard.undone(third, fitted);
            heads[depth * (third + 1) / 3 - 1] = Some(head);
        }
        heads
    }
}

impl Terms {
    pub(super) fn mean(parts: &[Self]) -> Self {
        let mean =
            |of: &dyn Fn(&Self) -> f64| parts.iter().map(of).sum::<f64>() / parts.len() as f64;
        Self {
            loss: mean(&|t| t.loss),
            stages: std::array::from_fn(|i| mean(&|t| t.stages[i])),
            pooled: mean(&|t| t.pooled),
        }
    }
}

fn scalar(x: &Tensor<1>) -> f64 {
    f64::from(x.clone().into_scalar::<f32>())
}

/// Tokens with mean 0 and variance 1.
pub(super) fn layer_norm(x: Tensor<3>) -> Tensor<3> {
    let x = x.clone() - x.mean_dim(2);
    let variance = x.clone().square().mean_dim(2);
    x / (variance + 1e-5).sqrt()
}

/// The teacher's features on the token grid, `[batch, tokens, channels]`, the pooled ones with one token.
pub(super) struct Targets {
    pub(super) stages: [Tensor<3>; 3],
    pooled: Tensor<3>,
}

impl Targets {
    pub(super) fn new(features: Features, grid: usize) -> Self {
        let [fine, middle, coarse] = features.stages;
        let [b, c, ..] = fine.dims();
        let fine = fine
            .reshape([b, c, grid, 2, grid, 2])
            .permute([0, 2, 4, 1, 3, 5]) // [b, grid, grid, c, 2, 2]
            .reshape([b, grid * grid, c * 4]);
        let tokens = |x: Tensor<4>| {
            let [b, c, h, w] = x.dims();
            x.reshape([b, c, h * w]).swap_dims(1, 2)
        };
        let [.., cells, _] = coarse.dims();
        let spread = spread(grid, cells, &coarse.device());
        let coarse = spread.unsqueeze::<3>().matmul(tokens(coarse));
        let [_, channels] = features.pooled.dims();
        let pooled = features.pooled.reshape([b, 1, channels]);
        Self { stages: [fine, tokens(middle), coarse], pooled }
    }

    fn all(&self) -> [&Tensor<3>; 4] {
        let [a, b, c] = &self.stages;
        [a, b, c, &self.pooled]
    }
}

/// Bilinear interpolation from `cells` to `grid` places a side: with "SAME" padding cell `i` of a strided
/// convolution with an odd kernel on an odd grid is centred at token `2 i`.
fn spread(grid: usize, cells: usize, device: &Device) -> Tensor<2> {
    let weight =
        |token: usize, cell: usize| (1.0 - (token as f32 / 2.0 - cell as f32).abs()).max(0.0);
    let mut weights = Vec::with_capacity(grid * grid * cells * cells);
    for token in 0..grid * grid {
        for cell in 0..cells * cells {
            let down = weight(token / grid, cell / cells);
            weights.push(down * weight(token % grid, cell % cells));
        }
    }
    Tensor::from_data(TensorData::new(weights, [grid * grid, cells * cells]), device)
}

/// Mean and deviation of each channel over the first images.
#[derive(Module, Debug)]
pub(super) struct Standard {
    means: Vec<Param<Tensor<1>>>,
    deviations: Vec<Param<Tensor<1>>>,
}

impl Standard {
    pub(super) fn of(samples: &[Targets]) -> Self {
        let (mut means, mut deviations) = (Vec::new(), Vec::new());
        for i in 0..4 {
            let rows = |targets: &Targets| {
                let x = targets.all()[i].clone();
                let [b, n, c] = x.dims();
                x.reshape([b * n, c])
            };
            let x: Tensor<2> = Tensor::cat(samples.iter().map(rows).collect(), 0);
            let mean = x.clone().mean_dim(0);
            let deviation = (x - mean.clone()).square().mean_dim(0).sqrt() + 1e-3;
            means.push(Param::from_tensor(mean.squeeze_dim(0)));
            deviations.push(Param::from_tensor(deviation.squeeze_dim(0)));
        }
        Self { means, deviations }
    }

    /// The layer that predicts features themselves instead of standardised ones.
    fn undone(&self, i: usize, layer: &Linear) -> Linear {
        let (mean, deviation) = (self.means[i].val(), self.deviations[i].val());
        let bias = layer.bias.as_ref().expect("heads have a bias").val();
        let mut layer = layer.clone();
        let weight = layer.weight.val() * deviation.clone().unsqueeze();
        layer.weight = Param::from_tensor(weight);
        layer.bias = Some(Param::from_tensor(bias * deviation + mean));
        layer
    }

    pub(super) fn apply(&self, targets: Targets) -> Targets {
        let standard = |i: usize, x: Tensor<3>| {
            (x - self.means[i].val().unsqueeze()) / self.deviations[i].val().unsqueeze()
        };
        let [a, b, c] = targets.stages;
        let stages = [standard(0, a), standard(1, b), standard(2, c)];
        Targets { stages, pooled: standard(3, targets.pooled) }
    }
}

/// The average's next value: a share `keep` of itself, the rest of the student.
pub(super) fn follow(average: Student, student: &Student, keep: f64) -> Student {
    let mut values = Values(Vec::new());
    student.valid().visit(&mut values);
    values.0.reverse();
    average.map(&mut Towards { values: values.0, keep })
}

/// Values of all parameters in the order of a visit.
pub(super) struct Values(pub(super) Vec<Tensor<1>>);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let elements = value.shape().num_elements();
        self.0.push(value.reshape([elements]));
    }
}

struct Towards {
    /// Last parameter first.
    values: Vec<Tensor<1>>,
    keep: f64,
}

impl ModuleMapper for Towards {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = self.values.pop().expect("both have the same parameters");
        param.map(|x| {
            let value = value.reshape(x.shape());
            x.mul_scalar(self.keep) + value.mul_scalar(1.0 - self.keep)
        })
    }
}
