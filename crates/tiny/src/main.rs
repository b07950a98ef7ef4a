//! Makes the embedded default; `cargo xtask pretrain-tiny` and `cargo xtask distil` run it.

#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clip_vit::{Precision, save_hf};
use data::Crops;
use fe_clip::open_device;
use indicatif::{ProgressBar, ProgressStyle};
use tiny::distil::{self, DistilConfig, distil};
use tiny::pretrain::{PretrainConfig, pretrain};
use tiny::teacher::Teacher;

/// Makes the embedded default, stage by stage.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    stage: Stage,
}

#[derive(Subcommand)]
enum Stage {
    Pretrain(Pretrain),
    Distil(Distil),
    Heads(Heads),
}

/// Fits heads to a finished model, which predict the teacher's features from its patch tokens.
#[derive(clap::Args)]
struct Heads {
    /// Model with a distilled image tower: a folder, or `tiny`.
    #[arg(long, default_value = "target/tiny/words/model")]
    model: String,
    /// Folder of the model with heads.
    #[arg(long, default_value = "target/tiny/headed")]
    out: PathBuf,
    /// Weights of EfficientNet-Lite0, which `cargo xtask teacher` fetches.
    #[arg(long, default_value = "target/tiny/teacher/efficientnet-lite0-57934424.pth")]
    teacher: PathBuf,
    /// Corpus of photographs; without one, procedural scenes alone.
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Seed of the images.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What it runs on, as the `--device` of fe-clip.
    #[arg(long, default_value = "flex")]
    device: String,
}

/// Trains a small CLIP from procedurally drawn images and captions.
#[derive(clap::Args)]
struct Pretrain {
    /// Folder of the state, the loss log and the finished model.
    #[arg(long, default_value = "target/pretrain-tiny")]
    out: PathBuf,
    /// Go on from the state saved in --out.
    #[arg(long)]
    resume: bool,
    /// Model of the same architecture to start from: a folder; with --locked of a distilled image tower, or `tiny`.
    #[arg(long, value_name = "MODEL")]
    start: Option<String>,
    /// Keep the image tower of --start, a distilled one, frozen.
    #[arg(long, requires = "start")]
    locked: bool,
    /// Corpus of photographs, half of the pictures then; procedural scenes alone without.
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Seed of weights, scenes and captions.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Optimizer steps.
    #[arg(long, default_value_t = 1800)]
    steps: usize,
    /// Images per step.
    #[arg(long, default_value_t = 48)]
    batch_size: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// Steps between two saved states.
    #[arg(long, default_value_t = 100)]
    save_every: usize,
    /// What it runs on, as the `--device` of fe-clip.
    #[arg(long, default_value = "flex")]
    device: String,
}

/// Distils an image tower from a teacher that has seen real photographs.
#[derive(clap::Args)]
struct Distil {
    /// Folder of the state, the loss log and the finished model.
    #[arg(long, default_value = "target/tiny/distilled")]
    out: PathBuf,
    /// Go on from the state saved in --out; with other --steps or --anneal, from the one before the learning rate fell.
    #[arg(long)]
    resume: bool,
    /// Weights of EfficientNet-Lite0, which `cargo xtask teacher` fetches.
    #[arg(long, default_value = "target/tiny/teacher/efficientnet-lite0-57934424.pth")]
    teacher: PathBuf,
    /// Corpus of photographs; without one, procedural scenes alone.
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Model whose image tower to go on from: a folder, or `tiny`.
    #[arg(long, value_name = "MODEL")]
    start: Option<String>,
    /// Seed of weights and images.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Windows per step.
    #[arg(long, default_value_t = 64)]
    windows: usize,
    /// Share of the peak learning rates, at most 1; less for a tower that has learnt before.
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// Optimizer steps.
    #[arg(long, default_value_t = 40_000)]
    steps: usize,
    /// Number of last steps, in which the learning rate falls to zero.
    #[arg(long, default_value_t = 12_000)]
    anneal: usize,
    /// Steps between two saved states.
    #[arg(long, default_value_t = 100)]
    save_every: usize,
    /// Steps between two points of the curve of held-out quality.
    #[arg(long, default_value_t = 2000)]
    judge_every: usize,
    /// Measure the teacher and an untrained tower as the curve does, and train nothing.
    #[arg(long)]
    references: bool,
    /// What it runs on, as the `--device` of fe-clip.
    #[arg(long, default_value = "flex")]
    device: String,
}

fn main() -> anyhow::Result<()> {
    clip_vit::keep_freed_memory();
    match Args::parse().stage {
        Stage::Pretrain(args) => args.run(),
        Stage::Distil(args) => args.run(),
        Stage::Heads(args) => args.run(),
    }
}

impl Pretrain {
    fn run(self) -> anyhow::Result<()> {
        let photographs = self.corpus.as_deref().map(Crops::open).transpose()?;
        let config = PretrainConfig {
            seed: self.seed,
            start: self.start,
            locked: self.locked,
            corpus: photographs.as_ref().map(Crops::sha256).transpose()?,
            steps: self.steps,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            save_every: self.save_every,
        };
        let bar = bar(config.steps)?;
        let device = open_device(&self.device)?;
        let clip = pretrain(&config, photographs, &self.out, self.resume, &device, |step| {
            bar.set_position(step.step as u64);
            let t = &step.terms;
            bar.set_message(format!(
                "loss {:.3} (contrast {:.3}, state {:.3}, dense {:.3}, region {:.3})",
                t.total, t.contrast, t.state, t.dense, t.region
            ));
        })?;
        bar.finish();
        let model = self.out.join("model");
        save_hf(&clip, &config.architecture(), &model, Precision::F16)?;
        println!("{}", model.display());
        Ok(())
    }
}

impl Distil {
    fn run(self) -> anyhow::Result<()> {
        let device = open_device(&self.device)?;
        let teacher = Teacher::published(&self.teacher, &device)?;
        let photographs = self.corpus.as_deref().map(Crops::open).transpose()?;
        if self.references {
            for (name, quality) in distil::references(&teacher, photographs, self.seed, &device)? {
                println!("{}", serde_json::json!({ "of": name, "quality": quality }));
            }
            return Ok(());
        }
        let corpus = photographs.as_ref().map(Crops::sha256).transpose()?;
        let config = DistilConfig {
            seed: self.seed,
            corpus,
            start: self.start,
            windows: self.windows,
            rate: self.rate,
            steps: self.steps,
            anneal: self.anneal,
            save_every: self.save_every,
            judge_every: self.judge_every,
        };
        let bar = bar(config.steps)?;
        let clip =
            distil(&config, &teacher, photographs, &self.out, self.resume, &device, |step| {
                bar.set_position(step.step as u64);
                let t = &step.terms;
                let [a, b, c] = t.stages;
                let message = format!(
                    "errors {a:.3} {b:.3} {c:.3}, pooled {:.3}, {:.1} s",
                    t.pooled, step.seconds
                );
                if let Some(quality) = step.quality {
                    let (image, pixel) = (quality.image_auroc, quality.pixel_auroc);
                    bar.println(format!(
                        "step {}: {message}, AUROC {image:.1} / {pixel:.1}",
                        step.step
                    ));
                }
                bar.set_message(message);
            })?;
        bar.finish();
        let model = self.out.join("model");
        save_hf(&clip, &distil::config(), &model, Precision::F16)?;
        println!("{}", model.display());
        Ok(())
    }
}

impl Heads {
    fn run(self) -> anyhow::Result<()> {
        let device = open_device(&self.device)?;
        let teacher = Teacher::published(&self.teacher, &device)?;
        let photographs = self.corpus.as_deref().map(Crops::open).transpose()?;
        let (clip, config) =
            distil::with_token_heads(&self.model, &teacher, photographs, self.seed, &device)?;
        save_hf(&clip, &config, &self.out, Precision::F16)?;
        println!("{}", self.out.display());
        Ok(())
    }
}

fn bar(steps: usize) -> anyhow::Result<ProgressBar> {
    let style = "{bar:30} {pos}/{len} steps, {elapsed}, {eta} left, {msg}";
    Ok(ProgressBar::new(steps as u64).with_style(ProgressStyle::with_template(style)?))
}
