//! Thresholds at a wanted false-alarm rate from normal images alone: split conformal prediction.
//!
//! Of n + 1 exchangeable scores every rank is equally likely for the new one, so a new normal
//! image exceeds the `ceil((n + 1)(1 - rate))`-th smallest of n calibration scores with a
//! probability of at most `rate`, whatever their distribution and however good the model.
//!
//! Source: Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World; Lei et al.,
//! Distribution-free predictive inference for regression, 2018.

use std::path::Path;

use clip_vit::Activation;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::files::{sha256_of_lines, write_atomic};
use crate::run::ModelConfig;
use crate::scorer::Prediction;
use crate::settings::prompts::Prompts;
use crate::zones::{ZoneLevels, ZonesIdentity};

const TINY: &str = include_str!("../assets/tiny/calibration.json");
const FORMAT: &str = "fe-clip-calibration";
const VERSION: u32 = 1;

/// Forgives rates such as 0.29 whose product with n + 1 falls short of a whole number.
const ROUNDING: f64 = 1e-9;

/// Rank, counted from 1 at the smallest, of the calibration score that is the threshold:
/// `ceil((scores + 1)(1 - rate))`; none if there are too few scores for the rate.
///
/// ```
/// use fe_clip::{calibration_rank, images_needed};
/// assert_eq!(calibration_rank(19, 0.05), Some(19));
/// assert_eq!(calibration_rank(18, 0.05), None);
/// assert_eq!(calibration_rank(100, 0.05), Some(96));
/// assert_eq!(images_needed(0.05), 19);
/// ```
pub fn calibration_rank(scores: usize, false_alarm_rate: f64) -> Option<usize> {
    let alarms = ((scores + 1) as f64 * false_alarm_rate + ROUNDING).floor() as usize;
    (1..=scores).contains(&alarms).then(|| scores + 1 - alarms)
}

/// The smallest number of normal images that allows a false-alarm rate.
///
/// # Panics
/// If the rate is not in (0, 1).
pub fn images_needed(false_alarm_rate: f64) -> usize {
    assert!(
        false_alarm_rate > 0.0 && false_alarm_rate < 1.0,
        "calibration: expected a rate in (0, 1), got {false_alarm_rate}"
    );
    ((1.0 / false_alarm_rate - ROUNDING).ceil() as usize).max(2) - 1
}

/// A calibration as it is kept in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    format: String,
    version: u32,
    /// The rate asked for, in (0, 1).
    pub false_alarm_rate: f64,
    /// For image scores: a normal image exceeds it with at most the wanted probability.
    pub image: Threshold,
    /// For the maximum of a map: a normal image has any pixel above it with at most the wanted
    /// probability.
    pub pixel: Threshold,
    /// The same of each zone, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<ZoneThresholds>,
    /// The model that gave the scores.
    pub model: ModelIdentity,
    /// The images that gave them.
    pub data: DataIdentity,
    /// What each of them gave, ordered by hash; empty in files that kept nothing of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub normals: Vec<NormalImage>,
}

/// A calibration image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormalImage {
    /// sha256 of its file.
    pub sha256: String,
    /// Its image score.
    pub image: f32,
    /// Its map's maximum.
    pub pixel: f32,
    /// The map's maximum in no zone, then in each zone; empty where there are no zones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<f32>,
}

/// Thresholds of the maximum of a map by zone: a normal image has any pixel of a zone above its
/// one with at most the wanted probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneThresholds {
    /// Of what lies in no zone.
    pub elsewhere: Threshold,
    /// Of each zone.
    pub named: Vec<ZoneThreshold>,
}

impl ZoneThresholds {
    /// From when on pixels are anomalous.
    pub(crate) fn levels(&self) -> ZoneLevels {
        let named = self.named.iter().map(|zone| (zone.name.as_str(), zone.threshold));
        ZoneLevels::above(self.elsewhere.threshold, named)
    }
}

/// The threshold of a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneThreshold {
    /// The zone's.
    pub name: String,
    /// As of [`Threshold`].
    pub threshold: f32,
    /// As of [`Threshold`].
    pub rank: usize,
}

/// One threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// What is above it is anomalous; what equals it is not.
    pub threshold: f32,
    /// Which of the calibration scores it is, counted from 1 at the smallest.
    pub rank: usize,
}

/// All that decides a score beside the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelIdentity {
    /// sha256 of the backbone's weight file; absent for methods without backbone.
    pub backbone: Option<String>,
    /// sha256 of the adapter checkpoint; absent for methods without a trained part.
    pub adapters: Option<String>,
    /// The `[model]` table, with the image size in use.
    pub config: ModelConfig,
    /// The prompts.
    pub prompts: Prompts,
    /// sha256 of the image files in the memory bank, sorted.
    pub references: Vec<String>,
    /// [`Scope::sha256`](crate::Scope::sha256) of where is looked; absent where that is
    /// everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The zones; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<ZonesIdentity>,
}

/// The calibration images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataIdentity {
    /// How many gave a score.
    pub images: usize,
    /// sha256 of the sorted list of the files' sha256, a line each.
    pub sha256: String,
}

impl Calibration {
    /// The thresholds that normal images give; copies of an image count once.
    ///
    /// # Errors
    /// [`Error::TooFewNormals`], or if a score is not finite, or an image has not one for each zone
    /// of the model.
    ///
    /// # Panics
    /// If the rate is not in (0, 1).
    pub fn new(
        mut normals: Vec<NormalImage>,
        false_alarm_rate: f64,
        model: ModelIdentity,
    ) -> Result<Self, Error> {
        normals.sort_by(|a, b| a.sha256.cmp(&b.sha256));
        normals.dedup_by(|a, b| a.sha256 == b.sha256);
        let needed = images_needed(false_alarm_rate);
        let given = normals.len();
        let few = Error::TooFewNormals { rate: false_alarm_rate, needed, given };
        let rank = calibration_rank(given, false_alarm_rate).ok_or(few)?;
        let threshold = |of: &dyn Fn(&NormalImage) -> f32| {
            let mut scores: Vec<f32> = normals.iter().map(of).collect();
            if let Some(bad) = scores.iter().find(|s| !s.is_finite()) {
                return Err(Error::Settings(format!("calibration: a score is {bad}")));
            }
            scores.sort_by(f32::total_cmp);
            Ok(Threshold { threshold: scores[rank - 1], rank })
        };
        let zones = match &model.zones {
            None => None,
            Some(ZonesIdentity { names, .. }) => {
                if normals.iter().any(|normal| normal.zones.len() != names.len() + 1) {
                    let reason = "calibration: an image has no score for each zone";
                    return Err(Error::Settings(reason.into()));
                }
                let of_zone = |(at, name): (usize, &String)| {
                    let Threshold { threshold, rank } = threshold(&|s| s.zones[at + 1])?;
                    Ok::<_, Error>(ZoneThreshold { name: name.clone(), threshold, rank })
                };
                let named = names.iter().enumerate().map(of_zone).collect::<Result<_, Error>>()?;
                Some(ZoneThresholds { elsewhere: threshold(&|s| s.zones[0])?, named })
            }
        };
        Ok(Self {
            format: FORMAT.into(),
            version: VERSION,
            false_alarm_rate,
            image: threshold(&|s| s.image)?,
            pixel: threshold(&|s| s.pixel)?,
            zones,
            model,
            data: DataIdentity::of(&normals),
            normals,
        })
    }

    /// The thresholds that more images give beside those that this one is of.
    ///
    /// # Errors
    /// Those of [`new`](Self::new), or if this one kept nothing of its images; `path` is its file.
    pub fn with(
        &self,
        more: Vec<NormalImage>,
        false_alarm_rate: f64,
        path: &Path,
    ) -> Result<Self, Error> {
        if self.normals.is_empty() {
            return Err(Error::invalid(
                path,
                "keeps no scores of its images: nothing can be added",
            ));
        }
        let all = self.normals.iter().cloned().chain(more).collect();
        Self::new(all, false_alarm_rate, self.model.clone())
    }

    /// The calibration of the embedded default, `tiny`, without a memory bank: from procedural
    /// normal images, so its rate is promised for their like only.
    ///
    /// # Errors
    /// Never on a build whose tests passed.
    pub fn of_tiny() -> Result<Self, Error> {
        Self::parse(TINY, Path::new("tiny's calibration"))
    }

    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let calibration: Self = serde_json::from_str(text).map_err(|e| Error::invalid(path, e))?;
        calibration.check_format(path)?;
        Ok(calibration)
    }

    /// Refuses another format, and another version; `path` is the file.
    pub(crate) fn check_format(&self, path: &Path) -> Result<(), Error> {
        if (self.format.as_str(), self.version) == (FORMAT, VERSION) {
            return Ok(());
        }
        let (format, version) = (&self.format, self.version);
        let reason = format!("expected format {FORMAT} version {VERSION}, got {format} {version}");
        Err(Error::invalid(path, reason))
    }

    /// Writes it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_json(self, path)
    }

    /// Refuses a model other than the calibrated one; `path` is the calibration's file.
    ///
    /// # Errors
    /// [`Error::OtherModel`] with every difference.
    pub fn check(&self, model: &ModelIdentity, path: &Path) -> Result<(), Error> {
        let comparable = |identity: &ModelIdentity| {
            let mut identity = identity.clone();
            // The name of the backbone may change with the place of its file; its hash may not.
            identity.config.backbone = String::new();
            // Quick GELU is the same said or not.
            let said = identity.config.activation;
            identity.config.activation = said.filter(|said| *said != Activation::QuickGelu);
            serde_json::to_value(identity).expect("settings serialise")
        };
        let mut found = Vec::new();
        differences(&comparable(&self.model), &comparable(model), "", &mut found);
        if found.is_empty() {
            return Ok(());
        }
        Err(Error::OtherModel { path: path.to_owned(), differences: found.join("; ") })
    }
}

impl DataIdentity {
    /// Of images ordered by hash.
    fn of(normals: &[NormalImage]) -> Self {
        let hashes: Vec<String> = normals.iter().map(|normal| normal.sha256.clone()).collect();
        Self { images: normals.len(), sha256: sha256_of_lines(&hashes) }
    }
}

/// What calibration keeps of a prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// The image score.
    pub image: f32,
    /// The map's maximum.
    pub pixel: f32,
}

impl From<&Prediction> for Scores {
    fn from(prediction: &Prediction) -> Self {
        let pixel = prediction.map_max();
        // f32::max drops NaN: a map that holds one must not pass for a finite one.
        let pixel = if prediction.map.iter().any(|v| v.is_nan()) { f32::NAN } else { pixel };
        Self { image: prediction.score, pixel }
    }
}

fn differences(was: &Value, is: &Value, key: &str, found: &mut Vec<String>) {
    if let (Value::Object(was), Value::Object(is)) = (was, is) {
        let mut names: Vec<&String> = was.keys().chain(is.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            let value = |side: &serde_json::Map<String, Value>| {
                side.get(name).cloned().unwrap_or(Value::Null)
            };
            differences(&value(was), &value(is), &key, found);
        }
    } else if was != is {
        found.push(format!("{key} was {was}, is {is}"));
    }
}

/// Writes a calibration's file.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_json(content: &impl Serialize, path: &Path) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(content).expect("finite numbers serialise");
    text.push('\n');
    write_atomic(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_needed_is_the_first_that_has_a_rank() {
        for percent in 1..100 {
            let rate = f64::from(percent) / 100.0;
            let needed = images_needed(rate);
            assert!(calibration_rank(needed, rate).is_some(), "{rate}");
            assert!(calibration_rank(needed - 1, rate).is_none(), "{rate}");
        }
    }

    #[test]
    fn the_rank_is_the_formula_of_whole_numbers() {
        for n in 1usize..200 {
            for percent in 1..100 {
                let expected = ((n + 1) * (100 - percent)).div_ceil(100);
                let rank = calibration_rank(n, percent as f64 / 100.0);
                assert_eq!(rank, (1..=n).contains(&expected).then_some(expected), "{n} {percent}");
            }
        }
    }
}
