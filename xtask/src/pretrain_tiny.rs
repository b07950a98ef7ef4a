//! `cargo xtask pretrain-tiny`: make the embedded default's backbone again.

use std::process::Command;

use anyhow::{Context, bail};

/// Pre-train `tiny`, the embedded default: all that follows is given to the training program
/// (`--out`, `--resume`, `--seed`, `--steps`, `--batch-size`, `--learning-rate`, `--save-every`).
#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask pretrain-tiny --out target/tiny --resume")]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["run", "--release", "--example", "pretrain_tiny", "--"])
        .args(&args.arguments)
        .status()
        .context("running cargo")?;
    if !status.success() {
        bail!("pre-training ended with {status}");
    }
    Ok(())
}
