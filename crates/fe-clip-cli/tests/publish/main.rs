//! `fe-clip detect --publish`: what arrives at a broker, a server and a controller.
#![allow(clippy::unwrap_used)]

mod broker;
mod certificates;
mod controller;
#[path = "../python/mod.rs"]
mod python;
mod spool;
mod webhook;

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Output, Stdio};

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

/// What was sent, as it was printed.
fn without_id(mut sent: Value) -> Value {
    let id = sent.as_object_mut().unwrap().remove("id");
    assert!(id.is_some_and(|id| id.is_string()));
    sent
}

/// Says loudly that nothing is tested; not by `eprintln!`, which is silent in a test that passes.
fn skipped(test: &str, why: &str) {
    let text = format!("\n{test}: SKIPPED, {why}\n\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// A watched folder.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(folder: &Path, flags: &[&str]) -> Self {
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("fe-clip"))
            .args(["detect", "--format", "jsonl", "--watch"])
            .arg(folder)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that is printed.
    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    /// As a loss of power does.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As Ctrl-C does; the exit code and what was said.
    fn stop(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        let signalled = std::process::Command::new("kill").args(["-INT", &pid]).status();
        assert!(signalled.unwrap().success());
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
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
        (vec!["--publish", "ftp://host/"], "expected mqtt, mqtts, http, https or modbus"),
        (vec!["--publish", "mqtt://host"], "topic is missing"),
        (vec!["--spool", "spool"], "--publish"),
        (vec!["--publish", "modbus://host", "--spool", "spool"], "what is now"),
        (
            vec!["--publish", "http://host", "--publish-secret-file", "none"],
            "publish-secret-file none",
        ),
        (vec!["--publish", "modbus://host", "--normals", normals], "--threshold or --calibration"),
    ] {
        let output = detect(folder.path(), &flags);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(reason), "{}", said(&output));
        assert!(output.stdout.is_empty());
    }
}
