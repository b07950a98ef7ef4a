//! From when on `detect` and `serve` call something anomalous, where a flag or a file says so.

use std::collections::HashSet;
use std::path::Path;

use anyhow::bail;
use fe_clip::{Calibration, Inspector, RunConfig, Scope, ScoreScale, Thresholds};

use crate::model::ModelArgs;
use crate::normals::ImageFile;

/// Those that the embedded default was shipped with; none for any other model.
pub(crate) fn shipped(model: &ModelArgs) -> anyhow::Result<Option<Thresholds>> {
    let of_tiny = || Ok(Thresholds::of(&Calibration::of_tiny()?, ScoreScale::Unit));
    model.is_tiny().then(of_tiny).transpose()
}

/// The inspector that a calibration was made with, with its thresholds, and its settings. Of the
/// folder of normal images those are remembered that the calibration did not count on. It looks
/// where the scope says.
///
/// # Errors
/// If the model, its settings, the memory bank or the scope are not those of the calibration.
pub(crate) fn calibrated_inspector(
    model: &ModelArgs,
    normals: Option<&Path>,
    scope: Option<Scope>,
    file: &Path,
) -> anyhow::Result<(Inspector, RunConfig)> {
    let calibration = Calibration::read(file)?;
    let (mut inspector, run, mut identity) = model.identified_inspector()?;
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
            inspector.remember(found.iter().map(|image| &image.path))?;
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
    identity.scope = scope.as_ref().map(|scope| scope.sha256().to_owned());
    calibration.check(&identity, file)?;
    inspector.look(scope);
    Ok((inspector.calibration(calibration), run))
}
