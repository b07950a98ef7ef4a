//! Weights and settings as people have them: broken weights, files in the place of files, paths, the activation.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::Value;

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fe-clip/assets/tiny")
}

/// A folder with a model, `cfg/model`, settings beside it, and an image; the program runs in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(settings: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(folder.path("cfg/model")).unwrap();
        for file in ["config.json", "model.safetensors"] {
            fs::copy(assets().join(file), folder.path("cfg/model").join(file)).unwrap();
        }
        folder.settings(settings);
        let colour = |x, y| Rgb([(x * 5 % 251) as u8, (y * 3 % 241) as u8, 90]);
        for n in 0..4 {
            let image = RgbImage::from_fn(64, 64, |x, y| colour(x + 9 * n, y));
            fs::create_dir_all(folder.path("in")).unwrap();
            image.save(folder.path("in").join(format!("{n}.png"))).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn settings(&self, model: &str) {
        let text = format!("[model]\nmethod = \"clip\"\nimage_size = 32\n{model}\n");
        fs::write(self.path("cfg/run.toml"), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::cargo_bin("fe-clip").unwrap();
        let output = command.args(arguments).current_dir(self.0.path()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    fn scores(&self, arguments: &[&str]) -> Vec<f64> {
        let detect = ["detect", "in", "--config", "cfg/run.toml", "--format", "jsonl"];
        let (code, stdout, stderr) = self.run(&[&detect[..], arguments].concat());
        assert_eq!(code, 0, "{stderr}");
        let score = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["score"].as_f64().unwrap()
        };
        stdout.lines().map(score).collect()
    }

    #[track_caller]
    fn refusal(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        stderr
    }

    /// Overwrites the first elements of a tensor of half precision.
    fn write_half(&self, tensor: &str, bits: u16) {
        let path = self.path("cfg/model/model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        assert_eq!(header[tensor]["dtype"], "F16");
        let start = header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
        let place = 8 + length + start;
        bytes[place..place + 2].copy_from_slice(&bits.to_le_bytes());
        fs::write(&path, bytes).unwrap();
    }
}

const DETECT: [&str; 4] = ["detect", "in", "--config", "cfg/run.toml"];
const NAN: u16 = 0x7e00;
const INFINITY: u16 = 0x7c00;

#[test]
fn a_model_that_holds_no_numbers_labels_nothing() {
    for (bits, what) in [(NAN, "NaN"), (INFINITY, "infinity")] {
        let folder = Folder::new("backbone = \"model\"");
        let tensor = "vision_model.encoder.layers.0.mlp.fc1.weight";
        folder.write_half(tensor, bits);
        let expected = format!("{tensor}: holds {what}");
        let detect = folder.refusal(&[&DETECT[..], &["--threshold", "0.5"]].concat());
        assert!(detect.contains(&expected), "{detect}");
        let embed =
            folder.refusal(&["embed", "--model", "cfg/model", "--text", "x", "--out", "e.npy"]);
        assert!(embed.contains(&expected), "{embed}");
        assert!(!folder.path("e.npy").exists());
    }
}

#[test]
fn answers_that_are_no_numbers_are_errors_that_name_the_image() {
    let folder = Folder::new("backbone = \"model\"\nactivation = \"gelu\"");
    // Finite in the file, beyond single precision after a product.
    let path = folder.path("cfg/model/model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut data = Vec::new();
    for (name, tensor) in header.as_object_mut().unwrap() {
        if name == "__metadata__" {
            continue;
        }
        let offset = |i: usize| 8 + length + tensor["data_offsets"][i].as_u64().unwrap() as usize;
        let old = &bytes[offset(0)..offset(1)];
        let start = data.len();
        if name == "visual_projection.weight" {
            data.extend(f32::MAX.to_le_bytes().repeat(old.len() / 2));
            tensor["dtype"] = "F32".into();
        } else {
            data.extend(old);
        }
        tensor["data_offsets"] = vec![start, data.len()].into();
    }
    let header = serde_json::to_vec(&header).unwrap();
    let length = (header.len() as u64).to_le_bytes();
    fs::write(&path, [&length[..], &header, &data].concat()).unwrap();
    let arguments = [&DETECT[..], &["--threshold", "0.5", "--format", "jsonl"]].concat();
    let (code, stdout, stderr) = folder.run(&arguments);
    assert_ne!(code, 0, "{stdout}");
    assert_eq!(stdout.lines().count(), 4, "{stderr}");
    for line in stdout.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line.get("label").is_none_or(Value::is_null), "{line}");
        let (path, error) = (line["path"].as_str().unwrap(), line["error"].as_str().unwrap());
        assert!(error.contains("NaN") || error.contains("not finite"), "{error}");
        assert!(stderr.contains(path), "{stderr}");
    }
    let embed = ["embed", "--model", "cfg/model", "--image", "in/0.png", "--out", "e.npy"];
    let error = folder.refusal(&embed);
    assert!(error.contains("in/0.png: the embedding holds"), "{error}");
    assert!(!folder.path("e.npy").exists());
}

#[test]
fn what_lies_in_the_place_of_weights_is_named() {
    let folder = Folder::new("backbone = \"model\"");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 1710540580\n";
    let page = "<!doctype html><title>Log in</title>";
    for (text, part) in [(pointer, "git lfs pull"), (page, "web page"), ("", "empty")] {
        let file = folder.path("cfg/model/model.safetensors");
        fs::write(&file, text).unwrap();
        let error = folder.refusal(&DETECT);
        assert!(error.contains("model.safetensors is") && error.contains(part), "{error}");
        let adapters = folder.path("adapters.safetensors");
        fs::write(&adapters, text).unwrap();
        let error = folder.refusal(&["detect", "in", "--adapters", "adapters.safetensors"]);
        assert!(error.contains("adapters.safetensors: is") && error.contains(part), "{error}");
    }
}

#[test]
fn a_backbone_is_looked_for_beside_its_settings() {
    let folder = Folder::new("backbone = \"model\"");
    let expected = folder.scores(&["--model", "cfg/model"]);
    assert_eq!(folder.scores(&[]), expected);
    let absolute = folder.path("cfg/model").display().to_string();
    for backbone in ["./model", "../cfg/model", "../cfg/../cfg/model", &absolute] {
        folder.settings(&format!("backbone = {backbone:?}"));
        assert_eq!(folder.scores(&[]), expected, "{backbone}");
    }
    // A hub id is one unless it lies there; a name is a name.
    fs::create_dir_all(folder.path("cfg/owner")).unwrap();
    fs::rename(folder.path("cfg/model"), folder.path("cfg/owner/model")).unwrap();
    folder.settings("backbone = \"owner/model\"");
    assert_eq!(folder.scores(&[]), expected);
    fs::create_dir_all(folder.path("cfg/tiny")).unwrap();
    folder.settings("backbone = \"tiny\"");
    assert_eq!(folder.scores(&[]), expected);
    folder.settings("backbone = \"nowhere\"");
    let error = folder.refusal(&DETECT);
    assert!(error.contains(folder.path("cfg/nowhere").to_str().unwrap()), "{error}");
}

#[test]
fn the_activation_is_a_setting_and_part_of_a_model_s_identity() {
    let folder = Folder::new("backbone = \"model\"");
    let gelu = folder.scores(&[]);
    folder.settings("backbone = \"model/model.safetensors\"");
    let quick = folder.scores(&[]);
    assert_ne!(quick, gelu, "the file alone does not tell");
    assert_eq!(folder.scores(&["--activation", "gelu"]), gelu);
    let calibrate = |activation: &str, out: &str| {
        folder.settings(&format!("backbone = \"model/model.safetensors\"\n{activation}"));
        let arguments = ["calibrate", "--normals", "in", "--false-alarm-rate", "0.3"];
        let arguments = [&arguments[..], &["--config", "cfg/run.toml", "--out", out]].concat();
        let (code, _, stderr) = folder.run(&arguments);
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_slice::<Value>(&fs::read(folder.path(out)).unwrap()).unwrap()
    };
    let written = calibrate("activation = \"gelu\"", "gelu.json");
    assert_eq!(written["model"]["config"]["activation"], "gelu");
    assert_eq!(folder.scores(&["--calibration", "gelu.json"]), gelu);
    calibrate("", "quick.json");
    let with = |file: &'static str| [&DETECT[..], &["--calibration", file]].concat();
    let error = folder.refusal(&with("gelu.json"));
    assert!(error.contains("config.activation was \"gelu\""), "{error}");
    assert_eq!(folder.scores(&["--calibration", "gelu.json", "--activation", "gelu"]), gelu);
    let error = folder.refusal(&[&with("quick.json")[..], &["--activation", "gelu"]].concat());
    assert!(error.contains("config.activation was null"), "{error}");
    // Said or not, it is the same model.
    assert_eq!(
        folder.scores(&["--calibration", "quick.json", "--activation", "quick_gelu"]),
        quick
    );
    folder.settings("backbone = \"model\"\nactivation = \"quick_gelu\"");
    let error = folder.refusal(&DETECT);
    assert!(error.contains("config.json: tells activation gelu"), "{error}");
    folder.settings("backbone = \"tiny\"\nactivation = \"quick_gelu\"");
    assert!(folder.refusal(&DETECT).contains("tiny: tells activation gelu"));
    folder.settings("backbone = \"model\"\nactivation = \"relu\"");
    assert!(folder.refusal(&DETECT).contains("relu"));
}

#[test]
fn the_precision_is_a_setting_and_part_of_a_model_s_identity() {
    let folder = Folder::new("backbone = \"model\"");
    let float32 = folder.scores(&[]);
    let precision =
        |name: &str| folder.settings(&format!("backbone = \"model\"\nprecision = \"{name}\""));
    precision("float32");
    assert_eq!(folder.scores(&[]), float32);
    for (name, bound) in [("bfloat16", 0.01), ("int8", 0.03)] {
        precision(name);
        let scores = folder.scores(&[]);
        assert_ne!(scores, float32);
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < bound;
        assert!(scores.iter().zip(&float32).all(near), "{name}: {scores:?} {float32:?}");
        let calibrate = ["calibrate", "--normals", "in", "--false-alarm-rate", "0.3"];
        let arguments = ["--config", "cfg/run.toml", "--out", "calibration.json"];
        let (code, _, stderr) = folder.run(&[&calibrate[..], &arguments].concat());
        assert_eq!(code, 0, "{stderr}");
        let written = fs::read(folder.path("calibration.json")).unwrap();
        let written: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(written["model"]["config"]["precision"], name);
        assert_eq!(folder.scores(&["--calibration", "calibration.json"]), scores);
        precision("float32");
        let error = folder.refusal(&[&DETECT[..], &["--calibration", "calibration.json"]].concat());
        let told = format!("config.precision was \"{name}\", is \"float32\"");
        assert!(error.contains(&told), "{error}");

        precision(name);
        let mut command = Command::cargo_bin("fe-clip").unwrap();
        let held = command.env("CLIP_VIT_INSTRUCTIONS", "portable").args(DETECT);
        let held = held.current_dir(folder.path("")).output().unwrap();
        let stderr = String::from_utf8(held.stderr).unwrap();
        assert_eq!(stderr.matches(&format!("no instructions for {name}")).count(), 1, "{stderr}");
        let error = folder.refusal(&["export", "--config", "cfg/run.toml", "--out", "graph.onnx"]);
        assert!(error.contains("graphs are float32"), "{error}");
    }
    precision("float16");
    assert!(folder.refusal(&DETECT).contains("float16"));
    let train = "[model]\nprecision = \"bfloat16\"\n\
                 [train]\ndatasets = [{ name = \"mvtec-ad\", root = \"data\" }]\n";
    fs::write(folder.path("cfg/train.toml"), train).unwrap();
    let error = folder.refusal(&["train", "--config", "cfg/train.toml", "--out", "out"]);
    assert!(error.contains("models are trained in float32"), "{error}");
}

#[test]
fn training_records_the_activation_and_uses_it() {
    let folder = Folder::new("");
    let (code, _, stderr) = folder.run(&[
        "synth",
        "--size",
        "64",
        "--categories",
        "wood",
        "--train-normal",
        "1",
        "--test-normal",
        "1",
        "--test-per-defect",
        "1",
        "--out",
        "cfg/data",
    ]);
    assert_eq!(code, 0, "{stderr}");
    let train = |activation: &str, out: &str| {
        let settings = format!(
            "[model]\nbackbone = \"model/model.safetensors\"\nimage_size = 64\n{activation}\n\
             [train]\nmax_steps = 1\nbatch_size = 2\ndatasets = [{{ name = \"mvtec-ad\", root = \"data\" }}]\n"
        );
        fs::write(folder.path("cfg/train.toml"), settings).unwrap();
        let (code, _, stderr) = folder.run(&["train", "--config", "cfg/train.toml", "--out", out]);
        assert_eq!(code, 0, "{stderr}");
        let (code, stdout, stderr) =
            folder.run(&["info", &format!("{out}/adapters.safetensors"), "--format", "json"]);
        assert_eq!(code, 0, "{stderr}");
        let log = fs::read_to_string(folder.path(out).join("train.jsonl")).unwrap();
        let log: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        let settings = fs::read_to_string(folder.path(out).join("run.toml")).unwrap();
        let info: Value = serde_json::from_str(&stdout).unwrap();
        (info["adapters"]["settings"]["activation"].clone(), log["loss"].clone(), settings)
    };
    let (gelu, gelu_loss, settings) = train("activation = \"gelu\"", "gelu");
    assert_eq!(gelu, "gelu");
    assert!(settings.contains("activation = \"gelu\""), "{settings}");
    let (quick, quick_loss, _) = train("", "quick");
    assert_eq!(quick, Value::Null);
    assert_ne!(gelu_loss, quick_loss);
    // The settings written are those of the run, wherever they lie.
    let detect = |arguments: &[&str]| {
        let adapters = ["detect", "in", "--adapters", "gelu/adapters.safetensors"];
        let (code, stdout, stderr) = folder.run(&[&adapters[..], arguments].concat());
        assert_eq!(code, 0, "{stderr}");
        stdout
    };
    assert_eq!(detect(&[]), detect(&["--config", "gelu/run.toml"]));
    assert_ne!(detect(&[]), detect(&["--activation", "quick_gelu"]));
}
