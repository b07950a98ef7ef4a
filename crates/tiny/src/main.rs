//! Pre-trains the embedded default, `tiny`; `cargo xtask pretrain-tiny` runs it.

#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use clap::Parser;
use clip_vit::{Precision, save_hf};
use fe_clip::open_device;
use tiny::pretrain::{PretrainConfig, pretrain, tiny_config};
use indicatif::{ProgressBar, ProgressStyle};

/// Trains a small CLIP from procedurally drawn images and captions.
#[derive(Parser)]
struct Args {
    /// Folder of the state, the loss log and the finished model.
    #[arg(long, default_value = "target/pretrain-tiny")]
    out: PathBuf,
    /// Go on from the state saved in --out.
    #[arg(long)]
    resume: bool,
    /// Model of the same architecture to start from: a folder, or `tiny`.
    #[arg(long, value_name = "MODEL")]
    start: Option<String>,
    /// Seed of weights, scenes and captions.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Optimizer steps.
    #[arg(long, default_value_t = 1800)]
    steps: usize,
    /// Images of a step.
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

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let config = PretrainConfig {
        seed: args.seed,
        start: args.start,
        steps: args.steps,
        batch_size: args.batch_size,
        learning_rate: args.learning_rate,
        save_every: args.save_every,
    };
    let style = "{bar:30} {pos}/{len} steps, {elapsed}, {eta} left, {msg}";
    let bar =
        ProgressBar::new(config.steps as u64).with_style(ProgressStyle::with_template(style)?);
    let clip = pretrain(&config, &args.out, args.resume, &open_device(&args.device)?, |step| {
        bar.set_position(step.step as u64);
        let t = &step.terms;
        bar.set_message(format!(
            "loss {:.3} (contrast {:.3}, state {:.3}, dense {:.3}, region {:.3})",
            t.total, t.contrast, t.state, t.dense, t.region
        ));
    })?;
    bar.finish();
    let model = args.out.join("model");
    save_hf(&clip, &tiny_config(), &model, Precision::F16)?;
    println!("{}", model.display());
    Ok(())
}
