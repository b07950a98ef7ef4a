//! Which files of a folder, or of a repository on the hub, make a model.

use std::path::{Path, PathBuf};

use super::hf_config::shards;
use crate::Error;

/// A configuration and the weights, or the index of their shards, that belong to it; the best choice first.
pub(crate) const MODELS: [(&str, &str); 8] = [
    (HF_CONFIG, "model.safetensors"),
    (HF_CONFIG, "model.safetensors.index.json"),
    (HF_CONFIG, "pytorch_model.bin"),
    (HF_CONFIG, "pytorch_model.bin.index.json"),
    (OPEN_CLIP_CONFIG, "open_clip_model.safetensors"),
    (OPEN_CLIP_CONFIG, "open_clip_pytorch_model.bin"),
    (OPEN_CLIP_CONFIG, "model.safetensors"),
    (OPEN_CLIP_CONFIG, "pytorch_model.bin"),
];
/// What transformers writes.
pub(crate) const HF_CONFIG: &str = "config.json";
/// What open_clip writes.
pub(crate) const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";

/// The configuration and the weight files of a folder.
pub(super) fn files(folder: &Path) -> Result<(PathBuf, Vec<PathBuf>), Error> {
    let is_there = |name: &str| folder.join(name).is_file();
    let model = MODELS.into_iter().find(|(config, weights)| is_there(config) && is_there(weights));
    if let Some((config, weights)) = model {
        return Ok((folder.join(config), weight_files(&folder.join(weights))?));
    }
    let problem = match MODELS.into_iter().find(|(_, weights)| is_there(weights)) {
        Some((_, weights)) => format!(
            "{weights} without a {HF_CONFIG} or {OPEN_CLIP_CONFIG} beside it: give the weight file itself"
        ),
        None => none_of_the_models(),
    };
    Err(Error::Config { path: folder.to_path_buf(), problem })
}

/// The error for a folder without files that can be read; it says which could.
pub(crate) fn none_of_the_models() -> String {
    let names = MODELS.map(|(config, weights)| format!("{weights} with {config}"));
    format!("holds no model, expected one of: {}", names.join(", "))
}

/// The file itself, or the shards that it names.
pub(crate) fn weight_files(weights: &Path) -> Result<Vec<PathBuf>, Error> {
    if weights.extension().is_some_and(|extension| extension == "json") {
        return shards(weights);
    }
    Ok(vec![weights.to_path_buf()])
}
