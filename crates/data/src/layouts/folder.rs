//! The user's own images: folders of normal and anomalous ones and of masks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::mvtec;
use super::names::name;
use super::tree::{Tree, named, subfolders};
use crate::Split;

const NORMAL: [&str; 10] = [
    "normal",
    "normals",
    "good",
    "ok",
    "healthy",
    "negative",
    "no",
    "pass",
    "defect_free",
    "non_defective",
];
const ANOMALOUS: [&str; 20] = [
    "anomalous",
    "anomaly",
    "anomalies",
    "abnormal",
    "bad",
    "ko",
    "ng",
    "nok",
    "not_ok",
    "not_good",
    "defect",
    "defects",
    "defective",
    "faulty",
    "damaged",
    "positive",
    "yes",
    "fail",
    "reject",
    "broken",
];
const MASKS: [&str; 9] = [
    "masks",
    "mask",
    "ground_truth",
    "groundtruth",
    "gt",
    "labels",
    "label",
    "segmentation",
    "annotations",
];

/// Whether `root` is a category, or holds one.
pub(super) fn fits(root: &Path) -> bool {
    is_category(root) || subfolders(root).unwrap_or_default().iter().any(|f| is_category(f))
}

fn is_category(folder: &Path) -> bool {
    mvtec::is_category(folder, &NORMAL)
        || named(folder, &NORMAL).is_some()
        || named(folder, &ANOMALOUS).is_some()
}

/// Lists `root` as one category named after it, or every folder in it as one.
pub(super) fn list(root: &Path, tree: &mut Tree) {
    if is_category(root) {
        let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
        return category(root, &name(&absolute), tree);
    }
    for folder in tree.folders(root) {
        if is_category(&folder) {
            category(&folder, &name(&folder), tree);
        } else {
            tree.problem(
                folder,
                "not read: expected normal and anomalous (or good and bad, …) in it",
            );
        }
    }
}

fn category(folder: &Path, category: &str, tree: &mut Tree) {
    if mvtec::is_category(folder, &NORMAL) {
        return mvtec::category(folder, category, &NORMAL, tree);
    }
    let (normal, anomalous) = (named(folder, &NORMAL), named(folder, &ANOMALOUS));
    let masks = named(folder, &MASKS);
    for other in tree.folders(folder) {
        if ![&normal, &anomalous, &masks].contains(&&Some(other.clone())) {
            tree.problem(
                other,
                "not read: expected folders of normal images, anomalous images, masks",
            );
        }
    }
    for image in normal.map(|normal| tree.images(&normal)).unwrap_or_default() {
        tree.normal(image, category, Split::Test);
    }
    let Some(anomalous) = anomalous else { return };
    let kinds = subfolders(&anomalous).unwrap_or_default();
    let mut groups: Vec<(PathBuf, String, Option<PathBuf>)> =
        kinds.into_iter().map(|kind| group(kind, masks.as_deref())).collect();
    if groups.is_empty() {
        groups.push((anomalous.clone(), name(&anomalous), masks.clone()));
    } else {
        let loose = tree.images_beside_folders(&anomalous);
        for image in loose {
            tree.problem(image, "not read: beside folders of kinds, expected in one of them");
        }
    }
    // Several kinds may have their masks in one folder.
    let mut by_masks: BTreeMap<Option<PathBuf>, Vec<(PathBuf, String)>> = BTreeMap::new();
    for (images, kind, masks) in groups {
        let images = tree.images(&images).into_iter().map(|image| (image, kind.clone()));
        by_masks.entry(masks).or_default().extend(images);
    }
    for (folder, images) in by_masks {
        let (images, kinds): (Vec<PathBuf>, Vec<String>) = images.into_iter().unzip();
        let masks = match folder {
            Some(folder) => tree.masks_of_all(&images, &folder),
            None => vec![None; images.len()],
        };
        for ((image, kind), mask) in images.into_iter().zip(kinds).zip(masks) {
            tree.anomalous(image, category, Split::Test, &kind, mask);
        }
    }
}

/// A folder of one kind of defect: its masks lie in a folder of the same name, or with all others.
fn group(folder: PathBuf, masks: Option<&Path>) -> (PathBuf, String, Option<PathBuf>) {
    let kind = name(&folder);
    let masks = masks.map(|masks| named(masks, &[&kind]).unwrap_or_else(|| masks.to_path_buf()));
    (folder, kind, masks)
}
