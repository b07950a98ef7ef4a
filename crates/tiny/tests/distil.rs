//! Distillation: what a stopped run, a longer one and other settings lead to.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Tensor};
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

/// Fitted heads are what is closest to the teacher's features: closer than their mean, which they could say, too.
#[test]
fn heads_of_tokens_predict_the_teachers_features() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    let teacher = Teacher::untrained(1, &device);
    let (clip, architecture) =
        distil::with_token_heads("tiny", &teacher, None, 3, &device).unwrap();
    let vision = &clip.vision;
    let side = architecture.vision.image_size;
    let scene = synthetic::render(&synthetic::Request {
        category: 0,
        size: side as u32,
        scene_seed: 5,
        defect: None,
    });
    let features = teacher.see(scene.image.as_raw(), side);
    let preprocess = data::Preprocess::clip(side, data::Resize::Squash);
    let pixels: Vec<f32> = (0..3)
        .flat_map(|c| {
            let (mean, std) = (preprocess.mean[c], preprocess.std[c]);
            scene.image.pixels().map(move |p| (f32::from(p[c]) / 255.0 - mean) / std)
        })
        .collect();
    let pixels = Tensor::<1>::from_floats(&pixels[..], &device).reshape([1, 3, side, side]);
    let tokens = vision.blocks[..8].iter().fold(vision.embed(pixels), |x, block| block.forward(x));
    let head = vision.token_heads[7].as_ref().unwrap();
    let n = tokens.dims()[1] - 1;
    let predicted = head.forward(tokens.narrow(1, 1, n));
    let [_, channels, h, w] = features.stages[1].dims();
    let target = features.stages[1].clone().reshape([1, channels, h * w]).swap_dims(1, 2);
    let error = |x: Tensor<3>| -> f32 { (x - target.clone()).square().mean().into_scalar() };
    let (own, mean) = (error(predicted), error(target.clone().mean_dim(1)));
    assert!(own < mean, "{own} beside {mean} of the mean");
    let heads: Vec<usize> = (0..12).filter(|i| vision.token_heads[*i].is_some()).collect();
    assert_eq!(heads, [3, 7, 11]);
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
