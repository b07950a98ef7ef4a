//! What `detect` writes beside its table: overlays, maps, TIFFs and masks.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::Context;
use fe_clip::Verdict;
use fe_clip::files::write_atomic;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use ndarray::{Array2, ArrayView2};
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::Gray32Float;
use tiff::tags::Tag;

use crate::features::features;
use crate::overlay::overlay;
use crate::{npy, own, talk};

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
    /// Why others were not, each named.
    pub(crate) problems: Vec<String>,
}

/// An image that was judged, and how its pictures look.
pub(crate) struct Scored<'a> {
    pub(crate) verdict: &'a Verdict,
    /// A line above the overlay.
    pub(crate) caption: String,
    /// Pixels with at least this value are in the mask and inside the contour.
    pub(crate) pixel_threshold: Option<f32>,
}

/// Writes what was asked for under `out`/`stem`; one that cannot be written stops no other.
pub(crate) fn save(what: &[Save], out: &Path, stem: &Path, scored: &Scored<'_>) -> Saved {
    let needs_full = what.iter().any(|w| !matches!(w, Save::Map | Save::Features));
    let full = if needs_full { scored.verdict.map_on_image() } else { Array2::default((0, 0)) };
    let mut saved = Saved::default();
    for kind in what {
        let mut name = out.join(stem).into_os_string();
        name.push(kind.ending());
        let path = PathBuf::from(name);
        let written = kind.bytes(scored, full.view()).and_then(|bytes| kind.write(&path, &bytes));
        match (written, kind) {
            (Err(error), _) => saved.problems.push(talk::reason(&error)),
            (Ok(()), Save::Map) => saved.map = Some(path),
            (Ok(()), Save::Overlay) => saved.overlay = Some(path),
            (Ok(()), _) => {}
        }
    }
    saved
}

impl Save {
    fn ending(self) -> &'static str {
        match self {
            Self::Overlay => "_overlay.png",
            Self::Map => "_map.npy",
            Self::Tiff => ".tiff",
            Self::Mask => "_mask.png",
            Self::Features => "_features.png",
        }
    }

    /// Writes the file, by way of the folders that its name asks for. A map cannot be marked as
    /// this program's, but no map is taken for an input either: it replaces the one before.
    fn write(self, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("making {}", folder.display()))?;
        }
        if self != Self::Map {
            own::check(path)?;
        }
        Ok(write_atomic(path, bytes)?)
    }

    /// The file's content; `full` is the map at the image's size.
    fn bytes(self, scored: &Scored<'_>, full: ArrayView2<'_, f32>) -> anyhow::Result<Vec<u8>> {
        let Scored { verdict, ref caption, pixel_threshold } = *scored;
        let Verdict { image, map, .. } = verdict;
        match self {
            Self::Overlay => rgb_png(&overlay(image, full, caption, pixel_threshold)),
            Self::Features => {
                let last = verdict.last_stage.as_ref();
                let last = last.context("--save features: the method has no FFE or LFS")?;
                rgb_png(&features(image, last, verdict.preprocess()))
            }
            Self::Map => {
                let (rows, columns) = map.dim();
                Ok(npy::encode([rows, columns], map.iter().copied()))
            }
            Self::Tiff => tiff_bytes(full),
            Self::Mask => {
                let threshold = pixel_threshold.context("a mask needs a threshold")?;
                let mask: Vec<u8> =
                    full.iter().map(|v| if *v >= threshold { 255 } else { 0 }).collect();
                let (w, h) = image.dimensions();
                png(&mask, w, h, ExtendedColorType::L8)
            }
        }
    }
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
    Ok(own::mark_png(bytes))
}

fn tiff_bytes(map: ArrayView2<'_, f32>) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let (h, w) = map.dim();
    let values: Vec<f32> = map.iter().copied().collect();
    let mut write = || {
        let mut encoder = TiffEncoder::new(&mut bytes)?;
        let mut image = encoder.new_image::<Gray32Float>(w as u32, h as u32)?;
        image.encoder().write_tag(Tag::Software, own::SOFTWARE)?;
        image.write_data(&values)
    };
    write().context("encoding a TIFF")?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_again_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let picture = RgbImage::from_pixel(3, 2, image::Rgb([1, 2, 3]));
        let png = rgb_png(&picture).unwrap();
        assert_eq!(image::load_from_memory(&png).unwrap().to_rgb8(), picture);
        assert!(own::is_own(&write("a.png", &png)));
        let map = tiff_bytes(ndarray::array![[0.5, 0.25]].view()).unwrap();
        assert!(own::is_own(&write("a.tiff", &map)));
        for (name, bytes) in [("cut.png", &png[..50]), ("cut.tiff", &map[..20]), ("none.png", b"")]
        {
            assert!(!own::is_own(&write(name, bytes)), "{name}");
        }
        for name in ["b.png", "b.tiff"] {
            let path = folder.path().join(name);
            picture.save(&path).unwrap();
            assert!(!own::is_own(&path) && own::check(&path).is_err(), "{name}");
        }
        assert!(own::check(&folder.path().join("new.png")).is_ok());
    }
}
