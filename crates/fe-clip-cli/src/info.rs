//! `fe-clip info`: what a model or a checkpoint is made of.

use std::path::{Path, PathBuf};

use anyhow::Context;
use burn::module::Module;
use clap::ValueEnum;
use data::path_text::to_text;
use fe_clip::{Backbone, Checkpoint, Origin, Parts, model_to_train};
use serde_json::{Value, json};

use crate::model::ModelArgs;
use crate::stdout;

/// Describe a model: architecture, sizes, hashes, stage ends, prompts and how its adapters were
/// trained. With FILE, describe an adapter checkpoint alone.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip info\n  \
    fe-clip info runs/mvtec/adapters.safetensors\n  \
    fe-clip info --model vit-l-14-336 --adapters adapters.safetensors --format json")]
pub(crate) struct Args {
    /// An adapter checkpoint; no backbone is loaded then.
    #[arg(value_name = "FILE", conflicts_with_all = ["model", "adapters", "config"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let found = match &args.file {
        Some(path) => json!({ "adapters": adapters(&Checkpoint::read(path)?, Some(path)) }),
        None => model(&args.model)?,
    };
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&found).context("encoding the answer")?,
        Format::Text => lines(&found, ""),
    };
    stdout::print(format!("{}\n", text.trim_end()))?;
    Ok(true)
}

fn model(args: &ModelArgs) -> anyhow::Result<Value> {
    let device = args.device()?;
    let Parts { method, backbone: named, adapters: own, run } = args.parts(&device)?;
    let mut found = json!({ "method": method.name() });
    let Some((name, loaded)) = named else { return Ok(found) };
    found["backbone"] = backbone(&name, &loaded)?;
    let Some((checkpoint, path)) = own else {
        found["adapters"] = Value::Null;
        return Ok(found);
    };
    found["adapters"] = adapters(&checkpoint, path.as_deref());
    let run = run.context("the adapters do not say their settings: give them with --config")?;
    let head = checkpoint.head(run.model.method.new_head(&loaded.clip, &device)?, &device)?;
    found["adapters"]["parameters"] = json!(head.num_params());
    let (model, preprocess) = model_to_train(&run, loaded.clip, head, &device)?;
    found["model"] = json!({
        "image_size": preprocess.height,
        "stage_ends": model.stage_ends(),
        "temperature": model.temperature(),
        "settings": run.model,
        "prompts": run.prompts,
    });
    Ok(found)
}

fn backbone(name: &str, backbone: &Backbone) -> anyhow::Result<Value> {
    let (vision, text) = (&backbone.config.vision, &backbone.config.text);
    Ok(json!({
        "name": name,
        "files": backbone.weights.files().iter().map(|f| to_text(f)).collect::<Vec<_>>(),
        "sha256": backbone.sha256()?,
        "parameters": backbone.clip.num_params(),
        "embedding": backbone.config.embed_dim,
        "image_tower": {
            "width": vision.width,
            "layers": vision.layers,
            "heads": vision.heads,
            "mlp_width": vision.mlp_width,
            "patch": vision.patch_size,
            "image_size": vision.image_size,
            "activation": vision.activation,
            "parameters": backbone.clip.vision.num_params(),
        },
        "text_tower": {
            "width": text.width,
            "layers": text.layers,
            "heads": text.heads,
            "mlp_width": text.mlp_width,
            "vocabulary": text.vocabulary,
            "context": text.context_length,
            "activation": text.activation,
            "parameters": backbone.clip.text.num_params(),
        },
    }))
}

/// What a checkpoint says about itself; `path` is absent for the embedded one.
fn adapters(checkpoint: &Checkpoint, path: Option<&Path>) -> Value {
    let shapes = checkpoint.shapes();
    let parameters: usize = shapes.values().map(|shape| shape.iter().product::<usize>()).sum();
    let Origin { config, backbone, prompts, training } = &checkpoint.origin;
    json!({
        "file": path.map(to_text),
        "sha256": checkpoint.sha256(),
        "parameters": parameters,
        "trained_on_backbone": backbone,
        "settings": config,
        "prompts": prompts,
        "training": training,
        "tensors": shapes,
    })
}

/// A JSON object as indented lines `name  value`.
fn lines(value: &Value, indent: &str) -> String {
    let Value::Object(entries) = value else { return String::new() };
    let width = entries.keys().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for (key, value) in entries {
        text += &match value {
            Value::Object(inner) if !inner.is_empty() => {
                format!("{indent}{key}\n{}", lines(value, &format!("{indent}  ")))
            }
            _ => format!("{indent}{key:width$}  {}\n", short(value)),
        };
    }
    text
}

fn short(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(short).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
