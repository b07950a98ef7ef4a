//! What the adapters cost, what the kept prefix saves, and what a training step holds in memory,
//! as ratios; `docs/results/training.md` keeps them.
//!
//! `cargo bench --workspace --bench training -- adapters`, `epoch`, `memory-tiny` or
//! `memory-large`; one a process, because the system tells a process's peak alone.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Distribution, Tensor};
use clip_vit::{Activation, Clip, ClipConfig, TextConfig, VisionConfig};
use data::{Layout, Sample, Split};
use fe_clip::{
    Backbone, Detector, FeClip, ModelConfig, Preparation, RunConfig, StageEnds, Storage,
    TrainConfig, TrainingRun,
};
use rustix::time::{ClockId, clock_gettime};
use synthetic::{DefectKind, WriteOptions, write_dataset};

fn main() {
    let what = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    match what.as_deref() {
        Some("adapters") => adapters(),
        Some("epoch") => epoch(),
        Some("memory-tiny") => memory_tiny(),
        Some("memory-large") => memory_large(),
        _ => println!("name one of adapters, epoch, memory-tiny, memory-large"),
    }
}

/// Processor time of this process.
fn processor() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Smallest processor and wall time of several things done in turn.
fn interleaved<const N: usize>(rounds: usize, things: [&dyn Fn(); N]) -> [(f64, f64); N] {
    let mut best = [(f64::INFINITY, f64::INFINITY); N];
    for _ in 0..rounds {
        for (best, thing) in best.iter_mut().zip(things) {
            let (cpu, wall) = (processor(), Instant::now());
            thing();
            let (cpu, wall) = (processor() - cpu, wall.elapsed());
            *best = (best.0.min(cpu.as_secs_f64()), best.1.min(wall.as_secs_f64()));
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
fn adapters() {
    let device = Device::flex();
    let clip = random_clip(ClipConfig::vit_l_14_336().vision, 768, &device);
    let head = FeClip::new_head(&clip, &ModelConfig::default(), &device).unwrap();
    let image = Tensor::random([1, 3, 336, 336], Distribution::Normal(0.0, 1.0), &device);
    let tokens = Tensor::random([1, 24, 24, 1024], Distribution::Normal(0.0, 1.0), &device);
    let vision = || drop(clip.vision.forward(image.clone()).into_data());
    let all = || {
        for (n, stage) in head.stages.iter().enumerate() {
            let adapted = stage.forward(tokens.clone()).reshape([1, 576, 1024]);
            head.project(n, adapted).into_data();
        }
    };
    let part = |name: &str, [cpu, wall]: [f64; 2], of: (f64, f64)| {
        println!(
            "{name}: {:.1} % of processor time, {:.1} % of wall time",
            cpu / of.0 * 100.0,
            wall / of.1 * 100.0
        );
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
    println!("ViT-L/14 at 336, one image: {:.2} s of processor time, {:.2} s", vit.0, vit.1);
    for (name, time) in [("adapters and projection", all), ("FFE alone", ffe), ("LFS alone", lfs)] {
        part(name, [time.0, time.1], vit);
    }
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
    model: FeClip,
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
        let head = FeClip::new_head(&clip, &config.model, &device).unwrap();
        let detector = Detector::new(clip, &config, head, &device).unwrap();
        let preprocessing = detector.preprocess().clone();
        Self { folder, samples, preprocessing, model: detector.into_model(), config, device }
    }

    /// Seconds of preparing the images and of an epoch over what was kept.
    fn epoch(&mut self) -> [(f64, f64); 2] {
        let preparation = Preparation {
            model: &self.model,
            preprocessing: &self.preprocessing,
            train: &self.config.train,
            storage: Storage::Memory,
            device: &self.device,
        };
        let (cpu, wall) = (processor(), Instant::now());
        let prefixes = preparation.run(&self.samples, |_| {}).unwrap();
        let prepared = ((processor() - cpu).as_secs_f64(), wall.elapsed().as_secs_f64());
        let (out, stop) = (self.folder.path(), AtomicBool::new(false));
        let run = TrainingRun { config: &self.config, out, resume: false, stop: &stop };
        let (cpu, wall) = (processor(), Instant::now());
        run.train(&mut self.model, &prefixes, &self.device, |_| {}).unwrap();
        [prepared, ((processor() - cpu).as_secs_f64(), wall.elapsed().as_secs_f64())]
    }
}

/// An epoch over kept activations against one that computes them, `last4` stages of a tower as
/// deep as ViT-L but 384 wide, at 224 pixels.
fn epoch() {
    let device = Device::flex();
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
        let mut model = ModelConfig {
            stage_ends: Some(StageEnds::Layers(vec![21, 22, 23, 24])),
            ..ModelConfig::default()
        };
        model.lfs = fe_clip::Switch::On(adapters::LfsConfig { kernel, ..Default::default() });
        let mut setup = Setup::new(clip, model, 16, 32);
        let mut best = [(f64::INFINITY, f64::INFINITY); 2];
        for _ in 0..3 {
            for (best, time) in best.iter_mut().zip(setup.epoch()) {
                *best = (best.0.min(time.0), best.1.min(time.1));
            }
        }
        let [prefix, steps] = best;
        println!(
            "{name}: an epoch of 32 images {:.1} s with the prefix kept, {:.1} s more without: \
             {:.2} times as fast in wall time, {:.2} in processor time",
            steps.1,
            prefix.1,
            (prefix.1 + steps.1) / steps.1,
            (prefix.0 + steps.0) / steps.0,
        );
    }
}

/// The most memory that this process ever held.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / (1 << 20) as f64
}

fn memory_tiny() {
    let clip = Backbone::load("tiny", None, &Device::flex()).unwrap().clip;
    Setup::new(clip, ModelConfig::default(), 16, 32).epoch();
    println!("tiny, batch 16, two steps: peak {:.2} GiB", peak());
}

fn memory_large() {
    let device = Device::flex();
    let clip = random_clip(ClipConfig::vit_l_14_336().vision, 768, &device);
    let model = ModelConfig { image_size: Some(336), ..ModelConfig::default() };
    let mut setup = Setup::new(clip, model, 2, 2);
    println!("ViT-L/14 at 336: {:.2} GiB before the first step", peak());
    let [prepared, step] = setup.epoch();
    println!("batch 2: peak {:.2} GiB; prefix {:.0} s, step {:.0} s", peak(), prepared.1, step.1);
}
