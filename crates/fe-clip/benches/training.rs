//! What the adapters cost, what the kept prefix saves, and what a training step holds in memory,
//! beside what they are compared with; `cargo xtask bench` keeps the figures.
//!
//! `cargo bench --workspace --bench training -- adapters [FILE.json]`, `epoch`, `memory-tiny` or
//! `memory-large`; one a process, because the system tells a process's peak alone.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use burn::tensor::{Device, Distribution, Tensor};
use clip_vit::{Activation, Clip, ClipConfig, TextConfig, VisionConfig};
use data::{Layout, Sample, Split};
use fe_clip::{
    Backbone, FeClip, FeClipConfig, ModelConfig, Preparation, RunConfig, StageEnds, Storage,
    Switch, TrainConfig, Trainee, TrainingRun, model_to_train,
};
use serde_json::{Value, json};
use synthetic::{DefectKind, WriteOptions, write_dataset};

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let rows = match arguments.next().as_deref() {
        Some("adapters") => adapters(),
        Some("epoch") => epoch(),
        Some("memory-tiny") => memory_tiny(),
        Some("memory-large") => memory_large(),
        _ => return println!("name one of adapters, epoch, memory-tiny, memory-large"),
    };
    rows.iter().for_each(|row| println!("{row}"));
    if let Some(file) = arguments.next() {
        std::fs::write(file, Value::from(rows).to_string()).unwrap();
    }
}

/// A row of `cargo xtask bench`.
fn row(case: &str, ours: f64, peer: &str, theirs: f64, unit: &str) -> Value {
    json!({ "case": case, "ours": ours, "peer": peer, "theirs": theirs, "unit": unit })
}

/// Processor time of this process.
fn processor() -> Duration {
    cpu_time::ProcessTime::now().as_duration()
}

/// Smallest processor time of several things done in turn, in seconds.
fn interleaved<const N: usize>(rounds: usize, things: [&dyn Fn(); N]) -> [f64; N] {
    let mut best = [f64::INFINITY; N];
    for _ in 0..rounds {
        for (best, thing) in best.iter_mut().zip(things) {
            let start = processor();
            thing();
            *best = best.min((processor() - start).as_secs_f64());
        }
    }
    best
}

/// A vision tower with the smallest of text towers: text is embedded once and costs nothing here.
fn random_clip(vision: VisionConfig, embed_dim: usize, device: &Device) -> Clip {
    let text = TextConfig {
        width: 16,
        layers: 1,
        heads: 1,
        mlp_width: 32,
        vocabulary: 49408,
        context_length: 77,
        activation: Activation::QuickGelu,
    };
    device.seed(0);
    Clip::new(&ClipConfig { vision, text, embed_dim }, device)
}

/// FFE, LFS and projection of all stages against the forward pass of ViT-L/14 at 336.
fn adapters() -> Vec<Value> {
    let device = Device::flex();
    let clip = random_clip(ClipConfig::vit_l_14_336().vision, 768, &device);
    let head = FeClip::new_head(&clip, &FeClipConfig::default(), &device).unwrap();
    let image = Tensor::random([1, 3, 336, 336], Distribution::Normal(0.0, 1.0), &device);
    let tokens = Tensor::random([1, 24, 24, 1024], Distribution::Normal(0.0, 1.0), &device);
    let vision = || drop(clip.vision.forward(image.clone()).into_data());
    let all = || {
        for (n, stage) in head.stages.iter().enumerate() {
            let adapted = stage.forward(tokens.clone()).reshape([1, 576, 1024]);
            head.project(n, adapted).into_data();
        }
    };
    let ffe = || {
        head.stages
            .iter()
            .for_each(|s| drop(s.ffe.as_ref().unwrap().forward(tokens.clone()).into_data()))
    };
    let lfs = || {
        head.stages
            .iter()
            .for_each(|s| drop(s.lfs.as_ref().unwrap().forward(tokens.clone()).into_data()))
    };
    let [vit, all, ffe, lfs] = interleaved(4, [&vision, &all, &ffe, &lfs]);
    let pass = "the forward pass of ViT-L/14 at 336";
    let parts =
        [("FFE, LFS and projection of four stages", all), ("FFE alone", ffe), ("LFS alone", lfs)];
    parts.map(|(case, seconds)| row(case, seconds, pass, vit, "CPU s an image")).to_vec()
}

/// A training set of `n` procedural images.
fn samples(folder: &Path, n: usize) -> Vec<Sample> {
    let options = WriteOptions {
        size: 256,
        train_normal: 0,
        test_normal: n / 2,
        test_per_defect: n - n / 2,
        categories: vec![0],
        defects: DefectKind::ALL[..1].to_vec(),
        ..WriteOptions::default()
    };
    write_dataset(folder, &options, |_, _| {}).unwrap();
    let found = data::scan(Layout::MvtecAd, folder).unwrap().samples;
    let samples: Vec<Sample> = found.into_iter().filter(|s| s.split == Split::Test).collect();
    assert_eq!(samples.len(), n);
    samples
}

/// Everything that a run needs.
struct Setup {
    folder: tempfile::TempDir,
    samples: Vec<Sample>,
    preprocessing: data::Preprocess,
    model: Box<dyn Trainee>,
    config: RunConfig,
    device: Device,
}

impl Setup {
    fn new(clip: Clip, model: ModelConfig, batch_size: usize, images: usize) -> Self {
        let device = Device::flex();
        let folder = tempfile::tempdir().unwrap();
        let samples = samples(&folder.path().join("data"), images);
        let train = TrainConfig { batch_size, epochs: 1, ..TrainConfig::default() };
        let config = RunConfig { model, train, ..RunConfig::default() };
        let head = config.model.method.new_head(&clip, &device).unwrap();
        let (model, preprocessing) = model_to_train(&config, clip, head, &device).unwrap();
        Self { folder, samples, preprocessing, model, config, device }
    }

    /// Processor seconds of preparing the images and of an epoch over what was kept.
    fn epoch(&mut self) -> [f64; 2] {
        let preparation = Preparation {
            model: &*self.model,
            preprocessing: &self.preprocessing,
            train: &self.config.train,
            storage: Storage::Memory,
            device: &self.device,
        };
        let start = processor();
        let prefixes = preparation.run(&self.samples, |_| {}).unwrap();
        let prepared = (processor() - start).as_secs_f64();
        let (out, stop) = (self.folder.path(), AtomicBool::new(false));
        let run = TrainingRun { config: &self.config, out, resume: false, stop: &stop };
        let start = processor();
        run.train(&mut *self.model, &prefixes, &self.device, |_| {}).unwrap();
        [prepared, (processor() - start).as_secs_f64()]
    }
}

/// An epoch over kept activations against one that computes them, `last4` stages of a tower as
/// deep as ViT-L but 384 wide, at 224 pixels.
fn epoch() -> Vec<Value> {
    let device = Device::flex();
    let mut rows = Vec::new();
    for (name, kernel) in [("LFS 3x3", 3), ("LFS 1x1", 1)] {
        let vision = VisionConfig {
            width: 384,
            layers: 24,
            heads: 6,
            mlp_width: 1536,
            patch_size: 16,
            image_size: 224,
            activation: Activation::QuickGelu,
        };
        let clip = random_clip(vision, 256, &device);
        let model = FeClipConfig {
            stage_ends: Some(StageEnds::Layers(vec![21, 22, 23, 24])),
            lfs: Switch::On(adapters::LfsConfig { kernel, ..Default::default() }),
            ..FeClipConfig::default()
        };
        let mut setup = Setup::new(clip, model.into(), 16, 32);
        let mut best = [f64::INFINITY; 2];
        for _ in 0..3 {
            for (best, time) in best.iter_mut().zip(setup.epoch()) {
                *best = best.min(time);
            }
        }
        let [prefix, steps] = best;
        let case = format!("an epoch of 32 images, last4 of 24 layers, {name}, the prefix kept");
        rows.push(row(&case, steps, "the same, computing it again", prefix + steps, "CPU s"));
    }
    rows
}

/// In the place of a peer.
const GOAL: &str = "at most, by our goals";

/// The most memory that this process ever held.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / (1 << 20) as f64
}

fn memory_tiny() -> Vec<Value> {
    let clip = Backbone::load("tiny", None, &Device::flex()).unwrap().clip;
    Setup::new(clip, ModelConfig::default(), 16, 32).epoch();
    vec![row("training tiny, batch 16, two steps: peak memory", peak(), GOAL, 2.0, "GiB")]
}

fn memory_large() -> Vec<Value> {
    let device = Device::flex();
    let clip = random_clip(ClipConfig::vit_l_14_336().vision, 768, &device);
    let model = ModelConfig { image_size: Some(336), ..ModelConfig::default() };
    let mut setup = Setup::new(clip, model, 2, 2);
    setup.epoch();
    vec![row(
        "training on ViT-L/14 at 336, batch 2, a step: peak memory",
        peak(),
        GOAL,
        12.0,
        "GiB",
    )]
}
