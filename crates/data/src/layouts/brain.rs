//! Brain scans: `yes` and `no`, no masks, no split.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::names::{folded, name};
use super::tree::{Tree, named};
use crate::Split;

/// The copy inside the archive of Brain MRI.
const COPY: &str = "brain_tumor_dataset";
/// What else comes with Br35H: unlabelled images, and a second arrangement of the labelled ones.
const BESIDE: [&str; 3] = ["yes", "no", "pred"];

/// The folder with `yes` and `no`: `root`, or with `copy` the folder of that name in it.
pub(super) fn folder(root: &Path, copy: bool) -> Option<PathBuf> {
    let holds_both = |f: &Path| named(f, &["yes"]).is_some() && named(f, &["no"]).is_some();
    let inner = named(root, &[COPY]).filter(|_| copy);
    [Some(root.to_path_buf()), inner].into_iter().flatten().find(|f| holds_both(f))
}

/// Lists `yes` (anomalous) and `no` (normal) as test images of the category `brain`.
pub(super) fn list(root: &Path, copy: bool, tree: &mut Tree) {
    let Some(folder) = folder(root, copy) else { return };
    if let Some(no) = named(&folder, &["no"]) {
        tree.images(&no).into_iter().for_each(|image| tree.normal(image, "brain", Split::Test));
    }
    if let Some(yes) = named(&folder, &["yes"]) {
        for image in tree.images(&yes) {
            tree.anomalous(image, "brain", Split::Test, "tumor", None);
        }
    }
    for other in tree.folders(root).into_iter().filter(|other| *other != folder) {
        let known = |n: &&str| name(&other).eq_ignore_ascii_case(n);
        if copy && name(&other).eq_ignore_ascii_case(COPY) {
            check_copy(root, &other, tree);
        } else if !BESIDE.iter().any(known) && !folded(&name(&other)).starts_with("br35h-mask-rcnn")
        {
            tree.problem(other, "not read: expected yes and no only");
        }
    }
}

/// The archive holds every image twice; an image only in the copy would be lost.
fn check_copy(root: &Path, copy: &Path, tree: &mut Tree) {
    for label in ["yes", "no"] {
        let images = |folder: &Path, tree: &mut Tree| -> BTreeMap<String, PathBuf> {
            let images = named(folder, &[label]).map(|folder| tree.images(&folder));
            images
                .unwrap_or_default()
                .into_iter()
                .map(|path| (folded(&name(&path)), path))
                .collect()
        };
        let (outer, inner) = (images(root, &mut Tree::default()), images(copy, tree));
        for (_, only) in inner.into_iter().filter(|(name, _)| !outer.contains_key(name)) {
            tree.problem(only, format!("not read: not in {label}"));
        }
    }
}
