//! Files that a run reads: none of its outputs may replace them.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::bail;

/// Files that must stay, by what the system knows them by: other spellings and links are the same
/// file.
pub(crate) struct Protected(HashMap<(u64, u64), String>);

impl Protected {
    /// The inputs that exist, of a model's folder its files, and the files that standard input,
    /// output and error are.
    pub(crate) fn new<'a>(inputs: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut known = HashMap::new();
        let streams = [
            ("standard input", std::io::stdin().as_fd().try_clone_to_owned()),
            ("standard output", std::io::stdout().as_fd().try_clone_to_owned()),
            ("standard error", std::io::stderr().as_fd().try_clone_to_owned()),
        ];
        for (name, stream) in streams {
            let found = stream.map(File::from).and_then(|stream| stream.metadata());
            if let Some(found) = found.ok().filter(Metadata::is_file) {
                known.insert(key(&found), name.to_string());
            }
        }
        for input in inputs {
            let inside = std::fs::read_dir(input).into_iter().flatten().flatten();
            let inside = inside.map(|entry| entry.path()).filter(|path| is_weights(path));
            for path in inside.chain([PathBuf::from(input)]) {
                if let Some(found) = path.metadata().ok().filter(Metadata::is_file) {
                    known.insert(key(&found), path.display().to_string());
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
        match target.metadata().ok().and_then(|found| self.0.get(&key(&found))) {
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

fn key(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
