//! `fe-clip calibrate` and `detect --calibration`, as a user would call them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::Value;

fn fe_clip() -> Command {
    Command::cargo_bin("fe-clip").unwrap()
}

/// So many different images of stripes.
fn write_normals(folder: &Path, count: u32) {
    fs::create_dir_all(folder).unwrap();
    for n in 0..count {
        let image = RgbImage::from_fn(64, 64, |x, y| {
            let stripe = ((x * (n % 5 + 3) + y * (n % 3)) % 64) as u8;
            Rgb([100 + stripe, 90, 80 + n as u8])
        });
        image.save(folder.join(format!("{n:02}.png"))).unwrap();
    }
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Fails with an exit code and returns what was said.
fn fail(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    errors
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn floats(lines: &[Value], key: &str) -> Vec<f64> {
    lines.iter().map(|line| line[key].as_f64().unwrap()).collect()
}

#[test]
fn the_thresholds_are_order_statistics_and_label_images_and_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let normals = folder.path().join("good");
    write_normals(&normals, 12);
    let file = folder.path().join("calibration.json");
    let mut calibrate = fe_clip();
    calibrate.args(["calibrate", "--false-alarm-rate", "0.2", "--normals"]).arg(&normals);
    let printed = succeed(calibrate.arg("--out").arg(&file));
    assert_eq!(printed.trim(), file.to_str().unwrap());
    let calibration: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(calibration["data"]["images"], 12);
    assert_eq!(calibration["model"]["backbone"].as_str().unwrap().len(), 64);

    let out = folder.path().join("out");
    let mut detect = fe_clip();
    detect.arg("detect").arg(&normals).arg("--calibration").arg(&file).arg("--out").arg(&out);
    let found = lines(&succeed(&mut detect));
    // ceil(13 * 0.8) = 11: one image lies above. The 11th itself may, by the rounding of batches
    // of another size.
    let label = |line: &&Value| line["label"] == "anomalous";
    assert!((1..=2).contains(&found.iter().filter(label).count()));
    let threshold = |level: &str| calibration[level]["threshold"].as_f64().unwrap();
    for (level, key) in [("image", "score"), ("pixel", "map_max")] {
        let mut values = floats(&found, key);
        values.sort_by(f64::total_cmp);
        assert!((values[10] - threshold(level)).abs() < 1e-6, "{level}: {values:?}");
    }
    let marked = (0..12).filter(|n| {
        let mask = image::open(out.join(format!("{n:02}_mask.png"))).unwrap().to_luma8();
        mask.pixels().any(|p| p[0] == 255)
    });
    assert!((1..=2).contains(&marked.count()));
}

#[test]
fn references_are_never_calibrated_on_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let normals = folder.path().join("good");
    write_normals(&normals, 9);
    fs::copy(normals.join("00.png"), normals.join("copy.png")).unwrap();
    let file = folder.path().join("calibration.json");
    let mut calibrate = fe_clip();
    calibrate.args(["calibrate", "--false-alarm-rate", "0.2", "--shots", "2", "--normals"]);
    succeed(calibrate.arg(&normals).arg("--out").arg(&file));
    let calibration: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(calibration["data"]["images"], 7);
    assert_eq!(calibration["model"]["references"].as_array().unwrap().len(), 2);

    let detect = |normals: Option<&Path>| {
        let mut detect = fe_clip();
        detect.arg("detect").arg(folder.path().join("good")).arg("--calibration").arg(&file);
        if let Some(normals) = normals {
            detect.arg("--normals").arg(normals);
        }
        detect
    };
    let found = lines(&succeed(&mut detect(Some(&normals))));
    let threshold = calibration["image"]["threshold"].as_f64().unwrap();
    // The threshold is one of the scores: the same two images are remembered.
    assert!(floats(&found, "raw_score").iter().any(|s| (s - threshold).abs() < 1e-6));
    assert!(fail(&mut detect(None), 2).contains("give its normal images"));
    let other = folder.path().join("other");
    write_normals(&other, 1);
    assert!(fail(&mut detect(Some(&other)), 2).contains("memory bank of 2 images"));

    // References in a folder of their own that overlaps.
    let mut calibrate = fe_clip();
    calibrate.args(["calibrate", "--false-alarm-rate", "0.2", "--normals"]).arg(&normals);
    succeed(calibrate.arg("--references").arg(&other).arg("--out").arg(&file));
    let calibration: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(calibration["data"]["images"], 8);
}

#[test]
fn another_model_is_refused_and_the_difference_named() {
    let folder = tempfile::tempdir().unwrap();
    let normals = folder.path().join("good");
    write_normals(&normals, 4);
    let file = folder.path().join("calibration.json");
    let mut calibrate = fe_clip();
    calibrate.args(["calibrate", "--false-alarm-rate", "0.5", "--normals"]).arg(&normals);
    succeed(calibrate.arg("--out").arg(&file));
    let settings = folder.path().join("run.toml");
    fs::write(&settings, "[prompts]\nanomalous = [\"a broken thing\"]\n").unwrap();
    let mut detect = fe_clip();
    detect.arg("detect").arg(&normals).arg("--calibration").arg(&file);
    let errors = fail(detect.arg("--config").arg(&settings), 2);
    assert!(errors.contains("prompts.anomalous") && errors.contains("a broken thing"), "{errors}");
    let mut detect = fe_clip();
    detect.arg("detect").arg(&normals).arg("--calibration").arg(&file);
    let errors = fail(detect.arg("--normals").arg(&normals), 2);
    assert!(errors.contains("calibrated without a memory bank"), "{errors}");
}

#[test]
fn too_few_normal_images_are_told_how_many_are_needed() {
    let folder = tempfile::tempdir().unwrap();
    let normals = folder.path().join("good");
    write_normals(&normals, 3);
    let file = folder.path().join("calibration.json");
    let calibrate = |arguments: &[&str]| {
        let mut command = fe_clip();
        command.arg("calibrate").args(arguments).arg("--normals").arg(&normals);
        command.arg("--out").arg(&file);
        command
    };
    let errors = fail(&mut calibrate(&[]), 2);
    assert!(errors.contains("needs at least 19 normal images"), "{errors}");
    assert!(errors.contains("there are 3") && !file.exists(), "{errors}");
    // A broken file is named; whether the others suffice is decided without it.
    fs::write(normals.join("broken.png"), "none").unwrap();
    let errors = fail(&mut calibrate(&["--false-alarm-rate", "0.2"]), 2);
    assert!(errors.contains("broken.png") && errors.contains("there are 3"), "{errors}");
    let errors = fail(&mut calibrate(&["--false-alarm-rate", "0.5"]), 1);
    assert!(errors.contains("broken.png") && file.exists(), "{errors}");
    let errors = fail(&mut calibrate(&["--false-alarm-rate", "0"]), 2);
    assert!(errors.contains("--false-alarm-rate"), "{errors}");
}

#[test]
fn images_that_are_added_count_as_if_they_had_been_there() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_normals(&at("all"), 9);
    for part in ["first", "more"] {
        fs::create_dir(at(part)).unwrap();
    }
    for n in 0..9 {
        let name = format!("{n:02}.png");
        // One of them is in both.
        for part in ["first", "more"] {
            if n == 4 || (part == "first") == (n < 4) {
                fs::copy(at("all").join(&name), at(part).join(&name)).unwrap();
            }
        }
    }
    let calibrate = |normals: &str, out: &str, flags: &[&str]| {
        let mut command = fe_clip();
        command.current_dir(folder.path()).args(["calibrate", "--normals", normals, "--out", out]);
        command.args(flags);
        command
    };
    let rate = ["--false-alarm-rate", "0.2"];
    succeed(&mut calibrate("all", "all.json", &rate));
    succeed(&mut calibrate("first", "c.json", &rate));
    // In place of itself, at its own rate.
    succeed(&mut calibrate("more", "c.json", &["--add", "c.json"]));
    assert_eq!(fs::read(at("c.json")).unwrap(), fs::read(at("all.json")).unwrap());
    let text = fs::read_to_string(at("c.json")).unwrap();
    let mut bare: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(bare["normals"].as_array().unwrap().len(), 9);
    bare.as_object_mut().unwrap().remove("normals");
    fs::write(at("bare.json"), bare.to_string()).unwrap();
    let said = fail(&mut calibrate("more", "d.json", &["--add", "bare.json"]), 2);
    assert!(said.contains("bare.json: keeps no scores of its images"), "{said}");
    fs::write(at("clip.toml"), "[model]\nmethod = \"clip\"\n").unwrap();
    let said =
        fail(&mut calibrate("more", "d.json", &["--add", "c.json", "--config", "clip.toml"]), 2);
    assert!(said.contains("c.json: made for another model"), "{said}");
    assert!(!at("d.json").exists());
}

#[test]
fn one_file_holds_the_thresholds_of_several_categories() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_normals(&at("gears"), 12);
    write_normals(&at("nuts"), 9);
    let (file, alone) = (at("line-3.json"), at("alone.json"));
    let calibrate = |normals: &str, category: Option<&str>, out: &Path| {
        let mut command = fe_clip();
        command.args(["calibrate", "--false-alarm-rate", "0.2", "--normals"]).arg(at(normals));
        command.args(category.iter().flat_map(|name| ["--category", name])).arg("--out").arg(out);
        command
    };
    succeed(&mut calibrate("gears", Some("gear"), &file));
    succeed(&mut calibrate("nuts", Some("hex nut"), &file));
    succeed(&mut calibrate("nuts", None, &alone));
    let read = |file: &Path| -> Value { serde_json::from_slice(&fs::read(file).unwrap()).unwrap() };
    let all = read(&file);
    assert_eq!(all["categories"]["hex nut"], read(&alone));
    assert_eq!(all["categories"]["gear"]["data"]["images"], 12);

    let image = at("gears/00.png");
    let detect = |file: &Path, category: Option<&str>| {
        let mut command = fe_clip();
        command.arg("detect").arg(&image).args(["--format", "jsonl", "--calibration"]).arg(file);
        command.args(category.iter().flat_map(|name| ["--category", name]));
        command
    };
    let of_nuts = succeed(&mut detect(&file, Some("hex nut")));
    assert_eq!(of_nuts, succeed(&mut detect(&alone, None)));
    let watched = succeed(detect(&file, Some("gear")).arg("--monitor"));
    assert!(lines(&watched)[0]["monitor"].is_object());

    for (mut command, words) in [
        (detect(&file, None), "choose one of gear, hex nut"),
        (detect(&file, Some("bolt")), "no calibration of bolt, only of gear, hex nut"),
        (detect(&alone, Some("gear")), "belongs to no category"),
        (calibrate("gears", Some("gear"), &alone), "expected calibrations of several categories"),
    ] {
        let said = fail(&mut command, 2);
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(read(&alone), all["categories"]["hex nut"], "it was not replaced");

    // What is added counts to its category, and the others stay.
    let mut add = calibrate("gears", Some("hex nut"), &file);
    succeed(add.arg("--add").arg(&file));
    let after = read(&file);
    assert_eq!(after["categories"]["gear"], all["categories"]["gear"]);
    assert_eq!(after["categories"]["hex nut"]["normals"].as_array().unwrap().len(), 12);
}
