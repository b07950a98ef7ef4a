//! The architecture of a CLIP as data: every size is a field, none is inferred from a name.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Activation between the two linear layers of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`, used by all of OpenAI's weights.
    QuickGelu,
    /// `x * Phi(x)` with the exact error function, used by most of open_clip's weights.
    Gelu,
}

impl Activation {
    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::QuickGelu => "quick_gelu",
            Self::Gelu => "gelu",
        }
    }
}

/// Sizes of the image tower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisionConfig {
    /// Channels of a token.
    pub width: usize,
    /// Number of transformer blocks.
    pub layers: usize,
    /// Attention heads; divides `width`.
    pub heads: usize,
    /// Hidden channels of the block's feed-forward part.
    pub mlp_width: usize,
    /// Side of a square patch, in pixels.
    pub patch_size: usize,
    /// Side of the square image that the positional embedding was trained for, in pixels.
    pub image_size: usize,
    /// Activation of the feed-forward part.
    pub activation: Activation,
}

impl VisionConfig {
    /// Tokens along one side of the trained grid.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }
}

/// Sizes of the text tower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextConfig {
    /// Channels of a token.
    pub width: usize,
    /// Number of transformer blocks.
    pub layers: usize,
    /// Attention heads; divides `width`.
    pub heads: usize,
    /// Hidden channels of the block's feed-forward part.
    pub mlp_width: usize,
    /// Entries of the vocabulary.
    pub vocabulary: usize,
    /// Tokens of a framed text, start and end included.
    pub context_length: usize,
    /// Activation of the feed-forward part.
    pub activation: Activation,
}

/// A CLIP: an image tower and a text tower that end in one embedding space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipConfig {
    /// The image tower.
    pub vision: VisionConfig,
    /// The text tower.
    pub text: TextConfig,
    /// Channels of the common embedding.
    pub embed_dim: usize,
}

impl ClipConfig {
    /// Refuses an activation other than the one in this configuration, which was read from `path`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config).
    pub fn require(&self, activation: Activation, path: &Path) -> Result<(), Error> {
        let (told, text) = (self.vision.activation, self.text.activation);
        if (told, text) == (activation, activation) {
            return Ok(());
        }
        let problem = format!(
            "tells activation {}; another one, {}, may be given for files only that do not tell",
            told.name(),
            activation.name()
        );
        Err(Error::Config { path: path.to_path_buf(), problem })
    }

    /// OpenAI's CLIP ViT-L/14@336px: 427,944,193 parameters.
    pub fn vit_l_14_336() -> Self {
        let activation = Activation::QuickGelu;
        Self {
            vision: VisionConfig {
                width: 1024,
                layers: 24,
                heads: 16,
                mlp_width: 4096,
                patch_size: 14,
                image_size: 336,
                activation,
            },
            text: TextConfig {
                width: 768,
                layers: 12,
                heads: 12,
                mlp_width: 3072,
                vocabulary: 49408,
                context_length: 77,
                activation,
            },
            embed_dim: 768,
        }
    }
}
