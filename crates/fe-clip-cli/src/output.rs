//! What `detect` writes beside its table: overlays, maps, TIFFs and masks.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::Context;
use data::Preprocess;
use fe_clip::files::write_atomic;
use fe_clip::{LastStage, Prediction};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use ndarray::{Array2, ArrayView2};

use crate::features::features;
use crate::npy;
use crate::overlay::{overlay, to_image};

/// Files that can be written for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum Save {
    /// The image with the heat map over it: `NAME_overlay.png`.
    Overlay,
    /// The map at the model's size: `NAME_map.npy`, float32.
    Map,
    /// The map at the image's size: `NAME.tiff`, float32.
    Tiff,
    /// Pixels above the threshold at the image's size: `NAME_mask.png`, 0 or 255.
    Mask,
    /// How anomalous the last stage's features are, FFE's and LFS's too: `NAME_features.png`.
    Features,
}

/// The files written for an image.
#[derive(Default)]
pub(crate) struct Saved {
    pub(crate) map: Option<PathBuf>,
    pub(crate) overlay: Option<PathBuf>,
}

/// An image and what the model said about it.
pub(crate) struct Scored<'a> {
    pub(crate) image: &'a RgbImage,
    pub(crate) prediction: &'a Prediction,
    /// How the image became the model's input.
    pub(crate) preprocessing: &'a Preprocess,
    /// A line above the overlay.
    pub(crate) caption: &'a str,
    /// Pixels with at least this value are in the mask and inside the contour.
    pub(crate) pixel_threshold: Option<f32>,
    /// Features of the last stage, where they are to be saved.
    pub(crate) last_stage: Option<LastStage>,
}

/// Writes what was asked for under `out`/`stem`.
///
/// # Errors
/// If a file cannot be written; the message names it.
pub(crate) fn save(
    what: &[Save],
    out: &Path,
    stem: &Path,
    scored: &Scored<'_>,
) -> anyhow::Result<Saved> {
    let Scored { image, prediction, preprocessing, caption, pixel_threshold, .. } = *scored;
    let target = |suffix: &str| {
        let mut name = out.join(stem).into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    };
    let folder = target("");
    let folder = folder.parent().unwrap_or(out);
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let (w, h) = image.dimensions();
    let needs_full = what.iter().any(|w| !matches!(w, Save::Map | Save::Features));
    let full = if needs_full {
        to_image(prediction.map.view(), preprocessing, (w, h), (w, h))
    } else {
        Array2::default((0, 0))
    };
    let mut saved = Saved::default();
    for kind in what {
        match kind {
            Save::Overlay => {
                let picture = overlay(image, full.view(), caption, pixel_threshold);
                let path = target("_overlay.png");
                write_atomic(&path, &rgb_png(&picture)?)?;
                saved.overlay = Some(path);
            }
            Save::Features => {
                let last = scored.last_stage.as_ref();
                let last = last.context("--save features: the method has no FFE or LFS")?;
                let picture = features(image, last, preprocessing);
                write_atomic(&target("_features.png"), &rgb_png(&picture)?)?;
            }
            Save::Map => {
                let path = target("_map.npy");
                let (rows, columns) = prediction.map.dim();
                let values = prediction.map.iter().copied();
                write_atomic(&path, &npy::encode([rows, columns], values))?;
                saved.map = Some(path);
            }
            Save::Tiff => write_atomic(&target(".tiff"), &tiff_bytes(full.view())?)?,
            Save::Mask => {
                let threshold = pixel_threshold.context("a mask needs a threshold")?;
                let mask: Vec<u8> =
                    full.iter().map(|v| if *v >= threshold { 255 } else { 0 }).collect();
                write_atomic(&target("_mask.png"), &png(&mask, w, h, ExtendedColorType::L8)?)?;
            }
        }
    }
    Ok(saved)
}

/// A picture as a PNG file's bytes.
pub(crate) fn rgb_png(picture: &RgbImage) -> anyhow::Result<Vec<u8>> {
    png(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
}

fn png(pixels: &[u8], w: u32, h: u32, colour: ExtendedColorType) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Sub)
        .write_image(pixels, w, h, colour)
        .context("encoding a picture")?;
    Ok(bytes)
}

fn tiff_bytes(map: ArrayView2<'_, f32>) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let (h, w) = map.dim();
    let values: Vec<f32> = map.iter().copied().collect();
    tiff::encoder::TiffEncoder::new(&mut bytes)
        .and_then(|mut encoder| {
            encoder
                .write_image::<tiff::encoder::colortype::Gray32Float>(w as u32, h as u32, &values)
        })
        .context("encoding a TIFF")?;
    Ok(bytes.into_inner())
}
