//! Atomic writes: a reader sees the old file or the new one, never half of one.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::Error;

/// Writes a file by way of a temporary one beside it, whose name is short and its own: several
/// threads, processes and machines may write one file at once. What is there and is no regular
/// file, a device or a pipe, is written to instead.
///
/// # Errors
/// If the folder is missing or not writable.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = AtomicFile::create(path)?;
    file.write(bytes)?;
    file.finish()
}

/// A file that is written piece by piece, as [`write_atomic`] writes one at once.
pub(crate) struct AtomicFile {
    path: PathBuf,
    target: Target,
}

enum Target {
    Beside(NamedTempFile),
    /// What is there and is no regular file.
    Direct(fs::File),
}

impl AtomicFile {
    /// # Errors
    /// If the folder is missing or not writable.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let open = || {
            if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
                return fs::OpenOptions::new().write(true).open(path).map(Target::Direct);
            }
            temporary(path).map(Target::Beside)
        };
        let target = open().map_err(|e| Error::io(path, e))?;
        Ok(Self { path: path.to_owned(), target })
    }

    /// Whether it is no regular file.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self.target, Target::Direct(_))
    }

    /// # Errors
    /// If the system refuses the bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        // Through the file itself: the wrapper would name the temporary file in its errors.
        let file = match &mut self.target {
            Target::Beside(file) => file.as_file_mut(),
            Target::Direct(file) => file,
        };
        file.write_all(bytes).map_err(|e| Error::io(&self.path, e))
    }

    /// Lets the file appear under its name.
    ///
    /// # Errors
    /// If the system refuses it.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Self { path, target } = self;
        let finish = || match target {
            Target::Beside(file) => {
                file.as_file().sync_all()?;
                file.persist(&path).map(drop).map_err(|e| e.error)
            }
            Target::Direct(_) => Ok(()),
        };
        finish().map_err(|e| Error::io(&path, e))
    }
}

/// Writes a file as [`write_atomic`] does, but only where there is nothing of this name yet;
/// returns whether it did. Of several that try at once, one does.
///
/// # Errors
/// If the folder is missing or not writable.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<bool, Error> {
    let write = || {
        let mut file = temporary(path)?;
        file.as_file_mut().write_all(bytes)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Ok(_) => Ok(true),
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            // A file system that knows no such renaming: there the last one stays.
            Err(e) => e.file.persist(path).map(|_| true).map_err(|e| e.error),
        }
    };
    write().map_err(|e| Error::io(path, e))
}

/// A new file in the folder of a path, removed when dropped.
fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".fe-clip-").suffix(".tmp");
    // As any other new file: what the user's mask allows.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            io::Error::new(e.kind(), format!("there is no folder {}", folder.display()))
        }
        // The message of the library names the temporary file.
        kind => kind.into(),
    })
}

/// Replaces a folder by one that `fill` writes. Should the process die on the way, either the
/// old folder, the new one, or the old one under the name `<dir>.old` is there; [`settle_dir`]
/// puts the last case right.
///
/// # Errors
/// Those of `fill`, and of renaming.
pub fn replace_dir(dir: &Path, fill: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let (new, old) = (beside(dir, "new"), beside(dir, "old"));
    remove_dir(&new)?;
    fs::create_dir_all(&new).map_err(|e| Error::io(&new, e))?;
    fill(&new)?;
    flush(&new)?;
    settle_dir(dir)?;
    if dir.exists() {
        fs::rename(dir, &old).map_err(|e| Error::io(dir, e))?;
    }
    fs::rename(&new, dir).map_err(|e| Error::io(dir, e))?;
    remove_dir(&old)
}

/// Waits until a folder's files are on disk: a machine that loses power has the old or the new.
fn flush(dir: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
    for entry in entries {
        let path = entry.map_err(|e| Error::io(dir, e))?.path();
        let file = fs::File::open(&path).and_then(|file| file.sync_all());
        file.map_err(|e| Error::io(&path, e))?;
    }
    Ok(())
}

/// Brings back the folder that an interrupted [`replace_dir`] had moved aside.
///
/// # Errors
/// Those of renaming and removing folders.
pub fn settle_dir(dir: &Path) -> Result<(), Error> {
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

/// A finished hash in lower-case hexadecimal.
pub fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A text file in UTF-8, without the mark that some editors put before it.
///
/// # Errors
/// If it cannot be read or is no such text.
pub fn read_to_string(path: &Path) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] = bytes[..] {
        let reason = "UTF-16 text, expected UTF-8; PowerShell's > writes such files, \
                      Set-Content -Encoding utf8 does not";
        return Err(Error::invalid(path, reason));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to() + 1;
        Error::invalid(path, format!("not UTF-8 text, from byte {at} on"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// A whole file, or an error where it is longer than so many bytes, of which no more are read.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|e| Error::io(path, e))?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    if bytes.len() as u64 > limit {
        return Err(Error::invalid(path, format!("longer than {limit} bytes")));
    }
    Ok(bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_written_once_and_a_missing_folder_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        let first = std::thread::scope(|scope| {
            let path = &path;
            let write = |n: u8| scope.spawn(move || write_new(path, &[n]).unwrap());
            let tries: Vec<_> = (0..4).map(write).collect();
            tries.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<bool>>()
        });
        assert_eq!(first.iter().filter(|done| **done).count(), 1);
        let winner = first.iter().position(|done| *done).unwrap() as u8;
        assert_eq!(fs::read(&path).unwrap(), [winner]);
        write_atomic(&path, b"2").unwrap();
        assert!(!write_new(&path, b"3").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "something is left over");
        let missing = root.path().join("no");
        for written in [
            write_atomic(&missing.join("file"), b""),
            write_new(&missing.join("file"), b"").map(drop),
        ] {
            let expected = format!("there is no folder {}", missing.display());
            assert!(written.unwrap_err().to_string().ends_with(&expected));
        }
    }

    /// Every state that a kill can leave, by what stands under each of the three names.
    #[test]
    fn a_folder_is_replaced_from_wherever_a_kill_has_left_it() {
        for (dir, old, new, kept) in [
            (None, None, None, None),
            (None, None, Some("half"), None),
            (Some("1"), None, None, Some("1")),
            (Some("1"), None, Some("half"), Some("1")),
            (None, Some("1"), Some("2"), Some("1")),
            (Some("2"), Some("1"), None, Some("2")),
        ] {
            let root = tempfile::tempdir().unwrap();
            let state = root.path().join("state");
            let place = |path: PathBuf, text: Option<&str>| {
                if let Some(text) = text {
                    fs::create_dir(&path).unwrap();
                    fs::write(path.join("file"), text).unwrap();
                }
            };
            place(state.clone(), dir);
            place(beside(&state, "old"), old);
            place(beside(&state, "new"), new);
            let read = || fs::read_to_string(state.join("file")).ok();
            settle_dir(&state).unwrap();
            assert_eq!(read().as_deref(), kept, "{dir:?} {old:?} {new:?}");
            replace_dir(&state, |dir| write_atomic(&dir.join("file"), b"3")).unwrap();
            assert_eq!(read().as_deref(), Some("3"), "{dir:?} {old:?} {new:?}");
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "something is left over");
        }
    }
}
