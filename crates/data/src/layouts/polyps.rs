//! Endoscopy: a folder of images and one of masks; every image is anomalous.

use std::path::{Path, PathBuf};

use super::tree::{Tree, named};
use crate::Split;

/// The authors' folders, the common copy's, and Kaggle's.
pub(super) const CVC_CLINIC_DB: [(&str, &str, &str); 4] = [
    ("", "Original", "Ground Truth"),
    ("", "images", "masks"),
    ("PNG", "Original", "Ground Truth"),
    ("TIF", "Original", "Ground Truth"),
];
/// The authors' folders.
pub(super) const KVASIR: [(&str, &str, &str); 1] = [("", "images", "masks")];

/// The folders of images and of masks. Images alone are enough to recognise a half-copied set.
pub(super) fn folders(
    root: &Path,
    names: &[(&str, &str, &str)],
) -> Option<(PathBuf, Option<PathBuf>)> {
    names.iter().find_map(|(parent, images, masks)| {
        let parent = if parent.is_empty() { root.to_path_buf() } else { named(root, &[parent])? };
        Some((named(&parent, &[images])?, named(&parent, &[masks])))
    })
}

/// Lists all images as test images of the category `colon`.
pub(super) fn list(root: &Path, names: &[(&str, &str, &str)], tree: &mut Tree) {
    let Some((images, masks)) = folders(root, names) else { return };
    let Some(masks) = masks else {
        tree.problem(root.join(names[0].2), "missing folder of masks");
        for image in tree.images(&images) {
            tree.anomalous(image, "colon", Split::Test, "polyp", None);
        }
        return;
    };
    let images = tree.images(&images);
    let masks = tree.masks_of_all(&images, &masks);
    for (image, mask) in images.into_iter().zip(masks) {
        tree.anomalous(image, "colon", Split::Test, "polyp", mask);
    }
}
