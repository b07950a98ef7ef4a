//! `calibrate --zones` and `detect --zones`, as a user would call them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use data::{Limits, Preprocess, Resize, read_mask, resize_mask};
use image::{GrayImage, Luma, Rgb, RgbImage};
use ndarray::{Array1, Array2};
use serde_json::{Value, json};

/// The zone at the left, in which normal images differ from each other.
const LEFT: u32 = 100;

fn fe_clip(folder: &Path, flags: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("fe-clip").unwrap();
    let output = command.current_dir(folder).args(flags).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn succeed(folder: &Path, flags: &[&str]) -> (String, String) {
    let (code, text, said) = fe_clip(folder, flags);
    assert_eq!(code, Some(0), "{flags:?}: {said}");
    (text, said)
}

/// A part whose left side has labels of many colours; at the right may be a spot.
fn part(n: u32, spot: bool) -> RgbImage {
    RgbImage::from_fn(240, 160, |x, y| {
        let hash = |k: u32| k.wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(0x9e37_79b1);
        let grain = (hash(x * 7919 + y * 104_729 + n) >> 30) as u8;
        let is_spot = spot && x.abs_diff(190) < 20 && y.abs_diff(70) < 20;
        match (x < LEFT, is_spot) {
            (true, _) if (x / 12 + y / 12 + n).is_multiple_of(3) => {
                let colour = hash(n * 31 + x / 12 + 97 * (y / 12)).to_be_bytes();
                Rgb([colour[0], colour[1], colour[2]])
            }
            (_, true) => Rgb([20, 10, 30]),
            _ => Rgb([150 + grain, 150, 140]),
        }
    })
}

/// Twenty normal images, a part with a spot, and the same zones by polygons and by a mask.
fn with_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("good")).unwrap();
    (0..20).for_each(|n| part(n, false).save(at(&format!("good/{n:02}.png"))).unwrap());
    part(50, true).save(at("spot.png")).unwrap();
    let left = json!([[[0, 0], [LEFT, 0], [LEFT, 160], [0, 160]]]);
    let right = json!([[[LEFT, 0], [240, 0], [240, 160], [LEFT, 160]]]);
    let zones = json!({"zones": [
        {"name": "label", "polygons": left}, {"name": "right", "polygons": right}]});
    fs::write(at("zones.json"), zones.to_string()).unwrap();
    GrayImage::from_fn(240, 160, |x, _| Luma([255 * u8::from(x < LEFT)]))
        .save(at("left.png"))
        .unwrap();
    let by_mask = json!({"zones": [{"name": "label", "mask": "left.png"}]});
    fs::write(at("by-mask.json"), by_mask.to_string()).unwrap();
    folder
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The map that `--save map` wrote.
fn map(path: &Path) -> Array2<f32> {
    let bytes = fs::read(path).unwrap();
    let values = &bytes[bytes.len() - 4 * 240 * 240..];
    let values = values.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
    Array1::from_iter(values).into_shape_with_order((240, 240)).unwrap()
}

fn calibrate(folder: &Path, zones: &[&str], out: &str) -> Value {
    let usual = ["calibrate", "--normals", "good", "--false-alarm-rate", "0.1", "--out", out];
    succeed(folder, &[&usual[..], zones].concat());
    json_of(&folder.join(out))
}

#[test]
fn each_zone_has_a_threshold_and_its_regions_name_it() {
    let folder = with_files();
    let folder = folder.path();
    let whole = calibrate(folder, &[], "whole.json");
    let zoned = calibrate(folder, &["--zones", "zones.json"], "zoned.json");
    for key in ["image", "pixel", "data", "false_alarm_rate"] {
        assert_eq!(zoned[key], whole[key], "{key}");
    }
    // The thresholds are order statistics of what the maps have in each zone.
    let flags = ["detect", "good", "--out", "out", "--save", "map", "--format", "jsonl"];
    succeed(folder, &flags);
    let mask = read_mask(&folder.join("left.png"), &Limits::default()).unwrap();
    let left = resize_mask(mask.view(), &Preprocess::clip(240, Resize::Squash));
    for (at, side) in [(0, true), (1, false)] {
        let highest = |n: u32| {
            let map = map(&folder.join(format!("out/{n:02}_map.npy")));
            let inside = map.iter().zip(&left).filter(|(_, left)| **left == side);
            inside.map(|(value, _)| *value).fold(0.0f32, f32::max)
        };
        let mut scores: Vec<f32> = (0..20).map(highest).collect();
        scores.sort_by(f32::total_cmp);
        let zone = &zoned["zones"]["named"][at];
        // ceil(21 * 0.9)
        assert_eq!(zone["rank"], 19);
        let threshold = zone["threshold"].as_f64().unwrap();
        assert!((threshold - f64::from(scores[18])).abs() < 1e-6, "{zone} {scores:?}");
    }
    assert_eq!(zoned["zones"]["elsewhere"]["threshold"], 0.0);
    let level = |at: usize| zoned["zones"]["named"][at]["threshold"].as_f64().unwrap();
    assert!(level(0) > 2.0 * level(1), "the labels are louder: {zoned}");

    // A spot that is weaker than the labels is seen where there are none.
    let detect = |calibration: &str, flags: &[&str]| -> Value {
        let usual = ["detect", "spot.png", "--calibration", calibration, "--out", "spots"];
        let save = ["--save", "mask,coco,overlay", "--report", "--format", "jsonl"];
        let (text, _) = succeed(folder, &[&usual[..], &save, flags].concat());
        serde_json::from_str(&text).unwrap()
    };
    let at_spot = |line: &Value| -> Vec<Value> {
        let regions = line["regions"].as_array().unwrap().iter();
        regions.filter(|r| r["x"].as_u64() >= Some(u64::from(LEFT))).cloned().collect()
    };
    assert_eq!(at_spot(&detect("whole.json", &[])), [Value::Null; 0]);
    let line = detect("zoned.json", &["--zones", "zones.json"]);
    let found = at_spot(&line);
    assert!(!found.is_empty(), "{line}");
    for region in &found {
        assert_eq!(region["zone"], "right");
        assert!(region["score"].as_f64().unwrap() > level(1));
    }
    let mask = read_mask(&folder.join("spots/spot_mask.png"), &Limits::default()).unwrap();
    assert!(mask[[70, 190]] && !mask[[150, 105]]);
    let coco = json_of(&folder.join("spots/regions.coco.json"));
    let zones: Vec<&Value> = coco["annotations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|annotation| &annotation["attributes"]["zone"])
        .collect();
    assert!(zones.contains(&&json!("right")), "{coco}");
    let csv = fs::read_to_string(folder.join("spots/results.csv")).unwrap();
    assert!(csv.lines().next().unwrap().ends_with(",largest_zone"), "{csv}");
    assert!(csv.trim().ends_with(",right") || csv.trim().ends_with(",label"), "{csv}");
}

#[test]
fn a_mask_is_a_zone_and_the_rest_is_elsewhere() {
    let folder = with_files();
    let folder = folder.path();
    let polygons = calibrate(folder, &["--zones", "zones.json"], "polygons.json");
    let mask = calibrate(folder, &["--zones", "by-mask.json"], "mask.json");
    assert_eq!(mask["zones"]["named"][0], polygons["zones"]["named"][0]);
    let right = &polygons["zones"]["named"][1];
    assert_eq!(mask["zones"]["elsewhere"]["threshold"], right["threshold"]);
    let flags = ["detect", "spot.png", "--zones", "by-mask.json", "--calibration", "mask.json"];
    let (text, _) = succeed(folder, &[&flags[..], &["--format", "jsonl"]].concat());
    let line: Value = serde_json::from_str(&text).unwrap();
    let regions = line["regions"].as_array().unwrap();
    assert!(regions.iter().any(|region| region.get("zone").is_none()), "{line}");
    // Images are added to the same zones alone.
    let more = ["calibrate", "--normals", "good", "--out", "added.json", "--add", "mask.json"];
    succeed(folder, &[&more[..], &["--zones", "by-mask.json"]].concat());
    assert_eq!(json_of(&folder.join("added.json"))["zones"], mask["zones"]);
    let (code, _, said) = fe_clip(folder, &more);
    assert!(code == Some(2) && said.contains("zones was"), "{said}");
}

#[test]
fn what_does_not_fit_is_told_in_one_line() {
    let folder = with_files();
    let folder = folder.path();
    calibrate(folder, &["--zones", "zones.json"], "zoned.json");
    calibrate(folder, &[], "whole.json");
    let detect = |flags: &[&str]| fe_clip(folder, &[&["detect", "spot.png"][..], flags].concat());
    for (flags, reason) in [
        (&["--zones", "zones.json"][..], "--calibration"),
        (&["--calibration", "zoned.json"], "calibrated in the zones label, right"),
        (&["--calibration", "whole.json", "--zones", "zones.json"], "zones was null"),
        (&["--calibration", "zoned.json", "--zones", "by-mask.json"], "zones.names was"),
        (&["--calibration", "zoned.json", "--zones", "spot.png"], "--zones"),
    ] {
        let (code, text, said) = detect(flags);
        assert_eq!((code, text.as_str()), (Some(2), ""), "{said}");
        assert!(said.contains(reason), "{reason}: {said}");
    }
    // An image of another size is named, the others go on.
    let small = RgbImage::from_pixel(100, 100, Rgb([9, 9, 9]));
    small.save(folder.join("small.png")).unwrap();
    let zones = ["--calibration", "zoned.json", "--zones", "zones.json", "--format", "jsonl"];
    let (code, text, said) = detect(&[&["small.png"][..], &zones].concat());
    assert_eq!((code, text.lines().count()), (Some(1), 2), "{said}");
    assert!(said.contains("lies outside of an image of 100 x 100"), "{said}");
}
