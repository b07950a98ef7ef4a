//! CLIP vision transformers and their text towers on Burn.
//!
//! The caller drives the image tower's layers, so hidden states need no hooks:
//! `embed`, then each of `blocks`, then `project`.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use clip_vit::{Activation, VisionConfig, VisionTower};
//!
//! // A small tower with random weights; `load` gives both towers of a trained model.
//! let config = VisionConfig {
//!     width: 32,
//!     layers: 2,
//!     heads: 4,
//!     mlp_width: 64,
//!     patch_size: 8,
//!     image_size: 32,
//!     activation: Activation::QuickGelu,
//! };
//! let device = Device::flex();
//! let tower = VisionTower::new(&config, 16, &device);
//! let mut tokens = tower.embed(Tensor::zeros([1, 3, 32, 32], &device));
//! for block in &tower.blocks {
//!     tokens = block.forward(tokens); // [1, 1 + 16 patches, 32]: look at it, or change it
//! }
//! assert_eq!(tower.project(tokens).dims(), [1, 17, 16]);
//! ```
//!
//! # Conventions
//! - Tokens are `[batch, tokens, width]`, class token first, patches row by row.
//! - Linear weights are `[in, out]`; query, key and value are one matrix.
//! - Embeddings are returned as the towers make them, not normalised.

mod allocator;
mod arithmetic;
mod bfloat16;
mod block;
mod config;
mod cpu;
mod error;
mod hub;
mod int8;
mod panels;
mod positions;
mod similarity;
mod text;
mod tokenizer;
mod transpose;
mod vision;
mod weights;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

pub use allocator::keep_freed_memory;
pub use arithmetic::Arithmetic;
pub use block::Block;
pub use config::{Activation, ClipConfig, TextConfig, VisionConfig};
pub use cpu::Points;
pub use error::Error;
pub use hub::{Hub, VIT_L_14_336};
pub use positions::Interpolation;
pub use similarity::highest_products;
pub use text::TextTower;
pub use tokenizer::{END_OF_TEXT, START_OF_TEXT, Tokenizer, VOCABULARY_SIZE};
pub use vision::{TokenHead, VisionTower};
pub use weights::{
    Precision, Pretrained, StateDict, impostor, load, load_bytes, load_bytes_in, load_in, save_hf,
};

/// A CLIP: both towers and the scale of their similarities.
#[derive(Module, Debug)]
pub struct Clip {
    /// The image tower.
    pub vision: VisionTower,
    /// The text tower.
    pub text: TextTower,
    /// Logarithm of the factor that multiplies cosine similarities, `[1]`.
    pub logit_scale: Param<Tensor<1>>,
}

impl Clip {
    /// A CLIP with randomly initialised weights and a scale of 1 / 0.07.
    pub fn new(config: &ClipConfig, device: &Device) -> Self {
        let scale = (1.0f32 / 0.07).ln();
        Self {
            vision: VisionTower::new(&config.vision, config.embed_dim, device),
            text: TextTower::new(&config.text, config.embed_dim, device),
            logit_scale: Param::from_tensor(Tensor::from_floats([scale], device)),
        }
    }
}
