//! What is seen in a tiny tree of each layout, and what is said about broken ones.
#![allow(clippy::unwrap_used)]

mod names;
mod trees;

use std::fs;
use std::path::PathBuf;

use data::{Counts, Error, Layout, Limits, Problem, Scan, Split, find_images, inspect, scan};
use image::GrayImage;
use trees::{Tree, mvtec};

impl Tree {
    fn scan(&self, layout: Layout) -> Scan {
        scan(layout, self.root()).unwrap()
    }

    fn error(&self, layout: Layout, root: &str) -> String {
        scan(layout, &self.path(root)).unwrap_err().to_string()
    }
}

fn counts(normal: usize, anomalous: usize, masks: usize) -> Counts {
    Counts { normal, anomalous, masks }
}

#[track_caller]
fn assert_counts(scan: &Scan, category: &str, train: Counts, test: Counts) {
    let all = scan.counts();
    let found = &all[category];
    assert_eq!((found[&Split::Train], found[&Split::Test]), (train, test), "{category}");
}

#[track_caller]
fn assert_problems(problems: &[Problem], tree: &Tree, expected: &[(&str, &str)]) {
    let found: Vec<String> = problems
        .iter()
        .map(|p| format!("{}: {}", p.path.strip_prefix(tree.root()).unwrap().display(), p.problem))
        .collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (path, part) in expected {
        let is_it = |line: &String| line.starts_with(&format!("{path}: ")) && line.contains(part);
        assert!(found.iter().any(is_it), "no \"{path}: …{part}…\" in {found:#?}");
    }
}

#[test]
fn mvtec_ad_and_its_kin() {
    let tree = mvtec();
    for layout in [Layout::MvtecAd, Layout::Mpdd, Layout::DtdSynthetic] {
        let scan = tree.scan(layout);
        assert_counts(&scan, "bottle", counts(2, 0, 0), counts(1, 2, 2));
        assert_counts(&scan, "wood", counts(1, 0, 0), counts(1, 0, 0));
        assert_problems(&scan.problems, &tree, &[]);
        let crack = scan.samples.iter().find(|s| s.image.ends_with("crack/010.png")).unwrap();
        let defect = crack.defect.as_ref().unwrap();
        assert_eq!(defect.kind, "crack");
        assert_eq!(defect.mask, Some(tree.path("bottle/ground_truth/crack/010_mask.png")));
        assert!(scan.samples.is_sorted_by(|a, b| a.image < b.image));
    }
}

#[test]
fn masks_belong_by_name_not_by_order() {
    let tree = mvtec();
    fs::remove_file(tree.path("bottle/ground_truth/crack/001_mask.png")).unwrap();
    let tree = tree.masks(&["bottle/ground_truth/crack/002_mask.png"]);
    let scan = tree.scan(Layout::MvtecAd);
    assert_counts(&scan, "bottle", counts(2, 0, 0), counts(1, 2, 1));
    let expected = [
        ("bottle/test/crack/001.png", "001_mask"),
        ("bottle/ground_truth/crack/002_mask.png", "without its image"),
    ];
    assert_problems(&scan.problems, &tree, &expected);
}

#[test]
fn what_is_missing_or_does_not_belong_is_named() {
    let tree = mvtec()
        .images(&["bottle/test/dent/000.png", "bottle/ground_truth/hole/000_mask.png"])
        .text("bottle/test/good/photo.heic", "-")
        .text("bottle/test/good/.DS_Store", "-")
        .text("bottle/test/good/Thumbs.db", "-")
        .images(&[
            "bottle/test/good/inner/000.png",
            "cable/test/good/000.png",
            "leather/test/gut/0.png",
        ])
        .text("__MACOSX/bottle/test/good/._000.png", "-")
        .text("papers/readme.txt", "-");
    let scan = tree.scan(Layout::MvtecAd);
    let expected = [
        ("bottle/ground_truth/dent", "1 images have no mask"),
        ("bottle/ground_truth/hole", "masks without"),
        ("bottle/test/good/photo.heic", "not an image"),
        ("bottle/test/good/inner", "a folder where images are expected"),
        ("cable/train", "missing folder"),
        ("leather", "good"),
        ("papers", "not a category"),
    ];
    assert_problems(&scan.problems, &tree, &expected);
}

#[test]
fn visa_as_distributed() {
    let tree = trees::visa();
    let scan = tree.scan(Layout::Visa);
    assert_counts(&scan, "candle", counts(1, 0, 0), counts(1, 2, 1));
    let expected = [
        ("candle/Data/Images/Anomaly/001.JPG", "no mask"),
        ("candle/Data/Images/Normal/0002.JPG", "line 6"),
        ("candle/Data/Images/Normal/0009.JPG", "not listed"),
    ];
    assert_problems(&scan.problems, &tree, &expected);
}

#[test]
fn a_table_that_makes_no_sense_is_an_error() {
    for (table, part) in [
        ("a,b\n", "line 1"),
        ("object,split,label,image,mask\nx,test,normal,y\n", "line 2: expected 5 fields, got 4"),
        ("object,split,label,image,mask\nx,valid,normal,y.png,\n", "got valid"),
        ("object,split,label,image,mask\nx,test,normal,../y.png,\n", "leaves the data set"),
    ] {
        let tree = Tree::new().text("split_csv/1cls.csv", table);
        let error = scan(Layout::Visa, tree.root()).unwrap_err();
        assert!(
            matches!(error, Error::Table { .. }) && error.to_string().contains(part),
            "{error}"
        );
    }
}

#[test]
fn visa_converted() {
    let tree = trees::visa_converted();
    let scan = tree.scan(Layout::Visa);
    assert_counts(&scan, "pcb1", counts(1, 0, 0), counts(1, 1, 1));
    assert_problems(&scan.problems, &tree, &[]);
}

#[test]
fn btad() {
    let tree = trees::btad();
    let scan = tree.scan(Layout::Btad);
    assert_counts(&scan, "01", counts(1, 0, 0), counts(1, 1, 1));
    assert_counts(&scan, "03", counts(1, 0, 0), counts(1, 1, 1));
    assert_problems(&scan.problems, &tree, &[]);
}

#[test]
fn dagm() {
    let tree = trees::dagm();
    let scan = tree.scan(Layout::Dagm);
    assert_counts(&scan, "Class1", counts(1, 0, 0), counts(2, 2, 1));
    assert_counts(&scan, "Class2", counts(0, 0, 0), counts(0, 1, 1));
    let expected = [
        ("Class1/Test/0003.PNG", "no mask, though Labels.txt says anomalous"),
        ("Class1/Test/0004.PNG", "not listed"),
        ("Class1/Test/0009.PNG", "missing"),
        ("Class2/Class2/Test/Label/Labels.txt", "masks alone"),
        ("Class2/Class2/Train", "missing folder"),
    ];
    assert_problems(&scan.problems, &tree, &expected);
}

#[test]
fn polyps() {
    let tree = trees::clinic_db();
    let scan = tree.scan(Layout::CvcClinicDb);
    assert_counts(&scan, "colon", counts(0, 0, 0), counts(0, 2, 2));
    assert_problems(&scan.problems, &tree, &[]);

    let tree = trees::kvasir();
    for layout in [Layout::Kvasir, Layout::CvcClinicDb] {
        let scan = tree.scan(layout);
        assert_counts(&scan, "colon", counts(0, 0, 0), counts(0, 2, 1));
        assert_problems(&scan.problems, &tree, &[("images/b.jpg", "no mask")]);
    }
}

#[test]
fn brain_scans() {
    let tree = trees::brain_mri();
    let scan = tree.scan(Layout::BrainMri);
    assert_counts(&scan, "brain", counts(0, 0, 0), counts(1, 2, 0));
    assert_problems(&scan.problems, &tree, &[]);
    let tree = tree.images(&["brain_tumor_dataset/no/only here.jpg"]);
    let expected = [("brain_tumor_dataset/no/only here.jpg", "not in no")];
    assert_problems(&tree.scan(Layout::BrainMri).problems, &tree, &expected);

    let tree = trees::br35h();
    let scan = tree.scan(Layout::Br35h);
    assert_counts(&scan, "brain", counts(0, 0, 0), counts(1, 1, 0));
    assert_problems(&scan.problems, &tree, &[]);
}

#[test]
fn ones_own_folders() {
    let tree = Tree::new()
        .images(&["parts/Good/a.png", "parts/NG/scratch/b.png", "parts/NG/dent/b.png"])
        .masks(&["parts/Masks/scratch/b_mask.png"]);
    let scan = scan(Layout::Folder, &tree.path("parts")).unwrap();
    assert_counts(&scan, "parts", counts(0, 0, 0), counts(1, 2, 1));
    assert_problems(&scan.problems, &tree, &[("parts/NG/dent/b.png", "no mask")]);

    let tree = trees::folders();
    let scan = tree.scan(Layout::Folder);
    assert_counts(&scan, "screw", counts(0, 0, 0), counts(1, 1, 0));
    assert_counts(&scan, "nut", counts(0, 0, 0), counts(1, 1, 1));
    assert_problems(&scan.problems, &tree, &[]);

    // a single category in MVTec's layout
    let tree = mvtec();
    let scan = data::scan(Layout::Folder, &tree.path("bottle")).unwrap();
    assert_counts(&scan, "bottle", counts(2, 0, 0), counts(1, 2, 2));
}

#[test]
fn meta_json() {
    let tree = trees::meta_json();
    let scan = tree.scan(Layout::MetaJson);
    assert_counts(&scan, "x", counts(1, 0, 0), counts(1, 1, 1));
    assert_problems(&scan.problems, &tree, &[("b/3.png", "missing")]);

    let tree = Tree::new()
        .text("meta.json", r#"{"test": {"x": [{"img_path": "../../etc/passwd", "anomaly": 0}]}}"#);
    assert!(tree.error(Layout::MetaJson, "").contains("leaves the data set"));
    let tree = Tree::new().text("meta.json", "{");
    assert!(tree.error(Layout::MetaJson, "").contains("meta.json: EOF"));
}

#[test]
fn a_wrong_root_is_recognised() {
    let tree = Tree::new()
        .images(&["data/mvtec/bottle/train/good/000.png", "data/mvtec/bottle/test/good/000.png"])
        .images(&["one/two/leer/gut/0.png", "one/two/leer/schlecht/1.png"]);
    for (root, layout, part) in [
        ("data", Layout::MvtecAd, "too high a folder, "),
        ("", Layout::MvtecAd, "mvtec looks right"),
        ("data/mvtec/bottle", Layout::MvtecAd, "too deep a folder, "),
        ("data/mvtec/bottle/test/good", Layout::MvtecAd, "mvtec looks right"),
        ("data/mvtec", Layout::Dagm, "it looks like the layout of mvtec-ad or visa"),
        ("one/two/leer", Layout::Folder, "its folders are gut, schlecht"),
        ("one/two/leer/gut", Layout::MvtecAd, "it has no folders"),
    ] {
        let error = tree.error(layout, root);
        assert!(error.contains(part), "{root}: {error}");
        assert!(error.contains(layout.name()) && error.contains("expected"), "{error}");
    }
    assert!(tree.error(Layout::Visa, "nowhere").contains("nowhere"));
    let tree = Tree::new().text("yes/readme.txt", "-").text("no/readme.txt", "-");
    assert!(matches!(scan(Layout::Br35h, tree.root()), Err(Error::NoImages { .. })));
}

#[test]
fn names_round_trip_and_unknown_ones_list_the_rest() {
    for layout in Layout::ALL {
        assert_eq!(layout.to_string().parse(), Ok(layout));
    }
    let error = "mvtec".parse::<Layout>().unwrap_err().to_string();
    assert!(error.contains("\"mvtec\"") && error.contains("mvtec-ad, visa"), "{error}");
}

#[test]
fn inspection_finds_what_names_do_not_show() {
    let tree = mvtec()
        .images(&[
            "bottle/test/crack/020.png",
            "bottle/test/crack/021.png",
            "bottle/test/crack/022.png",
        ])
        .text("bottle/test/good/004.png", "no picture")
        .text("bottle/ground_truth/crack/022_mask.png", "no picture");
    GrayImage::new(8, 6).save(tree.path("bottle/ground_truth/crack/020_mask.png")).unwrap();
    GrayImage::new(6, 8).save(tree.path("bottle/ground_truth/crack/021_mask.png")).unwrap();
    let whole = fs::read(tree.path("bottle/test/good/003.png")).unwrap();
    fs::write(tree.path("bottle/test/good/005.png"), &whole[..whole.len() - 20]).unwrap();
    fs::write(tree.path("bottle/test/good/006.png"), &whole).unwrap();
    fs::copy(tree.path("bottle/test/good/003.png"), tree.path("bottle/test/crack/001.png"))
        .unwrap();
    let scan = tree.scan(Layout::MvtecAd);
    assert_problems(&scan.problems, &tree, &[]);
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let count = || {
        seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let problems = inspect(&scan.samples, &Limits::default(), count);
    assert_eq!(seen.into_inner(), scan.samples.len());
    let expected = [
        ("bottle/ground_truth/crack/020_mask.png", "empty mask"),
        ("bottle/ground_truth/crack/021_mask.png", "the mask is 6 x 8, its image 8 x 6"),
        ("bottle/ground_truth/crack/022_mask.png", "not an image"),
        ("bottle/test/good/003.png", "the same bytes as"),
        ("bottle/test/good/004.png", "not an image"),
        ("bottle/test/good/005.png", "broken PNG"),
        ("bottle/test/good/006.png", "the same bytes as"),
    ];
    assert_problems(&problems, &tree, &expected);
    assert!(problems.iter().any(|p| p.problem.contains("another label")));
}

#[test]
fn images_are_found_below_a_folder() {
    let tree = Tree::new()
        .images(&["b/2.PNG", "a/1.jpeg", "a/c/3.bmp", "4.webp", ".hidden/5.png", "a/.6.png"])
        .text("a/notes.txt", "-");
    let found: Vec<PathBuf> =
        find_images(tree.root()).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(found, ["4.webp", "a/1.jpeg", "a/c/3.bmp", "b/2.PNG"].map(|path| tree.path(path)));
    let one = find_images(&tree.path("a/notes.txt")).unwrap();
    assert_eq!(one.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [tree.path("a/notes.txt")]);
    assert!(matches!(find_images(&tree.path("nowhere")), Err(Error::Io { .. })));
    let empty = Tree::new();
    assert!(matches!(find_images(empty.root()), Err(Error::NoImages { .. })));
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_above_is_walked_once() {
    let tree = Tree::new().images(&["a/1.png"]);
    std::os::unix::fs::symlink(tree.root(), tree.path("a/loop")).unwrap();
    assert_eq!(find_images(tree.root()).unwrap().len(), 1);
}
