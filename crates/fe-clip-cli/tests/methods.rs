//! Every method through the program: train, eval, detect, calibrate.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

fn fe_clip() -> Command {
    Command::cargo_bin("fe-clip").unwrap()
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fail(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    errors
}

/// A procedural data set of one category: 2 training images, 2 normal and 4 anomalous test images.
fn write_data(folder: &Path) {
    let mut synth = fe_clip();
    synth.args(["synth", "--size", "96", "--categories", "gear", "--train-normal", "2"]);
    synth.args(["--test-normal", "2", "--test-per-defect", "1", "--out"]);
    succeed(synth.arg(folder));
}

fn write_settings(folder: &Path, method: &str, rest: &str, shots: usize) -> std::path::PathBuf {
    let path = folder.join(format!("{method}.toml"));
    let text = format!(
        "[model]\nmethod = \"{method}\"\n{rest}\n\
         [eval]\nshots = {shots}\ndatasets = [{{ name = \"mvtec-ad\", root = \"data\" }}]\n\
         [train]\nmax_steps = 2\nbatch_size = 2\n\
         datasets = [{{ name = \"mvtec-ad\", root = \"data\" }}]\n"
    );
    fs::write(&path, text).unwrap();
    path
}

fn metrics(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.join("metrics.json")).unwrap()).unwrap()
}

#[test]
fn every_method_is_evaluated_and_detects() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(&folder.join("data"));
    let good = folder.join("data/gear/train/good");
    for (method, rest, shots) in [
        ("clip", "image_size = 96", 0),
        ("winclip", "image_size = 64", 0),
        ("winclip", "image_size = 64", 1),
        ("memory-bank", "image_size = 96", 2),
        ("pca-residual", "image_size = 96", 2),
        ("promptad", "image_size = 96\nfit_steps = 3", 2),
        ("spectral-residual", "image_size = 96", 0),
    ] {
        let settings = write_settings(folder, method, rest, shots);
        let out = folder.join(format!("{method}-{shots}"));
        let mut eval = fe_clip();
        succeed(eval.arg("eval").arg("--config").arg(&settings).arg("--out").arg(&out));
        let found = metrics(&out);
        let gear = &found["datasets"]["mvtec-ad"]["categories"]["gear"];
        for (level, metric) in [("image", "auroc"), ("pixel", "auroc"), ("pixel", "aupro")] {
            let value = gear[level][metric].as_f64();
            assert!(value.is_some_and(|v| (0.0..=1.0).contains(&v)), "{method}: {gear}");
        }
        assert_eq!(found["config"]["model"]["method"], method);
        let mut detect = fe_clip();
        detect.arg("detect").arg(&good).arg("--config").arg(&settings);
        if shots > 0 {
            detect.arg("--normals").arg(&good);
        }
        for line in succeed(&mut detect).lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let score = line["score"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&score), "{method}: {line}");
            if method == "memory-bank" || method == "promptad" {
                assert!(score < 1e-3, "a remembered image is at distance zero: {line}");
            }
        }
        let train =
            fail(fe_clip().arg("train").arg("--config").arg(&settings).arg("--out").arg(&out));
        assert!(train.contains("nothing to train") && train.contains(method), "{train}");
    }
}

#[test]
fn the_old_name_of_the_memory_bank_is_taken_with_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(&folder.join("data"));
    let good = folder.join("data/gear/train/good");
    let scores = |method: &str| {
        let settings = write_settings(folder, method, "image_size = 96", 0);
        let mut detect = fe_clip();
        detect.args(["detect", "--format", "jsonl", "--config"]).arg(&settings);
        let output = detect.arg("--normals").arg(&good).arg(&good).output().unwrap();
        let talk = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{talk}");
        (String::from_utf8(output.stdout).unwrap(), talk)
    };
    let (old, note) = scores("patchcore");
    assert!(note.contains("patchcore is called memory-bank"), "{note}");
    let (new, silence) = scores("memory-bank");
    assert_eq!(old, new);
    assert!(!silence.contains("patchcore"), "{silence}");
}

#[test]
fn april_gan_is_trained_and_its_layers_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(&folder.join("data"));
    let settings = write_settings(folder, "april-gan", "image_size = 96", 1);
    let run = folder.join("run");
    succeed(fe_clip().arg("train").arg("--config").arg(&settings).arg("--out").arg(&run));
    let used = fs::read_to_string(run.join("run.toml")).unwrap();
    assert!(used.contains("adam_betas = [0.5, 0.999]"), "{used}");
    let layers = run.join("adapters.safetensors");
    let mut eval = fe_clip();
    eval.arg("eval").arg("--config").arg(&settings).arg("--adapters").arg(&layers);
    succeed(eval.arg("--out").arg(&run));
    assert_eq!(metrics(&run)["references"]["mvtec-ad"]["gear"].as_array().unwrap().len(), 1);
    // The file says which method it belongs to.
    let mut detect = fe_clip();
    detect.arg("detect").arg(folder.join("data/gear/test/good")).arg("--adapters").arg(&layers);
    assert_eq!(succeed(&mut detect).lines().count(), 2);
    let errors = fail(fe_clip().args(["detect", "x.png", "--config"]).arg(&settings));
    assert!(errors.contains("april-gan") && errors.contains("--adapters"), "{errors}");
}

#[test]
fn methods_that_learn_prompts_are_trained_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(&folder.join("data"));
    let good = folder.join("data/gear/train/good");
    for (method, part) in [
        ("coop", "prompts.context"),
        ("anomalyclip", "prompts.context"),
        ("adaclip", "adaclip.text_rows.0"),
        ("vcp-clip", "vcp.query"),
    ] {
        let settings = write_settings(folder, method, "image_size = 96", 0);
        let run = folder.join(method);
        succeed(fe_clip().arg("train").arg("--config").arg(&settings).arg("--out").arg(&run));
        let vectors = run.join("adapters.safetensors");
        let mut eval = fe_clip();
        eval.arg("eval").arg("--config").arg(&settings).arg("--adapters").arg(&vectors);
        succeed(eval.arg("--out").arg(&run));
        let gear = &metrics(&run)["datasets"]["mvtec-ad"]["categories"]["gear"];
        assert!(gear["pixel"]["aupro"].is_number(), "{method}: {gear}");
        let mut calibrate = fe_clip();
        calibrate.args(["calibrate", "--false-alarm-rate", "0.5", "--normals"]).arg(&good);
        let file = run.join("calibration.json");
        succeed(calibrate.arg("--adapters").arg(&vectors).arg("--out").arg(&file));
        // The file says which method it belongs to.
        let mut detect = fe_clip();
        detect.arg("detect").arg(&good).arg("--adapters").arg(&vectors);
        let lines = succeed(detect.arg("--calibration").arg(&file));
        assert_eq!(lines.lines().count(), 2);
        assert!(lines.contains("\"label\":\"normal\""), "{method}: {lines}");
        let info = succeed(fe_clip().arg("info").arg("--adapters").arg(&vectors));
        assert!(info.contains(part) && info.contains(method), "{info}");
    }
    let settings = write_settings(folder, "coop", "image_size = 96", 0);
    let text = fs::read_to_string(&settings).unwrap() + "supervision = \"masks\"\n";
    fs::write(&settings, text).unwrap();
    let mut train = fe_clip();
    let errors = fail(train.arg("train").arg("--config").arg(&settings).arg("--out").arg(folder));
    assert!(errors.contains("train.supervision") && errors.contains("coop"), "{errors}");
}

#[test]
fn inctrl_is_trained_and_compares_with_normal_images() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(&folder.join("data"));
    let good = folder.join("data/gear/train/good");
    let settings = write_settings(folder, "inctrl", "image_size = 96\nhead_grid = 6", 2);
    let run = folder.join("run");
    succeed(fe_clip().arg("train").arg("--config").arg(&settings).arg("--out").arg(&run));
    let used = fs::read_to_string(run.join("run.toml")).unwrap();
    assert!(used.contains("optimizer = \"adamw\"") && used.contains("balanced = true"), "{used}");
    let heads = run.join("adapters.safetensors");
    let mut eval = fe_clip();
    eval.arg("eval").arg("--config").arg(&settings).arg("--adapters").arg(&heads);
    succeed(eval.arg("--out").arg(&run));
    assert_eq!(metrics(&run)["references"]["mvtec-ad"]["gear"].as_array().unwrap().len(), 2);
    let mut detect = fe_clip();
    detect.arg("detect").arg(folder.join("data/gear/test/good")).arg("--adapters").arg(&heads);
    let errors = fail(&mut detect);
    assert!(errors.contains("inctrl needs normal images"), "{errors}");
    assert_eq!(succeed(detect.arg("--normals").arg(&good)).lines().count(), 2);
    let other = write_settings(folder, "inctrl", "image_size = 64\nhead_grid = 6", 2);
    let mut detect = fe_clip();
    detect.arg("detect").arg(&good).arg("--config").arg(&other).arg("--adapters").arg(&heads);
    let errors = fail(detect.arg("--normals").arg(&good));
    assert!(errors.contains("model.head_grid") && errors.contains("4 x 4"), "{errors}");
}

#[test]
fn what_a_method_has_no_use_for_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(&folder.join("data"));
    let good = folder.join("data/gear/train/good");
    let detect = |method: &str, rest: &str| {
        let settings = write_settings(folder, method, rest, 0);
        let mut detect = fe_clip();
        detect.arg("detect").arg(&good).arg("--config").arg(settings);
        detect
    };
    for (method, rest, expected) in [
        ("clip", "lambda = 0.5", "model.lambda"),
        ("winclip", "smoothing_sigma = 2.0", "model.smoothing_sigma"),
        ("april-gan", "temperature = 0.05", "model.temperature"),
        ("pca-residual", "explained = 1.0", "model.explained"),
        ("pca-residual", "image_size = 96", "needs normal images"),
        ("spectral-residual", "ffe = false", "model.ffe"),
        ("memory-bank", "image_size = 96", "needs normal images"),
        ("winclip", "[prompts]\nnormal = [\"good\"]", "prompts"),
        ("unheard-of", "", "unheard-of"),
    ] {
        let errors = fail(&mut detect(method, rest));
        assert!(errors.contains(expected), "{method}: {errors}");
    }
    let errors = fail(detect("clip", "").arg("--normals").arg(&good));
    assert!(errors.contains("makes no use of normal images"), "{errors}");
    let errors = fail(detect("clip", "").arg("--adapters").arg(good.join("000.png")));
    assert!(errors.contains("000.png"), "{errors}");
}

#[test]
fn a_method_without_backbone_is_calibrated_like_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_data(&folder.join("data"));
    let good = folder.join("data/gear/train/good");
    let settings = write_settings(folder, "spectral-residual", "image_size = 96", 0);
    let file = folder.join("calibration.json");
    let mut calibrate = fe_clip();
    calibrate.args(["calibrate", "--false-alarm-rate", "0.5", "--normals"]).arg(&good);
    succeed(calibrate.arg("--config").arg(&settings).arg("--out").arg(&file));
    let calibration: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert!(calibration["model"]["backbone"].is_null());
    let mut detect = fe_clip();
    detect.arg("detect").arg(&good).arg("--calibration").arg(&file);
    assert!(succeed(detect.arg("--config").arg(&settings)).contains("\"label\":\"normal\""));
    let mut detect = fe_clip();
    let errors = fail(detect.arg("detect").arg(&good).arg("--calibration").arg(&file));
    assert!(errors.contains("config.method was \"spectral-residual\""), "{errors}");
}
