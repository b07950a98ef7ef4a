//! Ctrl-C: what is finished stays and is said.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use image::{Rgb, RgbImage};

fn write_images(folder: &Path, count: usize) {
    std::fs::create_dir_all(folder).unwrap();
    for i in 0..count {
        let image = RgbImage::from_pixel(32, 32, Rgb([i as u8, 90, 10]));
        image.save(folder.join(format!("{i:03}.png"))).unwrap();
    }
}

fn start(arguments: &[&str], folder: &Path) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin("fe-clip"))
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
}

/// What it said after the signal, with exit code 1.
fn end(mut child: Child) -> String {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    said
}

#[test]
fn finished_results_stay_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let images = 400;
    write_images(&folder.path().join("images"), images);
    let mut child = start(&["detect", "--format", "jsonl", "images"], folder.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    interrupt(&child);
    let done = 1 + lines.map_while(Result::ok).filter(|line| line.ends_with('}')).count();
    let said = end(child);
    assert!(done < images, "all were done before the signal");
    assert!(said.contains(&format!("stopped after {done} of {images} images")), "{said}");
}

#[test]
fn categories_that_were_finished_stand_in_the_metrics() {
    let folder = tempfile::tempdir().unwrap();
    for (name, images) in [("small", 2), ("large", 300)] {
        write_images(&folder.path().join(name).join("normal"), images);
        write_images(&folder.path().join(name).join("anomalous"), images);
    }
    let settings = "[model]\nmethod = \"clip\"\n[eval]\ndatasets = [\
        { name = \"folder\", root = \"small\" }, { name = \"folder\", root = \"large\" }]\n";
    std::fs::write(folder.path().join("run.toml"), settings).unwrap();
    let arguments = ["eval", "--config", "run.toml", "--out", "results", "--report"];
    let mut child = start(&arguments, folder.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("folder"), "the first table");
    interrupt(&child);
    lines.for_each(drop);
    let said = end(child);
    assert!(said.contains("are the categories that were finished"), "{said}");
    let text = std::fs::read_to_string(folder.path().join("results/metrics.json")).unwrap();
    let metrics: serde_json::Value = serde_json::from_str(&text).unwrap();
    let sets = metrics["datasets"].as_object().unwrap();
    let finished = |set: &serde_json::Value| set["categories"].as_object().map_or(0, |c| c.len());
    assert_eq!(sets.values().map(finished).sum::<usize>(), 1, "{text}");
    assert!(folder.path().join("results/report.html").is_file());
}
