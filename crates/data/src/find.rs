//! The images below a folder.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::layouts::{entries, is_image, is_litter};

/// Lists the image files below a folder, sorted by path; a file stands for itself, whatever its name.
///
/// Images are known by their ending (PNG, JPEG, BMP, TIFF, WebP, DICOM, in any case). Hidden files and folders, recycle bins and
/// the thumbnails that systems put among people's files (`@eaDir`, `Thumbs.db`, …) are passed over. Links to folders are
/// followed, each folder is visited once.
/// A folder below that cannot be read is an error in the list, beside the images of the others.
///
/// # Errors
/// [`Error::Io`] when `path` itself cannot be read, [`Error::NoImages`] when it holds nothing.
pub fn find_images(path: &Path) -> Result<Vec<Result<PathBuf, Error>>, Error> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    if !std::fs::metadata(path).map_err(io)?.is_dir() {
        return Ok(vec![Ok(path.to_path_buf())]);
    }
    entries(path).map_err(io)?;
    let mut found = Vec::new();
    walk(path, &mut HashSet::new(), &mut found);
    if found.is_empty() {
        let expected =
            "files ending in png, jpg, jpeg, jpe, jfif, bmp, dib, tif, tiff, webp, dcm or dicom";
        return Err(Error::NoImages { path: path.to_path_buf(), expected, first: None });
    }
    found.sort_by(|a, b| key(a).cmp(key(b)));
    Ok(found)
}

/// Whether [`find_images`] takes a file at this path below the folder that it looks in, by the names
/// in the path alone: for folders that are none of this machine's.
pub fn is_image_below(path: &Path) -> bool {
    is_image(path) && !path.iter().any(|name| is_litter(&name.to_string_lossy()))
}

fn walk(folder: &Path, visited: &mut HashSet<PathBuf>, found: &mut Vec<Result<PathBuf, Error>>) {
    let listed = folder
        .canonicalize()
        .and_then(|real| if visited.insert(real) { entries(folder) } else { Ok(Vec::new()) });
    match listed {
        Err(source) => found.push(Err(Error::Io { path: folder.to_path_buf(), source })),
        Ok(paths) => {
            for path in paths {
                if path.is_dir() {
                    walk(&path, visited, found);
                } else if is_image(&path) {
                    found.push(Ok(path));
                }
            }
        }
    }
}

fn key(found: &Result<PathBuf, Error>) -> &Path {
    match found {
        Ok(path) => path,
        Err(error) => error.path(),
    }
}
