//! Names that no text holds, and lists of names in every encoding: one of them ends no batch.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::Value;

const ODD: [&[u8]; 6] = [
    b"a.png",
    b"caf\xe9.png",
    b"esc\x1b[31mred.png",
    br"literal\xe9.png",
    b"new\nline, \"quoted\".png",
    b"z.png",
];

fn name(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// A folder with images of these names in `in`.
fn folder(names: &[&[u8]]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("in");
    fs::create_dir(&inside).unwrap();
    for (n, bytes) in (0..).zip(names) {
        let picture = RgbImage::from_fn(30, 30, |x, y| Rgb([20 * n, (x * 8) as u8, (y * 8) as u8]));
        picture.save_with_format(inside.join(name(bytes)), image::ImageFormat::Png).unwrap();
    }
    folder
}

fn fe_clip(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("fe-clip").unwrap();
    command.current_dir(folder).args(args);
    command
}

#[test]
fn odd_names_are_scored_and_come_back_byte_for_byte() {
    let folder = folder(&ODD);
    let expected: Vec<PathBuf> =
        ODD.iter().map(|bytes| Path::new("in").join(name(bytes))).collect();
    let args = ["detect", "in", "--out", "out", "--report", "--format"];
    let json = fe_clip(folder.path(), &[&args[..], &["jsonl"]].concat()).output().unwrap();
    assert_eq!(json.status.code(), Some(0), "{}", String::from_utf8_lossy(&json.stderr));
    let text = String::from_utf8(json.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let path = |value: &Value| data::path_text::from_text(value.as_str().unwrap());
    let mut found: Vec<PathBuf> = lines.iter().map(|line| path(&line["path"])).collect();
    found.sort();
    assert_eq!(found, expected);
    for line in &lines {
        assert!(line["score"].is_number(), "{line}");
        assert!(folder.path().join(path(&line["overlay"])).exists(), "{line}");
    }
    // Tables hold the same text.
    let csv = fe_clip(folder.path(), &[&args[..], &["csv"]].concat()).output().unwrap();
    assert_eq!(csv.status.code(), Some(0));
    let text = String::from_utf8(csv.stdout).unwrap();
    let report = fs::read_to_string(folder.path().join("out/results.csv")).unwrap();
    for line in &lines {
        let cell = line["path"].as_str().unwrap().replace('"', "\"\"");
        assert!(text.contains(&cell) && report.contains(&cell), "{cell:?}");
    }
    // What a person reads holds no control character.
    let table = fe_clip(folder.path(), &[&args[..], &["table"]].concat()).output().unwrap();
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(text.contains(r"esc\x1b[31mred.png") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(text.lines().count(), ODD.len() + 1);
}

#[test]
fn an_odd_name_that_cannot_be_read_is_named_and_hurts_no_terminal() {
    let folder = folder(&[b"a.png", b"z.png"]);
    fs::write(folder.path().join("in").join(name(b"bad\x1b]0;title\x07\xe9.png")), b"none")
        .unwrap();
    let output = fe_clip(folder.path(), &["detect", "in", "--format", "jsonl"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 3);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(r"bad\x1b]0;title\x07") && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn lists_of_paths_are_bytes() {
    let folder = folder(&[b"a.png", b"caf\xe9.png", "ü.png".as_bytes(), b"new\nline.png"]);
    let count = |list: &[u8]| {
        let mut command = fe_clip(folder.path(), &["detect", "-", "--format", "csv"]);
        let output = command.write_stdin(list).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let failed = text.lines().filter(|line| line.split(',').nth(1) == Some("")).count();
        (output.status.code(), text.lines().count() - 1 - failed, failed)
    };
    assert_eq!(count(b"in/a.png\nin/caf\xe9.png\nin/\xfc.png\nin/a.png\n"), (Some(1), 3, 1));
    assert_eq!(count("\u{feff}in/a.png\r\nin/ü.png\r\n".as_bytes()), (Some(0), 2, 0));
    let utf16 = "\u{feff}in/a.png\r\nin/ü.png\r\n".encode_utf16();
    assert_eq!(count(&utf16.flat_map(u16::to_le_bytes).collect::<Vec<u8>>()), (Some(0), 2, 0));
    assert_eq!(count(b"in/a.png\0in/caf\xe9.png\0"), (Some(0), 2, 0));
}

/// Folders with such names hold data sets and settings, too.
#[test]
fn other_commands_take_odd_names() {
    let folder = folder(&[b"a.png"]);
    let odd = folder.path().join(name(b"caf\xe9"));
    fs::create_dir_all(odd.join("set/normal")).unwrap();
    fs::copy(folder.path().join("in/a.png"), odd.join("set/normal/0.png")).unwrap();
    fs::write(odd.join("set/normal").join(name(b"\xff.png")), b"none").unwrap();
    let scan = fe_clip(folder.path(), &["scan", "--dataset", "folder", "--root"])
        .arg(odd.join("set"))
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&scan.stdout).unwrap();
    assert!(report["problems"].to_string().contains(r"\\xff.png"), "{report}");
    let toml = "[eval]\ndatasets = [{ name = \"folder\", root = \"set\" }]\n[model]\nmethod = \
                \"spectral-residual\"\n";
    fs::write(odd.join("run.toml"), toml).unwrap();
    let eval = fe_clip(folder.path(), &["eval", "--out", "out", "--config"])
        .arg(odd.join("run.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&eval.stderr);
    assert_eq!(eval.status.code(), Some(1), "{said}");
    let metrics = fs::read(folder.path().join("out/metrics.json")).unwrap();
    let metrics: Value = serde_json::from_slice(&metrics).unwrap();
    let root = metrics["config"]["eval"]["datasets"][0]["root"].as_str().unwrap();
    assert_eq!(data::path_text::from_text(root), odd.join("set"));
    let adapters = odd.join("adapters.safetensors");
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../fe-clip/assets/tiny/adapters.safetensors");
    fs::copy(tiny, &adapters).unwrap();
    let info =
        fe_clip(folder.path(), &["info", "--format", "json"]).arg(&adapters).output().unwrap();
    assert_eq!(info.status.code(), Some(0), "{}", String::from_utf8_lossy(&info.stderr));
}
