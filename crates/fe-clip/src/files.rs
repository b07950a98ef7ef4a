//! Atomic writes: a reader sees the old file or the new one, never half of one.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Error;

/// Writes a file by way of a temporary one beside it.
///
/// # Errors
/// If the folder is missing or not writable.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = beside(path, "tmp");
    let write = || {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|e| {
        let _ = fs::remove_file(&temporary);
        Error::io(path, e)
    })
}

/// Replaces a folder by one that `fill` writes. Should the process die on the way, either the
/// old folder, the new one, or the old one under the name `<dir>.old` is there; [`settle_dir`]
/// puts the last case right.
///
/// # Errors
/// Those of `fill`, and of renaming.
pub(crate) fn replace_dir(
    dir: &Path,
    fill: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let (new, old) = (beside(dir, "new"), beside(dir, "old"));
    remove_dir(&new)?;
    fs::create_dir_all(&new).map_err(|e| Error::io(&new, e))?;
    fill(&new)?;
    settle_dir(dir)?;
    if dir.exists() {
        fs::rename(dir, &old).map_err(|e| Error::io(dir, e))?;
    }
    fs::rename(&new, dir).map_err(|e| Error::io(dir, e))?;
    remove_dir(&old)
}

/// Brings back the folder that an interrupted [`replace_dir`] had moved aside.
pub(crate) fn settle_dir(dir: &Path) -> Result<(), Error> {
    let old = beside(dir, "old");
    if dir.exists() {
        return remove_dir(&old);
    }
    if old.exists() {
        fs::rename(&old, dir).map_err(|e| Error::io(dir, e))?;
    }
    Ok(())
}

/// sha256 of a file in lower-case hexadecimal.
///
/// # Errors
/// If the file cannot be read.
pub fn sha256(path: &Path) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    let mut file = fs::File::open(path).map_err(|e| Error::io(path, e))?;
    std::io::copy(&mut file, &mut hasher).map_err(|e| Error::io(path, e))?;
    Ok(hex(hasher))
}

/// sha256 of a list of texts, a line each.
pub fn sha256_of_lines(lines: &[String]) -> String {
    let mut hasher = Sha256::new();
    for line in lines {
        hasher.update(line);
        hasher.update("\n");
    }
    hex(hasher)
}

pub(crate) fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn read_to_string(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|e| Error::io(path, e))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

fn remove_dir(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(dir, e)),
        _ => Ok(()),
    }
}
