//! AdaCLIP against a PyTorch transcription (`golden_methods/adaclip.py`).

use fe_clip::{AdaClipConfig, Checkpoint, Detector, Method, RunConfig, Supervision};

use crate::golden::{
    Golden, check_given_back, check_gradients, check_ignored, check_steps, folder, refusal_on_tiny,
};

fn run(grid: usize) -> RunConfig {
    let mut config = AdaClipConfig { smoothing_sigma: Some(0.0), ..AdaClipConfig::default() };
    if grid == 6 {
        config.prompt_blocks = Some(2);
        config.prompt_tokens = 3;
        config.fusion_patches = 24;
        config.fusion_groups = 7;
    }
    let mut run = RunConfig::of_method(Method::AdaClip(config));
    run.train.epochs = 3;
    run
}

fn each(check: impl Fn(&Golden, &str, &RunConfig)) {
    for grid in [5, 6] {
        check(&Golden::of("adaclip", grid), "adaclip", &run(grid));
    }
}

fn detector(golden: &Golden, run: &RunConfig, checkpoint: Option<Checkpoint>) -> Detector {
    let clip = golden.clip();
    let head = match checkpoint {
        None => golden.head(&clip, &run.model.method, "adaclip"),
        Some(checkpoint) => {
            let head = run.model.method.new_head(&clip, &golden.device).unwrap();
            checkpoint.head(head, &golden.device).unwrap()
        }
    };
    let mut detector = Detector::new(run, Some(clip), Some(head), &golden.device).unwrap();
    detector.describe("metal_nut");
    detector
}

#[test]
fn scores_and_maps() {
    each(|golden, name, run| {
        let (mut detector, images) = (detector(golden, run, None), golden.images());
        golden.assert_predictions(name, &detector.detect(&images));
        // Neighbours do not matter, and what the image is called does.
        let alone = &detector.detect(&images[1..2])[0];
        let expected = golden.values("adaclip.score")[1];
        assert!((alone.score - expected).abs() < 2e-4);
        detector.describe("screw");
        assert!((detector.detect(&images[1..2])[0].score - expected).abs() > 1e-4);
        assert!(detector.check_normals(1).is_err());
    });
}

#[test]
fn what_is_ignored_is_in_no_map_and_no_group() {
    let golden = Golden::of("adaclip", 6);
    let (detector, images) = (detector(&golden, &run(6), None), golden.images());
    check_ignored(&detector, &images);
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
fn labels_alone_train_the_image_score() {
    let golden = Golden::of("adaclip", 5);
    let mut run = run(5);
    run.train.supervision = Supervision::Labels;
    let steps = golden.train("adaclip", &run).1;
    assert!(steps[0].loss_focal == 0.0 && steps[0].loss_cls > 0.0, "{steps:?}");
    assert!(steps[2].loss_cls < steps[0].loss_cls, "{steps:?}");
}

#[test]
fn the_authors_file_is_read() {
    let golden = Golden::of("adaclip", 5);
    let checkpoint = Checkpoint::read(&folder().join("adaclip.pth")).unwrap();
    let found = detector(&golden, &run(5), Some(checkpoint)).detect(&golden.images());
    golden.assert_predictions("adaclip", &found);
}

#[test]
fn a_checkpoint_gives_its_weights_back() {
    each(|golden, name, run| drop(check_given_back(golden, name, run)));
}

#[test]
fn a_file_that_does_not_fit_is_refused_with_the_differences() {
    let refused = |file: &str| refusal_on_tiny(&run(5), file);
    let reason = refused("adaclip.pth");
    let shape = "adaclip.image_rows.0 has shape [5, 16], expected [5, ";
    assert!(reason.contains(shape), "{reason}");
    assert!(reason.contains("missing adaclip.text_rows.2"), "{reason}");
    let reason = refused("vcp.pth");
    assert!(reason.contains("missing adaclip.class_projection.bias"), "{reason}");
    assert!(reason.contains("unexpected vcp.query"), "{reason}");
}

#[test]
fn settings_out_of_range_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    for (line, key) in [
        ("prompt_blocks = 0", "model.prompt_blocks"),
        ("prompt_tokens = 6", "model.prompt_tokens"),
        ("fusion_weight = -0.1", "model.fusion_weight"),
        ("fusion_groups = 0", "model.fusion_groups"),
        ("fusion_patches = 0", "model.fusion_patches"),
        ("seen_weight = 0.5", "model.seen_weight"),
    ] {
        std::fs::write(&path, format!("[model]\nmethod = \"adaclip\"\n{line}\n")).unwrap();
        let reason = RunConfig::read(&path).unwrap_err().to_string();
        assert!(reason.contains(key), "{key}: {reason}");
    }
    let golden = Golden::of("adaclip", 5);
    let config = AdaClipConfig { prompt_blocks: Some(4), ..AdaClipConfig::default() };
    let error = Method::AdaClip(config).new_head(&golden.clip(), &golden.device).err().unwrap();
    assert!(error.to_string().contains("have 3 blocks, got 4"), "{error}");
}
