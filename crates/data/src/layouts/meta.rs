//! The `meta.json` that AnomalyCLIP, AdaCLIP and APRIL-GAN write.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::tree::Tree;
use crate::{Error, Split};

#[derive(Deserialize)]
struct Entry {
    img_path: String,
    #[serde(default)]
    mask_path: String,
    #[serde(default)]
    specie_name: String,
    anomaly: u8,
}

/// Lists what `meta.json` lists.
pub(super) fn list(root: &Path, tree: &mut Tree) -> Result<(), Error> {
    let path = root.join("meta.json");
    let failed = |reason: String| Error::Table { path: path.clone(), reason };
    let text = std::fs::read_to_string(&path)
        .map_err(|source| Error::Io { path: path.clone(), source })?;
    let splits: BTreeMap<String, BTreeMap<String, Vec<Entry>>> =
        serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
    for (split, categories) in splits {
        let split = match split.to_ascii_lowercase().as_str() {
            "train" => Split::Train,
            "test" => Split::Test,
            other => return Err(failed(format!("expected train and test, got {other}"))),
        };
        for (category, entries) in categories {
            for entry in entries {
                add(entry, root, &category, split, tree).map_err(&failed)?;
            }
        }
    }
    Ok(())
}

fn add(
    entry: Entry,
    root: &Path,
    category: &str,
    split: Split,
    tree: &mut Tree,
) -> Result<(), String> {
    let place =
        |path: &str| inside(root, path).ok_or_else(|| format!("{path} leaves the data set"));
    let image = place(&entry.img_path)?;
    if !image.is_file() {
        tree.problem(image, "missing: listed in meta.json");
        return Ok(());
    }
    if entry.anomaly == 0 {
        tree.normal(image, category, split);
        return Ok(());
    }
    let mut mask = None;
    if !entry.mask_path.is_empty() {
        let path = place(&entry.mask_path)?;
        if path.is_file() {
            mask = Some(path);
        } else {
            tree.problem(&image, format!("no mask: expected {}", path.display()));
        }
    }
    let kind = if entry.specie_name.is_empty() { "anomaly" } else { &entry.specie_name };
    tree.anomalous(image, category, split, kind, mask);
    Ok(())
}

/// A path of a table below `root`; `None` if it would lead out.
pub(super) fn inside(root: &Path, path: &str) -> Option<PathBuf> {
    let path = path.replace('\\', "/");
    let path = Path::new(&path);
    let within = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    within.then(|| root.join(path))
}
