//! Which mask belongs to which image.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::names::{folded, stem};
use super::tree::Tree;

/// What follows the image's stem in the name of its mask, the least ambiguous first.
const SUFFIXES: [&str; 4] = ["_mask", "_label", "_gt", ""];

impl Tree {
    /// The mask of each image among those in a folder, by name; masks left over are problems.
    ///
    /// A mask's stem is its image's, with or without `_mask`, `_label` or `_gt`. It belongs to one image: `gas_mask.png`
    /// is the mask of `gas_mask.png` unless that one has `gas_mask_mask.png`, so longer names choose first. Names
    /// spelled alike go together before those that differ in case or composition.
    pub(super) fn masks(&mut self, images: &[PathBuf], folder: &Path) -> Vec<Option<PathBuf>> {
        let files = self.images_beside_folders(folder);
        let stems: Vec<String> = images.iter().map(|image| stem(image)).collect();
        let mut order: Vec<usize> = (0..images.len()).collect();
        order.sort_by_key(|&i| Reverse(stems[i].chars().count()));
        let mut found: Vec<Option<&PathBuf>> = vec![None; images.len()];
        let mut free: Vec<&PathBuf> = files.iter().collect();
        for spelling in [str::to_owned, folded] {
            let mut by_stem: HashMap<String, &PathBuf> = HashMap::new();
            for file in &free {
                by_stem.entry(spelling(&stem(file))).or_insert(file);
            }
            for &i in order.iter().filter(|&&i| found[i].is_none()).collect::<Vec<_>>() {
                let stem = spelling(&stems[i]);
                let mut names = SUFFIXES.iter().map(|suffix| format!("{stem}{suffix}"));
                found[i] = names.find_map(|name| by_stem.remove(&name));
            }
            free.retain(|file| !found.contains(&Some(file)));
        }
        for mask in &free {
            let name = folded(&stem(mask));
            let other = stems.iter().zip(&found).find_map(|(stem, found)| {
                let stem = folded(stem);
                let is_named_so = SUFFIXES.iter().any(|suffix| name == format!("{stem}{suffix}"));
                found.filter(|_| is_named_so)
            });
            self.problem(
                *mask,
                match other {
                    Some(other) => format!("a second mask beside {}, not read", other.display()),
                    None => "a mask without its image".to_owned(),
                },
            );
        }
        found.into_iter().map(|mask| mask.cloned()).collect()
    }

    /// As [`masks`](Self::masks); an image without a mask is a problem, too.
    pub(super) fn masks_of_all(
        &mut self,
        images: &[PathBuf],
        folder: &Path,
    ) -> Vec<Option<PathBuf>> {
        let masks = self.masks(images, folder);
        for (image, _) in images.iter().zip(&masks).filter(|(_, mask)| mask.is_none()) {
            let (folder, stem) = (folder.display(), stem(image));
            let expected = format!("{folder}/{stem}.* or {folder}/{stem}_mask.*");
            self.problem(image, format!("no mask: expected {expected}"));
        }
        masks
    }
}
