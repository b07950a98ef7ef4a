//! The trained part of AdaCLIP beside a linear layer a stage.
//!
//! Source: Cao et al., AdaCLIP: adapting CLIP with hybrid learnable prompts for zero-shot anomaly
//! detection, ECCV 2024, and its code.

use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

/// Prompts of both towers: what is learned of each, and what an image's own embedding adds to it.
#[derive(Module, Debug)]
pub struct AdaClip {
    /// Prompts before each of the image tower's first blocks, `[prompts, width]` each.
    pub image_rows: Vec<Param<Tensor<2>>>,
    /// Prompts before those of the text tower, from its second on, `[prompts, text width]` each.
    pub text_rows: Vec<Param<Tensor<2>>>,
    /// What the embedding adds to the prompts of the image tower, a layer a prompt.
    pub image_prompts: Vec<Linear>,
    /// What it adds to those of the text tower.
    pub text_prompts: Vec<Linear>,
    /// What the embedding of the prompted tower passes.
    pub class_projection: Linear,
}

impl AdaClip {
    /// First weights as its authors draw them, for towers of these widths: so many prompts before
    /// so many blocks.
    pub(crate) fn new(
        [embed_dim, width, text_width]: [usize; 3],
        (blocks, prompts): (usize, usize),
        device: &Device,
    ) -> Self {
        let normal = Initializer::Normal { mean: 0.0, std: 0.02 };
        let rows = |blocks, width| -> Vec<Param<Tensor<2>>> {
            (0..blocks).map(|_| normal.init([prompts, width], device)).collect()
        };
        let layers = |width| -> Vec<Linear> {
            (0..prompts).map(|_| LinearConfig::new(embed_dim, width).init(device)).collect()
        };
        Self {
            image_rows: rows(blocks, width),
            text_rows: rows(blocks - 1, text_width),
            image_prompts: layers(width),
            text_prompts: layers(text_width),
            class_projection: LinearConfig::new(embed_dim, embed_dim).init(device),
        }
    }

    /// What images add to the prompts of the image tower.
    ///
    /// # Shapes
    /// - images: their embeddings, `[batch, embed_dim]`, not normalised
    /// - output: `[batch, prompts, width]`
    pub(crate) fn of_images(&self, images: &Tensor<2>) -> Tensor<3> {
        through(&self.image_prompts, images)
    }

    /// The same of the text tower, `[batch, prompts, text width]`.
    pub(crate) fn of_texts(&self, images: &Tensor<2>) -> Tensor<3> {
        through(&self.text_prompts, images)
    }
}

fn through(layers: &[Linear], images: &Tensor<2>) -> Tensor<3> {
    Tensor::stack(layers.iter().map(|layer| layer.forward(images.clone())).collect(), 1)
}
