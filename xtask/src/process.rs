//! Running other programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs a program to its end; its output goes to the terminal.
///
/// # Errors
/// If it cannot be started or fails.
pub(crate) fn execute(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// The cargo that runs this task.
pub(crate) fn cargo() -> Command {
    Command::new(env!("CARGO"))
}

/// Cargo's folder for what is built.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

/// Where cargo puts a program of ours.
pub(crate) fn built(name: &str) -> PathBuf {
    target().join("release").join(name)
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
