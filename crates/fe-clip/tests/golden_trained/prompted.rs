//! CoOp and AnomalyCLIP against a PyTorch transcription (`golden_methods/prompted.py`).

use burn::tensor::Device;
use fe_clip::{
    AnomalyClipConfig, AprilGanConfig, Backbone, Checkpoint, CoopConfig, Detector, Method,
    PcaResidualConfig, RunConfig,
};

use crate::golden::{
    Golden, check_given_back, check_gradients, check_steps, folder, refusal_on_tiny, written,
};

const GRIDS: [usize; 2] = [5, 6];

fn coop(class_specific: bool) -> RunConfig {
    let smoothing_sigma = Some(0.0);
    let config = CoopConfig { class_specific, smoothing_sigma, ..CoopConfig::default() };
    let mut run = RunConfig::of_method(Method::Coop(config));
    run.train.learning_rate = 0.05;
    run.train.epochs = 3;
    run
}

fn anomalyclip() -> RunConfig {
    let smoothing_sigma = Some(0.0);
    let config = AnomalyClipConfig { smoothing_sigma, ..AnomalyClipConfig::default() };
    let mut run = RunConfig::of_method(Method::AnomalyClip(config));
    run.train.epochs = 3;
    run
}

/// Name in the files, and settings.
fn methods() -> [(&'static str, RunConfig); 3] {
    [("coop", coop(false)), ("coop_class_specific", coop(true)), ("anomalyclip", anomalyclip())]
}

fn each(check: impl Fn(&Golden, &str, &RunConfig)) {
    for grid in GRIDS {
        let golden = Golden::of("prompted", grid);
        methods().iter().for_each(|(name, run)| check(&golden, name, run));
    }
}

#[test]
fn scores_and_maps() {
    each(|golden, name, run| {
        let clip = golden.clip();
        let head = golden.head(&clip, &run.model.method, name);
        let mut detector = Detector::new(run, Some(clip), Some(head), &golden.device).unwrap();
        let images = golden.images();
        let of_an_object = detector.detect(&images);
        detector.describe("metal_nut");
        let found = detector.detect(&images);
        golden.assert_predictions(name, &found);
        // CoOp's prompts name the category, AnomalyCLIP's do not.
        let same = of_an_object[0].score == found[0].score;
        assert_eq!(same, name == "anomalyclip", "{name}");
        assert!(detector.check_normals(1).is_err());
    });
}

#[test]
fn the_residual_of_a_subspace() {
    let golden = Golden::of("prompted", 5);
    let config = PcaResidualConfig { smoothing_sigma: Some(0.0), ..PcaResidualConfig::default() };
    let run = RunConfig::of_method(Method::PcaResidual(config));
    let mut detector = Detector::new(&run, Some(golden.clip()), None, &golden.device).unwrap();
    let images = golden.images();
    detector.remember(&images[..1]);
    let few = Golden { bytes: std::fs::read(folder().join("few.safetensors")).unwrap(), ..golden };
    few.assert_predictions("pca", &detector.detect(&images[1..]));
    // Unexplained is a hundredth of the variance of 25 tokens: little of a distance.
    let own = &detector.detect(&images[..1])[0];
    assert!(own.score < 0.5 * few.values("pca.score")[0], "{}", own.score);
}

#[test]
fn residuals_beside_the_object_are_none() {
    let golden = Golden::of("prompted", 6);
    let config = PcaResidualConfig {
        smoothing_sigma: Some(0.0),
        few_foreground: true,
        ..PcaResidualConfig::default()
    };
    let run = RunConfig::of_method(Method::PcaResidual(config));
    let mut detector = Detector::new(&run, Some(golden.clip()), None, &golden.device).unwrap();
    let mut images = golden.images();
    detector.remember(&images[..1]);
    for image in &mut images[1..] {
        image.slice_mut(ndarray::s![.., .., 12..]).fill(20.0);
    }
    let few = Golden { bytes: std::fs::read(folder().join("few.safetensors")).unwrap(), ..golden };
    few.assert_predictions("pca_foreground", &detector.detect(&images[1..]));
    let map = few.values("pca_foreground.map");
    assert!(map.contains(&0.0) && map.iter().any(|value| *value > 0.0));
}

#[test]
fn losses_and_gradients() {
    each(check_gradients);
}

#[test]
fn three_steps_of_training() {
    each(check_steps);
}

#[test]
fn a_checkpoint_gives_its_vectors_back() {
    each(|golden, name, run| {
        let file = check_given_back(golden, name, run);
        // Another method's are refused with the list of differences.
        let other = RunConfig::of_method(Method::AprilGan(AprilGanConfig::default()));
        let other = other.model.method.new_head(&golden.clip(), &golden.device);
        let Ok(other) = other else { return };
        let reason = file.head(other, &golden.device).unwrap_err();
        let reason = reason.to_string();
        assert!(reason.contains("unexpected prompts.context"), "{reason}");
        assert!(reason.contains("missing patch_projection.0.weight"), "{reason}");
    });
}

#[test]
fn the_authors_file_of_anomalyclip_is_read() {
    let (golden, run) = (Golden::of("prompted", 5), anomalyclip());
    let (clip, path) = (golden.clip(), folder().join("anomalyclip.pth"));
    let head = run.model.method.new_head(&clip, &golden.device).unwrap();
    let checkpoint = Checkpoint::read(&path).unwrap();
    assert!(checkpoint.origin.config.is_none());
    let head = checkpoint.head(head, &golden.device).unwrap();
    // Context vectors are theirs, deep ones rounded to half precision as their code does it.
    let (found, expected) = (written(&head), golden.tensors("anomalyclip.first."));
    for (key, (shape, values)) in &expected {
        assert_eq!(&found[key].0, shape, "{key}");
        let deep = key.starts_with("prompts.deep");
        let rounded = |x: &f32| if deep { half::f16::from_f32(*x).to_f32() } else { *x };
        assert_eq!(found[key].1, values.iter().map(rounded).collect::<Vec<_>>(), "{key}");
    }
    let detector = Detector::new(&run, Some(clip), Some(head), &golden.device).unwrap();
    golden.assert_predictions("anomalyclip_pth", &detector.detect(&golden.images()));
}

#[test]
fn an_authors_file_for_another_backbone_or_size_is_refused() {
    let device = Device::flex();
    let path = folder().join("anomalyclip.pth");
    let tiny = Backbone::load("tiny", None, &device).unwrap();
    let reason = tiny.check(&Checkpoint::read(&path).unwrap(), &path).unwrap_err().to_string();
    assert!(reason.contains("start of a text") && reason.contains("anomalyclip.pth"), "{reason}");
    let reason = refusal_on_tiny(&anomalyclip(), "anomalyclip.pth");
    assert!(reason.contains("prompts.context.0 has shape [12, 16], expected [12, 64]"), "{reason}");
    assert!(reason.contains("missing prompts.deep.2"), "{reason}");
}

#[test]
fn settings_out_of_range_are_named() {
    let (golden, device) = (Golden::of("prompted", 5), Device::flex());
    let clip = golden.clip();
    let of = |config| Method::AnomalyClip(config).new_head(&clip, &device);
    let deep = AnomalyClipConfig { deep_blocks: Some(3), ..AnomalyClipConfig::default() };
    let reason = of(deep).unwrap_err().to_string();
    assert!(reason.contains("model.deep_blocks") && reason.contains("at most 2"), "{reason}");
    let refused = |method: Method, key: &str| {
        let run = RunConfig::of_method(method);
        let head = run.model.method.new_head(&clip, &device).unwrap();
        let error = Detector::new(&run, Some(clip.clone()), Some(head), &device).err().unwrap();
        assert!(error.to_string().contains(key), "{error}");
    };
    let values = AnomalyClipConfig { value_layers: Some(6), ..AnomalyClipConfig::default() };
    refused(Method::AnomalyClip(values), "model.value_layers");
    let long = CoopConfig { context_tokens: 38, ..CoopConfig::default() };
    refused(Method::Coop(long), "model.context_tokens");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    for (text, key) in [
        ("[model]\nmethod = \"coop\"\n[train]\nsupervision = \"masks\"\n", "train.supervision"),
        ("[model]\nmethod = \"coop\"\ncontext_tokens = 0\n", "model.context_tokens"),
        ("[model]\nmethod = \"anomalyclip\"\ndeep_tokens = 13\n", "model.deep_tokens"),
        ("[train]\nmomentum = 1.0\n", "train.momentum"),
        ("[train]\nwarmup_rate = -1.0\n", "train.warmup_rate"),
    ] {
        std::fs::write(&path, text).unwrap();
        let reason = RunConfig::read(&path).unwrap_err().to_string();
        assert!(reason.contains(key), "{key}: {reason}");
    }
}
