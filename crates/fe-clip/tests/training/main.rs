//! Training on a few procedural images with a small random backbone.
#![allow(clippy::unwrap_used)]

mod cache;
mod resume;
mod steps;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use clip_vit::{Activation, Clip, ClipConfig, TextConfig, VisionConfig};
use data::{Layout, Sample, Split};
use fe_clip::{
    Error, Origin, Precision, Preparation, RunConfig, StepReport, Storage, TrainConfig,
    TrainingRun, model_to_train, save,
};
use synthetic::{DefectKind, WriteOptions, write_dataset};

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

/// Where and how a run is made.
struct Place<'a> {
    samples: &'a [Sample],
    out: &'a Path,
    cache: Option<&'a Path>,
    stop: bool,
}

impl<'a> Place<'a> {
    fn new(samples: &'a [Sample], out: &'a Path) -> Self {
        Self { samples, out, cache: None, stop: false }
    }

    /// Trains or goes on, with a backbone and first weights that are the same in every run.
    fn train(&self, config: &RunConfig) -> Result<Trained, Error> {
        let _alone = RANDOM.lock().unwrap_or_else(PoisonError::into_inner);
        let device = Device::flex();
        let clip = backbone(&device);
        device.seed(config.train.seed);
        let head = config.model.method.new_head(&clip, &device)?;
        let (mut model, preprocessing) = model_to_train(config, clip, head, &device)?;
        let storage = match self.cache {
            None => Storage::Memory,
            Some(folder) => Storage::Disk { folder: folder.into(), backbone: "random".into() },
        };
        let preparation = Preparation {
            model: &*model,
            preprocessing: &preprocessing,
            train: &config.train,
            storage,
            device: &device,
        };
        let prefixes = preparation.run(self.samples, |_| {})?;
        std::fs::create_dir_all(self.out).unwrap();
        let mut steps = Vec::new();
        let stop = AtomicBool::new(self.stop);
        let run = TrainingRun { config, out: self.out, resume: true, stop: &stop };
        let head = run.train(&mut *model, &prefixes, &device, |step| steps.push(step.clone()))?;
        let path = self.out.join("adapters.safetensors");
        save(&path, &head, &Origin::default(), Precision::Full)?;
        let bytes = std::fs::read(&path).unwrap();
        Ok(Trained { steps, bytes, reused: prefixes.reused(), damaged: prefixes.damaged() })
    }
}

/// What a run gave.
#[derive(Debug)]
struct Trained {
    steps: Vec<StepReport>,
    /// The adapter file.
    bytes: Vec<u8>,
    reused: usize,
    damaged: usize,
}
