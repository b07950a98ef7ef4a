//! `[model.tile]`.

use serde::{Deserialize, Serialize};

/// How an image that is larger than a tile is scored in tiles, beside once as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TileConfig {
    /// Side of a tile in pixels of the image. Default: that of the model's input, so that the
    /// model sees the image's own pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Pixels by which neighbours overlap at least, up to half the size. Default: a quarter of
    /// the size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<usize>,
    /// How maps of tiles become one.
    pub blend: Blend,
}

/// How maps of tiles become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blend {
    /// A mean in which pixels weigh less towards the edges of their tile: by a cosine window.
    #[default]
    Cosine,
}

/// Sides that make sense, in pixels of the image.
const SIZES: std::ops::RangeInclusive<usize> = 16..=16384;

impl TileConfig {
    /// Side and overlap in pixels of the image, for a model whose input is `input` pixels wide.
    pub(crate) fn resolve(self, input: usize) -> (usize, usize) {
        let size = self.size.unwrap_or(input);
        (size, self.overlap.unwrap_or(size / 4).min(size / 2))
    }

    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(crate) fn check(self) -> Result<(), String> {
        if let Some(size) = self.size.filter(|size| !SIZES.contains(size)) {
            let (low, high) = SIZES.into_inner();
            return Err(format!("model.tile.size: expected {low} to {high} pixels, got {size}"));
        }
        if let (Some(overlap), Some(size)) = (self.overlap, self.size)
            && overlap > size / 2
        {
            return Err(format!("model.tile.overlap: expected up to half the size, got {overlap}"));
        }
        Ok(())
    }
}
