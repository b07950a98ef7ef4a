//! What methods keep of an image that a frozen tower has seen: the class token in the end, and the
//! patch tokens of several stages.

use burn::tensor::Tensor;
use clip_vit::VisionTower;

use crate::scorer::Base;

/// A frozen image tower and the layers after which its patch tokens are kept.
pub(super) struct FrozenTower {
    vision: VisionTower,
    /// Counted from 1.
    ends: Vec<usize>,
    grid: usize,
}

impl FrozenTower {
    pub(super) fn new(base: &Base<'_>, ends: Vec<usize>) -> Self {
        Self { vision: base.clip.vision.clone(), ends, grid: base.grid }
    }

    pub(super) fn ends(&self) -> &[usize] {
        &self.ends
    }

    pub(super) fn grid(&self) -> usize {
        self.grid
    }

    /// The class token after the last layer, then the patch tokens of every stage.
    ///
    /// # Shapes
    /// - images: `[batch, 3, size, size]`
    /// - output: `[batch, 1 + stages * patches, width]`
    pub(super) fn see(&self, images: Tensor<4>) -> Tensor<3> {
        let mut tokens = self.vision.embed(images);
        let patches = tokens.dims()[1] - 1;
        let mut kept = Vec::with_capacity(1 + self.ends.len());
        for (i, block) in self.vision.blocks.iter().enumerate() {
            tokens = block.forward(tokens);
            if self.ends.contains(&(i + 1)) {
                kept.push(tokens.clone().narrow(1, 1, patches));
            }
        }
        kept.insert(0, tokens.narrow(1, 0, 1));
        Tensor::cat(kept, 1)
    }

    /// Rows and channels of what is kept of an image.
    pub(super) fn shape(&self) -> [usize; 2] {
        let [_, width] = self.vision.positional_embedding.dims();
        [1 + self.ends.len() * self.grid * self.grid, width]
    }

    /// CLIP's embedding of the images, `[batch, embed_dim]`, not normalised.
    pub(super) fn embedding(&self, kept: &Tensor<3>) -> Tensor<2> {
        self.vision.project(kept.clone().narrow(1, 0, 1)).squeeze_dim(1)
    }

    /// Patch tokens of a stage, counted from 0: `[batch, patches, width]`.
    pub(super) fn stage(&self, kept: &Tensor<3>, stage: usize) -> Tensor<3> {
        let patches = self.grid * self.grid;
        kept.clone().narrow(1, 1 + stage * patches, patches)
    }
}
