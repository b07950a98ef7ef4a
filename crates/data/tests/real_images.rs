//! Real data sets: counts and oddities as ../shared/data/PROVENANCE.md has them.
//!
//! The pictures may not be given on, so they lie beside the repository; where they are missing these tests say so on
//! stderr and prove nothing. tests/layouts.rs and tests/golden.rs are complete without them.
#![allow(clippy::print_stderr, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use data::{Layout, Limits, Problem, Scan, Split, inspect, scan};

fn real(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/dev").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("NOT TESTED: the real images are missing, expected {}", path.display());
    None
}

/// Scans and inspects; counts are `(train normal, train anomalous, test normal, test anomalous, masks)`.
fn look(layout: Layout, root: &Path) -> (BTreeMap<String, [usize; 5]>, Vec<Problem>) {
    let Scan { samples, problems } = &scan(layout, root).unwrap();
    let mut all = problems.clone();
    all.extend(inspect(samples, &Limits::default(), || {}));
    let mut counts: BTreeMap<String, [usize; 5]> = BTreeMap::new();
    for sample in samples {
        let counts = counts.entry(sample.category.clone()).or_default();
        let column = match sample.split {
            Split::Train => 0,
            Split::Test => 2,
        };
        counts[column + usize::from(sample.defect.is_some())] += 1;
        counts[4] += usize::from(sample.defect.as_ref().is_some_and(|d| d.mask.is_some()));
    }
    (counts, all)
}

fn counted<const N: usize>(expected: [(&str, [usize; 5]); N]) -> BTreeMap<String, [usize; 5]> {
    expected.map(|(category, counts)| (category.to_owned(), counts)).into()
}

#[test]
fn mvtec_ad() {
    let Some(root) = real("mvtec") else { return };
    let (counts, problems) = look(Layout::MvtecAd, &root);
    assert_eq!(counts, counted([("bottle", [1, 0, 9, 11, 11])]));
    assert_eq!(problems, []);
}

#[test]
fn visa() {
    let Some(root) = real("visa") else { return };
    let (counts, problems) = look(Layout::Visa, &root);
    assert_eq!(counts, counted([("chewinggum", [0, 0, 1, 1, 1])]));
    assert_eq!(problems, []);
}

#[test]
fn mpdd() {
    let Some(root) = real("mpdd") else { return };
    let (counts, problems) = look(Layout::Mpdd, &root);
    assert_eq!(counts, counted([("metal_plate", [2, 0, 5, 5, 5])]));
    assert_eq!(problems, []);
}

#[test]
fn dagm() {
    let Some(root) = real("dagm") else { return };
    let (counts, problems) = look(Layout::Dagm, &root);
    let expected = [
        ("Class1", [2, 3, 0, 0, 3]),
        ("Class2", [2, 3, 0, 0, 3]),
        ("Class3", [2, 3, 0, 0, 3]),
        ("Class8", [2, 2, 5, 5, 7]),
    ];
    assert_eq!(counts, counted(expected));
    let missing: Vec<PathBuf> = problems.into_iter().map(|problem| problem.path).collect();
    let expected = ["Class1", "Class2", "Class3"].map(|class| root.join(class).join("Test"));
    assert_eq!(missing, expected, "these classes have no Test folder, and nothing else is wrong");
}

#[test]
fn kvasir() {
    let Some(root) = real("kvasir/Kvasir-SEG") else { return };
    let (counts, problems) = look(Layout::Kvasir, &root);
    assert_eq!(counts, counted([("colon", [0, 0, 0, 2, 2])]));
    assert_eq!(problems, []);
    let error = scan(Layout::Kvasir, &real("kvasir").unwrap()).unwrap_err().to_string();
    assert!(error.contains("too high a folder") && error.contains("Kvasir-SEG"), "{error}");
}

#[test]
fn brain_mri() {
    let Some(root) = real("brainmri") else { return };
    let (counts, problems) = look(Layout::BrainMri, &root);
    assert_eq!(counts, counted([("brain", [0, 0, 10, 10, 0])]));
    let inner = real("brainmri/brain_tumor_dataset").unwrap();
    let (inner_counts, _) = look(Layout::BrainMri, &inner);
    assert_eq!(inner_counts, counts);
    assert_eq!(problems, []);
}

#[test]
fn br35h() {
    let Some(root) = real("br35h") else { return };
    let (counts, problems) = look(Layout::Br35h, &root);
    assert_eq!(counts, counted([("brain", [0, 0, 8, 8, 0])]), "pred is unlabelled");
    assert_eq!(problems, []);
}

#[test]
fn ones_own_folders() {
    let Some(root) = real("extra") else { return };
    let (counts, problems) = look(Layout::Folder, &root.join("glass174"));
    assert_eq!(counts, counted([("glass174", [0, 0, 6, 10, 10])]), "BMP under the name of PNG too");
    let missing: Vec<PathBuf> = problems.into_iter().map(|problem| problem.path).collect();
    assert_eq!(missing, [root.join("glass174/train")]);

    let (counts, problems) = look(Layout::Folder, &root.join("brainmri-masked/data"));
    assert_eq!(counts, counted([("data", [0, 0, 9, 9, 9])]));
    let [problem] = problems.as_slice() else { panic!("{problems:#?}") };
    assert_eq!(problem.path, root.join("brainmri-masked/data/masks/Y92.jpg"));
    assert_eq!(problem.problem, "the mask is 194 x 260, its image 240 x 300");

    // Neither a layout that is read nor one's own folders.
    for other in ["magnetic-tile", "crackforest", "hazelnut_toy"] {
        assert!(scan(Layout::Folder, &root.join(other)).is_err(), "{other}");
    }
}
