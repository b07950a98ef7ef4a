//! The program of a release, built so that neither the folder nor the hour leaves a trace.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Release;
use crate::process::{cargo, execute, target};

const STATIC: &str = "x86_64-unknown-linux-musl";

/// The static target where its standard library is installed, else the compiler's own system.
pub(super) fn default_target() -> Result<String> {
    if cfg!(target_arch = "x86_64") && sysroot()?.join("lib/rustlib").join(STATIC).exists() {
        return Ok(STATIC.into());
    }
    let version = said(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// The time that everything in a release is given: `SOURCE_DATE_EPOCH`, else that of the commit.
pub(super) fn time() -> Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => said(Command::new("git").args(["log", "-1", "--format=%ct"]))
            .context("no revision to take the time from: set SOURCE_DATE_EPOCH")?,
    };
    text.parse().with_context(|| format!("SOURCE_DATE_EPOCH: expected seconds, got {text:?}"))
}

/// Builds the program with the profile `dist`, in a target folder of its own: the one that is
/// called as the profile is where the release goes.
pub(super) fn build(release: &Release) -> Result<PathBuf> {
    let folder = std::path::absolute(target().join("dist-build"))?;
    let remapped = remapped(&folder)?;
    let flags = |flag: &str| -> Vec<String> {
        remapped.iter().map(|(from, to)| format!("{flag}={}={to}", from.display())).collect()
    };
    let mut build = cargo();
    build.args(["build", "--locked", "--profile", "dist", "--package", "fe-clip-cli"]);
    build.args(["--bin", "fe-clip", "--target", &release.target, "--target-dir"]).arg(&folder);
    build.env("CARGO_ENCODED_RUSTFLAGS", flags("--remap-path-prefix").join("\x1f"));
    build.env(
        format!("CFLAGS_{}", release.target.replace('-', "_")),
        flags("-ffile-prefix-map").join(" "),
    );
    build.env("SOURCE_DATE_EPOCH", release.time.to_string());
    execute(&mut build)?;
    Ok(folder.join(&release.target).join("dist/fe-clip"))
}

/// Folders whose names would be in the program, as places of panics, and what stands there
/// instead. The last that fits counts.
fn remapped(build: &Path) -> Result<Vec<(PathBuf, &'static str)>> {
    let here = std::env::current_dir()?;
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let home = home.context("no home folder, and CARGO_HOME is not set")?;
    // Where the sources of the standard library are installed, the compiler names them.
    let library = sysroot()?.join("lib/rustlib/src/rust");
    let build_elsewhere = (!build.starts_with(&here)).then(|| (build.to_owned(), "/build"));
    let library = library.exists().then_some((library, "/rust"));
    let always = [(here, "/fe-clip"), (home, "/cargo")];
    Ok(always.into_iter().chain(build_elsewhere).chain(library).collect())
}

/// Where the compiler and its standard libraries lie.
pub(super) fn sysroot() -> Result<PathBuf> {
    Ok(said(Command::new("rustc").args(["--print", "sysroot"]))?.into())
}

/// A program's output without the last line break.
pub(super) fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {errors}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
