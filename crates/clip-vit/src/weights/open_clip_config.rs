//! `open_clip_config.json`, which open_clip and timm put beside their weights.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::hf_config::check;
use super::read_json;
use crate::Error;
use crate::config::{Activation, ClipConfig, TextConfig, VisionConfig};

#[derive(Deserialize)]
struct Document {
    model_cfg: Model,
    #[serde(default)]
    preprocess_cfg: Preprocess,
}

#[derive(Deserialize)]
struct Model {
    embed_dim: usize,
    #[serde(default)]
    quick_gelu: bool,
    vision_cfg: Vision,
    text_cfg: Text,
    multimodal_cfg: Option<Value>,
}

#[derive(Deserialize)]
struct Vision {
    image_size: Size,
    layers: Layers,
    width: usize,
    patch_size: usize,
    #[serde(default = "head_width")]
    head_width: usize,
    #[serde(default = "mlp_ratio")]
    mlp_ratio: f64,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
struct Text {
    #[serde(default = "context_length")]
    context_length: usize,
    #[serde(default = "vocabulary")]
    vocab_size: usize,
    #[serde(default = "text_width")]
    width: usize,
    #[serde(default = "text_heads")]
    heads: usize,
    #[serde(default = "text_layers")]
    layers: usize,
    #[serde(default = "mlp_ratio")]
    mlp_ratio: f64,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Square(usize),
    Sides([usize; 2]),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Layers {
    Transformer(usize),
    /// Stages of a ResNet.
    Stages(Vec<usize>),
}

#[derive(Deserialize, Default)]
struct Preprocess {
    mean: Option<[f64; 3]>,
    std: Option<[f64; 3]>,
}

fn head_width() -> usize {
    64
}
fn mlp_ratio() -> f64 {
    4.0
}
fn context_length() -> usize {
    77
}
fn vocabulary() -> usize {
    49408
}
fn text_width() -> usize {
    512
}
fn text_heads() -> usize {
    8
}
fn text_layers() -> usize {
    12
}

/// What changes training alone, or says the default.
const HARMLESS: [(&str, &str); 4] = [
    ("patch_dropout", ""),
    ("tokenizer_kwargs", ""),
    ("pool_type", "tok"),
    ("pool_type", "argmax"),
];

/// OpenAI's means and deviations, with which images are normalised here.
const MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const DEVIATION: [f64; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// Reads the architecture from a file.
pub(super) fn read(path: &Path) -> Result<ClipConfig, Error> {
    let error = |problem: String| Error::Config { path: path.to_path_buf(), problem };
    let document: Document = read_json(path)?;
    let Model { embed_dim, quick_gelu, vision_cfg: vision, text_cfg: text, multimodal_cfg } =
        document.model_cfg;
    if multimodal_cfg.is_some_and(|value| !value.is_null()) {
        return Err(error("multimodal_cfg: a CoCa, not a CLIP".into()));
    }
    for (tower, others) in [("vision_cfg", &vision.others), ("text_cfg", &text.others)] {
        if let Some((key, value)) = others.iter().find(|(key, value)| !is_harmless(key, value)) {
            return Err(error(format!("{tower}.{key} = {value}: not a CLIP of plain towers")));
        }
    }
    let Preprocess { mean, std } = document.preprocess_cfg;
    for (key, given, ours) in [("mean", mean, MEAN), ("std", std, DEVIATION)] {
        let near = |given: [f64; 3]| given.iter().zip(ours).all(|(a, b)| (a - b).abs() < 1e-3);
        if let Some(given) = given.filter(|given| !near(*given)) {
            return Err(error(format!(
                "preprocess_cfg.{key}: expected CLIP's {ours:?}, got {given:?}"
            )));
        }
    }
    let layers = match vision.layers {
        Layers::Transformer(layers) => layers,
        Layers::Stages(stages) => {
            let problem = format!("vision_cfg.layers = {stages:?}: a ResNet, not a transformer");
            return Err(error(problem));
        }
    };
    let image_size = match vision.image_size {
        Size::Square(side) => side,
        Size::Sides([height, width]) if height == width => height,
        Size::Sides(sides) => {
            return Err(error(format!("vision_cfg.image_size = {sides:?}: expected a square")));
        }
    };
    let head_width = vision.head_width;
    if head_width == 0 || !vision.width.is_multiple_of(head_width) {
        let problem = format!("expected vision heads to divide {}, got {head_width}", vision.width);
        return Err(error(problem));
    }
    let activation = if quick_gelu { Activation::QuickGelu } else { Activation::Gelu };
    let config = ClipConfig {
        vision: VisionConfig {
            width: vision.width,
            layers,
            heads: vision.width / head_width,
            mlp_width: (vision.width as f64 * vision.mlp_ratio) as usize,
            patch_size: vision.patch_size,
            image_size,
            activation,
        },
        text: TextConfig {
            width: text.width,
            layers: text.layers,
            heads: text.heads,
            mlp_width: (text.width as f64 * text.mlp_ratio) as usize,
            vocabulary: text.vocab_size,
            context_length: text.context_length,
            activation,
        },
        embed_dim,
    };
    check(&config).map_err(error)?;
    Ok(config)
}

fn is_harmless(key: &str, value: &Value) -> bool {
    let off = value.is_null() || *value == Value::Bool(false);
    let said = |value: &Value, known: &str| value.as_str() == Some(known) || known.is_empty();
    off || HARMLESS.into_iter().any(|(name, known)| name == key && said(value, known))
}
