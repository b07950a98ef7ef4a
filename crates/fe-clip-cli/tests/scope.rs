//! `--roi`, `--ignore` and `[eval] ignore`, as a user would call them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use data::{Limits, Preprocess, Resize, read_mask, resize_mask};
use fe_clip::{Inspector, Scope};
use image::{GrayImage, Luma, Rgb, RgbImage};
use ndarray::{Array1, Array2};
use serde_json::{Value, json};

fn fe_clip(folder: &Path, flags: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("fe-clip").unwrap();
    let output = command.current_dir(folder).args(flags).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A part with a stain at the left, its mask and polygons for the left half.
fn with_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let part = RgbImage::from_fn(240, 160, |x, y| {
        let stripe = if x / 8 % 2 == 0 { 120 } else { 150 };
        let inside = x.abs_diff(50) < 20 && y.abs_diff(80) < 20;
        if inside { Rgb([250, 30, 20]) } else { Rgb([stripe; 3]) }
    });
    part.save(at("part.png")).unwrap();
    GrayImage::from_fn(240, 160, |x, _| Luma([255 * u8::from(x < 120)]))
        .save(at("left.png"))
        .unwrap();
    let left = json!({ "polygons": [[[0, 0], [120, 0], [120, 160], [0, 160]]] });
    fs::write(at("left.json"), left.to_string()).unwrap();
    let right = json!({ "polygons": [[[120, 0], [240, 0], [240, 160], [120, 160]]] });
    fs::write(at("right.json"), right.to_string()).unwrap();
    folder
}

fn line(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn masks_and_polygons_of_what_counts_or_not_say_the_same() {
    let folder = with_files();
    let detect = |flags: &[&str]| {
        let base = ["detect", "part.png", "--format", "jsonl", "--threshold", "0.05"];
        let (code, text, said) = fe_clip(folder.path(), &[&base[..], flags].concat());
        assert_eq!(code, Some(0), "{said}");
        line(&text)
    };
    let whole = detect(&[]);
    let ignored = detect(&["--ignore", "left.png", "--out", "out", "--save", "tiff,mask,overlay"]);
    let score = |line: &Value| line["raw_score"].as_f64().unwrap();
    assert!(score(&ignored) < score(&whole) - 0.1, "{ignored}");
    for flags in [
        &["--ignore", "left.json"][..],
        &["--roi", "right.json"],
        &["--roi", "right.json", "--ignore", "left.png"],
    ] {
        let mut found = detect(flags);
        found["overlay"] = ignored["overlay"].clone();
        assert_eq!(found, ignored, "{flags:?}");
    }
    assert!(!ignored["regions"].as_array().unwrap().is_empty());
    for region in ignored["regions"].as_array().unwrap() {
        assert!(region["x"].as_u64().unwrap() >= 119, "{region}");
    }
    let mask = read_mask(&folder.path().join("out/part_mask.png"), &Limits::default()).unwrap();
    assert!(mask.slice(ndarray::s![.., ..120]).iter().all(|inside| !inside));
    // The edge runs just inside of what counts, in the colour that nothing else has.
    let overlay = image::open(folder.path().join("out/part_overlay.png")).unwrap().to_rgb8();
    let green = |x: u32| *overlay.get_pixel(x, 12 + 100) == Rgb([90, 230, 90]);
    assert!(green(120) && !green(119) && !green(121));
}

#[test]
fn what_does_not_fit_is_told_in_one_line() {
    let folder = with_files();
    let at = |name: &str| folder.path().join(name);
    RgbImage::from_pixel(50, 40, Rgb([90; 3])).save(at("small.png")).unwrap();
    GrayImage::new(240, 160).save(at("empty.png")).unwrap();
    let run = |flags: &[&str]| {
        let (code, text, said) =
            fe_clip(folder.path(), &[&["detect", "--format", "jsonl"], flags].concat());
        let said: Vec<String> =
            said.lines().filter(|line| line.starts_with("error")).map(str::to_owned).collect();
        (code, text, said)
    };
    // An image that it does not fit costs the others nothing.
    let (code, text, said) = run(&["small.png", "part.png", "--roi", "left.json"]);
    assert_eq!((code, text.lines().count(), said.len()), (Some(1), 2, 1), "{said:?}");
    assert!(said[0].contains("small.png") && said[0].contains("left.json: the corner [120, 0]"));
    let (code, _, said) = run(&["part.png", "--roi", "empty.png"]);
    assert!(code == Some(2) && said[0].contains("nothing is left to look at"), "{said:?}");
    let (code, _, said) = run(&["small.png", "--ignore", "left.png"]);
    assert!(code == Some(2) && said[0].contains("the mask is 240 x 160, the image 50 x 40"));
    for (flags, expected) in [
        (&["part.png", "--roi", "absent.json"][..], "--roi"),
        (&["--group", "part.png", "--roi", "left.json"], "nothing of it can be ignored"),
    ] {
        let (code, text, said) = run(flags);
        assert_eq!((code, text.len(), said.len()), (Some(2), 0, 1), "{said:?}");
        assert!(said[0].contains(expected), "{said:?}");
    }
}

#[test]
fn a_calibration_is_of_where_it_looked() {
    let folder = with_files();
    fs::create_dir(folder.path().join("good")).unwrap();
    for n in 0..5u32 {
        let image = RgbImage::from_fn(240, 160, |x, y| {
            // All that differs is at the left.
            let spot = x < 60 && y / 20 % 5 == n;
            Rgb([if spot { 220 } else { 120 }, 110, 100])
        });
        image.save(folder.path().join(format!("good/{n}.png"))).unwrap();
    }
    let calibrate = |flags: &[&str], out: &str| {
        let base = ["calibrate", "--normals", "good", "--false-alarm-rate", "0.3", "--out", out];
        let (code, _, said) = fe_clip(folder.path(), &[&base[..], flags].concat());
        assert_eq!(code, Some(0), "{said}");
        let text = fs::read_to_string(folder.path().join(out)).unwrap();
        line(&text)["pixel"]["threshold"].as_f64().unwrap()
    };
    let (all, right) = (calibrate(&[], "all.json"), calibrate(&["--ignore", "left.png"], "c.json"));
    assert!(right < all, "{right} {all}");
    let detect = |flags: &[&str]| {
        let base = ["detect", "part.png", "--format", "jsonl", "--calibration"];
        fe_clip(folder.path(), &[&base[..], flags].concat())
    };
    assert_eq!(detect(&["c.json", "--ignore", "left.png"]).0, Some(0));
    for flags in
        [&["c.json"][..], &["c.json", "--roi", "left.png"], &["all.json", "--ignore", "left.png"]]
    {
        let (code, _, said) = detect(flags);
        assert!(code == Some(2) && said.contains("made for another model: scope"), "{said}");
    }
}

/// A data set of two categories, small.
fn with_set() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let synth = ["synth", "--categories", "gear,hex_nut", "--size", "96", "--train-normal", "1"];
    let counts = ["--test-normal", "3", "--test-per-defect", "1", "--out", "set"];
    let (code, _, said) = fe_clip(folder.path(), &[&synth[..], &counts].concat());
    assert_eq!(code, Some(0), "{said}");
    folder
}

/// The rows from one to another of its images.
fn rows(folder: &Path, file: &str, from: u32, to: u32) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let polygons = json!({ "polygons": [[[0, from], [96, from], [96, to], [0, to]]] });
    fs::write(path, polygons.to_string()).unwrap();
}

/// Measures with these keys of `[eval]`: exit code, metrics by category, and what was said.
fn eval(folder: &Path, keys: &str) -> (Option<i32>, Value, String) {
    let text = format!("[eval]\n{keys}\n[[eval.datasets]]\nname = \"mvtec-ad\"\nroot = \"set\"\n");
    fs::write(folder.join("run.toml"), text).unwrap();
    let out = tempfile::tempdir_in(folder).unwrap();
    let out = out.path().to_str().unwrap();
    let (code, _, said) = fe_clip(folder, &["eval", "--config", "run.toml", "--out", out]);
    let metrics = fs::read_to_string(Path::new(out).join("metrics.json")).unwrap_or("{}".into());
    (code, line(&metrics)["datasets"]["mvtec-ad"]["categories"].take(), said)
}

/// Numbers in JSON are read back to the last digit but one.
fn assert_close(found: &Value, expected: f64, of: &str) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-12, "{of}: {found}, expected {expected}");
}

/// The true mask of a test image at the size of its map.
fn truth(image: &Path, side: usize) -> Array2<bool> {
    let defect = image.parent().unwrap().file_name().unwrap();
    if defect == "good" {
        return Array2::from_elem((side, side), false);
    }
    let name = format!("{}_mask.png", image.file_stem().unwrap().to_str().unwrap());
    let category = image.ancestors().nth(3).unwrap();
    let mask = category.join("ground_truth").join(defect).join(name);
    let mask = read_mask(&mask, &Limits::default()).unwrap();
    resize_mask(mask.view(), &Preprocess::clip(side, Resize::Squash))
}

#[test]
fn eval_measures_the_pixels_that_count() {
    let folder = with_set();
    let at = folder.path();
    rows(at, "out-of-sight/gear.json", 0, 40);
    let (code, all, said) = eval(at, "");
    assert_eq!(code, Some(0), "{said}");
    let (code, without, said) = eval(at, "ignore = \"out-of-sight\"");
    assert!(code == Some(0) && said.contains("nothing for hex_nut"), "{said}");
    assert_eq!(all["hex_nut"], without["hex_nut"]);
    assert_ne!(all["gear"]["pixel"], without["gear"]["pixel"]);
    // The same from the verdicts themselves, pixel by pixel.
    let mut inspector = Inspector::tiny().unwrap();
    let top = at.join("out-of-sight/gear.json");
    inspector.look(Some(Scope::new(None, Some(&top)).unwrap()));
    let (mut scores, mut labels, mut image_scores, mut damaged) = (vec![], vec![], vec![], vec![]);
    for image in data::find_images(&at.join("set/gear/test")).unwrap() {
        let image = image.unwrap();
        let verdict = inspector.inspect_one(&image).unwrap();
        let side = verdict.map.nrows();
        image_scores.push(verdict.raw_score);
        damaged.push(image.parent().unwrap().file_name().unwrap() != "good");
        let rows = side * 40 / 96;
        scores.extend(verdict.map.slice(ndarray::s![rows.., ..]).iter().copied());
        labels.extend(truth(&image, side).slice(ndarray::s![rows.., ..]).iter().copied());
    }
    let auroc = |scores: Vec<f32>, labels: Vec<bool>| {
        metrics::auroc(Array1::from(scores).view(), Array1::from(labels).view()).unwrap()
    };
    assert_close(&without["gear"]["pixel"]["auroc"], auroc(scores, labels), "pixel");
    assert_close(&without["gear"]["image"]["auroc"], auroc(image_scores, damaged), "image");
    // A file that is for every category, and settings that cannot be.
    let (_, both, said) = eval(at, "ignore = \"out-of-sight/gear.json\"");
    assert!(!said.contains("nothing for"), "{said}");
    assert_eq!(both["gear"], without["gear"]);
    assert_ne!(both["hex_nut"], all["hex_nut"]);
    fs::copy(&top, at.join("out-of-sight/gear.png")).unwrap();
    let (code, _, said) = eval(at, "ignore = \"out-of-sight\"");
    assert!(code == Some(2) && said.contains("gear.png for gear, too"), "{said}");
}

/// What `eval` measures is what `detect --roi` says, without the pixels outside.
#[test]
fn eval_looks_only_where_detect_would() {
    let folder = with_set();
    let at = folder.path();
    rows(at, "within/gear.json", 32, 96);
    let (code, found, said) = eval(at, "roi = \"within\"");
    assert!(code == Some(0) && said.contains("within: nothing for hex_nut"), "{said}");
    let flags = ["detect", "set/gear/test", "--format", "jsonl", "--roi", "within/gear.json"];
    let (code, lines, said) =
        fe_clip(at, &[&flags[..], &["--out", "maps", "--save", "map"]].concat());
    assert_eq!(code, Some(0), "{said}");
    let (mut scores, mut labels, mut image_scores, mut damaged) = (vec![], vec![], vec![], vec![]);
    for line in lines.lines().map(line) {
        let image = at.join(line["path"].as_str().unwrap());
        image_scores.push(line["raw_score"].as_f64().unwrap() as f32);
        damaged.push(image.parent().unwrap().file_name().unwrap() != "good");
        // The header of an array is padded to a multiple of 64 bytes and ends its line.
        let array = fs::read(at.join(line["map"].as_str().unwrap())).unwrap();
        let head = 10 + usize::from(u16::from_le_bytes([array[8], array[9]]));
        let map: Vec<f32> =
            array[head..].chunks(4).map(|v| f32::from_le_bytes(v.try_into().unwrap())).collect();
        let side = map.len().isqrt();
        let outside = side * (side * 32 / 96);
        assert!(map[..outside].iter().all(|value| *value == 0.0));
        scores.extend(&map[outside..]);
        labels.extend(truth(&image, side).iter().skip(outside));
    }
    let (scores, labels) = (Array1::from(scores), Array1::from(labels));
    let (image_scores, damaged) = (Array1::from(image_scores), Array1::from(damaged));
    for (of, scores, labels) in [("pixel", scores, labels), ("image", image_scores, damaged)] {
        let (found, s, l) = (&found["gear"][of], scores.view(), labels.view());
        assert_close(&found["auroc"], metrics::auroc(s, l).unwrap(), of);
        assert_close(&found["ap"], metrics::average_precision(s, l).unwrap(), of);
        assert_close(&found["f1_max"], metrics::f1_max(s, l).unwrap().value, of);
    }
    // Inside of one and outside of the other is where neither complement lies.
    rows(at, "bottom.json", 64, 96);
    let (_, strip, _) = eval(at, "roi = \"within\"\nignore = \"bottom.json\"");
    rows(at, "strip.json", 32, 64);
    let (_, same, _) = eval(at, "roi = \"strip.json\"");
    assert_eq!(strip["gear"], same["gear"]);
    assert_ne!(strip["gear"], found["gear"]);
    let (code, _, said) = eval(at, "roi = \"absent.json\"");
    assert!(code == Some(2) && said.contains("absent.json"), "{said}");
}
