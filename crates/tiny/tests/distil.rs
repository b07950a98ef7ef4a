//! Distillation: what a stopped run, a longer one and other settings lead to.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use clip_vit::{Clip, Precision, save_hf};
use fe_clip::Error;
use tiny::distil::{self, DistilConfig, StepReport};
use tiny::teacher::Teacher;

/// First weights come from the device's one generator, which a process shares.
static GENERATOR: Mutex<()> = Mutex::new(());

fn config() -> DistilConfig {
    DistilConfig {
        seed: 3,
        corpus: None,
        start: None,
        windows: 4,
        rate: 1.0,
        steps: 4,
        anneal: 2,
        save_every: 1,
        judge_every: 100,
    }
}

fn run(
    config: &DistilConfig,
    out: &Path,
    resume: bool,
    report: impl FnMut(&StepReport),
) -> Result<Clip, Error> {
    let device = Device::flex();
    let teacher = Teacher::untrained(1, &device);
    distil::distil(config, &teacher, None, out, resume, &device, report)
}

fn weights(clip: &Clip, folder: &Path) -> Vec<u8> {
    save_hf(clip, &distil::config(), folder, Precision::F32).unwrap();
    fs::read(folder.join("model.safetensors")).unwrap()
}

#[test]
fn a_run_that_was_killed_and_resumed_has_the_weights_of_one_in_a_piece() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let mut quality = None;
    let at_once = run(&config(), &whole, false, |s| quality = s.quality).unwrap();
    let quality = quality.expect("the last step is judged");
    assert!((0.0..=100.0).contains(&quality.image_auroc) && quality.pixel_auroc > 0.0);

    // Step 2 is reported before its state is saved: the run goes on from step 1.
    let killed = catch_unwind(AssertUnwindSafe(|| {
        run(&config(), &parts, false, |s| assert!(s.step < 2, "killed"))
    }));
    assert!(killed.is_err());
    let mut steps = Vec::new();
    let resumed = run(&config(), &parts, true, |s| steps.push(s.step)).unwrap();
    assert_eq!(steps, [2, 3, 4]);
    assert!(weights(&at_once, &whole) == weights(&resumed, &parts), "the weights differ");

    // A longer run goes on from before the learning rate fell.
    let longer = DistilConfig { steps: 5, ..config() };
    let mut steps = Vec::new();
    let extended = run(&longer, &parts, true, |s| steps.push(s.step)).unwrap();
    assert_eq!(steps, [3, 4, 5]);
    let fresh = folder.path().join("fresh");
    let at_once = run(&longer, &fresh, false, |_| ()).unwrap();
    assert!(weights(&at_once, &fresh) == weights(&extended, &parts), "the weights differ");

    let other = DistilConfig { corpus: Some("0123".into()), ..config() };
    let refused = run(&other, &parts, true, |_| ()).unwrap_err().to_string();
    assert!(refused.contains("corpus was none, is 0123"), "{refused}");
    let other = DistilConfig { start: Some("tiny".into()), ..config() };
    let refused = run(&other, &parts, true, |_| ()).unwrap_err().to_string();
    assert!(refused.contains("start was none, is tiny"), "{refused}");
    let nowhere = DistilConfig { start: Some("no/such/model".into()), ..config() };
    assert!(run(&nowhere, &folder.path().join("nowhere"), false, |_| ()).is_err());
    let earlier = DistilConfig { steps: 3, ..config() };
    let refused = run(&earlier, &parts, true, |_| ()).unwrap_err().to_string();
    assert!(refused.contains("from step 1 on"), "{refused}");
}

#[test]
fn a_short_run_learns() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let config = DistilConfig { steps: 20, anneal: 4, windows: 8, save_every: 20, ..config() };
    let mut losses = Vec::new();
    run(&config, folder.path(), false, |s| losses.push(s.terms.loss)).unwrap();
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (first, last) = (mean(&losses[..5]), mean(&losses[15..]));
    assert!(last < 0.9 * first, "the loss went from {first} to {last}");
}
