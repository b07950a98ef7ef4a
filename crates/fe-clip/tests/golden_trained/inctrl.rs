//! InCTRL against a PyTorch transcription (`golden_methods/inctrl.py`).

use fe_clip::{Checkpoint, Detector, InctrlConfig, Method, RunConfig};

use crate::golden::{
    Golden, check_given_back, check_gradients, check_ignored, check_steps, folder, refusal_on_tiny,
};

/// Every image once a step.
fn run() -> RunConfig {
    let config = InctrlConfig { smoothing_sigma: Some(0.0), ..InctrlConfig::default() };
    let mut run = RunConfig::of_method(Method::Inctrl(config));
    run.train.balanced = false;
    run.train.epoch_steps = None;
    run.train.epochs = 3;
    run
}

fn each(check: impl Fn(&Golden, &str, &RunConfig)) {
    [5, 6].into_iter().for_each(|grid| check(&Golden::of("inctrl", grid), "inctrl", &run()));
}

fn detector(golden: &Golden, checkpoint: Option<Checkpoint>) -> Detector {
    let (clip, run) = (golden.clip(), run());
    let head = match checkpoint {
        None => golden.head(&clip, &run.model.method, "inctrl"),
        Some(checkpoint) => {
            let head = run.model.method.new_head(&clip, &golden.device).unwrap();
            checkpoint.head(head, &golden.device).unwrap()
        }
    };
    let mut detector = Detector::new(&run, Some(clip), Some(head), &golden.device).unwrap();
    assert!(detector.check_normals(0).unwrap_err().to_string().contains("needs normal images"));
    detector.describe("metal_nut");
    let images = golden.images();
    detector.remember(&[images[2].clone(), images[4].clone()]);
    detector
}

#[test]
fn scores_and_maps() {
    each(|golden, name, _| {
        let (detector, images) = (detector(golden, None), golden.images());
        golden.assert_predictions(name, &detector.detect(&images));
        let own = &detector.detect(&images[2..3])[0];
        assert!(own.map_max() < 1e-6, "a remembered image is at distance zero");
    });
}

#[test]
fn what_is_ignored_is_no_distance() {
    let golden = Golden::of("inctrl", 6);
    let (detector, images) = (detector(&golden, None), golden.images());
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
fn balanced_steps_are_as_many_as_asked_for() {
    let golden = Golden::of("inctrl", 5);
    let mut run = run();
    run.train.balanced = true;
    run.train.epoch_steps = Some(2);
    run.train.epochs = 2;
    let (_, steps) = golden.train("inctrl", &run);
    assert_eq!(steps.len(), 4);
    let again = golden.train("inctrl", &run).1;
    assert_eq!(steps, again);
    // Two of the six images are anomalous: half of a batch is not all of them once.
    run.train.balanced = false;
    assert_ne!(steps[0], golden.train("inctrl", &run).1[0]);
}

#[test]
fn the_authors_file_is_read() {
    let golden = Golden::of("inctrl", 5);
    let checkpoint = Checkpoint::read(&folder().join("inctrl.pth")).unwrap();
    let found = detector(&golden, Some(checkpoint)).detect(&golden.images());
    golden.assert_predictions("inctrl", &found);
}

#[test]
fn a_checkpoint_gives_its_weights_back() {
    each(|golden, name, run| drop(check_given_back(golden, name, run)));
}

#[test]
fn a_file_that_does_not_fit_is_refused_with_the_differences() {
    let refused = |file: &str| refusal_on_tiny(&run(), file);
    let reason = refused("inctrl.pth");
    assert!(
        reason.contains("inctrl.down.weight has shape [3, 12], expected [32, 128]"),
        "{reason}"
    );
    assert!(reason.contains("inctrl.patch_head.first.weight has shape [128, 25]"), "{reason}");
    let reason = refused("vcp.pth");
    assert!(reason.contains("missing inctrl.up.weight"), "{reason}");
    assert!(reason.contains("unexpected vcp.query"), "{reason}");
}

#[test]
fn another_grid_than_the_heads_and_bad_settings_are_named() {
    let golden = Golden::of("inctrl", 5);
    let mut run = run();
    run.model.image_size = Some(24);
    let head = golden.head(&golden.clip(), &run.model.method, "inctrl");
    let error = Detector::new(&run, Some(golden.clip()), Some(head), &golden.device).err().unwrap();
    let error = error.to_string();
    assert!(error.contains("model.head_grid") && error.contains("5 x 5"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    let inctrl = "[model]\nmethod = \"inctrl\"\n";
    for (text, key) in [
        (format!("{inctrl}head_grid = 0\n"), "model.head_grid"),
        (format!("{inctrl}[train]\nreferences = 0\n"), "train.references"),
        (format!("{inctrl}[train]\nmicro_batch_size = 2\n"), "micro_batch_size"),
        (format!("{inctrl}[train]\nsupervision = \"masks\"\n"), "train.supervision"),
        ("[train]\nreferences = 2\n".into(), "train.references: method fe-clip"),
        ("[train]\nepoch_steps = 0\n".into(), "train.epoch_steps"),
    ] {
        std::fs::write(&path, text).unwrap();
        let reason = RunConfig::read(&path).unwrap_err().to_string();
        assert!(reason.contains(key), "{key}: {reason}");
    }
}
