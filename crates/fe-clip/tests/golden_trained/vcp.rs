//! VCP-CLIP against a PyTorch transcription (`golden_methods/vcp.py`).

use fe_clip::{Checkpoint, Detector, Method, RunConfig, VcpClipConfig};

use crate::golden::{
    Golden, check_given_back, check_gradients, check_steps, folder, refusal_on_tiny,
};

/// Without what is drawn at random.
fn run() -> RunConfig {
    let config = VcpClipConfig {
        smoothing_sigma: Some(0.0),
        prompt_dropout: 0.0,
        ..VcpClipConfig::default()
    };
    let mut run = RunConfig::of_method(Method::VcpClip(config));
    run.train.learning_rate = 1e-3;
    run.train.projection_learning_rate = 1e-3;
    run.train.epochs = 3;
    run
}

fn each(check: impl Fn(&Golden, &str, &RunConfig)) {
    [5, 6].into_iter().for_each(|grid| check(&Golden::of("vcp", grid), "vcp", &run()));
}

fn detector(golden: &Golden, checkpoint: Option<Checkpoint>) -> Detector {
    let (clip, run) = (golden.clip(), run());
    let head = match checkpoint {
        None => golden.head(&clip, &run.model.method, "vcp"),
        Some(checkpoint) => {
            let head = run.model.method.new_head(&clip, &golden.device).unwrap();
            checkpoint.head(head, &golden.device).unwrap()
        }
    };
    Detector::new(&run, Some(clip), Some(head), &golden.device).unwrap()
}

#[test]
fn scores_and_maps() {
    each(|golden, name, _| {
        let (mut detector, images) = (detector(golden, None), golden.images());
        golden.assert_predictions(name, &detector.detect(&images));
        // What the image shows is not said in words, and its neighbours do not matter.
        detector.describe("metal_nut");
        let alone = detector.detect(&images[1..2]);
        assert!((alone[0].score - golden.values("vcp.score")[1]).abs() < 2e-4);
        assert!(detector.check_normals(1).is_err());
    });
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
fn the_authors_file_is_read() {
    let golden = Golden::of("vcp", 5);
    let checkpoint = Checkpoint::read(&folder().join("vcp.pth")).unwrap();
    let found = detector(&golden, Some(checkpoint)).detect(&golden.images());
    golden.assert_predictions("vcp", &found);
}

#[test]
fn a_checkpoint_gives_its_weights_back() {
    each(|golden, name, run| drop(check_given_back(golden, name, run)));
}

#[test]
fn a_file_that_does_not_fit_is_refused_with_the_differences() {
    let refused = |file: &str| refusal_on_tiny(&run(), file);
    let reason = refused("vcp.pth");
    assert!(reason.contains("vcp.query has shape [2, 16], expected [2, 64]"), "{reason}");
    assert!(reason.contains("vcp.deep has shape [2, 16], expected [3, 64]"), "{reason}");
    let reason = refused("april_gan.pth");
    assert!(reason.contains("missing vcp.category.weight"), "{reason}");
    assert!(reason.contains("missing logit_scales.1"), "{reason}");
}

#[test]
fn dropout_changes_the_loss_and_is_drawn_alike_again() {
    let golden = Golden::of("vcp", 5);
    let losses = |rate: f64, seed: u64| {
        let mut run = run();
        let config = VcpClipConfig { prompt_dropout: rate, ..VcpClipConfig::default() };
        run.model.method = Method::VcpClip(config);
        run.train.seed = seed;
        golden.train("vcp", &run).1
    };
    let without = losses(0.0, 0);
    assert_eq!(without, losses(0.0, 0));
    let with = losses(0.5, 0);
    assert_eq!(with, losses(0.5, 0));
    assert!(with[0] != without[0] && with[0] != losses(0.5, 1)[0], "{with:?} {without:?}");
}

#[test]
fn settings_out_of_range_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    for (text, key) in [
        ("[model]\nmethod = \"vcp-clip\"\nseen_weight = 1.5\n", "model.seen_weight"),
        ("[model]\nmethod = \"vcp-clip\"\nprompt_dropout = 1.0\n", "model.prompt_dropout"),
        ("[model]\nmethod = \"vcp-clip\"\nscore_pixels = 0\n", "model.score_pixels"),
        ("[model]\nmethod = \"vcp-clip\"\nlambda = 0.1\n", "model.lambda"),
        ("[model]\nmethod = \"vcp-clip\"\n[train]\nsupervision = \"labels\"\n", "supervision"),
        ("[train]\ntemperature_learning_rate = -1.0\n", "train.temperature_learning_rate"),
    ] {
        std::fs::write(&path, text).unwrap();
        let reason = RunConfig::read(&path).unwrap_err().to_string();
        assert!(reason.contains(key), "{key}: {reason}");
    }
}
