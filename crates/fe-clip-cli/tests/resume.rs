//! `fe-clip train` killed and interrupted: what goes on afterwards gives the same adapters.
//!
//! `FE_CLIP_KILLS=20 cargo test --release --workspace --test resume -- --nocapture` kills as
//! often as it says; the default is a short form.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

const EPOCHS: usize = 8;

/// A small training set and its settings.
struct Setup {
    folder: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let synth = Command::new(cargo_bin("fe-clip"))
            .args(["synth", "--size", "64", "--categories", "wood,hex_nut", "--train-normal", "1"])
            .args(["--test-normal", "2", "--test-per-defect", "1", "--out"])
            .arg(folder.path().join("data"))
            .output()
            .unwrap();
        assert!(synth.status.success(), "{}", String::from_utf8_lossy(&synth.stderr));
        let run = format!(
            "[model]\nimage_size = 64\n[train]\nepochs = {EPOCHS}\nbatch_size = 8\n\
             datasets = [{{ name = \"mvtec-ad\", root = \"data\" }}]\n"
        );
        fs::write(folder.path().join("run.toml"), run).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, out: &Path, cached: bool) -> Command {
        let mut command = Command::new(cargo_bin("fe-clip"));
        command.args(["train", "--resume", "--config"]).arg(self.path("run.toml"));
        command.arg("--out").arg(out);
        if cached {
            command.arg("--cache").arg(self.path("cache"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn finish(&self, out: &Path) -> Vec<u8> {
        let output = self.train(out, false).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(out.join("adapters.safetensors")).unwrap()
    }
}

/// The log without its times.
fn log(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("train.jsonl")).unwrap();
    let line = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("seconds");
        value
    };
    text.lines().map(line).collect()
}

/// Waits until something holds or the process has ended; whether it holds.
fn wait_for(child: &mut Child, holds: impl Fn() -> bool) -> bool {
    loop {
        if holds() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn killed_at_random_and_resumed_it_gives_the_bytes_of_a_run_in_one_piece() {
    let kills: usize = std::env::var("FE_CLIP_KILLS").map_or(4, |n| n.parse().unwrap());
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let setup = Setup::new();
    let whole = setup.path("whole");
    let start = Instant::now();
    let expected = setup.finish(&whole);
    let duration = start.elapsed();
    let steps = log(&whole);
    assert!(steps.len() > 2 * EPOCHS, "an epoch of one step tests little");

    let parts = setup.path("parts");
    let (mut killed, mut in_a_write) = (0, 0);
    for attempt in 0.. {
        if killed == kills {
            break;
        }
        assert!(attempt < 10 * kills + 20, "the runs end before they can be killed");
        let mut child = setup.train(&parts, attempt % 3 == 0).spawn().unwrap();
        // At any time, or while a state is written: it is written beside the last one.
        if attempt % 2 == 0 {
            std::thread::sleep(duration.mul_f64(rng.random_range(0.0..1.0)));
        } else {
            let writes = rng.random_range(0..3);
            for _ in 0..=writes {
                let new = parts.join("state.new");
                wait_for(&mut child, || new.exists());
                std::thread::sleep(Duration::from_micros(rng.random_range(0..2000)));
            }
        }
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        if ended.success() {
            // Too late: the next one starts afresh.
            fs::remove_dir_all(&parts).unwrap();
            continue;
        }
        assert!(ended.code().is_none(), "it ended by itself: {ended}");
        killed += 1;
        in_a_write += usize::from(parts.join("state.new").exists());
    }
    assert!(setup.finish(&parts) == expected, "the adapters differ");
    assert_eq!(log(&parts), steps);
    eprintln!("{killed} kills, {in_a_write} of them while a state was written");
}

#[test]
fn an_interrupt_saves_and_says_how_to_go_on() {
    let setup = Setup::new();
    let expected = setup.finish(&setup.path("whole"));
    let out = setup.path("interrupted");
    let mut child = setup.train(&out, false).spawn().unwrap();
    let started = || fs::read_to_string(out.join("train.jsonl")).is_ok_and(|log| !log.is_empty());
    assert!(wait_for(&mut child, started), "it ended before its first step");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("activations of") && message.contains("in memory"), "{message}");
    assert!(message.contains("--resume") && message.contains("stopped after step"), "{message}");
    assert!(!out.join("adapters.safetensors").exists());
    let done = log(&out).len();
    let header = fs::read_to_string(out.join("state/header.json")).unwrap();
    let header: Value = serde_json::from_str(&header).unwrap();
    assert_eq!(
        header["step"].as_u64(),
        Some(done as u64),
        "the state is not that of the last step"
    );
    assert!(setup.finish(&out) == expected, "the adapters differ");
}
