//! Where to look: regions of interest, and what to ignore.

use std::path::{Path, PathBuf};

use data::{Limits, Preprocess, read_mask, resize_mask};
use ndarray::Array2;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::files::hex;

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

#[derive(Debug, Clone)]
enum Shape {
    Mask(Array2<bool>),
    Polygons(Vec<Polygon>),
}

/// Corners `[x, y]` in pixels of the image.
type Polygon = Vec<[f64; 2]>;

/// A file of polygons.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Polygons {
    polygons: Vec<Polygon>,
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
        let mut hasher = Sha256::new();
        let mut parts = Vec::new();
        for (path, inside) in [(roi, true), (ignore, false)] {
            let Some(path) = path else { continue };
            let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
            hasher.update([u8::from(inside)]);
            hasher.update(Sha256::digest(&bytes));
            parts.push(Part { path: path.to_owned(), shape: Shape::parse(path, &bytes)?, inside });
        }
        Ok(Self { parts, sha256: hex(hasher) })
    }

    /// What `[eval] ignore` says of a category: the file, or the one in the folder that is called
    /// like the category; none where there is none.
    ///
    /// # Errors
    /// Those of [`new`](Self::new), or if there are several.
    pub fn of_category(ignore: &Path, category: &str) -> Result<Option<Self>, Error> {
        if !ignore.is_dir() {
            return Self::new(None, Some(ignore)).map(Some);
        }
        let entries = std::fs::read_dir(ignore).map_err(|e| Error::io(ignore, e))?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut named: Vec<PathBuf> =
            paths.filter(|p| p.is_file() && p.file_stem() == Some(category.as_ref())).collect();
        named.sort();
        match &named[..] {
            [] => Ok(None),
            [path] => Self::new(None, Some(path)).map(Some),
            [first, second, ..] => {
                let reason = format!("there is {} for {category}, too", second.display());
                Err(Error::invalid(first, reason))
            }
        }
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
            let inside = part.inside(size)?;
            ndarray::Zip::from(&mut ignored)
                .and(&inside)
                .for_each(|ignored, inside| *ignored |= *inside != part.inside);
        }
        if ignored.iter().all(|ignored| *ignored) {
            return Err(self.empty(size));
        }
        Ok(ignored)
    }

    /// What of an image does not count, on the image and as the model sees it.
    ///
    /// # Errors
    /// Those of [`ignored`](Self::ignored), or if nothing is left at the model's size.
    pub(crate) fn out(&self, size: (u32, u32), frame: &Preprocess) -> Result<Out, Error> {
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
pub(crate) struct Out {
    /// `[height, width]` of the image.
    pub(crate) on_image: Array2<bool>,
    /// The size of the map.
    pub(crate) on_map: Array2<bool>,
}

impl Shape {
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let text = bytes.trim_ascii_start();
        if !text.starts_with(b"{") && !text.starts_with(b"[") {
            // A mask that cannot be read is no fault of the image that it is for.
            let mask = read_mask(path, &Limits::default());
            return mask.map(Self::Mask).map_err(|e| Error::invalid(path, e.cause()));
        }
        let Polygons { polygons } = serde_json::from_slice(bytes).map_err(|e| {
            Error::invalid(path, format!("expected {{\"polygons\": [[[x, y], …], …]}}: {e}"))
        })?;
        if polygons.is_empty() {
            return Err(Error::invalid(path, "expected at least one polygon"));
        }
        if let Some(short) = polygons.iter().find(|polygon| polygon.len() < 3) {
            let reason = format!("a polygon has at least three corners, not {}", short.len());
            return Err(Error::invalid(path, reason));
        }
        Ok(Self::Polygons(polygons))
    }
}

impl Part {
    /// The pixels inside of it, `[height, width]`.
    fn inside(&self, (width, height): (u32, u32)) -> Result<Array2<bool>, Error> {
        match &self.shape {
            Shape::Mask(mask) => {
                let (h, w) = mask.dim();
                if (w, h) != (width as usize, height as usize) {
                    let reason = format!("the mask is {w} x {h}, the image {width} x {height}");
                    return Err(Error::invalid(&self.path, reason));
                }
                Ok(mask.clone())
            }
            Shape::Polygons(polygons) => {
                let (right, bottom) = (f64::from(width), f64::from(height));
                let outside =
                    |[x, y]: &&[f64; 2]| !((0.0..=right).contains(x) && (0.0..=bottom).contains(y));
                if let Some([x, y]) = polygons.iter().flatten().find(outside) {
                    let reason = format!(
                        "the corner [{x}, {y}] lies outside of an image of {width} x {height}"
                    );
                    return Err(Error::invalid(&self.path, reason));
                }
                let mut inside = Array2::from_elem((height as usize, width as usize), false);
                polygons.iter().for_each(|polygon| fill(&mut inside, polygon));
                Ok(inside)
            }
        }
    }
}

/// Marks the pixels whose centres lie inside of a polygon within the array.
fn fill(inside: &mut Array2<bool>, polygon: &[[f64; 2]]) {
    let (_, width) = inside.dim();
    let mut crossings: Vec<f64> = Vec::new();
    for (y, mut row) in inside.outer_iter_mut().enumerate() {
        let level = y as f64 + 0.5;
        crossings.clear();
        for (i, &[x0, y0]) in polygon.iter().enumerate() {
            let [x1, y1] = polygon[(i + 1) % polygon.len()];
            // Half open, so that a corner on the level is counted once.
            if (y0 <= level) != (y1 <= level) {
                crossings.push(x0 + (level - y0) / (y1 - y0) * (x1 - x0));
            }
        }
        crossings.sort_by(f64::total_cmp);
        // The first pixel whose centre is not left of a crossing.
        let column = |x: f64| ((x - 0.5).ceil().max(0.0) as usize).min(width);
        for pair in crossings.chunks_exact(2) {
            let (start, end) = (column(pair[0]), column(pair[1]));
            row.slice_mut(ndarray::s![start..end.max(start)]).fill(true);
        }
    }
}
