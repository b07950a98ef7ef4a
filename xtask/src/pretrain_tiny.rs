//! `cargo xtask pretrain-tiny`: make the embedded default's backbone again.

use std::process::Command;

use anyhow::{Context, bail};

/// Pre-train `tiny`, the embedded default: all that follows is given to the training program
/// (`--out`, `--resume`, `--seed`, `--steps`, `--batch-size`, `--learning-rate`, `--save-every`, `--device`).
#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask pretrain-tiny --out target/tiny --resume")]
pub(crate) struct Args {
    /// Backend to compile in (docs/backends.md), for a `--device` other than flex.
    #[arg(long)]
    features: Option<String>,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let features = args.features.iter().map(|f| format!("--features={f}"));
    let status = Command::new(env!("CARGO"))
        .args(["run", "--release", "--package", "tiny"])
        .args(features)
        .arg("--")
        .args(&args.arguments)
        .status()
        .context("running cargo")?;
    if !status.success() {
        bail!("pre-training ended with {status}");
    }
    Ok(())
}
