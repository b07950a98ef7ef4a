//! Data sets as their authors ship them.

mod brain;
mod dagm;
mod folder;
mod masks;
mod meta;
mod mvtec;
mod names;
mod polyps;
mod table;
mod tree;
mod visa;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

use crate::{Error, Problem, Sample, Split};
pub(crate) use names::is_litter;
use tree::{Tree, subfolders};
pub(crate) use tree::{entries, is_image};

/// A published arrangement of folders and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// MVTec AD: `<category>/{train,test}/good`, `test/<defect>`, `ground_truth/<defect>/<stem>_mask.png`.
    MvtecAd,
    /// VisA: `<category>/Data/…` with `split_csv/1cls.csv`, or converted to MVTec's layout.
    Visa,
    /// MPDD: MVTec's layout.
    Mpdd,
    /// BTAD: MVTec's layout with the folders `ok` and `ko` and masks without a suffix.
    Btad,
    /// DAGM 2007: `Class<K>/{Train,Test}/<number>.PNG` and `Label/<number>_label.PNG`.
    Dagm,
    /// DTD-Synthetic: MVTec's layout.
    DtdSynthetic,
    /// CVC-ClinicDB: `Original` and `Ground Truth`, or `images` and `masks`; every image is anomalous.
    CvcClinicDb,
    /// Kvasir-SEG: `images` and `masks`; every image is anomalous.
    Kvasir,
    /// Brain MRI: `yes` and `no`, without masks; every image is a test image.
    BrainMri,
    /// Br35H: `yes` and `no`, without masks; `pred` is unlabelled and not read.
    Br35h,
    /// One's own images: folders `normal`, `anomalous`, `masks` in any of the usual spellings.
    Folder,
    /// Any folders, listed in the `meta.json` of the AnomalyCLIP family.
    MetaJson,
}

impl Layout {
    /// Every layout, in the order of the paper's tables.
    pub const ALL: [Self; 12] = [
        Self::MvtecAd,
        Self::Visa,
        Self::Mpdd,
        Self::Btad,
        Self::Dagm,
        Self::DtdSynthetic,
        Self::CvcClinicDb,
        Self::Kvasir,
        Self::BrainMri,
        Self::Br35h,
        Self::Folder,
        Self::MetaJson,
    ];

    /// The name on the command line and in `run.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MvtecAd => "mvtec-ad",
            Self::Visa => "visa",
            Self::Mpdd => "mpdd",
            Self::Btad => "btad",
            Self::Dagm => "dagm",
            Self::DtdSynthetic => "dtd-synthetic",
            Self::CvcClinicDb => "cvc-clinicdb",
            Self::Kvasir => "kvasir",
            Self::BrainMri => "brain-mri",
            Self::Br35h => "br35h",
            Self::Folder => "folder",
            Self::MetaJson => "meta-json",
        }
    }

    /// What the root of a data set in this layout holds, for messages.
    fn expected(self) -> &'static str {
        match self {
            Self::MvtecAd | Self::Mpdd | Self::DtdSynthetic => {
                "<category>/train/good, <category>/test/good, <category>/test/<defect>"
            }
            Self::Visa => "split_csv/1cls.csv and <category>/Data/Images, or <category>/test/good",
            Self::Btad => "<category>/train/ok, <category>/test/ok, <category>/test/ko",
            Self::Dagm => "Class<number>/Train, Class<number>/Test",
            Self::CvcClinicDb => "Original and \"Ground Truth\", or images and masks",
            Self::Kvasir => "images and masks",
            Self::BrainMri | Self::Br35h => "yes and no",
            Self::Folder => {
                "normal and anomalous (or good and bad, ok and ng, …), train or test with them inside, or one such \
                 folder a category"
            }
            Self::MetaJson => "meta.json",
        }
    }

    /// Whether `root` looks like the root of a data set in this layout.
    fn fits(self, root: &Path) -> bool {
        match self {
            Self::MvtecAd | Self::Mpdd | Self::DtdSynthetic => mvtec::fits(root, &mvtec::GOOD),
            Self::Btad => mvtec::fits(root, &mvtec::OK),
            Self::Visa => visa::fits(root),
            Self::Dagm => dagm::fits(root),
            Self::CvcClinicDb => polyps::folders(root, &polyps::CVC_CLINIC_DB).is_some(),
            Self::Kvasir => polyps::folders(root, &polyps::KVASIR).is_some(),
            Self::BrainMri => brain::folder(root, true).is_some(),
            Self::Br35h => brain::folder(root, false).is_some(),
            Self::Folder => folder::fits(root),
            Self::MetaJson => meta::file(root).is_some(),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no layout has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown data set \"{0}\", expected one of {names}", names = Layout::ALL.map(Layout::name).join(", "))]
pub struct UnknownLayout(pub String);

impl FromStr for Layout {
    type Err = UnknownLayout;

    fn from_str(name: &str) -> Result<Self, UnknownLayout> {
        let found = Self::ALL.into_iter().find(|layout| layout.name() == name);
        found.ok_or_else(|| UnknownLayout(name.to_owned()))
    }
}

/// What a data set on disk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Every image, sorted by path.
    pub samples: Vec<Sample>,
    /// What does not fit together by name, sorted by path; [`inspect`](crate::inspect) looks into the files.
    pub problems: Vec<Problem>,
}

/// Numbers of images of one category and split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Normal images.
    pub normal: usize,
    /// Anomalous images.
    pub anomalous: usize,
    /// Anomalous images that have a mask.
    pub masks: usize,
}

impl Scan {
    /// Counts the samples of each category; both splits are there, with zeros where nothing is.
    pub fn counts(&self) -> BTreeMap<&str, BTreeMap<Split, Counts>> {
        let mut categories = BTreeMap::new();
        for sample in &self.samples {
            let none = || [Split::Train, Split::Test].map(|s| (s, Counts::default())).into();
            let splits: &mut BTreeMap<Split, Counts> =
                categories.entry(sample.category.as_str()).or_insert_with(none);
            let counts = splits.entry(sample.split).or_default();
            match &sample.defect {
                None => counts.normal += 1,
                Some(defect) => {
                    counts.anomalous += 1;
                    counts.masks += usize::from(defect.mask.is_some());
                }
            }
        }
        categories
    }
}

/// Lists a data set: folders and names only, no image is opened.
///
/// Masks belong to images by name, never by order; case, and whether accents are composed, make no difference. Texts,
/// hidden files and what systems put among people's files (`@eaDir`, `$RECYCLE.BIN`, `__MACOSX`, `Thumbs.db`, …) are
/// passed over; any other file where images are expected is a [`Problem`].
///
/// # Errors
/// - [`Error::WrongRoot`] when the folder does not look like the layout; the message says what it looks like instead.
/// - [`Error::NoImages`] when it does, but holds no image; it tells the first problem.
/// - [`Error::Table`] when the data set's own list of files cannot be understood.
/// - [`Error::Io`].
pub fn scan(layout: Layout, root: &Path) -> Result<Scan, Error> {
    std::fs::read_dir(root).map_err(|source| Error::Io { path: root.to_path_buf(), source })?;
    if !layout.fits(root) {
        return Err(Error::WrongRoot {
            path: root.to_path_buf(),
            layout: layout.name(),
            expected: layout.expected(),
            hint: hint(layout, root),
        });
    }
    let mut tree = Tree::default();
    match layout {
        Layout::MvtecAd | Layout::Mpdd | Layout::DtdSynthetic => {
            mvtec::list(root, &mvtec::GOOD, &mut tree);
        }
        Layout::Btad => mvtec::list(root, &mvtec::OK, &mut tree),
        Layout::Visa => visa::list(root, &mut tree)?,
        Layout::Dagm => dagm::list(root, &mut tree),
        Layout::CvcClinicDb => polyps::list(root, &polyps::CVC_CLINIC_DB, &mut tree),
        Layout::Kvasir => polyps::list(root, &polyps::KVASIR, &mut tree),
        Layout::BrainMri => brain::list(root, true, &mut tree),
        Layout::Br35h => brain::list(root, false, &mut tree),
        Layout::Folder => folder::list(root, &mut tree),
        Layout::MetaJson => meta::list(root, &mut tree)?,
    }
    let mut scan = Scan { samples: tree.samples, problems: tree.problems };
    if scan.samples.is_empty() {
        let first = scan.problems.into_iter().next();
        let expected = layout.expected();
        return Err(Error::NoImages { path: root.to_path_buf(), expected, first });
    }
    scan.samples.sort_by(|a, b| a.image.cmp(&b.image));
    scan.problems.sort();
    Ok(scan)
}

/// What a folder that does not fit looks like, as the end of a sentence.
fn hint(layout: Layout, root: &Path) -> String {
    let children = subfolders(root).unwrap_or_default();
    let grandchildren = children.iter().flat_map(|child| subfolders(child).unwrap_or_default());
    let below: Vec<PathBuf> = children.iter().cloned().chain(grandchildren).collect();
    if let Some(inner) = below.iter().find(|inner| layout.fits(inner)) {
        return format!("this is too high a folder, {} looks right", inner.display());
    }
    let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    if let Some(outer) = absolute.ancestors().skip(1).take(3).find(|outer| layout.fits(outer)) {
        return format!("this is too deep a folder, {} looks right", outer.display());
    }
    let others = Layout::ALL.into_iter().filter(|&other| other != layout && other.fits(root));
    let others: Vec<&str> = others.map(Layout::name).collect();
    if !others.is_empty() {
        return format!("it looks like the layout of {}", others.join(" or "));
    }
    let folders: Vec<String> = children.iter().take(8).map(|child| names::name(child)).collect();
    match folders.len() {
        0 => "it has no folders".to_owned(),
        _ => format!("its folders are {}", folders.join(", ")),
    }
}
