//! Pre-training of `tiny`: what a stopped run, a start and another configuration lead to.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Tensor};
use clip_vit::{Clip, Precision, save_hf};
use fe_clip::Error;
use tiny::pretrain::{PretrainConfig, pretrain, tiny_config};

/// First weights come from the device's one generator, which a process shares.
static GENERATOR: Mutex<()> = Mutex::new(());

fn config() -> PretrainConfig {
    PretrainConfig {
        seed: 3,
        start: None,
        locked: false,
        corpus: None,
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
        pretrain(&config(), None, &whole, false, &device, |s| losses.push(s.terms.total)).unwrap();
    assert_eq!(losses.len(), 3);
    assert!(losses.iter().all(|loss| loss.is_finite()));

    // Step 2 is reported before its state is saved: the run goes on from step 1.
    let killed = catch_unwind(AssertUnwindSafe(|| {
        pretrain(&config(), None, &parts, false, &device, |s| assert!(s.step < 2, "killed"))
    }));
    assert!(killed.is_err());
    let mut steps = Vec::new();
    let resumed = pretrain(&config(), None, &parts, true, &device, |s| steps.push(s.step)).unwrap();
    assert_eq!(steps, [2, 3]);
    assert!(weights(&at_once, &whole) == weights(&resumed, &parts), "the weights differ");

    let other = PretrainConfig { seed: 4, ..config() };
    let refused = pretrain(&other, None, &parts, true, &device, |_| ());
    assert!(matches!(refused, Err(Error::OtherRun { .. })));
}

#[test]
fn a_run_may_start_from_a_model() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    device.seed(6);
    let before = Clip::new(&tiny_config(), &device);
    let model = folder.path().join("model");
    save_hf(&before, &tiny_config(), &model, Precision::F32).unwrap();
    let start = Some(model.to_str().unwrap().to_string());
    let start = PretrainConfig { start, steps: 1, learning_rate: 1e-12, ..config() };
    let after = pretrain(&start, None, folder.path(), false, &device, |_| ()).unwrap();
    let change = (after.vision.blocks[3].fc.weight.val() - before.vision.blocks[3].fc.weight.val())
        .abs()
        .max()
        .into_scalar::<f32>();
    assert!(change < 1e-6, "{change}");

    // The embedded default has another architecture; a third is not there.
    for other in ["tiny", "no/such/model"] {
        let other = PretrainConfig { start: Some(other.into()), ..start.clone() };
        assert!(pretrain(&other, None, folder.path(), false, &device, |_| ()).is_err());
    }
}

#[test]
fn words_are_learnt_on_an_image_tower_that_stays_as_it_is() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    device.seed(5);
    let before = Clip::new(&tiny::distil::config(), &device);
    let start = folder.path().join("distilled");
    save_hf(&before, &tiny::distil::config(), &start, Precision::F32).unwrap();
    let start = Some(start.to_str().unwrap().to_string());
    let config = PretrainConfig { start, locked: true, steps: 2, ..config() };
    let after =
        pretrain(&config, None, &folder.path().join("out"), false, &device, |_| ()).unwrap();
    let change = |a: Tensor<2>, b: Tensor<2>| (a - b).abs().max().into_scalar::<f32>();
    for (a, b) in after.vision.blocks.iter().zip(&before.vision.blocks) {
        assert_eq!(change(a.fc.weight.val(), b.fc.weight.val()), 0.0);
    }
    let projection = |clip: &Clip| clip.vision.projection.weight.val();
    assert!(change(projection(&after), projection(&before)) > 0.0);

    let alone = PretrainConfig { start: None, ..config };
    assert!(matches!(
        pretrain(&alone, None, folder.path(), false, &device, |_| ()),
        Err(Error::Settings(_))
    ));
}

#[test]
fn a_short_run_learns_words_for_what_tiny_sees() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let config = PretrainConfig {
        start: Some("tiny".into()),
        locked: true,
        steps: 20,
        batch_size: 16,
        learning_rate: 3e-3,
        save_every: 20,
        ..config()
    };
    let mut losses = Vec::new();
    pretrain(&config, None, folder.path(), false, &Device::flex(), |s| losses.push(s.terms.total))
        .unwrap();
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (first, last) = (mean(&losses[..5]), mean(&losses[15..]));
    assert!(last < 0.95 * first, "the loss went from {first} to {last}");
}
