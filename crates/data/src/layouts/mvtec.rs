//! `<category>/{train,test}/<good or defect>/` and `<category>/ground_truth/<defect>/`.

use std::path::Path;

use super::names::name;
use super::tree::{Tree, named, subfolders};
use crate::Split;

/// How the folders of normal images may be called.
pub(super) const GOOD: [&str; 1] = ["good"];
/// BTAD's name for them, and what converted copies say.
pub(super) const OK: [&str; 2] = ["ok", "good"];

/// Whether some folder of `root` is a category.
pub(super) fn fits(root: &Path, normal: &[&str]) -> bool {
    subfolders(root).unwrap_or_default().iter().any(|folder| is_category(folder, normal))
}

/// Whether `train` or `test` hold a folder of normal images.
pub(super) fn is_category(folder: &Path, normal: &[&str]) -> bool {
    let split = |split| named(folder, &[split]);
    [split("train"), split("test")].into_iter().flatten().any(|s| named(&s, normal).is_some())
}

/// Lists every category of `root`.
pub(super) fn list(root: &Path, normal: &[&str], tree: &mut Tree) {
    for folder in tree.folders(root) {
        if is_category(&folder, normal) {
            category(&folder, &name(&folder), normal, tree);
        } else if named(&folder, &["train", "test"]).is_some() {
            let expected = normal.join(" or ");
            tree.problem(
                folder,
                format!(
                    "not read: neither train nor test has the folder {expected} of normal images"
                ),
            );
        } else {
            tree.problem(folder, "not read: not a category, expected train and test in it");
        }
    }
}

/// Lists one category.
pub(super) fn category(folder: &Path, category: &str, normal: &[&str], tree: &mut Tree) {
    let truth = named(folder, &["ground_truth"]);
    let mut used = Vec::new();
    for (split, split_name) in [(Split::Train, "train"), (Split::Test, "test")] {
        let Some(split_folder) = named(folder, &[split_name]) else {
            tree.problem(folder.join(split_name), "missing folder");
            continue;
        };
        if named(&split_folder, normal).is_none() {
            tree.problem(split_folder.join(normal[0]), "missing folder of normal images");
        }
        for kind_folder in tree.folders(&split_folder) {
            let kind = name(&kind_folder);
            let images = tree.images(&kind_folder);
            if images.is_empty() {
                tree.problem(&kind_folder, "no image in this folder");
            }
            if normal.iter().any(|n| kind.eq_ignore_ascii_case(n)) {
                images.into_iter().for_each(|image| tree.normal(image, category, split));
                continue;
            }
            let masks = match truth.as_ref().and_then(|truth| named(truth, &[&kind])) {
                Some(folder) => {
                    let masks = tree.masks_of_all(&images, &folder);
                    used.push(folder);
                    masks
                }
                None => {
                    let expected = folder.join("ground_truth").join(&kind);
                    let count = images.len();
                    tree.problem(expected, format!("missing folder: {count} images have no mask"));
                    vec![None; count]
                }
            };
            for (image, mask) in images.into_iter().zip(masks) {
                tree.anomalous(image, category, split, &kind, mask);
            }
        }
    }
    for folder in truth.map(|truth| tree.folders(&truth)).unwrap_or_default() {
        // Some copies hold all-zero masks of the normal images.
        let of_normal = normal.iter().any(|n| name(&folder).eq_ignore_ascii_case(n));
        if !of_normal && !used.contains(&folder) {
            tree.problem(folder, "masks without a folder of images in test");
        }
    }
}
