//! What `detect` writes of an image beside its table: overlays, maps, TIFFs, masks, boxes.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use fe_clip::Verdict;
use fe_clip::overlay::overlay;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use ndarray::{Array2, ArrayView2};
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::Gray32Float;
use tiff::tags::Tag;

use crate::features::features;
use crate::own::{self, Mark, Occupant};
use crate::{boxes, names, npy, remote, talk};

/// Files that can be written for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum Save {
    /// The image with the heat map over it: `NAME_overlay.png`.
    Overlay,
    /// The map at the model's size, or that of all tiles: `NAME_map.npy`, float32.
    Map,
    /// The map at the image's size: `NAME.tiff`, float32.
    Tiff,
    /// Pixels above the threshold at the image's size: `NAME_mask.png`, 0 or 255.
    Mask,
    /// How anomalous the last stage's features are, FFE's and LFS's too: `NAME_features.png`.
    Features,
    /// The regions' boxes as YOLO reads them: `NAME.txt`.
    Yolo,
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

/// Writes what was asked for under `out`/`stem`; one that cannot be written stops no other. Where
/// files of another image have that name, the image's mark follows it.
pub(crate) fn save(what: &[Save], out: &Path, stem: &Path, scored: &Scored<'_>) -> Saved {
    let needs_full = what.iter().any(|w| !matches!(w, Save::Map | Save::Features | Save::Yolo));
    let full = if needs_full { scored.verdict.map_on_image() } else { Array2::default((0, 0)) };
    let mut saved = Saved::default();
    let mark = Mark::of(&scored.verdict.path);
    let mut name = out.join(stem);
    let marked = names::with_mark(&name, mark);
    let is_anothers = |kind: &Save| match own::occupant(&kind.path(&name)) {
        Occupant::Ours(found) => found != Some(mark),
        _ => false,
    };
    if Save::value_variants().iter().any(is_anothers) {
        name.clone_from(&marked);
    }
    for kind in what {
        let write = |bytes: Vec<u8>| -> anyhow::Result<PathBuf> {
            let path = kind.path(&name);
            if kind.write(&path, &bytes, mark)? {
                return Ok(path);
            }
            // Another run has just taken the name.
            let path = kind.path(&marked);
            let written = kind.write(&path, &bytes, mark)?;
            ensure!(written, "{}: made of another image", path.display());
            Ok(path)
        };
        let written = kind.bytes(scored, full.view(), mark).and_then(write);
        match (written, kind) {
            (Err(error), _) => saved.problems.push(talk::reason(&error)),
            (Ok(path), Save::Map) => saved.map = Some(path),
            (Ok(path), Save::Overlay) => saved.overlay = Some(path),
            (Ok(_), _) => {}
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
            Self::Yolo => ".txt",
        }
    }

    fn path(self, name: &Path) -> PathBuf {
        let mut path = name.as_os_str().to_owned();
        path.push(self.ending());
        PathBuf::from(path)
    }

    /// Writes the file and makes the folders that its name asks for; not over another image's.
    fn write(self, path: &Path, bytes: &[u8], mark: Mark) -> anyhow::Result<bool> {
        if let Some(folder) = path.parent().filter(|folder| !remote::is_address(folder)) {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("making {}", folder.display()))?;
        }
        own::write(path, bytes, mark)
    }

    /// The file's content; `full` is the map at the image's size.
    fn bytes(
        self,
        scored: &Scored<'_>,
        full: ArrayView2<'_, f32>,
        mark: Mark,
    ) -> anyhow::Result<Vec<u8>> {
        let Scored { verdict, ref caption, ref pixel_threshold } = *scored;
        let Verdict { image, map, .. } = verdict;
        let levels = match verdict.zone_levels() {
            Some(zones) => zones.levels(),
            None => pixel_threshold.as_slice(),
        };
        match self {
            Self::Overlay => {
                let ignored = verdict.ignored().map(|ignored| ignored.view());
                let zones = verdict.zones_on_image();
                let zones = zones.as_ref().map(|zones| zones.view());
                let picture = overlay(image, full, caption, levels, zones, ignored);
                marked_png(&picture, Some(mark))
            }
            Self::Features => {
                let last = verdict.last_stage.as_ref();
                let last = last.context("--save features: the method has no FFE or LFS")?;
                marked_png(&features(image, last, verdict.preprocess()), Some(mark))
            }
            Self::Map => {
                let (rows, columns) = map.dim();
                Ok(npy::encode([rows, columns], map.iter().copied(), Some(mark)))
            }
            Self::Tiff => tiff_bytes(full, mark),
            Self::Mask => {
                let everywhere = *levels.first().context("a mask needs a threshold")?;
                // 0 is what stands where nothing was looked at.
                let level = |v: f32, level: f32| match v >= level.max(f32::MIN_POSITIVE) {
                    true => 255,
                    false => 0,
                };
                let mask: Vec<u8> = match verdict.zones_on_image() {
                    Some(zones) if levels.len() > 1 => {
                        let zoned = full.iter().zip(&zones);
                        zoned.map(|(v, zone)| level(*v, levels[usize::from(*zone)])).collect()
                    }
                    _ => full.iter().map(|v| level(*v, everywhere)).collect(),
                };
                let (w, h) = image.dimensions();
                png(&mask, (w, h), ExtendedColorType::L8, Some(mark))
            }
            Self::Yolo => Ok(boxes::encode(&verdict.regions, verdict.size, mark).into_bytes()),
        }
    }
}

/// A picture as a PNG file's bytes.
pub(crate) fn rgb_png(picture: &RgbImage) -> anyhow::Result<Vec<u8>> {
    marked_png(picture, None)
}

fn marked_png(picture: &RgbImage, mark: Option<Mark>) -> anyhow::Result<Vec<u8>> {
    png(picture.as_raw(), picture.dimensions(), ExtendedColorType::Rgb8, mark)
}

fn png(
    pixels: &[u8],
    (w, h): (u32, u32),
    colour: ExtendedColorType,
    mark: Option<Mark>,
) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Sub)
        .write_image(pixels, w, h, colour)
        .context("encoding a picture")?;
    Ok(own::mark_png(bytes, mark))
}

fn tiff_bytes(map: ArrayView2<'_, f32>, mark: Mark) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let (h, w) = map.dim();
    let values: Vec<f32> = map.iter().copied().collect();
    let mut write = || {
        let mut encoder = TiffEncoder::new(&mut bytes)?;
        let mut image = encoder.new_image::<Gray32Float>(w as u32, h as u32)?;
        image.encoder().write_tag(Tag::Software, own::SOFTWARE)?;
        image.encoder().write_tag(Tag::Unknown(own::TIFF_MARK), &*mark.to_string())?;
        image.write_data(&values)
    };
    write().context("encoding a TIFF")?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder, and what writes files into it and tells their paths.
    fn folder() -> (tempfile::TempDir, impl Fn(&str, &[u8]) -> PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let write = move |name: &str, bytes: &[u8]| {
            let path = path.join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        (folder, write)
    }

    #[test]
    fn what_was_made_is_known_again_and_of_which_input() {
        let (folder, write) = folder();
        let mark = Mark::of(Path::new("in/a.png"));
        assert_eq!(mark, Mark::of(Path::new("./in/../in/a.png")));
        let picture = RgbImage::from_pixel(3, 2, image::Rgb([1, 2, 3]));
        let png = marked_png(&picture, Some(mark)).unwrap();
        assert_eq!(image::load_from_memory(&png).unwrap().to_rgb8(), picture);
        let tiff = tiff_bytes(ndarray::array![[0.5, 0.25]].view(), mark).unwrap();
        let map = npy::encode([1, 2], [0.5, 0.25].into_iter(), Some(mark));
        let boxes = boxes::encode(&[], (4, 4), mark).into_bytes();
        let pictures = [("a.png", &png), ("a.tiff", &tiff), ("a.npy", &map), ("a.txt", &boxes)];
        for (name, bytes) in pictures {
            assert_eq!(own::occupant(&write(name, bytes)), Occupant::Ours(Some(mark)), "{name}");
        }
        assert_eq!(
            own::occupant(&write("b.png", &rgb_png(&picture).unwrap())),
            Occupant::Ours(None),
            "a picture of no input"
        );
        let plain = npy::encode([1, 2], [0.5, 0.25].into_iter(), None);
        for (name, bytes) in [
            ("cut.png", &png[..50]),
            ("short.png", &png[..20]),
            ("cut.tiff", &tiff[..20]),
            ("short.tiff", &tiff[..5]),
            ("cut.npy", &map[..100]),
            ("plain.npy", &plain),
            ("none.png", b""),
            ("foreign.txt", b"0 0.5 0.5 0.25 0.25\n"),
        ] {
            assert_eq!(own::occupant(&write(name, bytes)), Occupant::Foreign, "{name}");
        }
        for name in ["c.png", "c.tiff"] {
            let path = folder.path().join(name);
            picture.save(&path).unwrap();
            assert_eq!(own::occupant(&path), Occupant::Foreign, "{name}");
        }
        assert_eq!(own::occupant(folder.path()), Occupant::NotAFile);
        assert_eq!(own::occupant(&folder.path().join("new.png")), Occupant::Nothing);
    }

    #[test]
    fn only_what_was_made_of_the_same_input_is_replaced() {
        let (folder, write) = folder();
        let [mark, other] = ["in/a.png", "in/b.png"].map(|input| Mark::of(Path::new(input)));
        let map = |value: f32, mark| npy::encode([1, 1], [value].into_iter(), Some(mark));
        let path = folder.path().join("a_map.npy");
        for value in [0.25, 0.75] {
            assert!(own::write(&path, &map(value, mark), mark).unwrap());
            assert_eq!(std::fs::read(&path).unwrap(), map(value, mark));
        }
        assert!(!own::write(&path, &map(0.5, other), other).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), map(0.75, mark));
        let foreign = write("b_map.npy", b"kept");
        let error = own::write(&foreign, &map(0.5, mark), mark).unwrap_err().to_string();
        assert!(error.contains("b_map.npy") && error.contains("did not make"), "{error}");
        assert_eq!(std::fs::read(&foreign).unwrap(), b"kept");
        let none = folder.path().join("no/folder/a_map.npy");
        assert!(own::write(&none, &map(0.5, mark), mark).is_err());
    }
}
