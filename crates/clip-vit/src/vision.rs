//! The image tower.

use burn::module::{Module, Param};
use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};

use crate::Arithmetic;
use crate::block::Block;
use crate::config::VisionConfig;

/// CLIP's vision transformer. The caller drives the layers:
/// [`embed`](Self::embed), then each of [`blocks`](Self::blocks), then [`project`](Self::project).
///
/// Source: openai/CLIP `clip/model.py`, `VisionTransformer`.
#[derive(Module, Debug)]
pub struct VisionTower {
    /// The patch convolution as a matrix `[3 * patch * patch, width]`, rows in the order
    /// channel, row, column.
    pub patch_embedding: Linear,
    /// Class token, `[width]`.
    pub class_embedding: Param<Tensor<1>>,
    /// Positions, class token first, then the grid row by row: `[1 + grid * grid, width]`.
    pub positional_embedding: Param<Tensor<2>>,
    /// Norm of the embedded tokens.
    pub ln_pre: LayerNorm,
    /// The transformer blocks, in order.
    pub blocks: Vec<Block>,
    /// Norm before the projection.
    pub ln_post: LayerNorm,
    /// Projection into the common embedding, `[width, embed_dim]`, without bias.
    pub projection: Linear,
    /// After each of the blocks that has one, what a patch's token predicts; empty, or as many as there are blocks.
    /// CLIPs have none; towers that were distilled from another network keep what they learnt to predict of it.
    pub token_heads: Vec<Option<TokenHead>>,
    patch_size: usize,
}

/// A linear layer on normed tokens.
#[derive(Module, Debug)]
pub struct TokenHead {
    /// Norm of the tokens.
    pub norm: LayerNorm,
    /// `[width, features]`
    pub linear: Linear,
}

impl TokenHead {
    /// A head with randomly initialised weights.
    pub fn new(width: usize, features: usize, device: &Device) -> Self {
        Self {
            norm: LayerNormConfig::new(width).init(device),
            linear: LinearConfig::new(width, features).init(device),
        }
    }

    /// # Shapes
    /// - tokens: `[..., width]`
    /// - output: `[..., features]`
    pub fn forward<const D: usize>(&self, tokens: Tensor<D>) -> Tensor<D> {
        self.linear.forward(self.norm.forward(tokens))
    }
}

impl VisionTower {
    /// A tower with randomly initialised weights, as OpenAI's code draws them.
    pub fn new(config: &VisionConfig, embed_dim: usize, device: &Device) -> Self {
        let VisionConfig { width, layers, heads, mlp_width, patch_size, activation, .. } = *config;
        let scale = (width as f64).powf(-0.5);
        let normal = Initializer::Normal { mean: 0.0, std: scale };
        let grid = config.grid();
        Self {
            patch_embedding: LinearConfig::new(3 * patch_size * patch_size, width)
                .with_bias(false)
                .init(device),
            class_embedding: normal.init([width], device),
            positional_embedding: normal.init([1 + grid * grid, width], device),
            ln_pre: LayerNormConfig::new(width).init(device),
            blocks: (0..layers)
                .map(|_| Block::new(width, heads, mlp_width, false, activation, device))
                .collect(),
            ln_post: LayerNormConfig::new(width).init(device),
            projection: LinearConfig::new(width, embed_dim)
                .with_bias(false)
                .with_initializer(normal)
                .init(device),
            token_heads: Vec::new(),
            patch_size,
        }
    }

    /// Side of a patch in pixels.
    pub fn patch_size(&self) -> usize {
        self.patch_size
    }

    /// What the products of its blocks are computed in on the CPU: what it was loaded for, as long as no weights were
    /// replaced or looked at.
    pub fn arithmetic(&self) -> Arithmetic {
        let mut each = self.blocks.iter().map(Block::arithmetic);
        let first = each.next().unwrap_or_default();
        if each.all(|other| other == first) { first } else { Arithmetic::Float32 }
    }

    /// Patches, class token and positions, normalised: the input of the first block.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised by CLIP's mean and deviation
    /// - output: `[batch, 1 + patches, width]`, class token first, patches row by row
    ///
    /// # Panics
    /// If the image is not a multiple of the patch or its grid differs from the positional
    /// embedding's (resize that first).
    pub fn embed(&self, images: Tensor<4>) -> Tensor<3> {
        let [positions, _] = self.positional_embedding.dims();
        let patches = self.embed_patches(images);
        let [_, n, _] = patches.dims();
        assert!(1 + n == positions, "embed: expected {} patches, got {n}", positions - 1);
        let tokens = Tensor::cat(vec![self.class_token(&patches), patches], 1);
        self.ln_pre.forward(tokens + self.positional_embedding.val().unsqueeze())
    }

    /// As [`embed`](Self::embed), of images whose patches stand on chosen places: windows of a
    /// larger image, as used in training.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`
    /// - positions: `[batch, patches]`, rows of the positional embedding
    /// - output: `[batch, 1 + patches, width]`
    pub fn embed_at(&self, images: Tensor<4>, positions: Tensor<2, Int>) -> Tensor<3> {
        let patches = self.embed_patches(images);
        let [b, n, width] = patches.dims();
        let table = self.positional_embedding.val();
        let class = self.class_token(&patches) + table.clone().narrow(0, 0, 1).unsqueeze();
        let places = table.select(0, positions.reshape([b * n])).reshape([b, n, width]);
        self.ln_pre.forward(Tensor::cat(vec![class, patches + places], 1))
    }

    fn embed_patches(&self, images: Tensor<4>) -> Tensor<3> {
        let [b, c, h, w] = images.dims();
        let p = self.patch_size;
        assert!(
            h.is_multiple_of(p) && w.is_multiple_of(p),
            "embed: expected sides that are multiples of {p}, got {h}x{w}"
        );
        let (gh, gw) = (h / p, w / p);
        let patches = images
            .reshape([b, c, gh, p, gw, p])
            .permute([0, 2, 4, 1, 3, 5]) // [b, gh, gw, c, p, p]
            .reshape([b, gh * gw, c * p * p]);
        self.patch_embedding.forward(patches) // [b, patches, width]
    }

    fn class_token(&self, patches: &Tensor<3>) -> Tensor<3> {
        let [b, _, width] = patches.dims();
        self.class_embedding.val().reshape([1, 1, width]).expand([b, 1, width])
    }

    /// Final norm and projection of any tokens into the common embedding; not normalised.
    ///
    /// # Shapes
    /// - tokens: `[batch, n, width]`
    /// - output: `[batch, n, embed_dim]`
    pub fn project(&self, tokens: Tensor<3>) -> Tensor<3> {
        self.projection.forward(self.ln_post.forward(tokens))
    }

    /// CLIP's image embedding; not normalised.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`
    /// - output: `[batch, embed_dim]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let tokens = self.blocks.iter().fold(self.embed(images), |x, block| block.forward(x));
        self.project(tokens.narrow(1, 0, 1)).squeeze_dim(1)
    }
}
