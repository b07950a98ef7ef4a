//! Where to look: regions of interest, and what to ignore.

use std::path::{Path, PathBuf};

use data::{Limits, Preprocess, resize_mask};
use ndarray::Array2;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::files::hex;
use crate::shape::Shape;

/// Which pixels of images count.
#[derive(Debug, Clone)]
pub struct Scope {
    parts: Vec<Part>,
    sha256: String,
}

#[derive(Debug, Clone)]
struct Part {
    path: PathBuf,
    shape: Shape,
    /// Whether what counts is inside of it, or outside.
    inside: bool,
}

impl Scope {
    /// Of files: what is inside of `roi` counts, what is inside of `ignore` does not. A file is a
    /// mask, an image whose non-zero pixels are inside, or polygons, JSON
    /// `{"polygons": [[[x, y], …], …]}` in pixels of the image; one lies inside of a polygon if
    /// its centre does, by the even-odd rule.
    ///
    /// # Errors
    /// If a file cannot be read or is neither; the message names it.
    pub fn new(roi: Option<&Path>, ignore: Option<&Path>) -> Result<Self, Error> {
        let read = |path: Option<&Path>| {
            path.map(|path| std::fs::read(path).map_err(|e| Error::io(path, e))).transpose()
        };
        let (inside, outside) = (read(roi)?, read(ignore)?);
        let (roi, ignore) = (roi.zip(inside.as_deref()), ignore.zip(outside.as_deref()));
        Self::of_bytes(roi, ignore, &Limits::default())
    }

    /// The same of what files hold, and what messages call them; masks within limits.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn of_bytes(
        roi: Option<(&Path, &[u8])>,
        ignore: Option<(&Path, &[u8])>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let mut hasher = Sha256::new();
        let mut parts = Vec::new();
        for (part, inside) in [(roi, true), (ignore, false)] {
            let Some((path, bytes)) = part else { continue };
            hasher.update([u8::from(inside)]);
            hasher.update(Sha256::digest(bytes));
            // A mask that cannot be read is no fault of the image that it is for.
            let shape = Shape::parse(path, bytes, limits).map_err(|e| Error::invalid(path, e))?;
            parts.push(Part { path: path.to_owned(), shape, inside });
        }
        Ok(Self { parts, sha256: hex(hasher) })
    }

    /// The file of a category that `[eval] roi` or `[eval] ignore` names: the file itself, or the
    /// one in the folder that is called like the category; none where there is none.
    ///
    /// # Errors
    /// If the folder cannot be read, or there are several.
    pub fn file_of_category(named: &Path, category: &str) -> Result<Option<PathBuf>, Error> {
        if !named.is_dir() {
            return Ok(Some(named.to_owned()));
        }
        let entries = std::fs::read_dir(named).map_err(|e| Error::io(named, e))?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut found: Vec<PathBuf> =
            paths.filter(|p| p.is_file() && p.file_stem() == Some(category.as_ref())).collect();
        found.sort();
        if let [first, second, ..] = &found[..] {
            let reason = format!("there is {} for {category}, too", second.display());
            return Err(Error::invalid(first, reason));
        }
        Ok(found.pop())
    }

    /// A hash of all that decides which pixels count.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The pixels of an image of `size`, width and height, that do not count: `[height, width]`.
    ///
    /// # Errors
    /// If a mask has another size, a polygon reaches beyond the image, or nothing is left.
    pub fn ignored(&self, size: (u32, u32)) -> Result<Array2<bool>, Error> {
        let (width, height) = size;
        let mut ignored = Array2::from_elem((height as usize, width as usize), false);
        for part in &self.parts {
            let inside = part.shape.inside(size).map_err(|e| Error::invalid(&part.path, e))?;
            ndarray::Zip::from(&mut ignored)
                .and(&inside)
                .for_each(|ignored, inside| *ignored |= *inside != part.inside);
        }
        if ignored.iter().all(|ignored| *ignored) {
            return Err(self.empty(size));
        }
        Ok(ignored)
    }

    /// What of an image of `size`, width and height, does not count, on the image and as the model
    /// sees it.
    ///
    /// # Errors
    /// Those of [`ignored`](Self::ignored), or if nothing is left at the model's size.
    pub fn out(&self, size: (u32, u32), frame: &Preprocess) -> Result<Out, Error> {
        let on_image = self.ignored(size)?;
        let seen = resize_mask(on_image.mapv(|ignored| !ignored).view(), frame);
        if !seen.iter().any(|seen| *seen) {
            return Err(self.empty(size));
        }
        let on_map = resize_mask(on_image.view(), frame);
        Ok(Out { on_image, on_map })
    }

    fn empty(&self, (width, height): (u32, u32)) -> Error {
        let files: Vec<String> = self.parts.iter().map(|p| p.path.display().to_string()).collect();
        let files = files.join(" and ");
        Error::Settings(format!(
            "{files}: nothing is left to look at in an image of {width} x {height} pixels"
        ))
    }
}

/// The pixels of an image that do not count.
#[derive(Debug, Clone)]
pub struct Out {
    /// `[height, width]` of the image.
    pub on_image: Array2<bool>,
    /// The size of the map.
    pub on_map: Array2<bool>,
}
