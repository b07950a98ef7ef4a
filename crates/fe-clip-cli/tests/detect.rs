//! `fe-clip detect` and its neighbours on good and bad input, as a user would call them.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use serde_json::Value;

fn fe_clip() -> Command {
    Command::cargo_bin("fe-clip").unwrap()
}

fn photo(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x % 251) as u8, (y % 241) as u8, 90]))
}

fn lines(output: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(output).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_common_pixel_format_is_scored() {
    let folder = tempfile::tempdir().unwrap();
    let rgb = DynamicImage::ImageRgb8(photo(90, 60));
    let save = |image: &DynamicImage, name: &str| image.save(folder.path().join(name)).unwrap();
    save(&rgb, "a.png");
    save(&rgb, "b.jpg");
    save(&rgb, "c.bmp");
    save(&rgb, "d.tiff");
    save(&rgb, "e.webp");
    save(&DynamicImage::ImageLuma8(rgb.to_luma8()), "f.png");
    save(&DynamicImage::ImageLuma16(rgb.to_luma16()), "g.png");
    save(&DynamicImage::ImageRgb16(rgb.to_rgb16()), "h.png");
    save(&DynamicImage::ImageRgba8(rgb.to_rgba8()), "i.png");
    let output = fe_clip().arg("detect").arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = lines(&output.stdout);
    assert_eq!(found.len(), 9);
    for line in &found {
        let score = line["score"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&score), "{line}");
        assert_eq!((line["width"].as_u64(), line["height"].as_u64()), (Some(90), Some(60)));
        assert!(line["label"].is_string() && line["map"].is_null());
    }
    // The same pixels in a lossless 16-bit file are the same image.
    assert_eq!(found[0]["score"], found[7]["score"]);
}

#[test]
fn bad_files_are_named_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    photo(64, 64).save(path("good.png")).unwrap();
    fs::write(path("empty.png"), b"").unwrap();
    fs::write(path("text.jpg"), b"this is no image").unwrap();
    let png = fs::read(path("good.png")).unwrap();
    fs::write(path("truncated.png"), &png[..png.len() / 2]).unwrap();
    // A header that promises 60000 x 60000 pixels.
    let mut huge = png.clone();
    huge[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let mut crc = flate2::Crc::new();
    crc.update(&huge[12..29]);
    huge[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    fs::write(path("huge.png"), &huge).unwrap();
    let missing = path("missing.png");
    let output = fe_clip().arg("detect").arg(folder.path()).arg(&missing).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let found = lines(&output.stdout);
    assert_eq!(found.len(), 6);
    let errors = String::from_utf8(output.stderr).unwrap();
    for name in ["empty.png", "text.jpg", "truncated.png", "huge.png", "missing.png"] {
        let line = found.iter().find(|l| l["path"].as_str().unwrap().ends_with(name)).unwrap();
        assert!(line["error"].as_str().is_some_and(|e| e.contains(name)), "{line}");
        assert!(errors.contains(name), "{name} is not named on stderr: {errors}");
    }
    assert!(found.iter().any(|l| l["score"].is_number()));
}

#[test]
fn what_is_asked_for_is_written_and_readable() {
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("parts/left");
    fs::create_dir_all(&parts).unwrap();
    photo(120, 80).save(parts.join("one.png")).unwrap();
    let out = folder.path().join("out");
    let output = fe_clip()
        .args(["detect", "--save", "overlay,map,tiff,mask", "--threshold", "0.5", "--out"])
        .arg(&out)
        .arg(folder.path().join("parts"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = &lines(&output.stdout)[0];
    assert!(["normal", "anomalous"].contains(&line["label"].as_str().unwrap()));
    let map = fs::read(line["map"].as_str().unwrap()).unwrap();
    assert!(map.starts_with(b"\x93NUMPY\x01\x00"));
    let header_end = 10 + usize::from(u16::from_le_bytes([map[8], map[9]]));
    assert_eq!(header_end % 64, 0);
    let values: Vec<f32> = map[header_end..]
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    assert_eq!(values.len(), 240 * 240);
    assert!(values.iter().all(|v| (0.0..=1.0).contains(v)));
    let highest = values.iter().copied().fold(0.0, f32::max);
    assert!((line["map_max"].as_f64().unwrap() - f64::from(highest)).abs() < 1e-6);
    let overlay = Path::new(line["overlay"].as_str().unwrap());
    assert!(overlay.starts_with(&out));
    assert!(image::open(overlay).unwrap().width() > 120);
    let file = fs::File::open(out.join("left/one.tiff")).unwrap();
    let mut tiff = tiff::decoder::Decoder::new(std::io::BufReader::new(file)).unwrap();
    assert_eq!(tiff.dimensions().unwrap(), (120, 80));
    match tiff.read_image().unwrap() {
        tiff::decoder::DecodingResult::F32(values) => assert_eq!(values.len(), 120 * 80),
        _ => panic!("expected float32"),
    }
    let mask = image::open(out.join("left/one_mask.png")).unwrap().to_luma8();
    assert_eq!(mask.dimensions(), (120, 80));
    assert!(mask.pixels().all(|p| p[0] == 0 || p[0] == 255));
}

#[test]
fn paths_come_from_standard_input_and_results_as_csv() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a, b.png");
    photo(50, 50).save(&path).unwrap();
    let output = fe_clip()
        .args(["detect", "-", "--format", "csv"])
        .write_stdin(format!("{}\r\n", path.display()))
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut rows = text.lines();
    assert_eq!(
        rows.next(),
        Some(
            "path,score,label,map_max,width,height,map,overlay,error,raw_score,regions,largest_x,\
             largest_y,largest_width,largest_height,largest_area,largest_score,largest_area_mm2,\
             largest_zone"
        )
    );
    assert!(rows.next().unwrap().starts_with(&format!("\"{}\",0.", path.display())));
}

#[test]
fn regions_have_boxes_and_outlines_in_pixels_of_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    photo(120, 80).save(&path).unwrap();
    let found = |threshold: &str| -> serde_json::Value {
        let output = fe_clip()
            .args(["detect", "--format", "jsonl", "--threshold", threshold])
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let whole = found("0");
    let [region] = &whole["regions"].as_array().unwrap()[..] else { panic!("{whole}") };
    assert_eq!(
        region["polygon"],
        serde_json::json!([[0.0, 0.0], [120.0, 0.0], [120.0, 80.0], [0.0, 80.0]])
    );
    assert_eq!(region["score"], whole["map_max"]);
    assert_eq!((&region["width"], &region["area"]), (&120.into(), &9600.into()));
    assert_eq!(found("1")["regions"], serde_json::json!([]));
}

#[test]
fn nothing_to_do_is_an_error_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let output = fe_clip().arg("detect").arg(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains(folder.path().to_str().unwrap()), "{errors}");
    let image = folder.path().join("a.png");
    photo(20, 20).save_with_format(&image, ImageFormat::Png).unwrap();
    let blocked = image.join("out");
    let output = fe_clip().arg("detect").arg(&image).arg("--out").arg(&blocked).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--out"));
    let output = fe_clip()
        .env("HF_HUB_OFFLINE", "1")
        .args(["detect", "--model", "nowhere/at-all"])
        .arg(&image)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("nowhere/at-all"));
}

/// Real photographs in their original layouts, where they are at hand.
#[test]
fn real_photographs_are_scored() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/dev");
    if !root.exists() {
        eprintln!(
            "MISSING DATA: {} is not there; real photographs were not tested",
            root.display()
        );
        return;
    }
    let output = fe_clip()
        .arg("detect")
        .args([
            root.join("mvtec"),
            root.join("brainmri/yes"),
            root.join("kvasir/Kvasir-SEG/images"),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(lines(&output.stdout).iter().all(|line| line["score"].is_number()));
}

#[test]
fn tiny_labels_by_its_own_thresholds_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    std::fs::create_dir(&good).unwrap();
    let image = good.join("a.png");
    RgbImage::from_fn(64, 64, |x, y| Rgb([100 + x as u8, 90 + y as u8, 80])).save(&image).unwrap();
    let config = folder.path().join("run.toml");
    std::fs::write(&config, "[model]\nmethod = \"clip\"\n").unwrap();
    let calibration: Value =
        serde_json::from_str(include_str!("../../fe-clip/assets/tiny/calibration.json")).unwrap();
    let label = |flags: &[&std::ffi::OsStr]| {
        let mut command = Command::cargo_bin("fe-clip").unwrap();
        command.arg("detect").arg(&image).args(["--format", "jsonl"]).args(flags);
        let output = command.output().unwrap();
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        (line["score"].as_f64().unwrap(), line["label"].clone())
    };
    let (score, found) = label(&[]);
    let threshold = calibration["image"]["threshold"].as_f64().unwrap();
    assert_eq!(found, if score > threshold { "anomalous" } else { "normal" });
    for flags in
        [["--normals".as_ref(), good.as_os_str()], ["--config".as_ref(), config.as_os_str()]]
    {
        assert!(label(&flags).1.is_null(), "{flags:?}");
    }
}
