//! What is said of an image.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use data::Preprocess;
use image::RgbImage;
use ndarray::Array2;

use crate::Error;
use crate::calibrate::Scores;
use crate::geometry::to_image;
use crate::judge::Label;
use crate::model::LastStage;
use crate::regions::Region;
use crate::scope::Out;
use crate::zones::{ZoneLevels, Zones, highest};

/// What is said of an image.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// What it is called: the path that it was read from.
    pub path: PathBuf,
    /// How anomalous it is, in [0, 1].
    pub score: f64,
    /// What ranks: the method's own score, which may exceed 1 where normal images are remembered.
    pub raw_score: f32,
    /// What it is called; absent without thresholds.
    pub label: Option<Label>,
    /// How anomalous every pixel of the model's input is, `[image_size, image_size]`, or of the
    /// image seen in tiles, as [`frame`](Self::frame) says; range as `raw_score`; 0 where nothing
    /// counts.
    pub map: Array2<f32>,
    /// Where the map reaches the pixel threshold, in pixels of the image, the highest peak first;
    /// empty without thresholds.
    pub regions: Vec<Region>,
    /// Width and height of the image.
    pub size: (u32, u32),
    /// The image as read, upright.
    pub image: RgbImage,
    /// The features of the last stage, where
    /// [`Inspector::features`](crate::Inspector::features) asked for them and the method has
    /// adapters.
    pub last_stage: Option<LastStage>,
    pub(crate) preprocess: Preprocess,
    pub(crate) frame: Preprocess,
    pub(crate) out: Option<Out>,
    pub(crate) divided: Option<Divided>,
}

/// An image in zones.
#[derive(Debug, Clone)]
pub(crate) struct Divided {
    pub(crate) zones: Arc<Zones>,
    /// The number of each pixel of the map.
    pub(crate) on_map: Array2<u8>,
    /// Absent without thresholds.
    pub(crate) levels: Option<Arc<ZoneLevels>>,
}

impl Verdict {
    /// The map at the image's own size, `[height, width]`; 0 where the model saw nothing of it, and
    /// where nothing counts.
    pub fn map_on_image(&self) -> Array2<f32> {
        let mut map = to_image(self.map.view(), &self.frame, self.size, self.size);
        if let Some(ignored) = self.ignored() {
            map.zip_mut_with(ignored, |value, ignored| {
                if *ignored {
                    *value = 0.0;
                }
            });
        }
        map
    }

    /// The pixels of the image that do not count, `[height, width]`; absent where all do.
    pub fn ignored(&self) -> Option<&Array2<bool>> {
        self.out.as_ref().map(|out| &out.on_image)
    }

    /// The same at the size of the map.
    pub fn ignored_on_map(&self) -> Option<&Array2<bool>> {
        self.out.as_ref().map(|out| &out.on_map)
    }

    /// In which of the [`Zones`] each pixel of the image lies, `[height, width]`, as
    /// [`Zones::on_image`] says; absent where there are none.
    pub fn zones_on_image(&self) -> Option<Array2<u8>> {
        self.divided.as_ref().and_then(|divided| divided.zones.on_image(self.size).ok())
    }

    /// From when on pixels are anomalous in each zone; absent where there are none, or no
    /// thresholds.
    pub fn zone_levels(&self) -> Option<&ZoneLevels> {
        self.divided.as_ref().and_then(|divided| divided.levels.as_deref())
    }

    /// The map's highest value in no zone, then in each zone; empty where there are none.
    pub fn zone_scores(&self) -> Vec<f32> {
        let Some(Divided { zones, on_map, .. }) = &self.divided else { return Vec::new() };
        highest(self.map.view(), on_map.view(), zones.identity().names.len())
    }

    /// The map's highest value.
    pub fn map_max(&self) -> f32 {
        self.map.iter().copied().fold(f32::MIN, f32::max)
    }

    /// What a calibration keeps of it.
    pub fn scores(&self) -> Scores {
        Scores { image: self.raw_score, pixel: self.map_max() }
    }

    /// How the image became the model's input.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// How the image would become what the map shows: the model's input, or all tiles.
    pub fn frame(&self) -> &Preprocess {
        &self.frame
    }
}

/// An image without a verdict.
#[derive(Debug)]
pub struct Failed {
    /// What it is called.
    pub path: PathBuf,
    /// Why there is none.
    pub error: Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            // It names the file itself.
            Error::Data(error) => error.fmt(f),
            error => write!(f, "{}: {error}", self.path.display()),
        }
    }
}

impl std::error::Error for Failed {}
