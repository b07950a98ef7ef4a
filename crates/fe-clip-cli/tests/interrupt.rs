//! Ctrl-C during `detect`: what is finished stays and is said.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use image::{Rgb, RgbImage};

#[test]
fn finished_results_stay_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let images = 400;
    for i in 0..images {
        let image = RgbImage::from_pixel(32, 32, Rgb([i as u8, 90, 10]));
        image.save(folder.path().join(format!("{i:03}.png"))).unwrap();
    }
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("fe-clip"))
        .args(["detect", "--format", "jsonl"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let done = 1 + lines.map_while(Result::ok).filter(|line| line.ends_with('}')).count();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(done < images, "all were done before the signal");
    assert!(said.contains(&format!("stopped after {done} of {images} images")), "{said}");
}
