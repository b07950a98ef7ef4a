//! From when on `detect` calls an image or a pixel anomalous.

use std::collections::HashSet;
use std::path::Path;

use anyhow::bail;
use fe_clip::{Calibration, Detector, RunConfig};

use crate::model::ModelArgs;
use crate::normals::ImageFile;

/// What reaches these is anomalous.
#[derive(Clone, Copy)]
pub(crate) struct Thresholds {
    pub(crate) image: f32,
    pub(crate) pixel: f32,
}

impl Thresholds {
    /// One level for images and pixels.
    pub(crate) fn both(level: f32) -> Self {
        Self { image: level, pixel: level }
    }

    /// Those of a calibration: above the calibrated score, not at it, so that the guarantee
    /// holds for ties, too.
    fn of(calibration: &Calibration) -> Self {
        let above = |t: fe_clip::Threshold| t.threshold.next_up();
        Self { image: above(calibration.image), pixel: above(calibration.pixel) }
    }

    /// Those that the embedded default was shipped with; none for any other model.
    pub(crate) fn shipped(model: &ModelArgs) -> anyhow::Result<Option<Self>> {
        Ok(if model.is_tiny() { Some(Self::of(&Calibration::of_tiny()?)) } else { None })
    }
}

/// The detector that a calibration was made with, its settings and the thresholds. Of the folder of normal
/// images those are remembered that the calibration did not count on.
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
    Ok((detector, run, Thresholds::of(&calibration)))
}
