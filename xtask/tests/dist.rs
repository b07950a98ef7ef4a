//! `cargo xtask dist` with the program of the other tests: what is packed, and that it is packed
//! twice alike. That the program itself is built twice alike takes two builds, and is no test.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

const TIME: &str = "1700000000";

/// What a run makes, by name; it runs in the repository's folder.
fn dist(program: &Path, out: &Path) -> BTreeMap<String, Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.current_dir(root).env("SOURCE_DATE_EPOCH", TIME).arg("dist");
    xtask.args(["--target", "x86_64-unknown-linux-gnu", "--out"]).arg(out);
    let output = xtask.arg("--program").arg(program).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let paths = stdout.lines().map(PathBuf::from);
    paths
        .map(|p| (p.file_name().unwrap().to_str().unwrap().into(), fs::read(&p).unwrap()))
        .collect()
}

/// The program by another name, so that there is less to compress.
fn stand_in(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let program = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("fe-clip");
    assert!(program.exists(), "{}: to be built first", program.display());
    let script = folder.join("fe-clip");
    fs::write(&script, format!("#!/bin/sh\nexec '{}' \"$@\"\n", program.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// Names, modes and contents of the files of a tar.
fn members(tar: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut members = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        assert_eq!(entry.header().mtime().unwrap().to_string(), TIME);
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        members.insert(name, (entry.header().mode().unwrap(), content));
    }
    members
}

fn unxz(content: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    lzma_rust2::XzReader::new(content, false).read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn a_release_is_complete_and_made_twice_alike() {
    let folder = tempfile::tempdir().unwrap();
    let program = stand_in(folder.path());
    let made = dist(&program, &folder.path().join("one"));
    assert_eq!(made, dist(&program, &folder.path().join("two")));

    let version = env!("CARGO_PKG_VERSION");
    let name = format!("fe-clip-{version}-x86_64-unknown-linux-gnu");
    let deb = format!("fe-clip_{version}-1_amd64.deb");
    let sums = String::from_utf8(made["SHA256SUMS"].clone()).unwrap();
    assert_eq!(sums.lines().count(), made.len() - 1);
    for line in sums.lines() {
        let (sum, file) = line.split_once("  ").unwrap();
        assert_eq!(sum, format!("{:x}", Sha256::digest(&made[file])), "{file}");
    }

    let archive = members(&unxz(&made[&format!("{name}.tar.xz")]));
    let file = |below: &str| &archive[&format!("{name}/{below}")];
    assert_eq!(file("fe-clip"), &(0o755, fs::read(&program).unwrap()));
    assert_eq!(file("fe-clip.cdx.json").1, made[&format!("{name}.cdx.json")]);
    assert!(String::from_utf8_lossy(&file("completions/fe-clip.bash").1).contains("_fe__clip()"));
    assert!(String::from_utf8_lossy(&file("man/fe-clip-detect.1").1).contains("shard"));
    for below in ["Dockerfile", "LICENSE-MIT", "systemd/fe-clip-watch@.service", "man/fe-clip.1"] {
        assert_eq!(file(below).0, 0o644, "{below}");
    }
    licences_are_whole(&String::from_utf8_lossy(&file("THIRD-PARTY.txt").1));
    materials_are_whole(&serde_json::from_slice(&file("fe-clip.cdx.json").1).unwrap(), &program);
    let path = folder.path().join("one").join(deb);
    debian_package(&path, &folder.path().join("root"), &program);
}

fn licences_are_whole(text: &str) {
    for wanted in [
        "\nburn-flex 0.22",
        "Copyright (c) 2014 The Rust Project Developers",
        "Mozilla Public License Version 2.0", // option-ext
        "Copyright (c) sarah quiñones <",     // pulp-wasm-simd-flag, which has no file
        "Copyright (c) 2021 OpenAI",
        "Copyright notices for The Rust Standard Library",
    ] {
        assert!(text.contains(wanted), "{wanted}");
    }
    // Neither is in the program: a test's and the Python package's.
    assert!(!text.contains("\nproptest ") && !text.contains("\npyo3 "));
}

fn materials_are_whole(sbom: &Value, program: &Path) {
    let program = format!("{:x}", Sha256::digest(fs::read(program).unwrap()));
    assert_eq!(sbom["metadata"]["component"]["hashes"][0]["content"], program);
    assert_eq!(sbom["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    let list = |value: &Value| value.as_array().unwrap().clone();
    let components = list(&sbom["components"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let named = |name: &str| components.iter().find(|c| c["name"] == name).unwrap().clone();
    assert_eq!(named("serde")["hashes"][0]["content"].as_str().unwrap().len(), 64);
    assert!(text(&named("serde")["purl"]).starts_with("pkg:cargo/serde@1."));
    assert!(named("fe-clip")["purl"].is_null());
    // Everything that is used is there, and used by something that is.
    let known: Vec<String> = components.iter().map(|c| text(&c["bom-ref"])).collect();
    let mut used = Vec::new();
    for dependency in list(&sbom["dependencies"]) {
        let is_program = dependency["ref"] == sbom["metadata"]["component"]["bom-ref"];
        assert!(is_program || known.contains(&text(&dependency["ref"])), "{dependency}");
        used.extend(dependency["dependsOn"].as_array().into_iter().flatten().map(text));
    }
    used.sort();
    used.dedup();
    let mut known = known;
    known.sort();
    assert_eq!(used, known);
}

/// What dpkg and systemd say of it, where they are installed.
fn debian_package(path: &Path, root: &Path, program: &Path) {
    let said = |name: &str, arguments: &[&Path]| {
        let Ok(output) = Command::new(name).args(arguments).output() else {
            eprintln!("{name} is not installed: not checked");
            return None;
        };
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{name} {arguments:?}: {text}");
        Some(text)
    };
    let Some(fields) = said("dpkg-deb", &["-f".as_ref(), path]) else { return };
    assert!(fields.contains("\nArchitecture: amd64\n"), "{fields}");
    said("dpkg-deb", &["-x".as_ref(), path, root]);
    assert_eq!(fs::read(root.join("usr/bin/fe-clip")).unwrap(), fs::read(program).unwrap());
    for below in ["man/man1/fe-clip-serve.1.gz", "doc/fe-clip/copyright"] {
        assert!(root.join("usr/share").join(below).exists(), "{below}");
    }
    let units = root.join("usr/lib/systemd/system");
    for unit in ["fe-clip-serve.service", "fe-clip-watch@.service"] {
        let security = ["security", "--offline=true", "--threshold=15"];
        let mut arguments = security.map(Path::new).to_vec();
        let unit = units.join(unit);
        arguments.push(&unit);
        said("systemd-analyze", &arguments);
    }
}
