//! The architecture, read off the shapes of the tensors.

use std::path::Path;

use super::hf_config::check;
use super::layout::Layout;
use super::tensors::Tensors;
use crate::Error;
use crate::config::{Activation, ClipConfig, TextConfig, VisionConfig};

/// Everything but the heads, which are taken from the width, and the activation, which is given.
pub(super) fn config(
    tensors: &Tensors<'_>,
    layout: Layout,
    activation: Activation,
    path: &Path,
) -> Result<ClipConfig, Error> {
    let mut problems = Vec::new();
    let mut shape = |parameter: &str, rank: usize| {
        let name = layout.stored(parameter, &[0, 0]).names.remove(0);
        match tensors.shape(&name) {
            Some(shape) if shape.len() == rank => shape.to_vec(),
            Some(shape) => {
                problems.push(format!("{name}: expected {rank} axes, got shape {shape:?}"));
                vec![0; rank]
            }
            None => {
                problems.push(format!("missing: {name}"));
                vec![0; rank]
            }
        }
    };
    let patch = shape("vision.patch_embedding.weight", 4); // [width, 3, patch, patch]
    let positions = shape("vision.positional_embedding", 2); // [1 + grid * grid, width]
    let vision_mlp = shape("vision.blocks.0.fc.weight", 2); // [mlp width, width]
    let tokens = shape("text.token_embedding.weight", 2); // [vocabulary, width]
    let context = shape("text.positional_embedding", 2); // [context, width]
    let text_mlp = shape("text.blocks.0.fc.weight", 2); // [mlp width, width]
    let embedding = shape("text.projection.weight", 2); // [width, embedding] or its transpose
    if !problems.is_empty() {
        return Err(Error::Weights { path: path.to_path_buf(), problems });
    }
    let error = |problem: String| Error::Config { path: path.to_path_buf(), problem };
    let grid = positions[0].saturating_sub(1).isqrt();
    if grid * grid + 1 != positions[0] {
        let problem =
            format!("expected positions of a class token and a square grid, got {}", positions[0]);
        return Err(error(problem));
    }
    let config = ClipConfig {
        vision: VisionConfig {
            width: patch[0],
            layers: layers(tensors, layout, "vision"),
            heads: heads(patch[0], vision_head_width(patch[0])).map_err(error)?,
            mlp_width: vision_mlp[0],
            patch_size: patch[2],
            image_size: grid.saturating_mul(patch[2]),
            activation,
        },
        text: TextConfig {
            width: tokens[1],
            layers: layers(tensors, layout, "text"),
            heads: heads(tokens[1], 64).map_err(error)?,
            mlp_width: text_mlp[0],
            vocabulary: tokens[0],
            context_length: context[0],
            activation,
        },
        embed_dim: if layout == Layout::OpenAi { embedding[1] } else { embedding[0] },
    };
    check(&config).map_err(error)?;
    Ok(config)
}

/// 64 but for open_clip's H/14, g/14 and bigG/14, whose widths no other model has.
fn vision_head_width(width: usize) -> usize {
    match width {
        1280 => 80,
        1408 => 88,
        1664 => 104,
        _ => 64,
    }
}

fn heads(width: usize, head_width: usize) -> Result<usize, String> {
    if width.is_multiple_of(head_width) && width > 0 {
        return Ok(width / head_width);
    }
    Err(format!(
        "a width of {width} is no multiple of {head_width}: the number of heads is unknown; give a directory with config.json"
    ))
}

fn layers(tensors: &Tensors<'_>, layout: Layout, tower: &str) -> usize {
    let name = |layer| layout.name(&format!("{tower}.blocks.{layer}.ln_1.gamma"));
    (0..).take_while(|layer| tensors.shape(&name(*layer)).is_some()).count()
}
