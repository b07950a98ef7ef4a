//! Closed pipes and full devices: a quiet end or one clear line, in every command.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use image::{Rgb, RgbImage};

/// A program whose reader goes away, as the shell reports it.
const CLOSED: i32 = 141;

/// Commands that print, with what they need in a folder.
fn commands(folder: &Path) -> Vec<Vec<&'static str>> {
    for n in 0..3 {
        fs::create_dir_all(folder.join("in/normal")).unwrap();
        let picture = RgbImage::from_fn(40, 40, |x, y| Rgb([40 * n, (x * 6) as u8, (y * 6) as u8]));
        picture.save(folder.join(format!("in/normal/{n}.png"))).unwrap();
    }
    let toml = "[eval]\ndatasets = [{ name = \"folder\", root = \"in\" }]\n[model]\nmethod = \
                \"spectral-residual\"\n";
    fs::write(folder.join("run.toml"), toml).unwrap();
    fs::write(folder.join("maps.npy"), npy("<f4", &[0; 16])).unwrap();
    fs::write(folder.join("masks.npy"), npy("|u1", &[0, 1, 0, 1])).unwrap();
    let line = |text: &'static str| text.split(' ').collect();
    [
        "--help",
        "--version",
        "detect --help",
        "datasets --format table",
        "datasets --format jsonl",
        "completions bash",
        "info",
        "scan --dataset folder --root in",
        "metrics --maps maps.npy --masks masks.npy",
        "spectrum in/normal/0.png --out spectrum.png",
        "detect in --format table",
        "detect in --format csv",
        "detect in --format jsonl",
        "calibrate --normals in --false-alarm-rate 0.5 --out calibration.json",
        "eval --config run.toml --out results",
    ]
    .map(line)
    .to_vec()
}

/// An array of one image of two by two.
fn npy(kind: &str, bytes: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (1, 2, 2), }}\n");
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), bytes].concat()
}

fn run(folder: &Path, args: &[&str], stdout: impl Into<Stdio>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fe-clip"));
    command.current_dir(folder).args(args).stdout(stdout).stderr(Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn a_closed_pipe_ends_every_command_quietly() {
    let folder = tempfile::tempdir().unwrap();
    for args in commands(folder.path()) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let args = if args.len() > 1 { [&args[..], &["-q"]].concat() } else { args };
        let output = run(folder.path(), &args, writer);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(CLOSED), ""), "{args:?}");
    }
}

#[test]
fn a_full_device_is_an_error_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for args in commands(folder.path()) {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = run(folder.path(), &args, full);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(!said.contains("fault of the program"), "{args:?}: {said}");
        let help = args.iter().any(|arg| arg.starts_with("--help") || *arg == "--version");
        assert!(help || said.contains("No space left on device"), "{args:?}: {said}");
    }
}

/// As under `head -1`: the first line comes, then the reader goes.
#[test]
fn a_reader_that_goes_after_the_first_line_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    commands(folder.path());
    let images = ["in/normal/0.png", "in/normal/1.png"].repeat(20);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fe-clip"));
    command.current_dir(folder.path()).args(["detect", "-q", "--format", "csv"]).args(images);
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    let mut first = [0; 1];
    reader.read_exact(&mut first).unwrap();
    drop(reader);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(CLOSED), ""));
}

#[test]
fn a_closed_standard_error_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    commands(folder.path());
    fs::write(folder.path().join("in/normal/bad.png"), b"none").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_fe-clip"));
    command.current_dir(folder.path()).args(["detect", "in", "--format", "csv"]).stderr(writer);
    let output = command.stdout(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 5);
}

/// A device is written to, not replaced by a file.
#[test]
fn a_device_stays_a_device() {
    let folder = tempfile::tempdir().unwrap();
    commands(folder.path());
    let output =
        run(folder.path(), &["spectrum", "in/normal/0.png", "--out", "/dev/full"], Stdio::piped());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("/dev/full: No space left on device"), "{said}");
    use std::os::unix::fs::FileTypeExt;
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
}
