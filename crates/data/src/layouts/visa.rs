//! VisA: the tables in `split_csv` say which image is what.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::tree::{Tree, name, named, subfolders};
use super::{meta, mvtec};
use crate::{Error, Split};

/// Whether `root` is VisA as distributed, or converted.
pub(super) fn fits(root: &Path) -> bool {
    table(root).is_file() || mvtec::fits(root, &mvtec::GOOD)
}

/// Lists the one-class split, as the paper's protocol has it.
pub(super) fn list(root: &Path, tree: &mut Tree) -> Result<(), Error> {
    let table = table(root);
    if !table.is_file() {
        mvtec::list(root, &mvtec::GOOD, tree); // spot-diff's and anomalib's conversions
        return Ok(());
    }
    let failed = |reason: String| Error::Table { path: table.clone(), reason };
    let text = std::fs::read_to_string(&table)
        .map_err(|source| Error::Io { path: table.clone(), source })?;
    let mut lines = text.lines().enumerate();
    let header = lines.next().map_or("", |(_, line)| line.trim_start_matches('\u{feff}').trim());
    if header != "object,split,label,image,mask" {
        return Err(failed(format!(
            "line 1: expected object,split,label,image,mask, got {header}"
        )));
    }
    let mut listed = BTreeSet::new();
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.trim().split(',').collect();
        let line = number + 1;
        let [object, split, label, image, mask] = fields[..] else {
            return Err(failed(format!("line {line}: expected 5 fields, got {}", fields.len())));
        };
        let split = match split {
            "train" => Split::Train,
            "test" => Split::Test,
            other => {
                return Err(failed(format!("line {line}: expected train or test, got {other}")));
            }
        };
        let Some(image) = meta::inside(root, image) else {
            return Err(failed(format!("line {line}: {image} leaves the data set")));
        };
        if !image.is_file() {
            tree.problem(image, format!("missing: listed in line {line} of split_csv/1cls.csv"));
            continue;
        }
        listed.insert(image.clone());
        match label {
            "normal" => tree.normal(image, object, split),
            "anomaly" => {
                let mask = meta::inside(root, mask).filter(|_| !mask.is_empty());
                let found = mask.clone().filter(|mask| mask.is_file());
                if found.is_none() {
                    let expected = mask.map_or("one in split_csv/1cls.csv".to_owned(), |m| {
                        m.display().to_string()
                    });
                    tree.problem(&image, format!("no mask: expected {expected}"));
                }
                tree.anomalous(image, object, split, "anomaly", found);
            }
            other => {
                return Err(failed(format!(
                    "line {line}: expected normal or anomaly, got {other}"
                )));
            }
        }
    }
    unlisted(root, &listed, tree);
    Ok(())
}

/// Images on disk that the table does not know.
fn unlisted(root: &Path, listed: &BTreeSet<PathBuf>, tree: &mut Tree) {
    for category in subfolders(root).unwrap_or_default() {
        let Some(images) = named(&category, &["Data"]).and_then(|data| named(&data, &["Images"]))
        else {
            if name(&category) != "split_csv" {
                tree.problem(category, "not read: not a category, expected Data/Images in it");
            }
            continue;
        };
        for folder in tree.folders(&images) {
            for image in tree.images(&folder) {
                if !listed.contains(&image) {
                    tree.problem(image, "not read: not listed in split_csv/1cls.csv");
                }
            }
        }
    }
}

fn table(root: &Path) -> PathBuf {
    root.join("split_csv").join("1cls.csv")
}
