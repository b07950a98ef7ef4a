//! From when on `detect` and `serve` call something anomalous, where a flag or a file says so.

use std::path::Path;

use fe_clip::{Assembled, Calibration, Inspector, Scope, ScoreScale, Thresholds, Zones};

use crate::model::ModelArgs;
use crate::{normals, threads};

/// Those that the embedded default was shipped with; none for any other model.
pub(crate) fn shipped(model: &ModelArgs) -> anyhow::Result<Option<Thresholds>> {
    let of_tiny = || Ok(Thresholds::of(&Calibration::of_tiny()?, ScoreScale::Unit));
    model.is_tiny().then(of_tiny).transpose()
}

/// The inspector that a calibration was made with, with its thresholds. Of the folder of normal
/// images those are remembered that the calibration did not count on. It looks where the scope
/// says, and divides images into zones.
///
/// # Errors
/// If the model, its settings, the memory bank, the scope or the zones are not those of the
/// calibration.
pub(crate) fn calibrated_inspector(
    loaded: Assembled,
    normals: Option<&Path>,
    (scope, zones): (Option<Scope>, Option<Zones>),
    (calibration, file): (Calibration, &Path),
) -> anyhow::Result<Inspector> {
    let mut unreadable = 0;
    let list = |folder| normals::list(folder, "--normals", &mut unreadable);
    let normals = normals.map(list).transpose()?;
    Ok(loaded.calibrated(calibration, file, normals, scope, zones)?.threads(threads::count()))
}
