//! Shapes on images: masks and polygons.

use std::path::Path;

use data::{Limits, decode_mask};
use ndarray::Array2;
use serde::Deserialize;

/// A part of an image.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    Mask(Array2<bool>),
    Polygons(Vec<Polygon>),
}

/// Corners `[x, y]` in pixels of the image.
pub(crate) type Polygon = Vec<[f64; 2]>;

/// A file of polygons.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Polygons {
    polygons: Vec<Polygon>,
}

impl Shape {
    /// Of what a file holds: an image, or `{"polygons": [[[x, y], …], …]}`.
    ///
    /// # Errors
    /// The reason why it is neither.
    pub(crate) fn parse(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Self, String> {
        let text = bytes.trim_ascii_start();
        if !text.starts_with(b"{") && !text.starts_with(b"[") {
            return decode_mask(bytes, path, limits).map(Self::Mask).map_err(|e| e.cause());
        }
        let Polygons { polygons } = serde_json::from_slice(bytes)
            .map_err(|e| format!("expected {{\"polygons\": [[[x, y], …], …]}}: {e}"))?;
        Self::polygons(polygons)
    }

    /// # Errors
    /// The reason: there is none, or one is no area.
    pub(crate) fn polygons(polygons: Vec<Polygon>) -> Result<Self, String> {
        if polygons.is_empty() {
            return Err("expected at least one polygon".into());
        }
        if let Some(short) = polygons.iter().find(|polygon| polygon.len() < 3) {
            return Err(format!("a polygon has at least three corners, not {}", short.len()));
        }
        Ok(Self::Polygons(polygons))
    }

    /// The pixels inside of it, `[height, width]`, of an image of such a size.
    ///
    /// # Errors
    /// The reason: a mask has another size, or a polygon reaches beyond the image.
    pub(crate) fn inside(&self, (width, height): (u32, u32)) -> Result<Array2<bool>, String> {
        match self {
            Self::Mask(mask) => {
                let (h, w) = mask.dim();
                if (w, h) != (width as usize, height as usize) {
                    return Err(format!("the mask is {w} x {h}, the image {width} x {height}"));
                }
                Ok(mask.clone())
            }
            Self::Polygons(polygons) => {
                let (right, bottom) = (f64::from(width), f64::from(height));
                let outside =
                    |[x, y]: &&[f64; 2]| !((0.0..=right).contains(x) && (0.0..=bottom).contains(y));
                if let Some([x, y]) = polygons.iter().flatten().find(outside) {
                    return Err(format!(
                        "the corner [{x}, {y}] lies outside of an image of {width} x {height}"
                    ));
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
