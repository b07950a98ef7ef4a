//! The trained part of VCP-CLIP beside a linear layer a stage and two temperatures.
//!
//! Source: Qu et al., VCP-CLIP: a visual context prompting model for zero-shot anomaly
//! segmentation, ECCV 2024, and its code.

use burn::module::{Module, Param};
use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Distribution, Tensor, TensorData};

use crate::tensors::{floats, normalize};

/// Rows that stand for the category in a prompt.
pub(crate) const CATEGORY_ROWS: usize = 2;
/// Channels that the convolution along an image's embedding sees, and its parts.
const KERNEL: usize = 3;
/// Heads of the attention from texts to patches.
pub(crate) const HEADS: usize = 8;

/// What is learned of prompts (Pre-VCP) and of how texts look at patches (Post-VCP).
#[derive(Module, Debug)]
pub struct Vcp {
    /// What stands for the category whatever the image shows, `[2, text width]`.
    pub query: Param<Tensor<2>>,
    /// A convolution along the channels of the image's embedding, three of which become two rows.
    pub category: Linear,
    /// The row after the start of a text before the first block, `[1, text width]`.
    pub first: Param<Tensor<2>>,
    /// The same before each of the other blocks, `[blocks - 1, text width]`.
    pub deep: Param<Tensor<2>>,
    /// What those rows pass.
    pub prompt_projection: Linear,
    /// Norm of a text's rows after the last block, before the tower's own.
    pub prompt_norm: LayerNorm,
    /// Queries of the two texts, from the embedding to the image tower's width.
    pub text_query: Linear,
    /// Keys of the patches.
    pub patch_key: Linear,
    /// Values of the patches.
    pub patch_value: Linear,
    /// What the heads' answers pass.
    pub out: Linear,
}

impl Vcp {
    /// First weights as its authors draw them, for towers of these widths.
    pub(crate) fn new(
        (text_width, text_blocks): (usize, usize),
        (width, embed_dim): (usize, usize),
        device: &Device,
    ) -> Self {
        let uniform = Initializer::Uniform { min: -1.0, max: 1.0 };
        let fan_out = Initializer::KaimingNormal { gain: 2f64.sqrt(), fan_out_only: true };
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        Self {
            query: Param::from_tensor(truncated_normal([CATEGORY_ROWS, text_width], device)),
            category: linear(KERNEL, CATEGORY_ROWS),
            first: uniform.init([1, text_width], device),
            deep: uniform.init([text_blocks - 1, text_width], device),
            prompt_projection: LinearConfig::new(text_width, text_width)
                .with_initializer(fan_out)
                .init(device),
            prompt_norm: LayerNormConfig::new(text_width).with_epsilon(1e-6).init(device),
            text_query: linear(embed_dim, width),
            patch_key: linear(width, width),
            patch_value: linear(width, width),
            out: linear(width, width),
        }
    }

    /// What stands for the category in the prompts about images.
    ///
    /// # Shapes
    /// - images: their embeddings, `[batch, text width]`, not normalised
    /// - output: `[batch, 2, text width]`
    pub(crate) fn category_rows(&self, images: Tensor<2>) -> Tensor<3> {
        let ([b, n], device) = (images.dims(), images.device());
        let edge = Tensor::zeros([b, KERNEL / 2], &device);
        let padded = Tensor::cat(vec![edge.clone(), images, edge], 1);
        let windows = (0..KERNEL).map(|shift| padded.clone().narrow(1, shift, n)).collect();
        let parts = self.category.forward(Tensor::stack::<3>(windows, 2)); // [b, n, 2]
        self.query.val().unsqueeze() + parts.swap_dims(1, 2)
    }

    /// The learned rows before every block of the text tower, `[blocks, text width]`.
    pub(crate) fn rows(&self) -> Tensor<2> {
        self.prompt_projection.forward(Tensor::cat(vec![self.first.val(), self.deep.val()], 0))
    }

    /// Texts as they see the patches of a stage.
    ///
    /// # Shapes
    /// - texts: `[batch, 2, embed_dim]`
    /// - patches: `[batch, patches, width]`, of unit length
    /// - output: `[batch, 2, width]`, of unit length
    pub(crate) fn look(&self, texts: Tensor<3>, patches: Tensor<3>) -> Tensor<3> {
        let [b, n, width] = patches.dims();
        let heads = |x: Tensor<3>, rows| {
            x.reshape([b, rows, HEADS, width / HEADS]).swap_dims(1, 2) // [b, heads, rows, channels]
        };
        let queries = heads(self.text_query.forward(texts), 2);
        let keys = heads(self.patch_key.forward(patches.clone()), n);
        let values = heads(self.patch_value.forward(patches), n);
        // Without the division by the root of a head's channels, as in their code.
        let seen = softmax(queries.matmul(keys.transpose()), 3).matmul(values);
        normalize(self.out.forward(seen.swap_dims(1, 2).reshape([b, 2, width])))
    }
}

/// Normal numbers of deviation 1 between -2 and 2.
fn truncated_normal([rows, columns]: [usize; 2], device: &Device) -> Tensor<2> {
    const TRIES: usize = 16;
    let count = rows * columns;
    let drawn =
        floats(Tensor::<1>::random([TRIES * count], Distribution::Normal(0.0, 1.0), device));
    let first = |i: usize| {
        let tries = &drawn[i * TRIES..(i + 1) * TRIES];
        tries.iter().copied().find(|x| x.abs() <= 2.0).unwrap_or(0.0)
    };
    let values: Vec<f32> = (0..count).map(first).collect();
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_weights_are_those_of_the_authors() {
        let device = Device::flex();
        let part = Vcp::new((64, 12), (32, 48), &device);
        let deviation = |values: &[f32]| {
            (values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32).sqrt()
        };
        let query = floats(truncated_normal([50, 100], &device));
        assert!(query.iter().all(|x| x.abs() <= 2.0));
        // Of a normal distribution cut at two deviations.
        assert!((deviation(&query) - 0.88).abs() < 0.03, "{}", deviation(&query));
        let deep = floats(part.deep.val());
        assert_eq!(deep.len(), 11 * 64);
        assert!(deep.iter().all(|x| x.abs() <= 1.0) && deep.iter().any(|x| x.abs() > 0.9));
        let projection = deviation(&floats(part.prompt_projection.weight.val()));
        assert!((projection - (2f32 / 64.0).sqrt()).abs() < 0.02, "{projection}");
    }
}
