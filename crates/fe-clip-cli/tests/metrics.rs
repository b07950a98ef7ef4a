//! `fe-clip metrics` on small files whose metrics are known.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};

/// Writes an `.npy` file of version 1.0.
fn npy(folder: &Path, name: &str, descr: &str, shape: &str, data: &[u8]) -> PathBuf {
    npy_of(1, folder, name, (descr, "False", shape), data)
}

fn npy_of(
    version: u8,
    folder: &Path,
    name: &str,
    (descr, fortran, shape): (&str, &str, &str),
    data: &[u8],
) -> PathBuf {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    let mut bytes = [&b"\x93NUMPY"[..], &[version, 0]].concat();
    let length = (header.len() as u32).to_le_bytes();
    bytes.extend(&length[..if version == 1 { 2 } else { 4 }]);
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

/// Elements of `[2, 2, 3]` with the first axis fastest.
fn in_column_order<T: Copy>(rows: [T; 12]) -> [T; 12] {
    std::array::from_fn(|i| rows[i % 2 * 6 + i / 2 % 2 * 3 + i / 4])
}

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
        npy(
            folder.path(),
            "big f8",
            ">f8",
            SHAPE,
            &MAPS.map(|value| f64::from(value).to_be_bytes()).concat(),
        ),
        npy(
            folder.path(),
            "big f2",
            ">f2",
            SHAPE,
            &MAPS.map(|value| half::f16::from_f32(value).to_be_bytes()).concat(),
        ),
        npy_of(
            1,
            folder.path(),
            "columns",
            ("<f4", "True", SHAPE),
            &floats(&in_column_order(MAPS)),
        ),
        npy_of(2, folder.path(), "second", ("<f4", "False", SHAPE), &floats(&MAPS)),
        npy_of(
            3,
            folder.path(),
            "third",
            (">f4", "True", "(2L, 2L, 3L)"),
            &in_column_order(MAPS).map(f32::to_be_bytes).concat(),
        ),
    ];
    let masks = [
        npy(folder.path(), "u1", "|u1", SHAPE, &MASKS),
        npy(folder.path(), "b1", "|b1", SHAPE, &MASKS.map(|mask| mask.min(1))),
        npy(folder.path(), "i1", "|i1", SHAPE, &MASKS),
        npy(folder.path(), "i2", "<i2", SHAPE, &MASKS.map(|m| i16::from(m).to_le_bytes()).concat()),
        // Only the second byte differs from 0.
        npy(folder.path(), "u2", ">u2", SHAPE, &MASKS.map(|m| [m, 0]).concat()),
        npy(folder.path(), "i4", ">i4", SHAPE, &MASKS.map(|m| i32::from(m).to_be_bytes()).concat()),
        npy(folder.path(), "i8", "<i8", SHAPE, &MASKS.map(|m| i64::from(m).to_le_bytes()).concat()),
        npy_of(
            1,
            folder.path(),
            "u8 columns",
            (">u8", "True", SHAPE),
            &in_column_order(MASKS).map(|m| u64::from(m).to_be_bytes()).concat(),
        ),
        npy(
            folder.path(),
            "f4 masks",
            "<f4",
            SHAPE,
            &MASKS.map(|m| f32::from(m.min(1)).to_le_bytes()).concat(),
        ),
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
    for (descr, fortran, data) in [
        ("|b1", "False", vec![1, 0, 0]),
        ("<i8", "False", [1i64, 0, 0].map(i64::to_le_bytes).concat()),
        (">i8", "True", [1i64, 0, 0].map(i64::to_be_bytes).concat()),
        ("<f8", "False", [1f64, 0.0, 0.0].map(f64::to_le_bytes).concat()),
    ] {
        let labels = npy_of(1, folder.path(), "labels", (descr, fortran, "(3,)"), &data);
        let (code, json, _) = run(&[
            ("--maps", &maps[0]),
            ("--masks", &masks[0]),
            ("--scores", &scores),
            ("--labels", &labels),
        ]);
        assert_eq!((code, &json["image"]["auroc"]), (0, &json!(0.5)), "{descr}");
    }
    let (code, json, stderr) = run(&[("--maps", &maps[0]), ("--masks", &maps[0])]);
    assert_eq!((code, json), (2, Value::Null));
    assert!(stderr.contains("f4: expected truth values, 0 or 1, got 0.125"), "{stderr}");
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
        (npy(folder.path(), "int", "<i8", "(0, 2, 3)", &[]), "expected floats, got"),
        (npy(folder.path(), "object", "|O", SHAPE, &[0; 12]), "holds Python objects"),
        (npy(folder.path(), "complex", "<c8", SHAPE, &[0; 96]), "got the type <c8"),
        (npy(folder.path(), "words", "<U4", SHAPE, &[0; 192]), "got the type <U4"),
        (npy_of(1, folder.path(), "cut", ("<f4", "True", SHAPE), &[0; 44]), "expected 48 bytes"),
        (masks.clone(), "expected floats"),
    ];
    for (path, reason) in &files {
        let (code, json, stderr) = run(&[("--maps", path), ("--masks", &masks)]);
        assert_eq!((code, json), (2, Value::Null), "{stderr}");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(stderr.contains(name) && stderr.contains(reason), "{stderr}");
    }
}

/// Twelve maps of 2 x 3 in four files of three, with a few defects.
fn shards(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let shard = |index: usize| {
        let value = |at: usize| ((at * 7 + index * 5) % 16) as f32 / 16.0;
        let maps: Vec<f32> = (0..18).map(value).collect();
        let masks: Vec<u8> = (0..18).map(|at| u8::from(at == index || at % 6 == index)).collect();
        let name = |what: &str| format!("{what}{index}");
        let maps = npy(folder, &name("maps"), "<f4", "(3, 2, 3)", &floats(&maps));
        (maps, npy(folder, &name("masks"), "|u1", "(3, 2, 3)", &masks))
    };
    (0..4).map(shard).collect()
}

/// The data of several files of three maps in one.
fn joined(folder: &Path, name: &str, descr: &str, files: Vec<&PathBuf>) -> PathBuf {
    let data = files.iter().flat_map(|file| fs::read(file).unwrap().split_off(128));
    npy(folder, name, descr, &format!("({}, 2, 3)", 3 * files.len()), &data.collect::<Vec<u8>>())
}

fn fe_clip(arguments: &[&str], files: &[&Path]) -> (i32, Value, String) {
    let mut command = Command::cargo_bin("fe-clip").unwrap();
    let output = command.arg("metrics").args(arguments).args(files).output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), json, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn shards_merge_into_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let shards = shards(folder.path());
    let maps = joined(folder.path(), "maps", "<f4", shards.iter().map(|s| &s.0).collect());
    let masks = joined(folder.path(), "masks", "|u1", shards.iter().map(|s| &s.1).collect());
    // How shards are counted, and what merging takes besides.
    for (mode, merging) in [("--regions", &["--regions"][..]), ("--histogram=0,1", &[])] {
        let (code, whole, stderr) =
            fe_clip(&[mode, "--maps"], &[&maps, Path::new("--masks"), &masks]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        let mut partials = Vec::new();
        for (index, (maps, masks)) in shards.iter().enumerate() {
            let partial = path(&format!("partial{index}"));
            let files = [&**maps, Path::new("--masks"), masks, Path::new("--partial"), &partial];
            let (code, json, stderr) = fe_clip(&[mode, "--maps"], &files);
            assert_eq!((code, stderr.as_str()), (0, ""));
            assert!(json["pixel"]["auroc"].is_number(), "a shard's own metrics are printed too");
            partials.push(partial);
        }
        // Two by two, then the two halves.
        let halves = [path("half0"), path("half1")];
        for (half, parts) in halves.iter().zip(partials.chunks(2)) {
            let arguments = ["--partial", half.to_str().unwrap(), "--merge"];
            let (code, _, stderr) = fe_clip(&arguments, &[&parts[0], &parts[1]]);
            assert_eq!((code, stderr.as_str()), (0, ""));
        }
        let (code, merged, stderr) =
            fe_clip(&[merging, &["--merge"]].concat(), &[&halves[0], &halves[1]]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert_eq!(merged, whole);
    }
}

#[test]
fn histograms_print_their_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let maps = npy(folder.path(), "maps", "<f4", SHAPE, &floats(&MAPS));
    let masks = npy(folder.path(), "masks", "|u1", SHAPE, &MASKS);
    for range in ["--histogram", "--histogram=0,1", "--histogram=-9e5,9e5"] {
        let (code, json, stderr) =
            fe_clip(&[range, "--maps"], &[&maps, Path::new("--masks"), &masks]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert_close(&json!({"image": json["image"]}), &json!({"image": expected()["image"]}));
        for name in ["auroc", "ap", "f1_max", "aupro"] {
            let [value, exact] =
                [&json["pixel"], &expected()["pixel"]].map(|of| of[name].as_f64().unwrap());
            let bound = json["bounds"][format!("pixel.{name}")].as_f64().unwrap();
            assert!(
                (value - exact).abs() <= bound,
                "{range} {name}: {value} is not {exact} within {bound}"
            );
        }
        assert_eq!(json["pixel"]["aupro_peer"], Value::Null);
        assert!(json["undefined"]["pixel.aupro_peer"].is_string());
    }
    let mut nan = MAPS;
    nan[7] = f32::NAN;
    let nan = npy(folder.path(), "nan", "<f4", SHAPE, &floats(&nan));
    let (code, json, _) =
        fe_clip(&["--histogram", "--maps"], &[&nan, Path::new("--masks"), &masks]);
    assert_eq!(code, 1);
    assert_eq!(json["undefined"]["pixel.auroc"], "the score at [1, 0, 1] is NaN");
}

#[test]
fn regions_are_listed_and_summed_up_by_image() {
    let folder = tempfile::tempdir().unwrap();
    let maps = npy(folder.path(), "maps", "<f4", SHAPE, &floats(&MAPS));
    let masks = npy(folder.path(), "masks", "|u1", SHAPE, &MASKS);
    let (code, json, _) = fe_clip(&["--regions", "--maps"], &[&maps, Path::new("--masks"), &masks]);
    let aupro = &json["pixel"]["aupro"];
    let region = json!([{"image": 0, "row": 0, "column": 2, "area": 2, "aupro": aupro}]);
    assert_eq!((code, &json["regions"]), (0, &region));
    assert_eq!(json["regions_by_image"], json!([{"image": 0, "regions": 1, "aupro": aupro}]));
}

#[test]
fn what_cannot_be_merged_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (maps, masks) = shards(folder.path()).swap_remove(0);
    let doubles: Vec<u8> = (0..18).flat_map(|at| f64::from(at).to_le_bytes()).collect();
    let doubles = npy(folder.path(), "doubles", "<f8", "(3, 2, 3)", &doubles);
    let save = |name: &str, maps: &Path, mode: &[&str]| {
        let partial = path(name);
        let arguments = [mode, &["--partial", partial.to_str().unwrap(), "--maps"]].concat();
        let (code, _, stderr) = fe_clip(&arguments, &[maps, Path::new("--masks"), &masks]);
        (code, stderr)
    };
    for (name, maps, mode) in [
        ("single", &maps, &[][..]),
        ("double", &doubles, &[]),
        ("unit", &maps, &["--histogram=0,1"]),
        ("wide", &maps, &["--histogram=-1,1"]),
    ] {
        assert_eq!(save(name, maps, mode), (0, String::new()));
    }
    let (code, stderr) = save("found", &maps, &["--histogram"]);
    assert!(code == 2 && stderr.contains("--histogram=LOW,HIGH"), "{stderr}");
    assert!(!path("found").exists());

    let whole = fs::read(path("single")).unwrap();
    let mut flipped = whole.clone();
    flipped[40] ^= 1;
    fs::write(path("flipped"), flipped).unwrap();
    fs::write(path("cut"), &whole[..whole.len() - 1]).unwrap();
    fs::write(path("long"), [&whole[..], b"x"].concat()).unwrap();
    for (name, reason) in [
        ("double", "float64 scores cannot be merged with exact counts of float32"),
        ("unit", "a histogram cannot be merged with"),
        ("flipped", "is damaged"),
        ("cut", "ends early"),
        ("long", "something follows its end"),
        ("maps0", "was not written with --partial"),
        ("missing", "No such file"),
    ] {
        let (code, json, stderr) = fe_clip(&["--merge"], &[&path("single"), &path(name)]);
        assert_eq!((code, json), (2, Value::Null), "{stderr}");
        assert!(stderr.contains(name) && stderr.contains(reason), "{stderr}");
    }
    let (code, _, stderr) = fe_clip(&["--merge"], &[&path("unit"), &path("wide")]);
    assert!(code == 2 && stderr.contains("over (-1.0, 1.0)"), "{stderr}");
    let (code, _, stderr) = fe_clip(&["--regions", "--merge"], &[&path("unit")]);
    assert!(code == 2 && stderr.contains("does not keep regions apart"), "{stderr}");
}
