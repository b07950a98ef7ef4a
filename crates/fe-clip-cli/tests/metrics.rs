//! `fe-clip metrics` on small files whose metrics are known.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};

/// Writes an `.npy` file of version 1.0.
fn npy(folder: &Path, name: &str, descr: &str, shape: &str, data: &[u8]) -> PathBuf {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn run(arguments: &[(&str, &Path)]) -> (i32, Value, String) {
    let mut command = Command::cargo_bin("fe-clip").unwrap();
    command.arg("metrics");
    for (flag, path) in arguments {
        command.arg(flag).arg(path);
    }
    let output = command.output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), json, String::from_utf8(output.stderr).unwrap())
}

const SHAPE: &str = "(2, 2, 3)";
const MAPS: [f32; 12] = [0.125, 0.25, 0.75, 0.125, 0.5, 0.25, 0.0, 0.25, 0.125, 0.0, 0.5, 0.0];
const MASKS: [u8; 12] = [0, 0, 255, 0, 1, 0, 0, 0, 0, 0, 0, 0];

/// One region, above all normal pixels but one that ties with half of it.
fn expected() -> Value {
    json!({
        "image": {"auroc": 1.0, "ap": 1.0, "f1_max": 1.0, "f1_max_threshold": 0.75},
        // 10 normal pixels: the tie rises from 1/2 to 1 over FPR 0 to 0.1.
        "pixel": {
            "auroc": 0.975, "ap": 0.5 + 0.5 * 2.0 / 3.0, "f1_max": 0.8, "f1_max_threshold": 0.5,
            "aupro": (0.1 * 0.75 + 0.2) / 0.3,
        },
        "undefined": {},
    })
}

fn assert_close(ours: &Value, theirs: &Value) {
    for (group, values) in theirs.as_object().unwrap() {
        for (name, value) in values.as_object().unwrap() {
            let (ours, theirs) = (ours[group][name].as_f64().unwrap(), value.as_f64().unwrap());
            assert!((ours - theirs).abs() < 1e-12, "{group}.{name}: expected {theirs}, got {ours}");
        }
    }
}

#[test]
fn every_type_of_file_gives_the_same_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let half = |value: f32| half::f16::from_f32(value).to_le_bytes();
    let maps = [
        npy(folder.path(), "f4", "<f4", SHAPE, &floats(&MAPS)),
        npy(folder.path(), "f2", "<f2", SHAPE, &MAPS.map(half).concat()),
        npy(
            folder.path(),
            "f8",
            "<f8",
            SHAPE,
            &MAPS.map(|value| f64::from(value).to_le_bytes()).concat(),
        ),
        npy(folder.path(), "big", ">f4", SHAPE, &MAPS.map(f32::to_be_bytes).concat()),
    ];
    let masks = [
        npy(folder.path(), "u1", "|u1", SHAPE, &MASKS),
        npy(folder.path(), "b1", "|b1", SHAPE, &MASKS.map(|mask| mask.min(1))),
    ];
    for maps in &maps {
        for masks in &masks {
            let (code, json, stderr) = run(&[("--maps", maps), ("--masks", masks)]);
            assert_eq!((code, stderr.as_str()), (0, ""));
            assert_close(&json, &expected());
            assert_eq!(json["undefined"], json!({}));
            assert!(json["pixel"]["aupro_peer"].is_number());
        }
    }

    let scores = npy(folder.path(), "scores", "<f4", "(3,)", &floats(&[0.5, 0.25, 0.75]));
    let labels = npy(folder.path(), "labels", "|b1", "(3,)", &[1, 0, 0]);
    let (code, json, _) = run(&[
        ("--maps", &maps[0]),
        ("--masks", &masks[0]),
        ("--scores", &scores),
        ("--labels", &labels),
    ]);
    assert_eq!((code, &json["image"]["auroc"]), (0, &json!(0.5)));
}

#[test]
fn undefined_metrics_are_null_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let maps = npy(folder.path(), "maps", "<f4", SHAPE, &floats(&MAPS));
    let none = npy(folder.path(), "none", "|u1", SHAPE, &[0; 12]);
    let (code, json, _) = run(&[("--maps", &maps), ("--masks", &none)]);
    assert_eq!(code, 0);
    assert_eq!(json["pixel"]["aupro"], Value::Null);
    assert_eq!(json["undefined"]["pixel.aupro"], "no anomalous region");
    assert_eq!(json["undefined"]["image.auroc"], "only normal labels");

    let mut nan = MAPS;
    nan[7] = f32::NAN;
    let nan = npy(folder.path(), "nan", "<f4", SHAPE, &floats(&nan));
    let masks = npy(folder.path(), "masks", "|u1", SHAPE, &MASKS);
    let (code, json, _) = run(&[("--maps", &nan), ("--masks", &masks)]);
    assert_eq!(code, 1);
    assert_eq!(json["undefined"]["pixel.auroc"], "the score at [1, 0, 1] is NaN");
}

#[test]
fn bad_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let masks = npy(folder.path(), "masks", "|u1", SHAPE, &MASKS);
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let whole = fs::read(npy(folder.path(), "maps", "<f4", SHAPE, &floats(&MAPS))).unwrap();
    let fortran = String::from_utf8_lossy(&whole[10..127]).replace("False", "True");
    let fortran = [&whole[..10], fortran.as_bytes(), &whole[127..]].concat();
    let files = [
        (folder.path().join("missing"), "No such file"),
        (write("text", b"0.5 0.25"), "not an .npy file"),
        (write("nothing", b""), "not an .npy file"),
        (write("header", &whole[..60]), "ends inside its header"),
        (write("short", &whole[..whole.len() - 1]), "expected 48 bytes of data"),
        (write("key", b"\x93NUMPY\x01\x00\x02\x00{}"), "lacks the key descr"),
        (write("open", b"\x93NUMPY\x01\x00\x05\x00descr"), "got the type"),
        (
            npy(folder.path(), "huge", "<f4", "(4294967296, 4294967296, 4)", &[]),
            "larger than any memory",
        ),
        (npy(folder.path(), "shape", "<f4", "(2, x, 3)", &floats(&MAPS)), "shape"),
        (npy(folder.path(), "axes", "<f4", "(12,)", &floats(&MAPS)), "expected 3 axes"),
        (npy(folder.path(), "other", "<f4", "(2, 3, 2)", &floats(&MAPS)), "do not fit masks"),
        (npy(folder.path(), "int", "<i8", "(0, 2, 3)", &[]), "got the type <i8"),
        (npy(folder.path(), "object", "|O", SHAPE, &[0; 12]), "got the type |O"),
        (write("fortran", &fortran), "Fortran order"),
        (masks.clone(), "expected floats"),
    ];
    for (path, reason) in &files {
        let (code, json, stderr) = run(&[("--maps", path), ("--masks", &masks)]);
        assert_eq!((code, json), (2, Value::Null), "{stderr}");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(stderr.contains(name) && stderr.contains(reason), "{stderr}");
    }
}
