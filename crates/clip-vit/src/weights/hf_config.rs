//! `config.json` of transformers' `CLIPModel`, and the index of sharded weights.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{parse_json, read_json};
use crate::Error;
use crate::config::{Activation, ClipConfig, TextConfig, VisionConfig};

/// The largest size that a configuration may name; anything larger is wrong and would only overflow.
const LARGEST: usize = 1 << 20;

/// Missing keys have transformers' defaults: it leaves those out of `config.json`.
#[derive(Deserialize)]
#[serde(default)]
struct Document {
    model_type: String,
    projection_dim: usize,
    vision_config: Option<Tower>,
    text_config: Option<Tower>,
    /// What the first versions of transformers wrote; it wins.
    vision_config_dict: Option<Tower>,
    text_config_dict: Option<Tower>,
}

impl Default for Document {
    fn default() -> Self {
        Self {
            model_type: "(none)".into(),
            projection_dim: 512,
            vision_config: None,
            text_config: None,
            vision_config_dict: None,
            text_config_dict: None,
        }
    }
}

#[derive(Deserialize, Default)]
struct Tower {
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_channels: Option<usize>,
    image_size: Option<usize>,
    patch_size: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    hidden_act: Option<String>,
    layer_norm_eps: Option<f64>,
}

/// Reads the architecture from a file.
pub(super) fn read(path: &Path) -> Result<ClipConfig, Error> {
    config(read_json(path)?, path)
}

/// Reads the architecture; `path` is for messages only.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<ClipConfig, Error> {
    config(parse_json(bytes, path)?, path)
}

fn config(document: Document, path: &Path) -> Result<ClipConfig, Error> {
    let error = |problem: String| Error::Config { path: path.to_path_buf(), problem };
    if document.model_type != "clip" {
        return Err(error(format!(
            "expected model_type \"clip\", got \"{}\"",
            document.model_type
        )));
    }
    let vision = document.vision_config_dict.or(document.vision_config).unwrap_or_default();
    let text = document.text_config_dict.or(document.text_config).unwrap_or_default();
    let config = ClipConfig {
        vision: VisionConfig {
            width: vision.hidden_size.unwrap_or(768),
            layers: vision.num_hidden_layers.unwrap_or(12),
            heads: vision.num_attention_heads.unwrap_or(12),
            mlp_width: vision.intermediate_size.unwrap_or(3072),
            patch_size: vision.patch_size.unwrap_or(32),
            image_size: vision.image_size.unwrap_or(224),
            activation: vision.activation().map_err(error)?,
        },
        text: TextConfig {
            width: text.hidden_size.unwrap_or(512),
            layers: text.num_hidden_layers.unwrap_or(12),
            heads: text.num_attention_heads.unwrap_or(8),
            mlp_width: text.intermediate_size.unwrap_or(2048),
            vocabulary: text.vocab_size.unwrap_or(49408),
            context_length: text.max_position_embeddings.unwrap_or(77),
            activation: text.activation().map_err(error)?,
        },
        embed_dim: document.projection_dim,
    };
    for tower in [&vision, &text] {
        tower.check().map_err(error)?;
    }
    check(&config).map_err(error)?;
    Ok(config)
}

impl Tower {
    fn activation(&self) -> Result<Activation, String> {
        match self.hidden_act.as_deref() {
            None | Some("quick_gelu") => Ok(Activation::QuickGelu),
            Some("gelu") => Ok(Activation::Gelu),
            Some(other) => {
                Err(format!("expected hidden_act \"quick_gelu\" or \"gelu\", got \"{other}\""))
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        match (self.num_channels, self.layer_norm_eps) {
            (Some(n), _) if n != 3 => Err(format!("expected num_channels 3, got {n}")),
            (_, Some(eps)) if eps != 1e-5 => {
                Err(format!("expected layer_norm_eps 1e-5, got {eps}"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the sizes are those of a CLIP.
pub(super) fn check(config: &ClipConfig) -> Result<(), String> {
    let ClipConfig { vision, text, embed_dim } = config;
    let sizes = [
        ("vision width", vision.width),
        ("vision layers", vision.layers),
        ("vision heads", vision.heads),
        ("vision MLP width", vision.mlp_width),
        ("patch size", vision.patch_size),
        ("image size", vision.image_size),
        ("text width", text.width),
        ("text layers", text.layers),
        ("text heads", text.heads),
        ("text MLP width", text.mlp_width),
        ("vocabulary", text.vocabulary),
        ("context length", text.context_length),
        ("embedding width", *embed_dim),
    ];
    if let Some((name, size)) = sizes.into_iter().find(|(_, size)| !(1..=LARGEST).contains(size)) {
        return Err(format!("expected {name} in 1..={LARGEST}, got {size}"));
    }
    for (tower, width, heads) in
        [("vision", vision.width, vision.heads), ("text", text.width, text.heads)]
    {
        if !width.is_multiple_of(heads) {
            return Err(format!("expected {tower} heads to divide the width {width}, got {heads}"));
        }
    }
    if !vision.image_size.is_multiple_of(vision.patch_size) {
        let VisionConfig { image_size, patch_size, .. } = vision;
        return Err(format!(
            "expected an image size that is a multiple of the patch {patch_size}, got {image_size}"
        ));
    }
    Ok(())
}

/// The `config.json` from which transformers rebuilds the architecture.
pub(super) fn document(config: &ClipConfig) -> Value {
    let ClipConfig { vision, text, embed_dim } = config;
    json!({
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": embed_dim,
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": vision.width,
            "intermediate_size": vision.mlp_width,
            "num_hidden_layers": vision.layers,
            "num_attention_heads": vision.heads,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "hidden_act": vision.activation.name(),
            "projection_dim": embed_dim,
        },
        "text_config": {
            "model_type": "clip_text_model",
            "hidden_size": text.width,
            "intermediate_size": text.mlp_width,
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "vocab_size": text.vocabulary,
            "max_position_embeddings": text.context_length,
            "hidden_act": text.activation.name(),
            "projection_dim": embed_dim,
            "bos_token_id": text.vocabulary.saturating_sub(2),
            "eos_token_id": text.vocabulary - 1,
        },
    })
}

/// The shards that an index names, each once.
pub(super) fn shards(path: &Path) -> Result<Vec<PathBuf>, Error> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let error = |problem: String| Error::Config { path: path.to_path_buf(), problem };
    let index: Index = read_json(path)?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    if let Some(name) =
        names.iter().find(|name| Path::new(name).file_name() != Some(OsStr::new(name)))
    {
        return Err(error(format!(
            "expected the name of a shard beside the index, got \"{name}\""
        )));
    }
    Ok(names.into_iter().map(|name| path.with_file_name(name)).collect())
}
