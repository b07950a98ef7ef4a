//! DAGM 2007: labels in a table, checked against the masks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::names::{folded, name};
use super::table::read_text;
use super::tree::{Tree, named, named_file, subfolders};
use crate::Split;

/// Whether `root` holds folders `Class<number>` with `Train` or `Test`.
pub(super) fn fits(root: &Path) -> bool {
    subfolders(root).unwrap_or_default().iter().any(|folder| class(folder).is_some())
}

/// Lists every class. `Test` is what the paper's protocol uses.
pub(super) fn list(root: &Path, tree: &mut Tree) {
    for folder in tree.folders(root) {
        let Some(inner) = class(&folder) else {
            tree.problem(folder, "not read: expected Class<number> with Train and Test in it");
            continue;
        };
        let category = name(&folder);
        for (split, split_name) in [(Split::Train, "Train"), (Split::Test, "Test")] {
            match named(&inner, &[split_name]) {
                Some(images) => list_split(&images, &category, split, tree),
                None => tree.problem(inner.join(split_name), "missing folder"),
            }
        }
    }
}

/// The folder with `Train` and `Test`; some copies nest `Class1/Class1`.
fn class(folder: &Path) -> Option<PathBuf> {
    let is_class = name(folder).to_ascii_lowercase().strip_prefix("class")?.parse::<u32>().is_ok();
    let holds_splits = |f: &Path| named(f, &["Train", "Test"]).is_some();
    if !is_class {
        return None;
    }
    let nested = named(folder, &[&name(folder)]);
    [Some(folder.to_path_buf()), nested].into_iter().flatten().find(|f| holds_splits(f))
}

fn list_split(folder: &Path, category: &str, split: Split, tree: &mut Tree) {
    let label = named(folder, &["Label"]);
    let images = tree.images_beside_folders(folder);
    let masks = match &label {
        Some(label) => tree.masks(&images, label),
        None => vec![None; images.len()],
    };
    let table = label.and_then(|label| named_file(&label, "Labels.txt"));
    let mut table = read_table(&table.unwrap_or(folder.join("Label").join("Labels.txt")), tree);
    for (image, mask) in images.into_iter().zip(masks) {
        let listed = table.as_mut().map(|table| table.remove(&folded(&name(&image))));
        let listed = listed.map(|row| row.map(|row| row.anomalous));
        let says = |what| format!("Labels.txt says {what}");
        match (listed, &mask) {
            (Some(None), _) => tree.problem(&image, "not listed in Label/Labels.txt"),
            (Some(Some(false)), Some(mask)) => {
                tree.problem(
                    &image,
                    format!("{}, but there is {}", says("normal"), mask.display()),
                );
            }
            (Some(Some(true)), None) => {
                tree.problem(&image, format!("no mask, though {}", says("anomalous")));
            }
            _ => {}
        }
        if mask.is_some() || listed == Some(Some(true)) {
            tree.anomalous(image, category, split, "defect", mask);
        } else {
            tree.normal(image, category, split);
        }
    }
    for missing in table.into_iter().flat_map(BTreeMap::into_values) {
        tree.problem(folder.join(missing.image), "missing: listed in Label/Labels.txt");
    }
}

/// A line of `Labels.txt`.
struct Row {
    image: String,
    anomalous: bool,
}

/// Rows by the image's name as it is compared (`names.rs`). Lines are `number flag image 0 mask-or-0`, split by tabs.
fn read_table(path: &Path, tree: &mut Tree) -> Option<BTreeMap<String, Row>> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(e) => {
            tree.problem(
                path,
                format!("cannot be read, labels are taken from the masks alone: {}", e.cause()),
            );
            return None;
        }
    };
    let mut table = BTreeMap::new();
    for (number, line) in text.lines().enumerate().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [] => {}
            [_, flag @ ("0" | "1"), image, ..] => {
                let row = Row { image: image.to_owned(), anomalous: flag == "1" };
                table.insert(folded(image), row);
            }
            _ => tree.problem(path, format!("line {}: expected number, 0 or 1, image", number + 1)),
        }
    }
    Some(table)
}
