//! Normal images, known by their content.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fe_clip::files::sha256;

use crate::{inputs, talk};

/// An image file and its content's hash.
#[derive(Clone)]
pub(crate) struct ImageFile {
    pub(crate) path: PathBuf,
    pub(crate) sha256: String,
}

impl ImageFile {
    /// The images of a folder, ordered by hash, each content once; those that cannot be read
    /// are named on standard error and counted.
    ///
    /// # Errors
    /// If the folder cannot be read or holds no image.
    pub(crate) fn list(folder: &Path, flag: &str, failed: &mut usize) -> anyhow::Result<Vec<Self>> {
        let found = inputs::images(folder).with_context(|| flag.to_string())?;
        let mut files = Vec::new();
        for path in found {
            let hashed = path.map_err(fe_clip::Error::from).and_then(|path| {
                let sha256 = sha256(&path)?;
                Ok(Self { path, sha256 })
            });
            match hashed {
                Ok(file) => files.push(file),
                Err(error) => {
                    *failed += 1;
                    talk::error(&error);
                }
            }
        }
        files.sort_by(|a, b| (&a.sha256, &a.path).cmp(&(&b.sha256, &b.path)));
        let all = files.len();
        files.dedup_by(|a, b| a.sha256 == b.sha256);
        if files.len() < all {
            let copies = all - files.len();
            talk::warning(format_args!(
                "{flag} {}: {copies} copies of other images are left out",
                folder.display()
            ));
        }
        if files.is_empty() {
            bail!("{flag} {}: no image could be read", folder.display());
        }
        Ok(files)
    }
}
