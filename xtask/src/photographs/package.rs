//! Debian packages, fetched and unpacked without installing them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::execute;

/// An unpacked package.
pub(super) struct Tree {
    pub(super) path: PathBuf,
    pub(super) version: String,
}

/// The package, fetched and unpacked under the folder if it is not there yet.
pub(super) fn unpacked(name: &str, cache: &Path) -> Result<Tree> {
    std::fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
    let (path, version) = (cache.join(name), cache.join(format!("{name}.version")));
    if path.exists() {
        let version = std::fs::read_to_string(&version)
            .with_context(|| format!("reading {}", version.display()))?;
        return Ok(Tree { path, version });
    }
    let partial = tempfile::Builder::new().prefix(".unpacking-").tempdir_in(cache)?;
    eprintln!("fetching {name}");
    execute(Command::new("apt-get").args(["download", name]).current_dir(partial.path()))
        .context("a Debian system with its lists of packages is needed (apt-get update)")?;
    let archive = std::fs::read_dir(partial.path())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get download {name} left no package"))?;
    let field = Command::new("dpkg-deb").arg("-f").arg(&archive).arg("Version").output()?;
    ensure!(field.status.success(), "dpkg-deb cannot read {}", archive.display());
    let found = String::from_utf8(field.stdout)?.trim().to_owned();
    let tree = partial.path().join("tree");
    execute(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&tree))?;
    // The version first: a tree that is there has one.
    std::fs::write(&version, &found).with_context(|| format!("writing {}", version.display()))?;
    std::fs::rename(&tree, &path).with_context(|| format!("renaming to {}", path.display()))?;
    Ok(Tree { path, version: found })
}
