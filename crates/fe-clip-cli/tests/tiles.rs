//! `[model.tile]`, as a user would set it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::Value;

fn fe_clip(folder: &Path, flags: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("fe-clip").unwrap();
    let output = command.current_dir(folder).args(flags).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn with_images() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("good")).unwrap();
    for n in 0..4u32 {
        let image = RgbImage::from_fn(600, 300, |x, y| {
            let pit = n == 3 && x.abs_diff(420) < 3 && y.abs_diff(100) < 3;
            let grain = ((x / 3 * 7919 + y * 104_729 + n).wrapping_mul(2_654_435_761) >> 29) as u8;
            if pit { Rgb([20; 3]) } else { Rgb([150 + grain; 3]) }
        });
        let name = if n == 3 { "pit.png".into() } else { format!("good/{n}.png") };
        image.save(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("tiles.toml"), "[model.tile]\noverlap = 60\n").unwrap();
    fs::write(folder.path().join("whole.toml"), "").unwrap();
    folder
}

#[test]
fn a_calibration_with_tiles_finds_what_is_small() {
    let folder = with_images();
    let calibrate = |config: &str| {
        let flags = ["calibrate", "--normals", "good", "--false-alarm-rate", "0.25"];
        let (code, _, said) = fe_clip(
            folder.path(),
            &[&flags[..], &["--config", config, "--out", "c.json"]].concat(),
        );
        assert_eq!(code, Some(0), "{said}");
    };
    let detect = |config: &str| {
        let flags = ["detect", "pit.png", "--calibration", "c.json", "--config", config];
        let out = ["--out", "out", "--save", "map,overlay,mask", "--format", "jsonl"];
        fe_clip(folder.path(), &[&flags[..], &out].concat())
    };
    calibrate("tiles.toml");
    let (code, text, said) = detect("tiles.toml");
    assert_eq!(code, Some(0), "{said}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["label"], "anomalous", "{line}");
    let near = |region: &&Value| {
        let edge = |key: &str| region[key].as_u64().unwrap();
        (edge("x")..edge("x") + edge("width")).contains(&420)
            && (edge("y")..edge("y") + edge("height")).contains(&100)
    };
    assert_eq!(line["regions"].as_array().unwrap().iter().filter(near).count(), 1, "{line}");
    let map = fs::read(folder.path().join("out/pit_map.npy")).unwrap();
    let header = String::from_utf8_lossy(&map[..128]);
    assert!(header.contains("'shape': (300, 600)"), "{header}");
    // Thresholds of one way to look are none of the other.
    let (code, _, said) = detect("whole.toml");
    assert!(code == Some(2) && said.contains("made for another model: config.tile"), "{said}");
}

#[test]
fn what_cannot_be_done_in_tiles_is_refused_in_one_line() {
    let folder = with_images();
    let refused = |flags: &[&str], expected: &str| {
        let (code, _, said) = fe_clip(folder.path(), flags);
        let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error")).collect();
        assert!(code == Some(2) && errors.len() == 1, "{flags:?}: {said}");
        assert!(said.contains(expected), "{flags:?}: {said}");
    };
    let tiles = ["--config", "tiles.toml"];
    refused(&[&["detect", "--group", "good"][..], &tiles].concat(), "without model.tile");
    refused(&[&["export", "--out", "m.onnx"][..], &tiles].concat(), "model.tile is no part");
    refused(
        &[&["serve", "--addr", "127.0.0.1:0"][..], &tiles].concat(),
        "model.tile: serve scores",
    );
    for (text, expected) in [
        ("[model.tile]\nsize = 8\n", "model.tile.size: expected 16 to"),
        ("[model.tile]\nsize = 200\noverlap = 101\n", "model.tile.overlap: expected up to half"),
        ("[model.tile]\nsize = 200\nblend = \"hard\"\n", "blend"),
        ("[model.tile]\nside = 200\n", "side"),
    ] {
        fs::write(folder.path().join("bad.toml"), text).unwrap();
        refused(&["detect", "pit.png", "--config", "bad.toml"], expected);
    }
}
