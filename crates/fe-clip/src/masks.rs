//! Masks of samples at the size of the model's input.

use data::{Limits, Preprocess, Sample, image_size, read_mask_of, resize_mask};
use ndarray::Array2;

use crate::Error;
use crate::settings::train::Supervision;

/// The mask of a sample whose image has `size`, width and height; none where no file holds one.
///
/// # Errors
/// If it cannot be read or has another size than the image.
pub(crate) fn read_sample_mask(
    sample: &Sample,
    size: (u32, u32),
    preprocessing: &Preprocess,
) -> Result<Option<Array2<bool>>, Error> {
    let Some(path) = sample.defect.as_ref().and_then(|defect| defect.mask.as_ref()) else {
        return Ok(None);
    };
    let mask = read_mask_of(size, path, &Limits::default())?;
    Ok(Some(resize_mask(mask.view(), preprocessing)))
}

/// The mask of a sample as training sees it; none of a normal image, or where it is not asked for.
///
/// # Errors
/// If it cannot be read, or an anomalous image has none although masks are asked for.
pub(crate) fn read_training_mask(
    sample: &Sample,
    supervision: Supervision,
    preprocessing: &Preprocess,
) -> Result<Option<Array2<bool>>, Error> {
    let (Some(defect), Supervision::Masks) = (&sample.defect, supervision) else {
        return Ok(None);
    };
    if defect.mask.is_none() {
        let reason = "an anomalous training image needs a mask, or supervision = \"labels\"";
        return Err(Error::invalid(&sample.image, reason));
    }
    let size = image_size(&sample.image, &Limits::default())?;
    read_sample_mask(sample, size, preprocessing)
}
