//! What steps do to the loss and to the weights.

use fe_clip::{FeClipConfig, RunConfig, StageEnds, StepReport, Supervision};
use safetensors::SafeTensors;

use crate::{Place, config, samples};

#[test]
fn the_loss_falls() {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(&folder.path().join("data"));
    let out = folder.path().join("run");
    let steps = Place::new(&samples, &out).train(&config(60, None)).unwrap().steps;
    let per_epoch = samples.len().div_ceil(4);
    assert_eq!(steps.len(), 60 * per_epoch);
    let mean =
        |part: &[StepReport]| part.iter().map(|s| s.terms.loss).sum::<f64>() / part.len() as f64;
    let (first, last) = (mean(&steps[..per_epoch]), mean(&steps[steps.len() - per_epoch..]));
    assert!(last < 0.9 * first, "the loss went from {first} to {last}");
    let log = std::fs::read_to_string(out.join("train.jsonl")).unwrap();
    assert_eq!(log.lines().count(), steps.len());
}

/// Largest difference between two adapter files.
fn difference(a: &[u8], b: &[u8]) -> f32 {
    let (a, b) = (SafeTensors::deserialize(a).unwrap(), SafeTensors::deserialize(b).unwrap());
    assert_eq!(a.len(), b.len());
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
    };
    let of = |name: &str| {
        let (a, b) = (a.tensor(name).unwrap(), b.tensor(name).unwrap());
        let pairs = floats(a.data()).into_iter().zip(floats(b.data()));
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    a.names().into_iter().map(of).fold(0.0, f32::max)
}

#[test]
fn accumulated_gradients_are_those_of_the_whole_batch() {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(&folder.path().join("data"));
    let out = folder.path().join("run");
    let trained = |batch_size: usize, micro_batch_size: Option<usize>, name: &str| {
        let mut config = config(2, None);
        config.train.batch_size = batch_size;
        config.train.micro_batch_size = micro_batch_size;
        Place::new(&samples, &out.join(name)).train(&config).unwrap()
    };
    let whole = trained(5, None, "whole");
    for micro in [1, 2, 3] {
        let parts = trained(5, Some(micro), &micro.to_string());
        for (a, b) in whole.steps.iter().zip(&parts.steps) {
            assert!((a.terms.loss - b.terms.loss).abs() < 1e-5, "{a:?} {b:?}");
        }
        // A hundredth of a step of Adam.
        let off = difference(&whole.bytes, &parts.bytes);
        assert!(off < 2e-5, "parts of {micro}: {off}");
    }
    let other = trained(4, None, "other");
    assert!(difference(&whole.bytes, &other.bytes) > 1e-4, "the comparison sees nothing");
}

#[test]
fn labels_alone_train_the_image_score_and_leave_the_projection() {
    let folder = tempfile::tempdir().unwrap();
    let mut samples = samples(&folder.path().join("data"));
    for sample in &mut samples {
        if let Some(defect) = &mut sample.defect {
            defect.mask = None;
        }
    }
    let out = folder.path().join("run");
    let place = Place::new(&samples, &out);
    let message = place.train(&config(1, None)).unwrap_err().to_string();
    assert!(message.contains(".png") && message.contains("supervision"), "{message}");
    let with_labels = |epochs| {
        let mut run: RunConfig = config(epochs, None);
        run.train.supervision = Supervision::Labels;
        run
    };
    let mut one_stage = with_labels(1);
    let stage_ends = Some(StageEnds::Layers(vec![4]));
    one_stage.model = FeClipConfig { stage_ends, ..FeClipConfig::default() }.into();
    let message = place.train(&one_stage).unwrap_err().to_string();
    assert!(message.contains("no adapter acts on an image score"), "{message}");
    let before = place.train(&with_labels(0)).unwrap();
    let after = place.train(&with_labels(20)).unwrap();
    assert!(after.steps.iter().all(|s| s.terms.loss_focal == 0.0 && s.terms.loss_dice == 0.0));
    // Steps have images of their own, epochs have the same ones.
    let loss = |epoch| {
        let steps = after.steps.iter().filter(|step| step.epoch == epoch);
        let losses: Vec<f64> = steps.map(|step| step.terms.loss_cls).collect();
        losses.iter().sum::<f64>() / losses.len() as f64
    };
    assert!(loss(20) < loss(1), "{} {}", loss(1), loss(20));
    let tensor = |bytes: &[u8], name: &str| {
        SafeTensors::deserialize(bytes).unwrap().tensor(name).unwrap().data().to_vec()
    };
    let changed = |name: &str| tensor(&before.bytes, name) != tensor(&after.bytes, name);
    assert!(changed("stages.0.lfs.conv.weight") && changed("stages.2.ffe.linear.bias"));
    // Nothing that is scored comes after them.
    assert!(!changed("stages.3.ffe.linear.weight") && !changed("patch_projection.weight"));
}
