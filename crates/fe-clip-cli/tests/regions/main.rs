//! Regions: the flags that say which count, and the files that tell of them.
//!
//! Files of others' formats are read with the packages of `requirements.txt` by the Python that
//! `FE_CLIP_PYTHON` names, else `python3`. Without them the test says that it is skipped.
#![allow(clippy::unwrap_used)]

#[path = "../python/mod.rs"]
mod python;

use std::io::Write;
use std::path::Path;
use std::{fs, process};

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::{Value, json};

/// Side of the model's input: maps of such images are as large as they.
const SIDE: u32 = 240;

fn fe_clip(folder: &Path, flags: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("fe-clip").unwrap();
    let output = command.current_dir(folder).arg("detect").args(flags).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Plates with scratches and spots, the last one without.
fn with_images() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    for n in 0..4u32 {
        let image = RgbImage::from_fn(SIDE, SIDE, |x, y| {
            let grain = (x * 7919 + y * 104_729).wrapping_mul(2_654_435_761) >> 29;
            let spot = |cx: u32, cy: u32| x.abs_diff(cx).pow(2) + y.abs_diff(cy).pow(2) < 90;
            let scratch = x.abs_diff(y) < 3 && (120..200).contains(&x);
            let damaged = match n {
                0 => spot(60, 50) || spot(180, 170),
                1 => scratch || spot(50, 190),
                2 => spot(200, 40) || spot(40, 40) || spot(120, 120),
                _ => false,
            };
            if damaged { Rgb([20, 10, 30]) } else { Rgb([150 + grain as u8, 150, 140]) }
        });
        image.save(folder.path().join(format!("in/{n}.png"))).unwrap();
    }
    folder
}

fn regions(line: &str) -> Vec<Value> {
    let line: Value = serde_json::from_str(line).unwrap();
    line["regions"].as_array().unwrap().clone()
}

#[test]
fn tools_for_labels_read_the_regions() {
    let folder = with_images();
    let files = ["--save", "coco,label-studio,yolo,mask", "--report", "--scale", "0.5"];
    let flags = ["in", "--out", "out", "--threshold", "0.2", "--format", "jsonl"];
    let (code, lines, said) = fe_clip(folder.path(), &[&flags[..], &files].concat());
    assert_eq!(code, Some(0), "{said}");
    let coco: Value =
        serde_json::from_slice(&fs::read(folder.path().join("out/regions.coco.json")).unwrap())
            .unwrap();
    assert_eq!(coco["images"].as_array().unwrap().len(), 4);
    let all: Vec<Value> = lines.lines().flat_map(regions).collect();
    assert!(all.len() > 4, "{lines}");
    for (region, annotation) in all.iter().zip(coco["annotations"].as_array().unwrap()) {
        assert_eq!(region["score"], annotation["score"]);
        assert_eq!(region["area_mm2"], json!(region["area"].as_f64().unwrap() / 4.0));
    }
    let results = folder.path().join("results.jsonl");
    fs::write(&results, lines).unwrap();
    // Not by eprintln!, which is silent in a test that passes.
    let mut terminal = std::io::stderr();
    let packages = "import numpy, PIL, pyarrow, pycocotools, scipy";
    let Some(python) = python::python(packages) else {
        let words = "SKIPPED, no Python with pycocotools and others: install \
                     crates/fe-clip-cli/tests/regions/requirements.txt and name the interpreter \
                     in FE_CLIP_PYTHON";
        writeln!(terminal, "\ntools_for_labels_read_the_regions: {words}\n").unwrap();
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regions/check.py");
    let mut check = process::Command::new(python);
    let output = check.arg(script).arg(folder.path().join("out")).arg(results).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("regions of 4 images"), "{said}");
}

#[test]
fn flags_say_which_regions_count() {
    let folder = with_images();
    let found = |flags: &[&str]| {
        let base = ["in/2.png", "--threshold", "0.4", "--format", "jsonl"];
        let (code, line, said) = fe_clip(folder.path(), &[&base[..], flags].concat());
        assert_eq!(code, Some(0), "{said}");
        regions(&line)
    };
    let area = |region: &Value| region["area"].as_u64().unwrap();
    let all = found(&[]);
    assert!(all.len() > 1 && all.iter().all(|region| region.get("area_mm2").is_none()));
    let mut areas: Vec<u64> = all.iter().map(area).collect();
    areas.sort_unstable();
    // The smallest is left out; so it is by its area in mm², of which a pixel has a quarter.
    let limit = (areas[0] + 1).to_string();
    let fewer = found(&["--min-area", &limit]);
    assert_eq!(fewer, all.iter().filter(|r| area(r) > areas[0]).cloned().collect::<Vec<_>>());
    let limit = ((areas[0] + 1) as f64 / 4.0).to_string();
    assert_eq!(found(&["--scale", "0.5", "--min-area", &limit]).len(), fewer.len());
    // With hysteresis every region is as large or larger, and none without a core is there.
    let wider = found(&["--region-low", "0.2"]);
    assert!(!wider.is_empty() && wider.len() <= all.len());
    assert!(wider.iter().all(|region| region["score"].as_f64().unwrap() >= 0.4));
    let sum = |regions: &[Value]| regions.iter().map(area).sum::<u64>();
    assert!(sum(&wider) > sum(&all), "{} {}", sum(&wider), sum(&all));
}

#[test]
fn columns_count_regions_where_there_is_a_threshold() {
    let folder = with_images();
    let row = |flags: &[&str]| -> Vec<String> {
        let base = ["in/0.png", "--format", "csv"];
        let (code, text, said) = fe_clip(folder.path(), &[&base[..], flags].concat());
        assert_eq!(code, Some(0), "{said}");
        text.lines().nth(1).unwrap().split(',').skip(10).map(str::to_owned).collect()
    };
    assert_eq!(row(&["--threshold", "1"]), ["0", "", "", "", "", "", "", "", ""]);
    fs::write(folder.path().join("clip.toml"), "[model]\nmethod = \"clip\"\n").unwrap();
    assert_eq!(row(&["--config", "clip.toml"]), [""; 9]);
    let whole = row(&["--threshold", "0", "--scale", "0.5"]);
    assert_eq!(whole[..6], ["1", "0", "0", "240", "240", "57600"]);
    assert_eq!(whole[7..], ["14400", ""]); // and no zone
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = with_images();
    fs::write(folder.path().join("clip.toml"), "[model]\nmethod = \"clip\"\n").unwrap();
    let refused = |flags: &[&str], expected: &str| {
        let (code, _, said) = fe_clip(folder.path(), flags);
        assert!(code == Some(2) && said.contains(expected), "{flags:?}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    };
    let clip = ["in", "--config", "clip.toml"];
    let with = |flags: &[&'static str]| [&clip[..], flags].concat();
    refused(&with(&["--out", "o", "--save", "coco"]), "--save coco needs --threshold");
    refused(&with(&["--out", "o", "--save", "yolo"]), "--save yolo needs --threshold");
    refused(&with(&["--min-area", "3"]), "--min-area needs --threshold");
    let low = ["in", "--threshold", "0.5", "--region-low", "0.6"];
    refused(&low, "--region-low: expected 0 to the pixel threshold, 0.5, got 0.6");
    let watch = ["--watch", "in", "--threshold", "0.5", "--out", "o", "--save", "label-studio"];
    refused(&watch, "--save label-studio: it is written when the run ends");
}
