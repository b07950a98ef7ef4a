//! Training on a few procedural images with a small random backbone.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use clip_vit::{Activation, Clip, ClipConfig, TextConfig, VisionConfig};
use data::synthetic::{DefectKind, WriteOptions, write_dataset};
use data::{Layout, Sample, Split};
use fe_clip::{
    Detector, Error, FeClip, Origin, Precision, Prefixes, RunConfig, StepReport, TrainConfig,
    TrainingRun, save,
};

fn backbone(device: &Device) -> Clip {
    device.seed(3);
    let activation = Activation::Gelu;
    let vision = VisionConfig {
        width: 32,
        layers: 4,
        heads: 2,
        mlp_width: 64,
        patch_size: 8,
        image_size: 48,
        activation,
    };
    let text = TextConfig {
        width: 16,
        layers: 1,
        heads: 1,
        mlp_width: 32,
        vocabulary: 49408,
        context_length: 77,
        activation,
    };
    Clip::new(&ClipConfig { vision, text, embed_dim: 16 }, device)
}

fn samples(folder: &Path) -> Vec<Sample> {
    let options = WriteOptions {
        size: 48,
        train_normal: 1,
        test_normal: 3,
        test_per_defect: 2,
        categories: vec![0, 7],
        defects: vec![DefectKind::ALL[0], DefectKind::ALL[1]],
        ..WriteOptions::default()
    };
    write_dataset(folder, &options, |_, _| {}).unwrap();
    let scan = data::scan(Layout::MvtecAd, folder).unwrap();
    assert!(scan.problems.is_empty(), "{:?}", scan.problems);
    scan.samples.into_iter().filter(|s| s.split == Split::Test).collect()
}

fn config(epochs: usize, max_steps: Option<usize>) -> RunConfig {
    let train = TrainConfig {
        epochs,
        max_steps,
        batch_size: 4,
        micro_batch_size: Some(3),
        learning_rate: 2e-3,
        projection_learning_rate: 2e-3,
        ..TrainConfig::default()
    };
    RunConfig { train, ..RunConfig::default() }
}

/// Burn's random numbers come from one generator a process: two tests that seed it at the same
/// time would disturb each other.
static RANDOM: Mutex<()> = Mutex::new(());

/// Trains in `out` and returns the steps and the adapter file's bytes.
fn train(
    config: &RunConfig,
    samples: &[Sample],
    out: &Path,
    stop: &AtomicBool,
) -> Result<(Vec<StepReport>, Vec<u8>), Error> {
    let _alone = RANDOM.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    let clip = backbone(&device);
    device.seed(config.train.seed);
    let head = FeClip::new_head(&clip, &config.model, &device)?;
    let detector = Detector::new(clip, config, head, &device)?;
    let preprocessing = detector.preprocess().clone();
    let mut model = detector.into_model();
    let prefixes = Prefixes::compute(&model, samples, &preprocessing, &device, |_| {})?;
    std::fs::create_dir_all(out).unwrap();
    let mut steps = Vec::new();
    let head = TrainingRun { config, out, resume: true, stop }.train(
        &mut model,
        &prefixes,
        &device,
        |step| steps.push(step.clone()),
    )?;
    let path = out.join("adapters.safetensors");
    save(&path, &head, &Origin::default(), Precision::Full)?;
    Ok((steps, std::fs::read(&path).unwrap()))
}

#[test]
fn the_loss_falls() {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(&folder.path().join("data"));
    let out = folder.path().join("run");
    let (steps, _) = train(&config(60, None), &samples, &out, &AtomicBool::new(false)).unwrap();
    let per_epoch = samples.len().div_ceil(4);
    assert_eq!(steps.len(), 60 * per_epoch);
    let mean =
        |part: &[StepReport]| part.iter().map(|s| s.terms.loss).sum::<f64>() / part.len() as f64;
    let (first, last) = (mean(&steps[..per_epoch]), mean(&steps[steps.len() - per_epoch..]));
    assert!(last < 0.9 * first, "the loss went from {first} to {last}");
    let log = std::fs::read_to_string(out.join("train.jsonl")).unwrap();
    assert_eq!(log.lines().count(), steps.len());
}

#[test]
fn a_resumed_run_gives_the_same_bytes_as_one_in_a_piece() {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(&folder.path().join("data"));
    let go = AtomicBool::new(false);
    let whole = folder.path().join("whole");
    let (steps, expected) = train(&config(3, None), &samples, &whole, &go).unwrap();
    // Stop after 1, 4 and 5 steps, in and at the end of an epoch, then once by the stop flag.
    let parts = folder.path().join("parts");
    for max_steps in [1, 4, 5] {
        train(&config(3, Some(max_steps)), &samples, &parts, &go).unwrap();
    }
    let stop = AtomicBool::new(true);
    match train(&config(3, None), &samples, &parts, &stop) {
        Err(Error::Interrupted { step: 6 }) => {}
        other => panic!("expected an interruption after step 6, got {:?}", other.map(|_| ())),
    }
    let (rest, bytes) = train(&config(3, None), &samples, &parts, &go).unwrap();
    assert_eq!(rest.first().map(|s| s.step), Some(7));
    assert_eq!(rest.last().map(|s| s.step), Some(steps.len()));
    assert!(bytes == expected, "the adapters differ");
    let log = std::fs::read_to_string(parts.join("train.jsonl")).unwrap();
    assert_eq!(log.lines().count(), steps.len());
}

#[test]
fn a_state_of_other_settings_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(&folder.path().join("data"));
    let go = AtomicBool::new(false);
    let out = folder.path().join("run");
    train(&config(1, Some(1)), &samples, &out, &go).unwrap();
    let mut other = config(1, None);
    other.train.learning_rate = 1e-3;
    assert!(matches!(train(&other, &samples, &out, &go), Err(Error::OtherRun { .. })));
}
