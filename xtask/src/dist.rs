//! `cargo xtask dist`: what is given to those who install the program, byte for byte the same
//! wherever and whenever it is made from the same revision by the same compiler.

mod archive;
mod deb;
mod files;
mod licences;
mod packages;
mod program;
mod sbom;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{process, results};
use files::Materials;

/// Make a release: archive, Debian package, SBOM, licences of all dependencies, SHA-256 sums.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask dist\n  \
    cargo xtask dist --target aarch64-unknown-linux-gnu --program fe-clip\n\n\
    SOURCE_DATE_EPOCH is the time that files are given; default: that of the last commit.")]
pub(crate) struct Args {
    /// Folder for what is made. Default: dist in cargo's target folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to build for. Default: x86_64-unknown-linux-musl where rustup has it, else this system.
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Pack this program instead of building one; it must run here.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// What a release is called and when it was made.
struct Release {
    version: &'static str,
    target: String,
    /// Seconds since 1970.
    time: u64,
}

impl Release {
    fn name(&self) -> String {
        format!("fe-clip-{}-{}", self.version, self.target)
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let target = args.target.clone().map_or_else(program::default_target, Ok)?;
    let time = program::time()?;
    // All members have the version of the workspace.
    let release = Release { version: env!("CARGO_PKG_VERSION"), target, time };
    let program = match &args.program {
        Some(path) => std::path::absolute(path)?,
        None => program::build(&release)?,
    };
    let packages = packages::of("fe-clip-cli", &release.target)?;
    let binary = read(&program)?;
    let third_party = licences::text(&packages)?.into_bytes();
    let sbom = sbom::cyclonedx(&release, &packages, &binary)?;
    let materials = Materials { program: &program, binary, third_party, sbom };
    let items = files::gather(&materials)?;

    let name = release.name();
    let archive = archive::xz(&archive::tar(&files::in_archive(&items, &name), release.time)?)?;
    let mut made = vec![
        (format!("{name}.tar.xz"), archive),
        (format!("{name}.cdx.json"), materials.sbom.clone()),
        (format!("{name}.THIRD-PARTY.txt"), materials.third_party.clone()),
    ];
    if let Some(deb) = deb::package(&release, &items)? {
        made.push(deb);
    }
    let out = args.out.clone().unwrap_or_else(|| process::target().join("dist"));
    std::fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    made.sort();
    let sums = made.iter().map(|(name, content)| format!("{}  {name}\n", sha256(content)));
    made.push(("SHA256SUMS".into(), sums.collect::<String>().into_bytes()));
    for (name, content) in &made {
        let path = out.join(name);
        results::replace(&path, content)?;
        println!("{}", path.display());
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn sha256(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}
