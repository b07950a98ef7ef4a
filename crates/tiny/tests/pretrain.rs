//! Pre-training of `tiny`: what a stopped run, a start and another configuration lead to.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use clip_vit::{Clip, Precision, save_hf};
use tiny::pretrain::{PretrainConfig, pretrain, tiny_config};
use fe_clip::{Backbone, Error};

/// First weights come from the device's one generator, which a process shares.
static GENERATOR: Mutex<()> = Mutex::new(());

fn config() -> PretrainConfig {
    PretrainConfig {
        seed: 3,
        start: None,
        steps: 3,
        batch_size: 4,
        learning_rate: 1e-3,
        save_every: 1,
    }
}

fn weights(clip: &Clip, folder: &Path) -> Vec<u8> {
    save_hf(clip, &tiny_config(), folder, Precision::F32).unwrap();
    fs::read(folder.join("model.safetensors")).unwrap()
}

#[test]
fn a_run_that_was_killed_and_resumed_has_the_weights_of_one_in_a_piece() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let device = Device::flex();
    let mut losses = Vec::new();
    let at_once =
        pretrain(&config(), &whole, false, &device, |s| losses.push(s.terms.total)).unwrap();
    assert_eq!(losses.len(), 3);
    assert!(losses.iter().all(|loss| loss.is_finite()));

    // Step 2 is reported before its state is saved: the run goes on from step 1.
    let killed = catch_unwind(AssertUnwindSafe(|| {
        pretrain(&config(), &parts, false, &device, |s| assert!(s.step < 2, "killed"))
    }));
    assert!(killed.is_err());
    let mut steps = Vec::new();
    let resumed = pretrain(&config(), &parts, true, &device, |s| steps.push(s.step)).unwrap();
    assert_eq!(steps, [2, 3]);
    assert!(weights(&at_once, &whole) == weights(&resumed, &parts), "the weights differ");

    let other = PretrainConfig { seed: 4, ..config() };
    let refused = pretrain(&other, &parts, true, &device, |_| ());
    assert!(matches!(refused, Err(Error::OtherRun { .. })));
}

#[test]
fn a_run_may_start_from_a_model() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let start =
        PretrainConfig { start: Some("tiny".into()), steps: 1, learning_rate: 1e-12, ..config() };
    let after = pretrain(&start, folder.path(), false, &device, |_| ()).unwrap();
    let before = Backbone::load("tiny", None, &device).unwrap().clip;
    let change = (after.vision.blocks[3].fc.weight.val() - before.vision.blocks[3].fc.weight.val())
        .abs()
        .max()
        .into_scalar::<f32>();
    assert!(change < 1e-6, "{change}");

    let missing = PretrainConfig { start: Some("no/such/model".into()), ..start };
    assert!(pretrain(&missing, folder.path(), false, &device, |_| ()).is_err());
}
