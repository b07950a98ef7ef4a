//! Walking folders and pairing masks with images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Defect, Problem, Sample, Split};

/// Endings of images, in lower case.
const IMAGES: [&str; 10] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "tif", "tiff", "webp"];
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

    /// The masks in a folder, by the stem of their image: `_mask`, `_label` and `_gt` at the end are left out.
    pub(super) fn masks(&mut self, folder: &Path) -> Masks {
        let mut masks = Masks { folder: folder.to_path_buf(), by_stem: BTreeMap::new() };
        for path in self.images_beside_folders(folder) {
            if let Some(other) = masks.by_stem.get(&image_stem(&path)) {
                let problem = format!("a second mask beside {}, not read", other.path.display());
                self.problem(path, problem);
            } else {
                masks.by_stem.insert(image_stem(&path), Mask { path, used: false });
            }
        }
        masks
    }

    /// Every mask that no image asked for is a problem.
    pub(super) fn unused(&mut self, masks: Masks) {
        for mask in masks.by_stem.into_values().filter(|mask| !mask.used) {
            self.problem(mask.path, "a mask without its image");
        }
    }
}

/// The masks of a folder.
pub(super) struct Masks {
    pub(super) folder: PathBuf,
    by_stem: BTreeMap<String, Mask>,
}

struct Mask {
    path: PathBuf,
    used: bool,
}

impl Masks {
    /// The mask of an image, by stem.
    pub(super) fn take(&mut self, image: &Path) -> Option<PathBuf> {
        let mask = self.by_stem.get_mut(&stem(image))?;
        mask.used = true;
        Some(mask.path.clone())
    }

    /// The mask of an image, or a problem.
    pub(super) fn require(&mut self, image: &Path, tree: &mut Tree) -> Option<PathBuf> {
        let mask = self.take(image);
        if mask.is_none() {
            let (folder, stem) = (self.folder.display(), stem(image));
            tree.problem(
                image,
                format!("no mask: expected {folder}/{stem}.* or {folder}/{stem}_mask.*"),
            );
        }
        mask
    }
}

/// The entries of a folder but for hidden ones and litter, sorted.
pub(crate) fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = name(&path);
        if !name.starts_with('.')
            && !["__MACOSX", "Thumbs.db", "desktop.ini"].contains(&name.as_str())
        {
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

/// The folder in `parent` of one of these names, whatever its case.
pub(super) fn named(parent: &Path, names: &[&str]) -> Option<PathBuf> {
    let folders = subfolders(parent).ok()?;
    let is = |path: &PathBuf, wanted: &str| name(path).eq_ignore_ascii_case(wanted);
    names.iter().find_map(|wanted| folders.iter().find(|path| is(path, wanted)).cloned())
}

/// Whether the ending is that of an image.
pub(crate) fn is_image(path: &Path) -> bool {
    IMAGES.contains(&extension(path).as_str())
}

/// The last part of a path, for people.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn image_stem(mask: &Path) -> String {
    let stem = stem(mask);
    let base = ["_mask", "_label", "_gt"].iter().find_map(|suffix| stem.strip_suffix(suffix));
    base.map_or(stem.clone(), str::to_owned)
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}
