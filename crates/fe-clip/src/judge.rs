//! From a prediction to a verdict: score, label and regions.

use std::fmt;
use std::sync::Arc;

use data::Preprocess;
use ndarray::ArrayView2;
use serde::Serialize;

use crate::Error;
use crate::calibrate::{Calibration, Threshold};
use crate::geometry::Extent;
use crate::regions::{Region, RegionRule, regions};
use crate::score::ScoreScale;
use crate::scorer::Prediction;
use crate::zones::ZoneLevels;

/// What an image is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Its score is below the threshold.
    Normal,
    /// Its score reaches the threshold.
    Anomalous,
}

impl Label {
    /// The word that results have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Anomalous => "anomalous",
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What reaches these is anomalous.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Of image scores in [0, 1].
    pub image: f64,
    /// Of values of the map.
    pub pixel: f32,
}

impl Thresholds {
    /// One level for images and pixels.
    pub fn both(level: f64) -> Self {
        Self { image: level, pixel: level as f32 }
    }

    /// Those of a calibration, which has raw scores: above the calibrated one, not at it, so that
    /// the guarantee holds for ties, too.
    pub fn of(calibration: &Calibration, scale: ScoreScale) -> Self {
        let above = |t: Threshold| t.threshold.next_up();
        Self { image: scale.score(above(calibration.image)), pixel: above(calibration.pixel) }
    }
}

/// What turns predictions into verdicts.
#[derive(Debug, Clone)]
pub struct Judge {
    /// From the model's raw scores to those in [0, 1].
    pub scale: ScoreScale,
    /// From when on something is anomalous; without them nothing is called anything.
    pub thresholds: Option<Thresholds>,
    /// Which regions count.
    pub rule: RegionRule,
    /// How the image became the model's input.
    pub preprocess: Preprocess,
    /// From when on pixels are anomalous in each zone of an image that is divided.
    pub zones: Option<Arc<ZoneLevels>>,
}

/// What is said of an image beside its map.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// In [0, 1].
    pub score: f64,
    /// Absent without thresholds.
    pub label: Option<Label>,
    /// Where the map reaches the pixel threshold, the highest peak first; absent without
    /// thresholds.
    pub regions: Option<Vec<Region>>,
}

impl Judge {
    /// Judges the prediction of an image of `size`, width and height.
    ///
    /// # Errors
    /// [`Error::NoNumber`] if the prediction is not finite.
    pub fn judge(&self, prediction: &Prediction, size: (u32, u32)) -> Result<Judgement, Error> {
        self.judge_divided(prediction, size, None)
    }

    /// The same of an image that is divided: `zones` has the number of each pixel of the map.
    pub(crate) fn judge_divided(
        &self,
        prediction: &Prediction,
        size: (u32, u32),
        zones: Option<ArrayView2<'_, u8>>,
    ) -> Result<Judgement, Error> {
        prediction.require_finite()?;
        let score = self.scale.score(prediction.score);
        let label = |t: Thresholds| match score >= t.image {
            true => Label::Anomalous,
            false => Label::Normal,
        };
        let extent = Extent::new(&self.preprocess, size);
        let map = prediction.map.view();
        let found = |t: Thresholds| match (&self.zones, zones) {
            (Some(levels), Some(zones)) => levels.regions(map, zones, self.rule, &extent, size),
            _ => regions(map, t.pixel, self.rule, &extent, size),
        };
        Ok(Judgement {
            score,
            label: self.thresholds.map(label),
            regions: self.thresholds.map(found),
        })
    }
}
