//! `fe-clip detect --monitor`: what looks like the calibration is left alone, what drifts is told.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// A plate of grain and a few lines, the more of them the more `worn`.
fn plate(random: &mut StdRng, worn: u32) -> RgbImage {
    let mut image = RgbImage::from_fn(120, 120, |_, _| Rgb([random.random_range(110..150); 3]));
    for _ in 0..worn {
        let (y, level) = (random.random_range(0..120), random.random_range(0..90));
        (0..120).for_each(|x| image.put_pixel(x, y, Rgb([level; 3])));
    }
    image
}

fn plates(folder: &Path, first: u32, count: u32, worn: u32) {
    fs::create_dir_all(folder).unwrap();
    for i in first..first + count {
        let mut random = StdRng::seed_from_u64(u64::from(i));
        plate(&mut random, worn).save(folder.join(format!("{i:04}.png"))).unwrap();
    }
}

fn run(arguments: &[&str], folder: &Path) -> (Option<i32>, Vec<Value>, String) {
    let mut command = Command::cargo_bin("fe-clip").unwrap();
    let output = command.current_dir(folder).args(arguments).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().filter(|line| line.starts_with('{'));
    let lines = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code(), lines, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_drift_is_told_once_and_a_stream_without_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    plates(&at.join("good"), 0, 40, 3);
    plates(&at.join("same"), 1000, 60, 3);
    plates(&at.join("drifting"), 2000, 20, 3);
    // Of another smoothness: the scores are lower than any that calibrated.
    plates(&at.join("drifting"), 2020, 60, 0);
    let (code, _, said) = run(&["calibrate", "--normals", "good", "--out", "c.json"], at);
    assert_eq!(code, Some(0), "{said}");
    let detect = |images: &str, monitor: &str| {
        run(&["detect", images, "--calibration", "c.json", monitor, "--format", "jsonl"], at)
    };
    let (code, lines, said) = detect("same", "--monitor");
    assert_eq!((code, lines.len()), (Some(0), 60), "{said}");
    assert!(!said.contains("drift"), "{said}");
    for line in &lines {
        let monitor = &line["monitor"];
        assert_eq!(monitor["drift"], false);
        assert!(monitor["log10_martingale"].is_number());
        // Defects are not watched, nor what just reaches the threshold.
        let watched = monitor["p_value"].as_f64();
        assert!(watched.is_none_or(|p| (0.0..=1.0).contains(&p)));
        assert!(line["label"] == "normal" || watched.is_none(), "{line}");
    }
    assert!(lines.iter().filter(|line| line["monitor"]["p_value"].is_number()).count() > 40);

    let (code, lines, said) = detect("drifting", "--monitor=0.001");
    assert_eq!((code, lines.len()), (Some(0), 80), "{said}");
    let news: Vec<&str> = said.lines().filter(|line| line.contains("drift")).collect();
    let [news] = news[..] else { panic!("{said}") };
    let first = lines.iter().position(|line| line["monitor"]["drift"] == true).unwrap();
    assert!(first > 20 && lines[first..].iter().all(|line| line["monitor"]["drift"] == true));
    let evidence = |at: usize| lines[at]["monitor"]["log10_martingale"].as_f64().unwrap();
    assert!(evidence(first) >= 3.0 && (0..first).all(|at| evidence(at) < 3.0));
    // Where the evidence was least, which is near the change: how near, the noise of 20 images says.
    let began = (2000..=2040).any(|i| news.contains(&format!("{i}.png")));
    assert!(began && news.contains("c.json"), "{news}");
}

#[test]
fn a_calibration_that_kept_no_scores_and_rates_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    plates(&at.join("good"), 0, 20, 3);
    assert_eq!(run(&["calibrate", "--normals", "good", "--out", "c.json"], at).0, Some(0));
    let mut calibration: Value =
        serde_json::from_slice(&fs::read(at.join("c.json")).unwrap()).unwrap();
    calibration.as_object_mut().unwrap().remove("normals").unwrap();
    fs::write(at.join("old.json"), calibration.to_string()).unwrap();
    for (flags, reason) in [
        (vec!["--calibration", "old.json", "--monitor"], "old.json: keeps no scores"),
        (vec!["--calibration", "c.json", "--monitor=1"], "--monitor: expected a rate"),
        (vec!["--monitor"], "--calibration"),
    ] {
        let (code, lines, said) = run(&[&["detect", "good"], &flags[..]].concat(), at);
        assert_eq!((code, lines.len()), (Some(2), 0), "{said}");
        assert!(said.contains(reason), "{said}");
    }
}
