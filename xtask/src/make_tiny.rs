//! `cargo xtask distil`, `pretrain-tiny` and `token-heads`: make the embedded default's backbone again.

use anyhow::Result;

use crate::process::{cargo, execute};

/// A stage of making `tiny`: all that follows is given to the program of crate `tiny`
/// (`--help` after `--` lists it).
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask pretrain-tiny --out target/tiny --resume\n  cargo xtask distil --corpus target/tiny/photographs.tar --resume"
)]
pub(crate) struct Args {
    /// Backend to compile in (docs/backends.md), for a `--device` other than flex.
    #[arg(long)]
    features: Option<String>,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(stage: &str, args: &Args) -> Result<()> {
    let features = args.features.iter().map(|f| format!("--features=tiny/{f}"));
    execute(
        cargo()
            .args(["run", "--release", "--bin", "tiny"])
            .args(features)
            .args(["--", stage])
            .args(&args.arguments),
    )
}
