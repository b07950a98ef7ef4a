//! Walking folders.

use std::path::{Path, PathBuf};

use super::names::{is_litter, name, pick};
use crate::{Defect, Problem, Sample, Split};

/// Endings of images, in lower case.
const IMAGES: [&str; 12] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "tif", "tiff", "webp", "dcm", "dicom"];
/// Endings of files that accompany images.
const TEXTS: [&str; 9] = ["txt", "md", "json", "csv", "xml", "pdf", "html", "mat", "log"];

/// Samples and problems as they are found.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) samples: Vec<Sample>,
    pub(super) problems: Vec<Problem>,
}

impl Tree {
    pub(super) fn problem(&mut self, path: impl Into<PathBuf>, problem: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), problem: problem.into() });
    }

    pub(super) fn normal(&mut self, image: PathBuf, category: &str, split: Split) {
        self.samples.push(Sample { image, category: category.to_owned(), split, defect: None });
    }

    pub(super) fn anomalous(
        &mut self,
        image: PathBuf,
        category: &str,
        split: Split,
        kind: &str,
        mask: Option<PathBuf>,
    ) {
        let defect = Some(Defect { kind: kind.to_owned(), mask });
        self.samples.push(Sample { image, category: category.to_owned(), split, defect });
    }

    /// The folders in a folder, sorted; a folder that cannot be read is a problem.
    pub(super) fn folders(&mut self, folder: &Path) -> Vec<PathBuf> {
        subfolders(folder).unwrap_or_else(|e| {
            self.problem(folder, format!("cannot be read: {e}"));
            Vec::new()
        })
    }

    /// The images in a folder, sorted; everything else that does not belong there is a problem.
    pub(super) fn images(&mut self, folder: &Path) -> Vec<PathBuf> {
        for folder in self.folders(folder) {
            self.problem(folder, "a folder where images are expected, not read");
        }
        self.images_beside_folders(folder)
    }

    /// As [`images`](Self::images), where folders belong there too.
    pub(super) fn images_beside_folders(&mut self, folder: &Path) -> Vec<PathBuf> {
        let entries = entries(folder).unwrap_or_else(|e| {
            self.problem(folder, format!("cannot be read: {e}"));
            Vec::new()
        });
        let mut images = Vec::new();
        for path in entries {
            if path.is_dir() {
                continue;
            }
            if is_image(&path) {
                images.push(path);
            } else if !TEXTS.contains(&extension(&path).as_str()) {
                self.problem(path, format!("not an image, expected {}", IMAGES.join(", ")));
            }
        }
        images
    }
}

/// The entries of a folder but for hidden ones and what systems put there, sorted.
pub(crate) fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if !is_litter(&name(&path)) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The folders in a folder, sorted.
pub(super) fn subfolders(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// The folder in `parent` of one of these names, however it is spelled.
pub(super) fn named(parent: &Path, names: &[&str]) -> Option<PathBuf> {
    let folders = subfolders(parent).ok()?;
    names.iter().find_map(|wanted| pick(&folders, wanted)).cloned()
}

/// The file in `parent` of this name, however it is spelled.
pub(super) fn named_file(parent: &Path, name: &str) -> Option<PathBuf> {
    let mut files = entries(parent).ok()?;
    files.retain(|path| path.is_file());
    pick(&files, name).cloned()
}

/// Whether the ending is that of an image.
pub(crate) fn is_image(path: &Path) -> bool {
    IMAGES.contains(&extension(path).as_str())
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}
