//! Models of every kind, in ONNX Runtime and OpenVINO beside `detect`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;

use clip_vit::Activation;
use serde_json::Value;

use super::{draw_images, fe_clip, models, succeed};

/// The statistics of LFS with a transform, and what else is to be different: of each setting
/// every value that changes the graph is there. Adapters weigh more than by default, so that
/// what they answer shows.
const SETTINGS: [(&str, &str); 19] = [
    ("dct-signed-mean", "transform = \"dct\"\n[model.lfs]\nstatistic = \"signed_mean\""),
    ("dct-abs-mean", "transform = \"dct\"\n[model.lfs]\nstatistic = \"abs_mean\""),
    ("dct-power-mean", "transform = \"dct\"\n[model.lfs]\nstatistic = \"power_mean\""),
    ("dct-log-abs-mean", "transform = \"dct\"\n[model.lfs]\nstatistic = \"log_abs_mean\""),
    ("fft-signed-mean", "transform = \"fft\"\n[model.lfs]\nstatistic = \"signed_mean\""),
    ("fft-abs-mean", "transform = \"fft\"\n[model.lfs]\nstatistic = \"abs_mean\""),
    ("fft-power-mean", "transform = \"fft\"\n[model.lfs]\nstatistic = \"power_mean\""),
    ("fft-log-abs-mean", "transform = \"fft\"\n[model.lfs]\nstatistic = \"log_abs_mean\""),
    (
        "even-windows-zeros",
        "[model.ffe]\nwindow = 4\npadding = \"reflect\"\n[model.lfs]\nwindow = 2\n\
         statistic = \"abs_mean\"\npadding = \"zero\"",
    ),
    ("wide-window-kernel-1", "ffe = false\n[model.lfs]\nwindow = 5\nkernel = 1"),
    ("conv-adapter", "ffe = false\nlfs = false\n[model.conv_adapter]\nkernel = 3"),
    ("no-adapter", "ffe = false\nlfs = false\nsmoothing_sigma = 0.0\nalign_corners = true"),
    (
        "learned-temperature",
        "temperature = \"learned\"\naggregate = \"mean_logit\"\nshared_projection = false",
    ),
    (
        "other-norms",
        "patch_ln_post = false\nclass_ln_post = false\ntemperature = \"clip\"\n\
         image_score = \"class_token_and_map\"",
    ),
    ("some-stages", "stage_ends = [1, 2, 3]\nscore_stages = [1, 3]\nresize = \"letterbox\""),
    ("another-size", "image_size = 56\nresize = \"shortest_crop\""),
    // 225 tokens, of which the largest hundredth are two.
    ("top-percent", "image_size = 120\nimage_score = \"top_percent\""),
    ("class-and-top-percent", "image_size = 120\nimage_score = \"class_token_and_top_percent\""),
    ("bilinear-positions", "image_size = 72\npositional_interpolation = \"bilinear\""),
];

/// The Python to compare with, if there is one with the packages.
fn python() -> Option<PathBuf> {
    crate::python::python("import numpy, onnx, onnxruntime, openvino, PIL")
}

/// Compares cases with other runtimes, or says that nothing does.
fn compare(test: &str, cases: &[PathBuf]) {
    // Not by eprintln!, which is silent in a test that passes.
    let mut terminal = std::io::stderr();
    let Some(python) = python() else {
        let words = "SKIPPED, no Python with onnx, onnxruntime, openvino, numpy and pillow: \
                     install crates/fe-clip-cli/tests/export/requirements.txt and name the \
                     interpreter in FE_CLIP_PYTHON";
        writeln!(terminal, "\n{test}: {words}\n").unwrap();
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export/check.py");
    let output = process::Command::new(python).arg(script).args(cases).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.lines().count(), cases.len(), "{said}");
    writeln!(terminal, "\n{test}:\n{said}").unwrap();
}

/// Runs the Python example of docs/deploy.md as it stands, if there is a Python for it.
fn run_the_documented_example(case: &Path) {
    let Some(python) = python() else { return };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/deploy.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, example) = page.split_once("<!-- python -->\n```python\n").unwrap();
    let script = case.join("example.py");
    fs::write(&script, example.split_once("```").unwrap().0).unwrap();
    let results = fs::read_to_string(case.join("results.jsonl")).unwrap();
    let results: Vec<Value> =
        results.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let images = results.iter().map(|result| result["path"].as_str().unwrap());
    let mut example = process::Command::new(python);
    let output = example.arg(script).arg(case.join("model.onnx")).args(images).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), results.len(), "{said}");
    for (line, result) in said.lines().zip(&results) {
        let cells: Vec<&str> = line.split('\t').collect();
        let score: f64 = cells[1].parse().unwrap();
        let expected = result["raw_score"].as_f64().unwrap();
        assert!((score - expected).abs() < 1e-4, "{line}: expected {result}");
        assert_eq!(cells[2], result["label"].as_str().unwrap(), "{line}");
    }
}

/// Exports a model and runs `detect` with it; `model` are the flags of both.
fn make_case(folder: PathBuf, images: &Path, model: &[&str], export_only: &[&str]) -> PathBuf {
    fs::create_dir(&folder).unwrap();
    let file = folder.join("model.onnx");
    let mut export = fe_clip();
    export.arg("export").args(model).args(export_only).arg("--out").arg(&file);
    let said = succeed(&mut export);
    assert_eq!(said.lines().next(), file.to_str());
    let mut detect = fe_clip();
    detect.args(["detect", "--format", "jsonl", "--save", "map"]).args(model);
    let results = succeed(detect.arg("--out").arg(folder.join("maps")).arg(images));
    fs::write(folder.join("results.jsonl"), results).unwrap();
    folder
}

#[test]
fn random_models_of_every_setting_give_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let images = folder.join("images");
    draw_images(&images);
    // A window of three divides the second grid.
    let backbones = [
        models::backbone(folder, Activation::QuickGelu, 5),
        models::backbone(folder, Activation::Gelu, 6),
    ];
    let mut cases = Vec::new();
    for (n, (name, settings)) in SETTINGS.into_iter().enumerate() {
        let toml = folder.join(format!("{name}.toml"));
        fs::write(&toml, format!("[model]\nlambda = 0.7\n{settings}\n")).unwrap();
        for (at, backbone) in backbones.iter().enumerate() {
            // The first eight, statistics and transforms, on both; others by turns.
            if n >= 8 && n % 2 != at {
                continue;
            }
            let name = format!("{name}-{}", backbone.file_name().unwrap().to_str().unwrap());
            let adapters = folder.join(format!("{name}.safetensors"));
            models::adapters(&adapters, backbone, &toml);
            let [model, adapters, toml] = [backbone, &adapters, &toml].map(|p| p.to_str().unwrap());
            let flags = ["--model", model, "--adapters", adapters, "--config", toml];
            let external: &[&str] = if n % 3 == 0 { &["--external-data"] } else { &[] };
            cases.push(make_case(folder.join(name), &images, &flags, external));
        }
    }
    compare("random_models_of_every_setting_give_the_same_numbers", &cases);
}

#[test]
fn a_memory_bank_inside_gives_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let images = folder.join("images");
    draw_images(&images);
    let normals = folder.join("normals");
    fs::create_dir(&normals).unwrap();
    for name in ["0.png", "2.png"] {
        fs::copy(images.join(name), normals.join(name)).unwrap();
    }
    let backbone = models::backbone(folder, Activation::Gelu, 5);
    let mut cases = Vec::new();
    for (name, settings) in [
        ("adapted", "few_weight = 1.5"),
        ("raw", "few_feature = \"raw\"\nfew_stages = [2, 4]\nfew_rotate = true"),
        ("neighbourhoods", "few_neighbourhood = 3\nfew_score = \"top_percent\"\nimage_size = 120"),
        // Wider than the grid.
        ("wide-raw", "few_neighbourhood = 7\nfew_feature = \"raw\"\nfew_stages = [1, 3]"),
    ] {
        let toml = folder.join(format!("{name}.toml"));
        fs::write(&toml, format!("[model]\n{settings}\n")).unwrap();
        let adapters = folder.join(format!("{name}.safetensors"));
        models::adapters(&adapters, &backbone, &toml);
        let [model, adapters, toml, normals] =
            [&backbone, &adapters, &toml, &normals].map(|p| p.to_str().unwrap());
        let flags =
            ["--model", model, "--adapters", adapters, "--config", toml, "--normals", normals];
        cases.push(make_case(folder.join(name), &images, &flags, &[]));
    }
    compare("a_memory_bank_inside_gives_the_same_numbers", &cases);
}

#[test]
fn tiny_gives_the_same_numbers_whole_halved_outside_and_calibrated() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = folder.join("data");
    let mut synth = fe_clip();
    synth.args(["synth", "--size", "200", "--categories", "gear", "--train-normal", "4"]);
    succeed(synth.args(["--test-normal", "1", "--test-per-defect", "1", "--out"]).arg(&data));
    let (images, good) = (data.join("gear/test"), data.join("gear/train/good"));
    let calibration = folder.join("calibration.json");
    let mut calibrate = fe_clip();
    calibrate.args(["calibrate", "--false-alarm-rate", "0.4", "--shots", "1", "--normals"]);
    succeed(calibrate.arg(&good).arg("--out").arg(&calibration));
    let settings = folder.join("clip.toml");
    fs::write(&settings, "[model]\nmethod = \"clip\"\nimage_size = 96\n").unwrap();

    let [good, calibration, settings] =
        [&good, &calibration, &settings].map(|path| path.to_str().unwrap());
    let case = |name: &str, model: &[&str], export_only: &[&str]| {
        make_case(folder.join(name), &images, model, export_only)
    };
    let cases = [
        case("tiny", &[], &[]),
        case("tiny-half", &[], &["--half"]),
        case("tiny-external", &[], &["--external-data"]),
        case("tiny-clip", &["--config", settings], &[]),
        case("tiny-calibrated", &["--normals", good, "--calibration", calibration], &[]),
    ];
    let length = |name: &str| fs::metadata(folder.join(name)).unwrap().len();
    let whole = length("tiny/model.onnx");
    assert!(length("tiny-half/model.onnx") < whole * 6 / 10, "half is no smaller");
    assert!(length("tiny-external/model.onnx") < whole / 10, "weights are still inside");
    assert!(length("tiny-external/model.onnx.data") > whole * 9 / 10);
    compare("tiny_gives_the_same_numbers_whole_halved_outside_and_calibrated", &cases);
    run_the_documented_example(&cases[0]);
}
