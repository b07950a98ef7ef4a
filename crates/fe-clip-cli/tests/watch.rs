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

/// An image's bytes.
fn png(level: u8) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    image(&folder.path().join("a.png"), level);
    fs::read(folder.path().join("a.png")).unwrap()
}

fn set_time(path: &Path, time: std::time::SystemTime) {
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// The clock of the file's own times is another one's, and copies keep the original's times.
#[test]
fn broken_files_are_named_whatever_their_time_and_are_never_done() {
    let folder = tempfile::tempdir().unwrap();
    let (camera, out) = (folder.path().join("camera"), folder.path().join("out"));
    fs::create_dir(&camera).unwrap();
    let mut watch = Watch::start(&camera, &out);
    let hour = Duration::from_secs(3600);
    for (name, time) in [
        ("future.png", std::time::SystemTime::now() + hour),
        ("past.png", std::time::SystemTime::UNIX_EPOCH + hour),
    ] {
        fs::write(camera.join(name), &png(10)[..200]).unwrap();
        set_time(&camera.join(name), time);
    }
    std::os::unix::fs::symlink("nowhere", camera.join("link.png")).unwrap();
    let mut named: Vec<(String, Value)> = (0..3).map(|_| watch.next()).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    for ((name, line), expected) in named.iter().zip(["future.png", "link.png", "past.png"]) {
        assert_eq!(name, expected);
        assert!(line["error"].as_str().unwrap().contains(expected), "{line}");
    }
    let (code, rest, said) = watch.stop();
    assert_eq!((code, rest), (Some(1), 0), "{said}");
    let state = fs::read_to_string(out.join(".fe-clip-watch.json")).unwrap();
    assert!(!state.contains(".png"), "{state}");
    // Complete at the next start, with the very size and time, they are scored.
    let mut watch = Watch::start(&camera, &out);
    fs::write(camera.join("future.png"), png(10)).unwrap();
    let (name, line) = watch.next();
    assert!(name == "future.png" && line["score"].is_number(), "{line}");
    watch.stop();
}

/// As a share's copy with a reserved size, or `rsync --inplace -t`.
#[test]
fn a_copy_of_the_same_size_and_time_is_scored_when_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let (camera, out) = (folder.path().join("camera"), folder.path().join("out"));
    fs::create_dir(&camera).unwrap();
    let mut watch = Watch::start(&camera, &out);
    let whole = png(30);
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for name in ["soon.png", "late.png"] {
        fs::write(camera.join(name), vec![0; whole.len()]).unwrap();
        set_time(&camera.join(name), old);
    }
    let complete = |name: &str| {
        fs::write(camera.join(name), &whole).unwrap();
        set_time(&camera.join(name), old);
    };
    std::thread::sleep(Duration::from_millis(2500));
    complete("soon.png");
    let (name, line) = watch.next();
    assert!(name == "soon.png" && line["score"].is_number(), "{line}");
    // Named as broken after a while, and scored all the same once it is none.
    let (name, line) = watch.next();
    assert!(name == "late.png" && line["error"].is_string(), "{line}");
    complete("late.png");
    let (name, line) = watch.next();
    assert!(name == "late.png" && line["score"].is_number(), "{line}");
    // Another owner or link changes nothing about the content.
    fs::hard_link(camera.join("late.png"), folder.path().join("link.png")).unwrap();
    std::thread::sleep(Duration::from_millis(2000));
    assert_eq!(watch.stop().1, 0);
}

/// As on a full disk: the picture's place is taken by a folder.
#[test]
fn an_image_without_its_picture_is_told_and_tried_again_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (camera, out) = (folder.path().join("camera"), folder.path().join("out"));
    fs::create_dir(&camera).unwrap();
    fs::create_dir_all(out.join("0_overlay.png")).unwrap();
    image(&camera.join("0.png"), 10);
    image(&camera.join("1.png"), 20);
    let mut watch = Watch::start(&camera, &out);
    let (name, line) = watch.next();
    assert_eq!(name, "0.png");
    assert!(line["score"].is_number() && line["label"].is_string(), "{line}");
    assert!(line["error"].as_str().unwrap().contains("0_overlay.png"), "{line}");
    assert_eq!(watch.next().0, "1.png");
    let (code, rest, said) = watch.stop();
    assert_eq!((code, rest), (Some(1), 0), "{said}");
    let state = fs::read_to_string(out.join(".fe-clip-watch.json")).unwrap();
    assert!(!state.contains("0.png") && state.contains("1.png"), "{state}");
    fs::remove_dir(out.join("0_overlay.png")).unwrap();
    let mut watch = Watch::start(&camera, &out);
    let (name, line) = watch.next();
    assert!(name == "0.png" && line["overlay"].is_string(), "{line}");
    assert_eq!(watch.stop().1, 0);
}
