//! A small random backbone: four layers, patches of 4 pixels.

use burn::module::{ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use clip_vit::{Activation, Clip, ClipConfig, TextConfig, VisionConfig};

/// Its weights are drawn when they are first looked at.
pub(crate) fn backbone(side: usize, device: &Device) -> Clip {
    let activation = Activation::QuickGelu;
    let vision = VisionConfig {
        width: 16,
        layers: 4,
        heads: 2,
        mlp_width: 32,
        patch_size: 4,
        image_size: side,
        activation,
    };
    let text = TextConfig {
        width: 16,
        layers: 1,
        heads: 1,
        mlp_width: 32,
        vocabulary: 49408,
        context_length: 77,
        activation,
    };
    Clip::new(&ClipConfig { vision, text, embed_dim: 12 }, device)
}

/// Looks at every weight.
pub(crate) struct Look;

impl ModuleVisitor for Look {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let _ = param.val();
    }
}
