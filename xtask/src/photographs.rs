//! `cargo xtask photographs`: crops of photographs and textures with free licences, in one file.

mod attribution;
mod copyright;
mod corpus;
mod cut;
mod package;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use corpus::Order;
use table::Table;

/// Photographs and textures of Debian packages, cut into one file of crops.
///
/// The packages are fetched by `apt-get download` and unpacked under `target/photographs`; nothing
/// is installed. Which files are taken, and under what licences, stands in
/// `datasets/photographs.toml`.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask photographs --out photographs.tar --crops 16000")]
pub(crate) struct Args {
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Crops that are aimed at; fewer come of sources with much sky
    #[arg(long, default_value_t = 16_000)]
    crops: usize,
    /// Side of the crops in pixels
    #[arg(long, default_value_t = 288)]
    side: u32,
    /// Seed of every choice
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!((64..=1024).contains(&args.side), "--side {} is not in 64 to 1024", args.side);
    ensure!((1..=500_000).contains(&args.crops), "--crops {} is not in 1 to 500000", args.crops);
    let path = Path::new("datasets/photographs.toml");
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let table: Table = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let mut trees = Vec::new();
    for package in &table.package {
        let cache = crate::process::target().join("photographs");
        trees.push(package::unpacked(&package.name, &cache)?);
    }
    let order = Order { crops: args.crops, side: args.side, seed: args.seed };
    let written = corpus::write(&args.out, &table, &trees, &order)?;
    let document = Path::new("docs/photographs.md");
    std::fs::write(document, attribution::document(&written))
        .with_context(|| format!("writing {}", document.display()))?;
    println!("{}: {} crops of {} files", args.out.display(), written.crops, written.sources.len());
    println!("{}: their licences and authors", document.display());
    Ok(())
}

#[cfg(test)]
mod tests;
