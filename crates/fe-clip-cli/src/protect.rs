//! Files that a run reads: none of its outputs may replace them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use identity::Identity;

/// Files that must not be replaced, by their identity in the file system, so that links and other
/// spellings of a path are recognised.
pub(crate) struct Protected(HashMap<Identity, String>);

impl Protected {
    /// Protects the inputs that exist, for a model's folder the files in it, and the files behind
    /// standard input, output and error.
    pub(crate) fn new<'a>(inputs: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut known = HashMap::new();
        for (identity, name) in identity::streams() {
            known.insert(identity, name.to_string());
        }
        for input in inputs {
            let inside = std::fs::read_dir(input).into_iter().flatten().flatten();
            let inside = inside.map(|entry| entry.path()).filter(|path| is_weights(path));
            for path in inside.chain([PathBuf::from(input)]) {
                if let Some(identity) = identity::of(&path) {
                    known.insert(identity, path.display().to_string());
                }
            }
        }
        Self(known)
    }

    /// Refuses a file to write that is one of them.
    ///
    /// # Errors
    /// If it is.
    pub(crate) fn check(&self, target: &Path) -> anyhow::Result<()> {
        match identity::of(target).and_then(|identity| self.0.get(&identity)) {
            Some(input) => {
                bail!("{}: would replace {input}, which is in use here", target.display())
            }
            None => Ok(()),
        }
    }
}

fn is_weights(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    path.ends_with("config.json")
        || ending.is_some_and(|ending| ["safetensors", "bin", "pt"].contains(&ending))
}

#[cfg(unix)]
mod identity {
    use std::fs::{File, Metadata};
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    /// Device and inode.
    pub(super) type Identity = (u64, u64);

    /// That of a regular file.
    pub(super) fn of(path: &Path) -> Option<Identity> {
        path.metadata().ok().and_then(|found| of_metadata(&found))
    }

    /// Those of the standard streams that are files.
    pub(super) fn streams() -> impl Iterator<Item = (Identity, &'static str)> {
        let streams = [
            (std::io::stdin().as_fd().try_clone_to_owned(), "standard input"),
            (std::io::stdout().as_fd().try_clone_to_owned(), "standard output"),
            (std::io::stderr().as_fd().try_clone_to_owned(), "standard error"),
        ];
        streams.into_iter().filter_map(|(stream, name)| {
            let found = File::from(stream.ok()?).metadata().ok()?;
            Some((of_metadata(&found)?, name))
        })
    }

    fn of_metadata(metadata: &Metadata) -> Option<Identity> {
        metadata.is_file().then(|| (metadata.dev(), metadata.ino()))
    }
}

#[cfg(not(unix))]
mod identity {
    use std::path::{Path, PathBuf};

    /// The path without links; hard links are not known to be one file.
    pub(super) type Identity = PathBuf;

    pub(super) fn of(path: &Path) -> Option<Identity> {
        path.canonicalize().ok().filter(|path| path.is_file())
    }

    pub(super) fn streams() -> impl Iterator<Item = (Identity, &'static str)> {
        std::iter::empty()
    }
}
