//! `cargo xtask parity`: our towers against transformers at the size of ViT-L/14@336, on random weights.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{cargo, execute, python};

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
        None => {
            python(Path::new("target/parity-python"), &[&format!("{GOLDEN}/requirements.txt")])?
        }
    };
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    if !folder.join("expected.safetensors").is_file() {
        execute(Command::new(&python).arg(SCRIPT).arg("make").arg(folder))?;
    }
    let forward = || run_program("--example", "forward");
    for name in ["hf_quick_gelu", "hf_gelu"] {
        let (original, saved) = (Path::new(GOLDEN).join(name), folder.join("saved").join(name));
        execute(forward().arg(&original).arg("--save").arg(&saved))?;
        execute(Command::new(&python).arg(SCRIPT).arg("reload").arg(&original).arg(&saved))?;
    }
    execute(
        forward()
            .arg(folder.join("model"))
            .arg(folder.join("input.safetensors"))
            .arg(folder.join("output.safetensors")),
    )?;
    embed(folder)?;
    execute(Command::new(&python).arg(SCRIPT).arg("compare").arg(folder))
}

fn embed(folder: &Path) -> Result<()> {
    let path = folder.join("texts.json");
    let texts = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let texts: Vec<String> = serde_json::from_slice(&texts).context("reading the texts")?;
    let mut command = run_program("--bin", "fe-clip");
    command.arg("embed").arg("--model").arg(folder.join("model"));
    for text in texts {
        command.args(["--text", &text]);
    }
    command.arg("--image").arg(folder.join("photo.png"));
    execute(command.arg("--out").arg(folder.join("embed.npy")))
}

/// One of our programs, built with the features that the whole workspace has.
fn run_program(kind: &str, name: &str) -> Command {
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", kind, name, "--"]);
    command
}
