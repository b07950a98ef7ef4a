//! `fe-clip embed` beside the library, and the choice of model and device.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use burn::tensor::{Device, Tensor, TensorData};
use data::{Preprocess, Resize, preprocess};
use fe_clip::Backbone;
use image::{Rgb, RgbImage};

fn fe_clip() -> Command {
    let mut command = Command::cargo_bin("fe-clip").unwrap();
    command.env_remove("BURN_DEVICE");
    command
}

fn photo(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 5 % 251) as u8, (y * 3 % 241) as u8, 90]))
}

/// Shape and values of the file, read as NumPy's format description says.
fn read_npy(path: &Path) -> ([usize; 2], Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    assert!(header.contains("'descr': '<f4', 'fortran_order': False"), "{header}");
    let shape = header.split_once('(').unwrap().1.split_once(')').unwrap().0;
    let (rows, columns) = shape.split_once(", ").unwrap();
    let values =
        bytes[10 + length..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    ([rows.parse().unwrap(), columns.parse().unwrap()], values.collect())
}

fn refusal(arguments: &[&str]) -> String {
    let output = fe_clip().arg("embed").args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn rows_are_the_library_s_embeddings_normalised() {
    let folder = tempfile::tempdir().unwrap();
    let (image, out) = (folder.path().join("wide.png"), folder.path().join("e.npy"));
    photo(150, 90).save(&image).unwrap();
    let texts = ["A photo of a damaged object", "café"];
    for (mode, resize) in [("shortest_crop", Resize::ShortestCrop), ("squash", Resize::Squash)] {
        fe_clip()
            .args(["embed", "--text", texts[0], "--text", texts[1], "--resize", mode, "--image"])
            .arg(&image)
            .arg("--out")
            .arg(&out)
            .assert()
            .success();
        let device = Device::flex();
        let backbone = Backbone::load("tiny", None, &device).unwrap();
        let ids = backbone.tokenize(&texts.map(String::from)).unwrap();
        let size = backbone.image_size();
        let pixels = preprocess(&photo(150, 90), &Preprocess::clip(size, resize));
        let pixels = TensorData::new(pixels.into_raw_vec_and_offset().0, [1, 3, size, size]);
        let pixels = Tensor::<4>::from_data(pixels, &device);
        let clip = &backbone.clip;
        let rows = vec![clip.text.forward(&ids, &device), clip.vision.forward(pixels)];
        let expected = Tensor::cat(rows, 0);
        let (shape, found) = read_npy(&out);
        assert_eq!(shape, expected.dims());
        let expected = expected.into_data().try_into_vec::<f32>().unwrap();
        for (found, expected) in found.chunks(shape[1]).zip(expected.chunks(shape[1])) {
            let length = expected.iter().map(|x| x * x).sum::<f32>().sqrt();
            let worst =
                found.iter().zip(expected).map(|(a, b)| (a - b / length).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-6, "{mode}: off by {worst}");
        }
    }
}

#[test]
fn a_model_is_found_in_the_cache_that_python_shares() {
    let home = tempfile::tempdir().unwrap();
    let repository = home.path().join("hub/models--someone--tiny");
    let snapshot = repository.join("snapshots/0123");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), "0123").unwrap();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fe-clip/assets/tiny");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(assets.join(file), snapshot.join(file)).unwrap();
    }
    let embed = |model: &str, name: &str| {
        let out = home.path().join(name);
        fe_clip()
            .args(["embed", "--text", "a photo", "--model", model, "--out"])
            .arg(&out)
            .env("HF_HOME", home.path())
            .env_remove("HF_HUB_CACHE")
            .env("HF_HUB_OFFLINE", "1")
            .assert()
            .success();
        fs::read(out).unwrap()
    };
    assert_eq!(embed("someone/tiny", "cached.npy"), embed("tiny", "embedded.npy"));
}

#[test]
fn all_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("e.npy");
    let out = out.to_str().unwrap();
    assert!(refusal(&["--out", out]).contains("nothing to embed"));
    let errors = refusal(&[
        "--text",
        "a",
        "--image",
        "no-such-1.png",
        "--image",
        "no-such-2.png",
        "--out",
        out,
    ]);
    assert!(errors.contains("no-such-1.png") && errors.contains("no-such-2.png"), "{errors}");
    let errors = refusal(&["--text", "a", "--model", "no such model", "--out", out]);
    assert!(errors.contains("no such model"), "{errors}");
    assert!(!Path::new(out).exists());
}

#[test]
fn the_device_comes_from_the_flag_or_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("e.npy");
    let embed = || {
        let mut command = fe_clip();
        command.args(["embed", "--text", "a", "--out"]).arg(&out);
        command
    };
    let output = embed().env("BURN_DEVICE", "abacus").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("--device: device abacus") && error.contains("there are flex, tch"),
        "{error}"
    );
    assert!(!out.exists());
    embed().env("BURN_DEVICE", "abacus").args(["--device", "flex"]).assert().success();
    assert!(out.exists());
}
