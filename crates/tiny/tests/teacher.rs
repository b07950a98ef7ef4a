//! The teacher against PyTorch: `teacher/efficientnet_lite0.py` is the transcription and wrote the file
//! beside it. The weights are not ours to keep here: `cargo xtask teacher` fetches them.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use safetensors::SafeTensors;
use tiny::teacher::{Features, Teacher};

const GOLDEN: &[u8] = include_bytes!("teacher/published.safetensors");

fn weights() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("target/tiny/teacher/efficientnet-lite0-57934424.pth");
    if !path.exists() {
        eprintln!("NOT TESTED: {} is missing; `cargo xtask teacher` fetches it", path.display());
        return None;
    }
    Some(path)
}

fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec().unwrap()
}

#[test]
fn features_are_pytorchs() {
    let Some(path) = weights() else { return };
    let teacher = Teacher::published(&path, &Device::flex()).unwrap();
    let golden = SafeTensors::deserialize(GOLDEN).unwrap();
    for side in [48, 80] {
        let images = golden.tensor(&format!("{side}.image")).unwrap();
        let Features { stages: [third, fifth, seventh], pooled } = teacher.see(images.data(), side);
        let found = [
            ("stage3", numbers(third)),
            ("stage5", numbers(fifth)),
            ("stage7", numbers(seventh)),
            ("pooled", numbers(pooled)),
        ];
        for (name, found) in found {
            let expected = golden.tensor(&format!("{side}.{name}")).unwrap();
            let expected: Vec<f32> = expected
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect();
            assert_eq!(found.len(), expected.len(), "{side} {name}");
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "{side} {name}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn another_file_is_refused_with_both_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.pth");
    std::fs::write(&path, b"something else").unwrap();
    let message = Teacher::published(&path, &Device::flex()).unwrap_err().to_string();
    assert!(message.contains("other.pth"), "{message}");
    // sha256 of that text, by sha256sum.
    let found = "f41f3fa625ff120ddca7ef456bf66371ecea23c129f4e4c32367101edb516cf8";
    assert!(message.contains(found), "{message}");
    assert!(message.contains(tiny::teacher::SHA256), "{message}");
}
