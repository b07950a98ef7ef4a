//! PromptAD against a PyTorch transcription (`golden_methods/promptad.py`).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use fe_clip::{Detector, Method, PromptAd, PromptAdConfig, PromptVectors, RunConfig, Task};

use crate::golden::{Golden, worst};

const TASKS: [(Task, &str); 2] = [(Task::Image, "image"), (Task::Pixel, "pixel")];

fn config(grid: usize) -> PromptAdConfig {
    let own = ["{} with a bent shape", "{} with scratch"].map(String::from).to_vec();
    let defects = if grid == 5 { vec![("metal_nut".to_string(), own)] } else { Vec::new() };
    PromptAdConfig {
        defects: defects.into_iter().collect(),
        fit_steps: 3,
        fit_rate: 0.02,
        smoothing_sigma: Some(0.0),
        ..PromptAdConfig::default()
    }
}

fn model(golden: &Golden, config: &PromptAdConfig) -> PromptAd {
    let (clip, grid) = (golden.clip(), golden.size / 4);
    let mut model = PromptAd::new(&clip, config, (grid, golden.size), &golden.device).unwrap();
    model.about("metal_nut");
    model
}

fn vectors(golden: &Golden, prefix: &str) -> PromptVectors {
    let tensors = golden.tensors(prefix);
    let param = |name: &str| {
        let (shape, values) = &tensors[name];
        let data = TensorData::new(values.clone(), [shape[0], shape[1]]);
        Param::from_tensor(Tensor::from_data(data, &golden.device))
    };
    PromptVectors { normal: param("normal"), abnormal: param("abnormal") }
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.inner().into_data().try_to_vec().unwrap()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0f32, |largest, v| largest.max(v.abs()))
}

fn each(check: impl Fn(&Golden, usize)) {
    [5, 6].into_iter().for_each(|grid| check(&Golden::of("promptad", grid), grid));
}

#[test]
fn losses_and_gradients() {
    each(|golden, grid| {
        let (model, images) = (model(golden, &config(grid)), golden.images());
        for (task, name) in TASKS {
            let features = model.features(&images[1..3], task);
            let device = golden.device.clone().autodiff();
            let vectors = vectors(golden, &format!("{name}.first.")).fork(&device).train();
            let loss = model.prompts(task).loss(&vectors, Tensor::from_inner(features));
            let found: f32 = loss.clone().inner().into_scalar();
            let expected = golden.values(&format!("{name}.losses"))[0];
            assert!((found - expected).abs() < 2e-4, "{name}: {found} is {expected}");
            let gradients = loss.backward();
            for (part, param) in [("normal", &vectors.normal), ("abnormal", &vectors.abnormal)] {
                let found = values(Tensor::from_inner(param.val().grad(&gradients).unwrap()));
                let expected = golden.values(&format!("{name}.gradient.{part}"));
                let off = worst(&found, &expected);
                assert!(off < 1e-4 * largest(&expected), "{name} {part} is off by {off}");
            }
        }
    });
}

#[test]
fn three_steps_of_the_fit() {
    each(|golden, grid| {
        let (model, images) = (model(golden, &config(grid)), golden.images());
        for (task, name) in TASKS {
            let features = model.features(&images[1..3], task);
            let first = vectors(golden, &format!("{name}.first."));
            let (found, losses) = model.prompts(task).fit(first.clone(), features);
            let off = worst(&losses, &golden.values(&format!("{name}.losses")));
            assert!(off < 2e-4, "{name}: the losses are off by {off}: {losses:?}");
            let trained = vectors(golden, &format!("{name}.trained."));
            for (first, found, expected) in [
                (first.normal, found.normal, trained.normal),
                (first.abnormal, found.abnormal, trained.abnormal),
            ] {
                let moved = largest(&values(expected.val() - first.val()));
                let off = largest(&values(expected.val() - found.val()));
                assert!(off < 1e-3 * moved, "{name}: the vectors are off by {off} of {moved}");
            }
        }
    });
}

#[test]
fn scores_and_maps() {
    each(|golden, grid| {
        let (mut model, images) = (model(golden, &config(grid)), golden.images());
        model.fit(&images[1..3], |task, _| {
            let name = TASKS.iter().find(|(other, _)| *other == task).unwrap().1;
            vectors(golden, &format!("{name}.first."))
        });
        golden.assert_predictions("promptad", &model.predict(&images));
    });
}

#[test]
fn a_detector_fits_alike_again_and_by_its_seed() {
    let golden = Golden::of("promptad", 5);
    let images = golden.images();
    let scores = |fit_seed: u64, category: Option<&str>| {
        let config = PromptAdConfig { fit_seed, ..config(5) };
        let run = RunConfig::of_method(Method::PromptAd(config));
        let mut detector = Detector::new(&run, Some(golden.clip()), None, &golden.device).unwrap();
        assert!(detector.check_normals(0).unwrap_err().to_string().contains("promptad"));
        if let Some(category) = category {
            detector.describe(category);
        }
        detector.remember(&images[1..3]);
        // What the images show is said before prompts are fitted, not after.
        detector.describe("screw");
        let found: Vec<f32> = detector.detect(&images).iter().map(|found| found.score).collect();
        let own = &detector.detect(&images[1..2])[0];
        assert!(own.score < 1e-3, "a remembered image is at distance zero: {}", own.score);
        found
    };
    let found = scores(0, Some("metal_nut"));
    assert_eq!(found, scores(0, Some("metal_nut")));
    assert_ne!(found, scores(1, Some("metal_nut")));
    assert!(found.iter().all(|score| (0.0..=0.5).contains(score)), "{found:?}");
}

#[test]
fn settings_out_of_range_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    for (text, key) in [
        ("context_tokens = 0", "model.context_tokens"),
        ("gallery_layers = [8, 3]", "model.gallery_layers"),
        ("fit_rate = -1.0", "model.fit_rate"),
        ("fit_steps = 1000000", "model.fit_steps"),
        ("defects = { screw = [\"scratched\"] }", "model.defects"),
        ("ffe = false", "model.ffe"),
    ] {
        std::fs::write(&path, format!("[model]\nmethod = \"promptad\"\n{text}\n")).unwrap();
        let reason = RunConfig::read(&path).unwrap_err().to_string();
        assert!(reason.contains(key), "{key}: {reason}");
    }
    let golden = Golden::of("promptad", 5);
    let refused = |config: PromptAdConfig| {
        PromptAd::new(&golden.clip(), &config, (5, 20), &Device::flex()).err().unwrap().to_string()
    };
    let reason = refused(PromptAdConfig { gallery_layers: Some(vec![5]), ..config(5) });
    assert!(reason.contains("model.gallery_layers"), "{reason}");
    let long = PromptAdConfig { context_tokens: 32, abnormal_tokens: 32, ..config(5) };
    let reason = refused(long);
    assert!(reason.contains("model.context_tokens"), "{reason}");
}
