//! Running other programs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::results;

/// Runs a program to its end; its output goes to the terminal.
///
/// # Errors
/// If it cannot be started or fails.
pub(crate) fn execute(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// The cargo that runs this task, without what `cargo run` says of this package: build scripts ask for it (ring's),
/// and everything above them would be compiled again.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|p| text.starts_with(p))
        {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Cargo's folder for what is built.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

/// Where cargo puts a program of ours: beside this one.
pub(crate) fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// The `fe-clip` that a task runs.
pub(crate) struct FeClip {
    pub(crate) path: PathBuf,
    /// What its numbers depend on: the revision of its sources, or the file's SHA-256 where a
    /// program was given or there is no repository.
    pub(crate) code: String,
}

impl FeClip {
    /// The program that was given; else it is built as every other command does, so that nothing
    /// is compiled twice, with backends beside `flex` by their features.
    ///
    /// # Errors
    /// If it cannot be built or read.
    pub(crate) fn get(given: Option<&Path>, features: &[String]) -> Result<Self> {
        if let Some(path) = given {
            let path = std::path::absolute(path)?;
            let code = format!("program {}", sha256(&path)?);
            return Ok(Self { path, code });
        }
        let mut build = cargo();
        build.args(["build", "--release", "--workspace", "--bin", "fe-clip"]);
        if !features.is_empty() {
            let features: Vec<String> =
                features.iter().map(|feature| format!("fe-clip-cli/{feature}")).collect();
            build.arg("--features").arg(features.join(","));
        }
        execute(&mut build)?;
        let path = built("fe-clip");
        let code = match results::revision(&SOURCES) {
            Some(revision) => format!("revision {revision}"),
            None => format!("program {}", sha256(&path)?),
        };
        Ok(Self { path, code })
    }

    /// Starts a command line with a subcommand.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.arg(subcommand);
        command
    }
}

/// What the program is built from.
const SOURCES: [&str; 3] = [":/crates", ":/Cargo.toml", ":/Cargo.lock"];

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut hasher).with_context(|| format!("reading {}", path.display()))?;
    Ok(format!("{:x}", hasher.finalize()))
}

/// A Python with what the requirements files name, in a virtual environment that is made on the
/// first call and kept.
///
/// # Errors
/// If there is no Python 3 or pip fails.
pub(crate) fn python(folder: &Path, requirements: &[&str]) -> Result<PathBuf> {
    let python = folder.join("bin/python");
    let done = folder.join("installed");
    let wanted = requirements.join("\n");
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    execute(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet"]);
    for file in requirements {
        pip.args(["-r", file]);
    }
    execute(&mut pip)?;
    std::fs::write(&done, wanted).with_context(|| format!("writing {}", done.display()))?;
    Ok(python)
}
