//! Names of files as systems, cameras and editors leave them, in every layout that meets them.

use std::fs;
use std::path::PathBuf;

use crate::trees::{self, Tree, mvtec};
use data::{Counts, Layout, Scan, Split, find_images, scan};

/// Normal, anomalous and masks of the test part, if nothing is wrong.
#[track_caller]
fn test_part(tree: &Tree, layout: Layout) -> (usize, usize, usize) {
    let found = scan(layout, tree.root()).unwrap();
    assert_eq!(found.problems, []);
    let counts = found.counts();
    let sum = |f: fn(&Counts) -> usize| counts.values().map(|c| f(&c[&Split::Test])).sum();
    (sum(|c| c.normal), sum(|c| c.anomalous), sum(|c| c.masks))
}

/// Image and mask below the root, of every anomalous image.
fn pairs(tree: &Tree, found: &Scan) -> Vec<(String, Option<String>)> {
    let below = |p: &PathBuf| p.strip_prefix(tree.root()).unwrap().display().to_string();
    let defects = found.samples.iter().filter_map(|s| Some((&s.image, s.defect.as_ref()?)));
    defects.map(|(image, defect)| (below(image), defect.mask.as_ref().map(below))).collect()
}

const LITTER: [&str; 12] = [
    "@eaDir/a.png/SYNOPHOTO_THUMB_M.png",
    "@Recycle/a.png",
    "#recycle/a.png",
    "$RECYCLE.BIN/a.png",
    "$Recycle.Bin/a.png",
    "RECYCLER/a.png",
    "System Volume Information/a.png",
    "__macosx/._a.png",
    ".thumbnails/a.png",
    ".@__thumb/a.png",
    "lost+found/a.png",
    "#snapshot/a.png",
];

#[test]
fn what_systems_put_among_files_is_passed_over() {
    let litter = |tree: Tree, folder: &str| {
        let tree = LITTER.iter().fold(tree, |t, path| t.images(&[&format!("{folder}{path}")]));
        ["Thumbs.db", "thumbs.db", "THUMBS.DB", "ehthumbs.db", "desktop.ini", "Desktop.ini"]
            .iter()
            .fold(tree, |tree, name| tree.text(&format!("{folder}{name}"), "-"))
    };
    let mut tree = Tree::new().images(&["a.png", "b/c.png"]);
    for folder in ["", "b/"] {
        tree = litter(tree, folder);
    }
    let found: Vec<PathBuf> =
        find_images(tree.root()).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(found, [tree.path("a.png"), tree.path("b/c.png")]);
    // One who asks for them gets them.
    assert_eq!(find_images(&tree.path("@eaDir")).unwrap().len(), 1);

    let mut tree = mvtec();
    for folder in ["", "bottle/", "bottle/test/", "bottle/test/crack/", "bottle/train/good/"] {
        tree = litter(tree, folder);
    }
    tree = litter(tree, "bottle/ground_truth/crack/");
    assert_eq!(test_part(&tree, Layout::MvtecAd), (2, 2, 2));
    let tree = litter(litter(trees::folders(), ""), "nut/masks/");
    assert_eq!(test_part(&tree, Layout::Folder), (2, 2, 1));
    let tree = litter(litter(trees::clinic_db(), "Original/"), "Ground Truth/");
    assert_eq!(test_part(&tree, Layout::CvcClinicDb), (0, 2, 2));
    let tree = litter(litter(trees::brain_mri(), ""), "yes/");
    assert_eq!(test_part(&tree, Layout::BrainMri), (1, 2, 0));
}

#[test]
fn composed_and_decomposed_names_pair() {
    let (composed, decomposed) = ("pr\u{fc}fling", "pru\u{308}fling");
    for (image, mask) in [(composed, decomposed), (decomposed, composed)] {
        let tree = Tree::new()
            .images(&["b/train/good/0.png", "b/test/good/0.png"])
            .images(&[&format!("b/test/{image}/{image}.png")])
            .masks(&[&format!("b/ground_truth/{mask}/{mask}_mask.png")]);
        assert_eq!(test_part(&tree, Layout::MvtecAd), (1, 1, 1));
        let tree = Tree::new()
            .images(&[&format!("images/{image}.jpg")])
            .masks(&[&format!("masks/{mask}.jpg")]);
        assert_eq!(test_part(&tree, Layout::Kvasir), (0, 1, 1));
        let table = format!(
            "object,split,label,image,mask\nc,test,anomaly,c/Data/Images/Anomaly/{image}.JPG,c/Data/Masks/{image}.png\n"
        );
        let tree = Tree::new()
            .text("split_csv/1cls.csv", &table)
            .images(&[&format!("c/Data/Images/Anomaly/{mask}.JPG")])
            .masks(&[&format!("c/Data/Masks/{mask}.png")]);
        assert_eq!(test_part(&tree, Layout::Visa), (0, 1, 1));
        let list = format!(
            r#"{{"test": {{"c": [{{"img_path": "{image}.png", "mask_path": "m/{image}.png", "anomaly": 1}}]}}}}"#
        );
        let tree = Tree::new()
            .text("meta.json", &list)
            .images(&[&format!("{mask}.png")])
            .masks(&[&format!("m/{mask}.png")]);
        assert_eq!(test_part(&tree, Layout::MetaJson), (0, 1, 1));
    }
}

#[test]
fn suffixes_in_any_case() {
    for mask in ["2_MASK.PNG", "2_Mask.png", "2_GT.bmp", "2_Label.png", "2.PNG", "2_mask.tif"] {
        let tree = Tree::new()
            .images(&["BOTTLE/TRAIN/GOOD/0.PNG", "BOTTLE/TEST/GOOD/1.PNG"])
            .images(&["BOTTLE/TEST/CRACK/2.PNG"])
            .masks(&[&format!("BOTTLE/GROUND_TRUTH/crack/{mask}")]);
        assert_eq!(test_part(&tree, Layout::MvtecAd), (1, 1, 1), "{mask}");
    }
}

#[test]
fn images_that_are_called_masks() {
    for (images, masks, expected) in [
        (vec!["gas_mask"], vec!["gas_mask"], vec![("gas_mask", "gas_mask")]),
        (vec!["gas_mask"], vec!["gas_mask_mask"], vec![("gas_mask", "gas_mask_mask")]),
        (vec!["food_label"], vec!["food_label"], vec![("food_label", "food_label")]),
        (vec!["bmw_gt"], vec!["BMW_GT"], vec![("bmw_gt", "BMW_GT")]),
        (
            vec!["gas", "gas_mask"],
            vec!["gas", "gas_mask"],
            vec![("gas", "gas"), ("gas_mask", "gas_mask")],
        ),
        (
            vec!["gas", "gas_mask"],
            vec!["gas_mask", "gas_mask_mask"],
            vec![("gas", "gas_mask"), ("gas_mask", "gas_mask_mask")],
        ),
    ] {
        let path = |folder: &str, stem: &str| format!("{folder}/{stem}.png");
        let tree = Tree::new().images(&["good/a.png"]);
        let tree = images.iter().fold(tree, |tree, stem| tree.images(&[&path("bad", stem)]));
        let tree = masks.iter().fold(tree, |tree, stem| tree.masks(&[&path("masks", stem)]));
        let found = scan(Layout::Folder, tree.root()).unwrap();
        assert_eq!(found.problems, []);
        let expected: Vec<_> =
            expected.iter().map(|(i, m)| (path("bad", i), Some(path("masks", m)))).collect();
        assert_eq!(pairs(&tree, &found), expected);
    }
}

#[test]
fn a_mask_belongs_to_one_image() {
    let tree = Tree::new().images(&["good/a.png", "bad/dent/b.png", "bad/scratch/b.png"]).masks(&[
        "masks/b.png",
        "masks/b_mask.png",
        "masks/c.png",
    ]);
    let found = scan(Layout::Folder, tree.root()).unwrap();
    let masks: Vec<_> = pairs(&tree, &found).into_iter().filter_map(|(_, mask)| mask).collect();
    assert_eq!(masks, ["masks/b_mask.png", "masks/b.png"]);
    assert_eq!(found.problems.len(), 1);
    assert_eq!(found.problems[0].problem, "a mask without its image");

    fs::remove_file(tree.path("masks/b.png")).unwrap();
    let found = scan(Layout::Folder, tree.root()).unwrap();
    let with = pairs(&tree, &found).iter().filter(|(_, mask)| mask.is_some()).count();
    assert_eq!((with, found.problems.len()), (1, 2), "{:?}", found.problems);

    let tree = Tree::new()
        .images(&["good/a.png", "bad/b.png"])
        .masks(&["masks/b.png", "masks/b_mask.png"]);
    let found = scan(Layout::Folder, tree.root()).unwrap();
    assert_eq!(found.problems[0].path, tree.path("masks/b.png"));
    assert!(found.problems[0].problem.contains("a second mask"), "{:?}", found.problems);
}

fn visa(table: impl AsRef<[u8]>) -> Tree {
    let tree = Tree::new()
        .text("split_csv/1cls.csv", "")
        .images(&["candle/Data/Images/Normal/0000.JPG", "candle/Data/Images/Anomaly/000.JPG"])
        .masks(&["candle/Data/Masks/Anomaly/000.png"]);
    fs::write(tree.path("split_csv/1cls.csv"), table).unwrap();
    tree
}

fn utf16(text: &str) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

#[test]
fn visa_tables_as_spreadsheets_save_them() {
    let plain = "object,split,label,image,mask\n\
        candle,test,normal,candle/Data/Images/Normal/0000.JPG,\n\
        candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png\n";
    let quoted: String =
        plain.lines().map(|line| format!("\"{}\"\r\n", line.replace(',', "\",\""))).collect();
    let indexed: String =
        plain.lines().enumerate().map(|(i, line)| format!("{i},{line}\n")).collect();
    for table in [
        plain.to_owned(),
        quoted.clone(),
        format!("\u{feff}{quoted}\r\n"),
        plain.replace(',', ";"),
        plain.replace(',', "\t"),
        plain.replace(".JPG", ".jpg").replace(".png", ".PNG"),
        plain.replace("Data/Images", "data/images").replace("test", "Test"),
        plain.replace('/', "\\"),
        plain.replace("object,split", "Object, Split"),
        indexed.replacen("0,object", ",object", 1),
        plain.to_owned() + ",,,,\n",
    ] {
        assert_eq!(test_part(&visa(&table), Layout::Visa), (1, 1, 1), "{table}");
    }
    let table = utf16(&plain.replace(',', "\t"));
    assert_eq!(test_part(&visa(table), Layout::Visa), (1, 1, 1));
    let tree = visa(plain);
    fs::rename(tree.path("split_csv"), tree.path("Split_CSV")).unwrap();
    fs::rename(tree.path("Split_CSV/1cls.csv"), tree.path("Split_CSV/1CLS.CSV")).unwrap();
    assert_eq!(test_part(&tree, Layout::Visa), (1, 1, 1));

    let error = scan(Layout::Visa, visa(b"object,split\xff").root()).unwrap_err().to_string();
    assert!(error.contains("1cls.csv: not a text in UTF-8"), "{error}");
}

#[test]
fn where_nothing_is_found_the_first_problem_is_told() {
    let table = "object,split,label,image,mask\ncandle,test,normal,other/0000.JPG,\n";
    let error = scan(Layout::Visa, visa(table).root()).unwrap_err().to_string();
    assert!(error.contains("other/0000.JPG: missing: listed in line 2"), "{error}");
}

#[test]
fn dagm_in_lower_case() {
    let tree = trees::dagm();
    fs::remove_dir_all(tree.path("Class2")).unwrap();
    let expected = scan(Layout::Dagm, tree.root()).unwrap();
    let table = tree.path("Class1/Test/Label/Labels.txt");
    let text = fs::read_to_string(&table).unwrap();
    fs::write(&table, format!("\u{feff}{}", text.to_lowercase())).unwrap();
    let lower = |from: &str, to: &str| fs::rename(tree.path(from), tree.path(to)).unwrap();
    lower("Class1/Test/Label/Labels.txt", "Class1/Test/Label/labels.txt");
    lower("Class1/Test/Label/0002_label.PNG", "Class1/Test/Label/0002_LABEL.png");
    lower("Class1/Test/Label", "Class1/Test/label");
    let found = scan(Layout::Dagm, tree.root()).unwrap();
    assert_eq!(found.counts(), expected.counts());
    assert_eq!(found.problems.len(), expected.problems.len(), "{:?}", found.problems);
}

fn meta_json(list: impl AsRef<[u8]>) -> Tree {
    let tree = Tree::new()
        .text("meta.json", "")
        .images(&["b/good/1.png", "b/crack/2.png"])
        .masks(&["b/gt/2.png"]);
    fs::write(tree.path("meta.json"), list).unwrap();
    tree
}

#[test]
fn meta_json_as_programs_write_it() {
    let plain = r#"{"train": {}, "test": {"b": [
        {"img_path": "b/good/1.png", "mask_path": "", "specie_name": "good", "anomaly": 0},
        {"img_path": "b/crack/2.png", "mask_path": "b/gt/2.png", "specie_name": "crack", "anomaly": 1}]}}"#;
    for list in [
        plain.to_owned(),
        format!("\u{feff}{plain}"),
        plain.replace(r#""mask_path": """#, r#""mask_path": null"#),
        plain.replace(r#""good""#, "null").replace(r#""crack""#, "null"),
        plain.replace(r#": 0}"#, ": false}").replace(": 1}", ": true}"),
        plain.replace(r#": 0}"#, ": 0.0}").replace(": 1}", ": 1.0}"),
        plain.replace(r#": 0}"#, r#": "0"}"#).replace(": 1}", r#": "1"}"#),
        plain.replace(r#""train": {}"#, r#""train": null"#),
        plain.replace("2.png", "2.PNG").replace("b/good", "B/Good"),
        plain.replace("b/good/1.png", r"b\\good\\1.png"),
    ] {
        assert_eq!(test_part(&meta_json(&list), Layout::MetaJson), (1, 1, 1), "{list}");
    }
    assert_eq!(test_part(&meta_json(utf16(plain)), Layout::MetaJson), (1, 1, 1));

    let tree = meta_json("");
    let absolute = |path: &str| tree.path(path).display().to_string().replace('\\', "/");
    let list = plain
        .replace("b/good/1.png", &absolute("b/good/1.png"))
        .replace("b/gt/2.png", &absolute("b/gt/2.png"));
    fs::write(tree.path("meta.json"), list).unwrap();
    assert_eq!(test_part(&tree, Layout::MetaJson), (1, 1, 1));

    for (list, part) in [
        (plain.replace(": 1}", ": null}"), "test, b, entry 2: anomaly: expected 0 or 1, got null"),
        (plain.replace(": 1}", ": 0.5}"), "entry 2: anomaly: expected 0 or 1, got 0.5"),
        (plain.replace(r#""b/good/1.png""#, "null"), "invalid type: null, expected a string"),
        (plain.replace("b/good/1.png", "/etc/1.png"), "entry 1: /etc/1.png leaves the data set"),
        (plain.replace("b/good/1.png", "../1.png"), "entry 1: ../1.png leaves the data set"),
    ] {
        let error = scan(Layout::MetaJson, meta_json(list).root()).unwrap_err().to_string();
        assert!(error.contains("meta.json: ") && error.contains(part), "{error}");
    }
}
