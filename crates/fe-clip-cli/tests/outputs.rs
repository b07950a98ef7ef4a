//! What `fe-clip` writes: over no input, never an input itself, each file of one input alone.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::Value;

fn fe_clip(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("fe-clip").unwrap();
    command.current_dir(folder);
    command
}

fn image(path: &Path, level: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_fn(40, 30, |x, y| Rgb([level, (x * 5) as u8, (y * 7) as u8]))
        .save(path)
        .unwrap();
}

/// A folder with the images `in/0.png` and on.
fn with_images(count: u8) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..count {
        image(&folder.path().join(format!("in/{n}.png")), 40 * n);
    }
    folder
}

/// Runs `detect`; returns the exit code, the lines and what was said.
fn detect(folder: &Path, flags: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let output =
        fe_clip(folder).args(["detect", "--format", "jsonl"]).args(flags).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code(), lines, String::from_utf8(output.stderr).unwrap())
}

/// All files below a folder, hidden ones too.
fn written(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(written(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn no_picture_replaces_what_the_program_did_not_make() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    image(&at("in/a.tiff"), 10);
    image(&at("in/b.png"), 20);
    // The mask that belongs to an image, and a link to it.
    image(&at("in/b_mask.png"), 0);
    fs::hard_link(at("in/b_mask.png"), at("in/b_overlay.png")).unwrap();
    let before: Vec<Vec<u8>> = written(&at("in")).iter().map(|p| fs::read(p).unwrap()).collect();
    let unchanged = || {
        let now: Vec<Vec<u8>> = written(&at("in")).iter().map(|p| fs::read(p).unwrap()).collect();
        now == before
    };
    let (code, lines, said) = detect(folder.path(), &["in", "--out", "in", "--save", "tiff"]);
    assert_eq!((code, lines.len()), (Some(2), 0), "{said}");
    assert!(said.contains("--out and in are one folder"), "{said}");
    // Named one by one they are scored, and each picture that has no place is named.
    let flags = ["in/a.tiff", "in/b.png", "--out", "./in", "--threshold", "0.5"];
    let (code, lines, said) =
        detect(folder.path(), &[&flags[..], &["--save", "tiff,mask,overlay"]].concat());
    assert_eq!(code, Some(1), "{said}");
    for (line, names) in lines.iter().zip([&["a.tiff"][..], &["b_mask.png", "b_overlay.png"]]) {
        assert!(line["score"].is_number() && line["label"].is_string(), "{line}");
        for name in names {
            assert!(
                said.contains(name) && line["error"].as_str().unwrap().contains(name),
                "{line}"
            );
        }
    }
    let kept = ["a.tiff", "b.png", "b_mask.png", "b_overlay.png"];
    for (name, bytes) in kept.iter().zip(&before) {
        assert!(fs::read(at("in").join(name)).unwrap() == *bytes, "{name} was written over");
    }
    assert!(!unchanged() && at("in/b.tiff").exists(), "what has a place is written");
}

#[test]
fn outputs_are_no_inputs_of_any_later_run() {
    let folder = with_images(3);
    let run = |flags: &[&str]| {
        let (code, lines, said) = detect(folder.path(), flags);
        assert_eq!(code, Some(0), "{said}");
        lines.len()
    };
    let into = ["in", "--out", "in/results", "--threshold", "0.1", "--save"];
    for _ in 0..2 {
        assert_eq!(run(&[&into[..], &["overlay,tiff,mask,map,features"]].concat()), 3);
    }
    // Nor where another folder is named, or none.
    assert_eq!(run(&["in", "--out", "in/others"]), 3);
    assert_eq!(run(&["in"]), 3);
    fs::rename(folder.path().join("in/results/0_overlay.png"), folder.path().join("in/x.png"))
        .unwrap();
    assert_eq!(run(&["in", "in/x.png"]), 3);
    // Nor as normal images.
    let (_, lines, _) = detect(folder.path(), &["in/0.png", "--normals", "in"]);
    let (_, clean, _) = {
        let good = folder.path().join("good");
        fs::create_dir(&good).unwrap();
        for n in 0..3 {
            fs::copy(folder.path().join(format!("in/{n}.png")), good.join(format!("{n}.png")))
                .unwrap();
        }
        detect(folder.path(), &["in/0.png", "--normals", "good"])
    };
    assert_eq!(lines, clean);
    // The folder above may take the outputs.
    assert_eq!(run(&["in", "--out", ".", "--save", "map"]), 3);
    // A run that has nothing else says so.
    let (code, _, said) = detect(folder.path(), &["in/results"]);
    assert!(code == Some(2) && said.contains("pictures of fe-clip's own"), "{said}");
}

#[test]
fn inputs_share_no_output() {
    let folder = tempfile::tempdir().unwrap();
    for (n, name) in (0..).zip(["x.jpg", "x.png", "x.png.jpg"]) {
        image(&folder.path().join("in").join(name), 60 * n);
    }
    let (code, lines, _) = detect(folder.path(), &["in", "--out", "out", "--save", "map"]);
    assert_eq!((code, lines.len()), (Some(0), 3));
    assert_eq!(written(&folder.path().join("out")).len(), 3);
}

#[test]
fn runs_that_share_a_folder_share_no_output() {
    let folder = tempfile::tempdir().unwrap();
    let cameras: Vec<String> = (0..4).map(|n| format!("camera{n}")).collect();
    for (n, camera) in (0..).zip(&cameras) {
        for i in 0..2 {
            image(&folder.path().join(format!("{camera}/{i}.png")), 50 * n + i);
        }
    }
    let run = |camera: &str| {
        let flags = [camera, "--out", "out", "--save", "map,overlay", "-q"];
        let (code, lines, said) = detect(folder.path(), &flags);
        assert_eq!((code, said.as_str()), (Some(0), ""));
        let maps = lines.iter().map(|line| line["map"].as_str().unwrap().to_owned());
        maps.collect::<Vec<String>>()
    };
    let at_once = std::thread::scope(|scope| {
        let runs: Vec<_> = cameras.iter().map(|camera| scope.spawn(|| run(camera))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    let mut maps = at_once.concat();
    maps.sort();
    maps.dedup();
    assert_eq!(maps.len(), 8);
    assert_eq!(written(&folder.path().join("out")).len(), 16);
    // Each map is its image's, and a later run finds its names again.
    let alone = ["camera2/1.png", "--out", "alone", "--save", "map"];
    let (_, lines, _) = detect(folder.path(), &alone);
    let bytes = |path: &str| fs::read(folder.path().join(path)).unwrap();
    let (own, of_many) = (bytes(lines[0]["map"].as_str().unwrap()), bytes(&at_once[2][1]));
    let values = |bytes: &[u8]| -> Vec<f32> {
        let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        bytes[header..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let off =
        values(&own).iter().zip(values(&of_many)).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(off < 1e-5, "{off}");
    for (camera, maps) in cameras.iter().zip(&at_once) {
        assert_eq!(run(camera), *maps);
    }
}

#[test]
fn a_later_run_replaces_the_outputs_of_its_own_inputs_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (n, name) in (0..).zip(["one/0.png", "two/0.png", "one/x.png", "one/x.jpg"]) {
        image(&folder.path().join(name), 60 * n);
    }
    let kinds = [("map", "map"), ("overlay", "overlay"), ("tiff", ""), ("mask", ""), ("yolo", "")];
    for (kind, key) in kinds {
        let out = folder.path().join(kind);
        let run = |inputs: &[&str]| {
            let flags = ["--out", kind, "--save", kind, "--threshold", "0.5"];
            let (code, lines, said) = detect(folder.path(), &[inputs, &flags[..]].concat());
            assert_eq!(code, Some(0), "{said}");
            lines.iter().map(|line| line[key].clone()).collect::<Vec<Value>>()
        };
        let first = run(&["one/0.png"]);
        let kept = (written(&out), fs::read(&written(&out)[0]).unwrap());
        assert_eq!(kept.0.len(), 1, "{kind}");
        let second = run(&["two/0.png"]);
        assert_eq!(written(&out).len(), 2, "{kind}");
        assert_eq!(fs::read(&kept.0[0]).unwrap(), kept.1, "{kind}: written over");
        // Each finds its own again.
        assert_eq!(run(&["two/0.png"]), second, "{kind}");
        assert_eq!(run(&["one/0.png"]), first, "{kind}");
        assert_eq!(written(&out).len(), 2, "{kind}");
        // Names that were apart beside each other meet when each comes alone.
        run(&["one/x.jpg"]);
        run(&["one/x.png"]);
        assert_eq!(written(&out).len(), 4, "{kind}");
    }
}

#[test]
fn the_longest_names_have_outputs_too() {
    let folder = tempfile::tempdir().unwrap();
    // With its ending the first takes all that a name may have, as the last does itself.
    for (n, length) in (0..).zip([241, 242, 247, 251]) {
        image(&folder.path().join("in").join("n".repeat(length) + ".png"), 50 * n);
    }
    let (code, lines, said) =
        detect(folder.path(), &["in", "--out", "out", "--save", "overlay,features"]);
    assert_eq!(code, Some(0), "{said}");
    for line in &lines {
        assert!(line["score"].is_number());
        assert!(folder.path().join(line["overlay"].as_str().unwrap()).exists(), "{line}");
    }
    assert_eq!(written(&folder.path().join("out")).len(), 8);
}

#[test]
fn a_score_is_told_when_its_picture_has_no_place() {
    let folder = with_images(2);
    fs::create_dir_all(folder.path().join("out/0_overlay.png")).unwrap();
    let (code, lines, said) =
        detect(folder.path(), &["in", "--out", "out", "--save", "overlay,map", "--report"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("0_overlay.png"), "{said}");
    assert!(lines[0]["score"].is_number() && lines[0]["overlay"].is_null(), "{}", lines[0]);
    assert!(lines[0]["map"].is_string(), "one picture costs the others nothing: {}", lines[0]);
    assert!(lines[0]["error"].as_str().unwrap().contains("0_overlay.png"));
    assert!(lines[1]["overlay"].is_string() && lines[1].get("error").is_none());
    let table = fs::read_to_string(folder.path().join("out/results.csv")).unwrap();
    assert!(table.lines().nth(1).unwrap().contains("0_overlay.png"));
}

#[test]
fn no_command_writes_over_what_it_reads() {
    let folder = with_images(2);
    let at = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink("in/0.png", at("link.png")).unwrap();
    fs::write(at("run.toml"), "# mine\n[model]\nmethod = \"clip\"\n").unwrap();
    let refused = |args: &[&str], kept: &str| {
        let before = fs::read(at(kept)).unwrap();
        let output = fe_clip(folder.path()).args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("would replace") && said.contains(kept), "{args:?}: {said}");
        assert!(fs::read(at(kept)).unwrap() == before, "{args:?}");
    };
    refused(&["spectrum", "in/0.png", "--out", "in/0.png"], "in/0.png");
    refused(&["spectrum", "link.png", "--out", "in/../in/0.png"], "link.png");
    refused(&["embed", "--image", "in/1.png", "--out", "in/1.png"], "in/1.png");
    let rate = ["--false-alarm-rate", "0.5", "--normals", "in", "--out"];
    refused(&[&["calibrate"], &rate[..], &["in/0.png"]].concat(), "in/0.png");
    let config = [&["calibrate", "--config", "run.toml"], &rate[..], &["run.toml"]].concat();
    refused(&config, "run.toml");
    fs::write(at("map.npy"), b"kept").unwrap();
    refused(
        &["metrics", "--maps", "map.npy", "--masks", "map.npy", "--partial", "map.npy"],
        "map.npy",
    );
    // Results that go to a file which the report would replace.
    fs::create_dir(at("out")).unwrap();
    let results = fs::File::create(at("out/results.csv")).unwrap();
    let status = std::process::Command::new(assert_cmd::cargo::cargo_bin("fe-clip"))
        .current_dir(folder.path())
        .args(["detect", "in", "--out", "out", "--report", "--format", "csv"])
        .stdout(results)
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}
