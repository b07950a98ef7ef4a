//! The thresholds from which on `detect` calls an image or a pixel anomalous.

use std::collections::HashSet;
use std::path::Path;

use anyhow::bail;
use fe_clip::{Calibration, Detector, RunConfig, ScoreScale};

use crate::model::ModelArgs;
use crate::normals::ImageFile;

/// An image or a pixel that reaches its threshold is anomalous.
#[derive(Clone, Copy)]
pub(crate) struct Thresholds {
    /// Of image scores in [0, 1].
    pub(crate) image: f64,
    /// Of values of the map.
    pub(crate) pixel: f32,
}

impl Thresholds {
    /// One threshold for images and pixels.
    pub(crate) fn both(level: f64) -> Self {
        Self { image: level, pixel: level as f32 }
    }

    /// The label of an image with this score in [0, 1].
    pub(crate) fn label(&self, score: f64) -> &'static str {
        if score >= self.image { "anomalous" } else { "normal" }
    }

    /// Those of a calibration, which has raw scores: above the calibrated one, not at it, so that
    /// the guarantee holds for ties, too.
    fn of(calibration: &Calibration, scale: ScoreScale) -> Self {
        let above = |t: fe_clip::Threshold| t.threshold.next_up();
        Self { image: scale.score(above(calibration.image)), pixel: above(calibration.pixel) }
    }

    /// Those that the embedded default was shipped with; none for any other model.
    pub(crate) fn shipped(model: &ModelArgs) -> anyhow::Result<Option<Self>> {
        let of_tiny = || Ok(Self::of(&Calibration::of_tiny()?, ScoreScale::Unit));
        model.is_tiny().then(of_tiny).transpose()
    }
}

/// The detector that a calibration was made with, its settings and the thresholds. The memory
/// bank holds those normal images of the folder that the thresholds were not computed from.
///
/// # Errors
/// If the model, its settings or the memory bank are not those of the calibration.
pub(crate) fn calibrated_detector(
    model: &ModelArgs,
    normals: Option<&Path>,
    file: &Path,
) -> anyhow::Result<(Detector, RunConfig, Thresholds)> {
    let calibration = Calibration::read(file)?;
    let (mut detector, run, mut identity) = model.identified_detector()?;
    let wanted = &calibration.model.references;
    match normals {
        Some(folder) if !wanted.is_empty() => {
            let mut unreadable = 0;
            let mut found = ImageFile::list(folder, "--normals", &mut unreadable)?;
            let known: HashSet<&String> = wanted.iter().collect();
            found.retain(|image| known.contains(&image.sha256));
            if found.len() < wanted.len() {
                bail!(
                    "{}: calibrated with a memory bank of {} images, of which {} has {}",
                    file.display(),
                    wanted.len(),
                    folder.display(),
                    found.len()
                );
            }
            detector.remember(&ImageFile::read_all(&found, detector.preprocess())?);
            identity.references.clone_from(wanted);
        }
        Some(folder) => bail!(
            "{}: calibrated without a memory bank: leave --normals {} out, or calibrate with \
             --references or --shots",
            file.display(),
            folder.display()
        ),
        None if !wanted.is_empty() => bail!(
            "{}: calibrated with a memory bank of {} images: give their folder by --normals",
            file.display(),
            wanted.len()
        ),
        None => {}
    }
    calibration.check(&identity, file)?;
    let scale = detector.score_scale(!wanted.is_empty());
    Ok((detector, run, Thresholds::of(&calibration, scale)))
}
