//! The `meta.json` that AnomalyCLIP, AdaCLIP and APRIL-GAN write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::table::{Files, read_text};
use super::tree::{Tree, named_file};
use crate::{Error, Split};

#[derive(Deserialize)]
struct Entry {
    img_path: String,
    mask_path: Option<String>,
    specie_name: Option<String>,
    anomaly: Value,
}

/// Entries by split and category; null stands for none.
type Splits = BTreeMap<String, Option<BTreeMap<String, Option<Vec<Entry>>>>>;

/// The list, if there is one.
pub(super) fn file(root: &Path) -> Option<PathBuf> {
    named_file(root, "meta.json")
}

/// Lists what `meta.json` lists.
pub(super) fn list(root: &Path, tree: &mut Tree) -> Result<(), Error> {
    let Some(path) = file(root) else { return Ok(()) };
    let failed = |reason: String| Error::Table { path: path.clone(), reason };
    let splits: Splits =
        serde_json::from_str(&read_text(&path)?).map_err(|e| failed(e.to_string()))?;
    let mut files = Files::new(root);
    for (split_name, categories) in splits {
        let split = match split_name.to_ascii_lowercase().as_str() {
            "train" => Split::Train,
            "test" => Split::Test,
            other => return Err(failed(format!("expected train and test, got {other}"))),
        };
        for (category, entries) in categories.into_iter().flatten() {
            for (i, entry) in entries.into_iter().flatten().enumerate() {
                add(entry, &mut files, &category, split, tree).map_err(|reason| {
                    failed(format!("{split_name}, {category}, entry {}: {reason}", i + 1))
                })?;
            }
        }
    }
    Ok(())
}

fn add(
    entry: Entry,
    files: &mut Files,
    category: &str,
    split: Split,
    tree: &mut Tree,
) -> Result<(), String> {
    let image = files.find(&entry.img_path)?;
    let anomalous = is_anomalous(&entry.anomaly)?;
    if !image.is_file() {
        tree.problem(image, "missing: listed in meta.json");
        return Ok(());
    }
    if !anomalous {
        tree.normal(image, category, split);
        return Ok(());
    }
    let mut mask = None;
    if let Some(written) = entry.mask_path.filter(|path| !path.is_empty()) {
        let path = files.find(&written)?;
        if path.is_file() {
            mask = Some(path);
        } else {
            tree.problem(&image, format!("no mask: expected {}", path.display()));
        }
    }
    let kind = entry.specie_name.filter(|kind| !kind.is_empty());
    tree.anomalous(image, category, split, kind.as_deref().unwrap_or("anomaly"), mask);
    Ok(())
}

/// 0 or 1, in whatever type the writer had it: numbers of NumPy and pandas come as floats, booleans or strings.
fn is_anomalous(value: &Value) -> Result<bool, String> {
    let number = match value {
        Value::Bool(anomalous) => return Ok(*anomalous),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match number {
        Some(0.0) => Ok(false),
        Some(1.0) => Ok(true),
        _ => Err(format!("anomaly: expected 0 or 1, got {value}")),
    }
}
