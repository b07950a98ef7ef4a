//! What is said: each cause once, and of every text whether it was cut.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use image::{Rgb, RgbImage};

/// What is said on standard error, and the exit code.
fn said(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::cargo_bin("fe-clip").unwrap().current_dir(folder).args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let picture = RgbImage::from_fn(40, 40, |x, y| Rgb([9, (x * 6) as u8, (y * 6) as u8]));
    picture.save(folder.path().join("a.png")).unwrap();
    folder
}

#[test]
fn each_cause_is_told_once() {
    let folder = folder();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let units = "\u{feff}[model]\n".encode_utf16().flat_map(u16::to_le_bytes);
    write("utf16.toml", &units.collect::<Vec<u8>>());
    write("latin1.toml", b"[prompts]\nnormal = [\"caf\xe9\"]\n");
    write("none.toml", b"[eval]\ndatasets = [{ name = \"mvtec-ad\", root = \"missing\" }]\n");
    write("file", b"");
    let missing = "No such file or directory";
    for (args, words) in [
        (&["detect", "a.png", "--config", "utf16.toml"][..], "UTF-16"),
        (&["detect", "a.png", "--config", "latin1.toml"], "not UTF-8"),
        (&["detect", "a.png", "--config", "missing.toml"], missing),
        (&["detect", "missing.png"], missing),
        (&["detect", "a.png", "--out", "file/out"], "Not a directory"),
        (&["detect", "a.png", "--normals", "missing"], missing),
        (&["detect", "a.png", "--calibration", "missing.json"], missing),
        (&["eval", "--config", "none.toml", "--out", "out"], missing),
        (&["scan", "--dataset", "mvtec-ad", "--root", "missing"], missing),
        (&["spectrum", "a.png", "--out", "missing/a.png"], "there is no folder missing"),
        (&["embed", "--text", "a", "--out", "missing/a.npy"], "there is no folder missing"),
        (&["export", "--out", "missing/a.onnx"], "there is no folder missing"),
        (&["export", "--out", "a.onnx", "--normals", "missing"], missing),
        (&["info", "missing.safetensors"], missing),
        (&["metrics", "--maps", "missing.npy", "--masks", "missing.npy"], missing),
    ] {
        let (code, said) = said(folder.path(), args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        let line = said.lines().find(|line| line.contains(words));
        let line = line.unwrap_or_else(|| panic!("{args:?}: {said}"));
        assert_eq!(line.matches(words).count(), 1, "{args:?}: {said}");
    }
    // A file is named once, too.
    let toml = "[eval]\ndatasets = [{ name = \"folder\", root = \"set\" }]\n[model]\nmethod = \
                \"spectral-residual\"\n";
    write("run.toml", toml.as_bytes());
    fs::create_dir_all(folder.path().join("set/normal")).unwrap();
    fs::copy(folder.path().join("a.png"), folder.path().join("set/normal/a.png")).unwrap();
    write("set/normal/bad.png", b"\x89PNG\r\n\x1a\n");
    let (_, said) = said(folder.path(), &["eval", "--config", "run.toml", "--out", "out", "-q"]);
    assert_eq!(said.matches("bad.png").count(), 1, "{said}");
}

#[test]
fn texts_that_are_cut_are_named_wherever_they_come_from() {
    let folder = folder();
    let long = "a photo of a scratched metal part with many small dents ".repeat(12);
    let long = long.trim();
    let cut = "the model takes 77";
    let flags = ["embed", "--out", "e.npy", "--text", "a photo", "--text"];
    let (code, words) = said(folder.path(), &[&flags[..], &[long]].concat());
    assert_eq!((code, words.matches(cut).count()), (Some(0), 1), "{words}");
    assert!(words.contains("a photo of a scratched metal part"), "{words}");
    let (_, words) = said(folder.path(), &flags[..5]);
    assert_eq!(words, "");
    let toml = format!(
        "[prompts]\nanomalous = [\"{long}\"]\n[eval]\ndatasets = [{{ name = \"mvtec-ad\", root = \
         \"set\" }}]\n"
    );
    fs::write(folder.path().join("run.toml"), toml).unwrap();
    let (code, words) = said(folder.path(), &["detect", "a.png", "--config", "run.toml"]);
    assert_eq!((code, words.matches(cut).count()), (Some(0), 1), "{words}");
    // A category may be what makes a prompt too long.
    let category = "very_".repeat(45);
    let good = folder.path().join(format!("set/{category}/test/good"));
    fs::create_dir_all(&good).unwrap();
    fs::copy(folder.path().join("a.png"), good.join("0.png")).unwrap();
    let toml = "[model]\nmethod = \"clip\"\n[prompts]\nnormal = [\"a {} and {}\"]\n[eval]\ndatasets \
                = [{ name = \"mvtec-ad\", root = \"set\" }]\n";
    fs::write(folder.path().join("run.toml"), toml).unwrap();
    let (_, words) = said(folder.path(), &["eval", "--config", "run.toml", "--out", "out"]);
    assert_eq!(words.matches(cut).count(), 1, "{words}");
}
