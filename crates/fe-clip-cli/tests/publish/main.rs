//! `fe-clip detect --publish`: what arrives at a broker, a server and a controller.
#![allow(clippy::unwrap_used)]

mod broker;
mod controller;
mod webhook;

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::Value;

fn image(path: &Path, level: u8) {
    RgbImage::from_fn(80, 60, |x, y| Rgb([level, (x * 3) as u8, (y * 4) as u8]))
        .save(path)
        .unwrap();
}

/// A folder with so many images, `0.png` and on.
fn images(count: u8) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..count {
        image(&folder.path().join(format!("{i}.png")), 10 * i);
    }
    folder
}

fn detect(folder: &Path, flags: &[&str]) -> Output {
    Command::cargo_bin("fe-clip")
        .unwrap()
        .args(["detect", "--format", "jsonl"])
        .arg(folder)
        .args(flags)
        .output()
        .unwrap()
}

fn lines(stdout: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A port that nothing listens on.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Nobody is there: results are printed all the same, and what is wrong is told once.
#[test]
fn targets_that_are_away_are_told_in_one_line_each_and_cost_no_result() {
    let folder = images(3);
    let port = free_port();
    let targets = ["mqtt", "http", "modbus"].map(|scheme| {
        let path = if scheme == "modbus" { "1" } else { "results" };
        format!("{scheme}://127.0.0.1:{port}/{path}")
    });
    let flags: Vec<&str> = targets.iter().flat_map(|target| ["--publish", target]).collect();
    let output = detect(folder.path(), &flags);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(lines(&output.stdout).len(), 3);
    for target in &targets {
        let of_it: Vec<&str> = said.lines().filter(|line| line.contains(target)).collect();
        let [wrong, counts] = of_it[..] else { panic!("{target}: {said}") };
        assert!(wrong.to_lowercase().contains("refused"), "{wrong}");
        assert!(counts.contains("0 results delivered, 0 dropped, 3 failed"), "{counts}");
    }
}

#[test]
fn addresses_that_are_none_and_targets_without_labels_are_refused_at_the_start() {
    let folder = images(1);
    let normals = folder.path().to_str().unwrap();
    for (flags, reason) in [
        (vec!["--publish", "ftp://host/"], "expected mqtt, http, https or modbus"),
        (vec!["--publish", "mqtt://host"], "topic is missing"),
        (vec!["--publish", "modbus://host", "--normals", normals], "--threshold or --calibration"),
    ] {
        let output = detect(folder.path(), &flags);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(reason), "{}", said(&output));
        assert!(output.stdout.is_empty());
    }
}
