//! Normal images, known by their content.

use std::path::Path;

use anyhow::{Context, bail};
use fe_clip::ImageFile;

use crate::{inputs, talk};

/// The images of a folder, ordered by hash, each content once; those that cannot be read are named
/// on standard error and counted.
///
/// # Errors
/// If the folder cannot be read or holds no image.
pub(crate) fn list(
    folder: &Path,
    flag: &str,
    failed: &mut usize,
) -> anyhow::Result<Vec<ImageFile>> {
    let found = inputs::images(folder).with_context(|| flag.to_string())?;
    let mut files = Vec::new();
    for path in found {
        match path.map_err(fe_clip::Error::from).and_then(ImageFile::new) {
            Ok(file) => files.push(file),
            Err(error) => {
                *failed += 1;
                talk::error(&error);
            }
        }
    }
    let all = files.len();
    ImageFile::sort_distinct(&mut files);
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
