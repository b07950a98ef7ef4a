//! `cargo xtask parity`: our towers against transformers at the size of ViT-L/14@336, on random weights.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Compare with transformers at the size of ViT-L/14@336 (5 GB of memory, 2 GB of disk).
#[derive(clap::Args)]
pub(crate) struct Parity {
    /// A Python with crates/clip-vit/tests/golden/requirements.txt; by default one is set up under target/.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where weights, inputs and outputs are kept; weights that are there are used again.
    #[arg(long, default_value = "target/parity")]
    folder: PathBuf,
}

const GOLDEN: &str = "crates/clip-vit/tests/golden";
const SCRIPT: &str = "crates/clip-vit/tests/parity/parity.py";

/// Makes the weights, runs both sides and prints the differences; fails if one is too large.
pub(crate) fn run(arguments: &Parity) -> Result<()> {
    let python = match &arguments.python {
        Some(python) => python.clone(),
        None => set_up_python(Path::new("target/parity-python"))?,
    };
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    if !folder.join("expected.safetensors").is_file() {
        execute(Command::new(&python).arg(SCRIPT).arg("make").arg(folder))?;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    execute(
        Command::new(cargo)
            .args(["run", "--release", "--quiet", "-p", "clip-vit", "--example", "forward", "--"])
            .arg(folder.join("model"))
            .arg(folder.join("input.safetensors"))
            .arg(folder.join("output.safetensors")),
    )?;
    execute(Command::new(&python).arg(SCRIPT).arg("compare").arg(folder))
}

fn set_up_python(folder: &Path) -> Result<PathBuf> {
    let python = folder.join("bin/python");
    if !python.is_file() {
        execute(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let requirements = Path::new(GOLDEN).join("requirements.txt");
        execute(Command::new(&python).args(["-m", "pip", "install", "-r"]).arg(requirements))?;
    }
    Ok(python)
}

fn execute(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
