//! `fe-clip detect --watch`: each file once, complete ones alone, also after a restart.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use image::{Rgb, RgbImage};
use serde_json::Value;

/// A running watch.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(folder: &Path, out: &Path) -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("fe-clip"))
            .args(["detect", "--format", "jsonl", "--threshold", "0.5", "--watch"])
            .arg(folder)
            .arg("--out")
            .arg(out)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for the next result and returns its file's name.
    fn next(&mut self) -> (String, Value) {
        let line: Value = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
        let path = Path::new(line["path"].as_str().unwrap());
        (path.file_name().unwrap().to_string_lossy().into_owned(), line)
    }

    /// Ctrl-C; returns the exit code, what else was printed, and what was said.
    fn stop(mut self) -> (Option<i32>, usize, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let rest = self.lines.count();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), rest, said)
    }
}

fn image(path: &Path, level: u8) {
    RgbImage::from_fn(80, 60, |x, y| Rgb([level, (x * 3) as u8, (y * 4) as u8]))
        .save(path)
        .unwrap();
}

#[test]
fn files_are_scored_once_when_they_are_complete_and_not_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (camera, out) = (folder.path().join("camera"), folder.path().join("out"));
    fs::create_dir(&camera).unwrap();
    image(&camera.join("0.png"), 10);
    let mut watch = Watch::start(&camera, &out);
    assert_eq!(watch.next().0, "0.png");
    // One arrives by renaming, another in pieces.
    image(&folder.path().join("1.png"), 20);
    fs::rename(folder.path().join("1.png"), camera.join("1.png")).unwrap();
    assert_eq!(watch.next().0, "1.png");
    image(&folder.path().join("2.png"), 30);
    let whole = fs::read(folder.path().join("2.png")).unwrap();
    let mut file = fs::File::create(camera.join("2.png")).unwrap();
    for piece in whole.chunks(whole.len().div_ceil(3)) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
        // Longer than the watch waits for a change.
        std::thread::sleep(Duration::from_millis(1200));
    }
    let (name, line) = watch.next();
    assert_eq!(name, "2.png");
    assert!(line["score"].is_number(), "half a file was taken for a whole one: {line}");
    let (code, rest, said) = watch.stop();
    assert_eq!((code, rest), (Some(0), 0), "{said}");
    assert!(said.contains("3 images scored, 0 failed"), "{said}");
    for name in ["0", "1", "2"] {
        assert!(out.join(format!("{name}_overlay.png")).exists());
    }
    let state = fs::read_to_string(out.join(".fe-clip-watch.json")).unwrap();
    assert_eq!(state.matches(".png").count(), 3);

    // A restart scores what is new, or new under an old name.
    image(&camera.join("3.png"), 40);
    image(&camera.join("0.png"), 50);
    let mut watch = Watch::start(&camera, &out);
    let mut names = [watch.next().0, watch.next().0];
    names.sort();
    assert_eq!(names, ["0.png", "3.png"]);
    assert_eq!(watch.stop().1, 0);
}

#[test]
fn pictures_below_the_watched_folder_are_no_inputs_and_a_missing_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    image(&folder.path().join("a.png"), 10);
    let out = folder.path().join("results");
    let mut watch = Watch::start(folder.path(), &out);
    assert_eq!(watch.next().0, "a.png");
    std::thread::sleep(Duration::from_millis(1500));
    let (code, rest, said) = watch.stop();
    assert_eq!((code, rest), (Some(0), 0), "{said}");
    for (watched, out) in [("missing", "results"), ("", "")] {
        let output = assert_cmd::Command::cargo_bin("fe-clip")
            .unwrap()
            .args(["detect", "--watch"])
            .arg(folder.path().join(watched))
            .arg("--out")
            .arg(folder.path().join(out))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains("--watch"));
    }
}
