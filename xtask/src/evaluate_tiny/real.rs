//! The small samples of real data sets, arranged as one data set in MVTec AD layout.
//!
//! Nothing is copied: the tree holds links. Its normal training images are the references of
//! few-shot runs, and no run is tested on them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use data::Layout;

/// Normal images that are put aside as references.
pub(super) const REFERENCES: usize = 4;

/// What a folder of images and masks shows.
#[derive(Default)]
struct Category {
    /// References first.
    normal: Vec<PathBuf>,
    anomalous: Vec<(PathBuf, Option<PathBuf>)>,
}

/// Materials that fill the picture; the others are objects.
pub(super) const TEXTURES: [&str; 6] =
    ["dagm-class1", "dagm-class2", "dagm-class3", "dagm-class8", "magnetic-tile", "glass174"];

/// Lays the tree out under `to` and returns the categories that have references.
///
/// # Errors
/// If `from` cannot be read or `to` not be written.
pub(super) fn arrange(from: &Path, to: &Path) -> Result<Vec<String>> {
    let mut categories = published(from)?;
    categories.extend(extra(&from.join("extra"))?);
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("removing {}", to.display()))?;
    }
    let mut with_references = Vec::new();
    for (name, category) in categories {
        let references = if category.normal.len() > REFERENCES { REFERENCES } else { 0 };
        if references > 0 {
            with_references.push(name.clone());
        }
        let folder = to.join(&name);
        for (i, path) in category.normal.iter().enumerate() {
            let part = if i < references { "train/good" } else { "test/good" };
            link(path, &folder.join(part), &format!("{i:03}"))?;
        }
        for (i, (path, mask)) in category.anomalous.iter().enumerate() {
            link(path, &folder.join("test/defect"), &format!("{i:03}"))?;
            if let Some(mask) = mask {
                link(mask, &folder.join("ground_truth/defect"), &format!("{i:03}_mask"))?;
            }
        }
    }
    Ok(with_references)
}

fn link(from: &Path, folder: &Path, stem: &str) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let extension = from.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let link = folder.join(format!("{stem}.{extension}"));
    let from = fs::canonicalize(from).with_context(|| format!("finding {}", from.display()))?;
    symlink(&from, &link).with_context(|| format!("linking {}", link.display()))
}

/// The data sets that `data` has a layout for; normal training images first.
fn published(from: &Path) -> Result<BTreeMap<String, Category>> {
    let mut categories: BTreeMap<String, Category> = BTreeMap::new();
    for (layout, folder) in [
        (Layout::MvtecAd, "mvtec"),
        (Layout::Visa, "visa"),
        (Layout::Mpdd, "mpdd"),
        (Layout::Dagm, "dagm"),
        (Layout::Kvasir, "kvasir/Kvasir-SEG"),
        (Layout::BrainMri, "brainmri"),
        (Layout::Br35h, "br35h"),
    ] {
        let mut samples = data::scan(layout, &from.join(folder))?.samples;
        samples.sort_by_key(|s| (s.split == data::Split::Test, s.image.clone()));
        for sample in samples {
            let name = match layout {
                Layout::Dagm => format!("dagm-{}", sample.category.to_lowercase()),
                Layout::MvtecAd | Layout::Visa | Layout::Mpdd => sample.category.clone(),
                layout => layout.name().to_string(),
            };
            let category = categories.entry(name).or_default();
            match sample.defect {
                None => category.normal.push(sample.image),
                Some(defect) => category.anomalous.push((sample.image, defect.mask)),
            }
        }
    }
    Ok(categories)
}

/// The samples that have no layout of their own.
fn extra(from: &Path) -> Result<BTreeMap<String, Category>> {
    let mut categories = BTreeMap::new();
    let tile = from.join("magnetic-tile");
    let images = |kind: &str| files(&tile.join(kind).join("Imgs"), "jpg");
    let mut anomalous = Vec::new();
    for kind in ["MT_Blowhole", "MT_Crack"] {
        for image in images(kind)? {
            let mask = image.with_extension("png");
            anomalous.push((image, Some(mask)));
        }
    }
    categories.insert("magnetic-tile".into(), Category { normal: images("MT_Free")?, anomalous });
    let glass = from.join("glass174");
    let normal = files(&glass.join("test/good"), "png")?;
    let mut anomalous = Vec::new();
    for image in files(&glass.join("test/angle"), "png")? {
        let stem = image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        anomalous.push((image, Some(glass.join(format!("ground_truth/angle/{stem}_mask.png")))));
    }
    categories.insert("glass174".into(), Category { normal, anomalous });
    let nut = from.join("hazelnut_toy");
    let anomalous = ["colour", "crack"]
        .map(|kind| (nut.join(format!("{kind}.jpg")), Some(nut.join(format!("{kind}_mask.jpg")))));
    let normal = vec![nut.join("good.jpg")];
    categories.insert("hazelnut_toy".into(), Category { normal, anomalous: anomalous.to_vec() });
    Ok(categories)
}

/// The files of a folder with an extension, sorted.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
