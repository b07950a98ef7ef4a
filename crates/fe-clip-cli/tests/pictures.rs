//! The pictures of the paper: `spectrum` and `detect --save features`; names of outputs.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use image::{Rgb, RgbImage};

fn fe_clip() -> Command {
    Command::cargo_bin("fe-clip").unwrap()
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Brightness of a picture's part, 0 to 255.
fn mean(picture: &RgbImage, left: u32, top: u32, side: u32) -> f32 {
    let part = image::imageops::crop_imm(picture, left, top, side, side).to_image();
    let sum: f32 = part.pixels().map(|p| p.0.iter().map(|c| f32::from(*c)).sum::<f32>()).sum();
    sum / (3 * side * side) as f32
}

#[test]
fn a_spectrum_is_dark_where_the_image_is_flat_and_bright_where_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.png");
    // Flat at the left, a fine chequer at the right; 100 rows hold 6 regions of 16.
    RgbImage::from_fn(
        160,
        100,
        |x, y| Rgb([if x < 80 || (x + y) % 2 == 0 { 120 } else { 160 }; 3]),
    )
    .save(&path)
    .unwrap();
    let out = folder.path().join("spectrum.png");
    let output = fe_clip().arg("spectrum").arg(&path).arg("--out").arg(&out).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), out.to_str().unwrap());
    let picture = image::open(&out).unwrap().to_rgb8();
    assert_eq!(picture.dimensions(), (3 * 160 + 2 * 8 + 40, 96 + 12));
    let texture = 2 * (160 + 8);
    assert!(mean(&picture, texture + 8, 20, 48) < 2.0);
    assert!(mean(&picture, texture + 96, 20, 48) > 10.0);
    // Of a flat region only the first coefficient is not dark.
    let spectrum = 160 + 8;
    assert!(picture.get_pixel(spectrum, 12).0.iter().any(|c| *c > 200));
    assert!(picture.get_pixel(spectrum + 1, 12).0.iter().all(|c| *c < 20));
}

#[test]
fn an_image_smaller_than_a_region_has_no_spectrum() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.png");
    RgbImage::new(40, 10).save(&path).unwrap();
    let out = folder.path().join("spectrum.png");
    let output = fe_clip().arg("spectrum").arg(&path).arg("--out").arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("small.png") && said(&output).contains("40x10"));
    assert!(!out.exists());
}

#[test]
fn features_are_five_panels_of_the_images_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("part.png");
    RgbImage::from_fn(90, 60, |x, y| Rgb([(x * 2) as u8, (y * 3) as u8, 90])).save(&path).unwrap();
    let out = folder.path().join("out");
    let detect = |extra: &[&str]| {
        fe_clip()
            .args(["detect", "--save", "features", "--out"])
            .arg(&out)
            .args(extra)
            .arg(&path)
            .output()
            .unwrap()
    };
    let output = detect(&[]);
    assert!(output.status.success(), "{}", said(&output));
    let picture = image::open(out.join("part_features.png")).unwrap().to_rgb8();
    assert_eq!(picture.dimensions(), (5 * 90 + 4 * 8 + 40, 60 + 12));
    assert_eq!(*picture.get_pixel(10, 12 + 10), Rgb([20, 30, 90]));
    assert!(!out.join("part_overlay.png").exists());
    // A method without adapters has none; the score is told all the same.
    let config = folder.path().join("run.toml");
    fs::write(&config, "[model]\nmethod = \"spectral-residual\"\n").unwrap();
    let output = detect(&["--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("no FFE or LFS"), "{}", said(&output));
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(line["score"].is_number() && line["error"].is_string(), "{line}");
}

#[test]
fn outputs_of_equal_names_are_told_apart_by_their_folders() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a/good/000.png", "a/bad/000.png", "b/bad/000.png"] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_pixel(40, 30, Rgb([80, 90, 99])).save(path).unwrap();
    }
    let out = folder.path().join("out");
    let output = fe_clip()
        .args(["detect", "--out"])
        .arg(&out)
        .args(["a/good/000.png", "a/bad", "b/bad"].map(|p| folder.path().join(p)))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    for name in ["good/000_overlay.png", "a/bad/000_overlay.png", "b/bad/000_overlay.png"] {
        assert!(out.join(name).exists(), "{name} is not there");
    }
    assert!(!Path::new(&out).join("000_overlay.png").exists());
}
