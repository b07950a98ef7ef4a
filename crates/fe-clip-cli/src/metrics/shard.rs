//! The counts of some of the images, in memory and in files.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ::metrics::{Kind, LoadError, PixelHistogram, PixelMetrics, Undefined};
use anyhow::{Context, Result, bail, ensure};

/// Accumulators, or why there are none. A file holds that of the images, then that of the pixels.
pub(crate) struct Shard {
    pub(crate) images: Result<PixelMetrics<f64>, Undefined>,
    pub(crate) pixels: Result<Pixels, Undefined>,
}

pub(crate) enum Pixels {
    Single(PixelMetrics<f32>),
    Double(PixelMetrics<f64>),
    Histogram(PixelHistogram),
}

impl Shard {
    pub(crate) fn has_nan(&self) -> bool {
        let reasons = [self.images.as_ref().err(), self.pixels.as_ref().err()];
        reasons.into_iter().flatten().any(|why| matches!(why, Undefined::NotANumber { .. }))
    }

    /// Writes the file, by way of a temporary one beside it, and gives the shard back.
    pub(crate) fn save(self, path: &Path) -> Result<Self> {
        let (mut images, mut pixels) = match (self.images, self.pixels) {
            (Ok(images), Ok(pixels)) => (images, pixels),
            (Err(undefined), _) | (_, Err(undefined)) => {
                bail!("{}: not written: {undefined}", path.display())
            }
        };
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let mut write = || -> Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
            let mut writer = BufWriter::new(&mut file);
            images.save(&mut writer)?;
            match &mut pixels {
                Pixels::Single(pixels) => pixels.save(&mut writer)?,
                Pixels::Double(pixels) => pixels.save(&mut writer)?,
                Pixels::Histogram(pixels) => pixels.save(&mut writer)?,
            }
            writer.flush()?;
            drop(writer);
            file.persist(path)?;
            Ok(())
        };
        write().with_context(|| path.display().to_string())?;
        Ok(Self { images: Ok(images), pixels: Ok(pixels) })
    }

    /// Reads files and concatenates their images.
    pub(crate) fn merge(paths: &[PathBuf]) -> Result<Self> {
        let mut whole: Option<(PixelMetrics<f64>, Pixels)> = None;
        for path in paths {
            let (images, pixels) = load(path).with_context(|| path.display().to_string())?;
            match &mut whole {
                None => whole = Some((images, pixels)),
                Some((all_images, all_pixels)) => {
                    all_images.merge(images);
                    all_pixels.merge(pixels).with_context(|| path.display().to_string())?;
                }
            }
        }
        let (images, pixels) = whole.context("no file to merge")?;
        Ok(Self { images: Ok(images), pixels: Ok(pixels) })
    }
}

impl Pixels {
    fn merge(&mut self, other: Self) -> Result<()> {
        match (self, other) {
            (Self::Single(own), Self::Single(other)) => {
                ensure!(own.connectivity() == other.connectivity(), "other neighbours");
                own.merge(other);
            }
            (Self::Double(own), Self::Double(other)) => {
                ensure!(own.connectivity() == other.connectivity(), "other neighbours");
                own.merge(other);
            }
            (Self::Histogram(own), Self::Histogram(other)) => {
                ensure!(own.connectivity() == other.connectivity(), "other neighbours");
                let (expected, got) = (own.range(), other.range());
                ensure!(
                    expected == got,
                    "a histogram over {got:?} cannot be merged with one over {expected:?}"
                );
                own.merge(&other);
            }
            (own, other) => {
                bail!("{} cannot be merged with {}", other.kind(), own.kind());
            }
        }
        Ok(())
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Single(_) => Kind::Single,
            Self::Double(_) => Kind::Double,
            Self::Histogram(_) => Kind::Histogram,
        }
    }
}

fn load(path: &Path) -> Result<(PixelMetrics<f64>, Pixels)> {
    let mut file = BufReader::new(File::open(path)?);
    let images = PixelMetrics::load(&mut file).map_err(|error| match error {
        LoadError::Foreign => anyhow::anyhow!("was not written with --partial"),
        other => other.into(),
    })?;
    let start = file.stream_position()?;
    let pixels = match PixelMetrics::load(&mut file) {
        Ok(pixels) => Pixels::Single(pixels),
        Err(LoadError::Kind { found, .. }) => {
            file.seek(SeekFrom::Start(start))?;
            match found {
                Kind::Histogram => Pixels::Histogram(PixelHistogram::load(&mut file)?),
                _ => Pixels::Double(PixelMetrics::load(&mut file)?),
            }
        }
        Err(error) => return Err(error.into()),
    };
    ensure!(file.read(&mut [0])? == 0, "is damaged: something follows its end");
    Ok((images, pixels))
}
