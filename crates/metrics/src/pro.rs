use ndarray::ArrayView3;

use crate::score::Score;
use crate::{Connectivity, PixelMetrics, Undefined};

/// What a per-region overlap is measured over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AuproOptions {
    /// Which neighbours belong to one region.
    pub connectivity: Connectivity,
    /// Limit on the false-positive rate, in (0, 1].
    pub max_fpr: f64,
}

impl Default for AuproOptions {
    /// The evaluation of MVTec AD: regions of eight neighbours, false-positive rates up to 0.3.
    fn default() -> Self {
        Self { connectivity: Connectivity::Eight, max_fpr: 0.3 }
    }
}

/// Area under the per-region overlap (PRO) curve up to a false-positive rate, in [0, 1].
///
/// At a threshold t, a pixel with `score >= t` is called anomalous.
/// The overlap is averaged over the connected regions of all masks, so small defects count as much as large ones; the
/// false-positive rate is taken over all normal pixels of all images, normal images included.
///
/// ```text
/// PRO(t) = 1/R sum_r |{p in r : s_p >= t}| / |r|        FPR(t) = |{p normal : s_p >= t}| / |normal|
/// AUPRO  = 1/max_fpr  integral from 0 to max_fpr of PRO over FPR
/// ```
/// Every distinct score is a threshold, the curve starts at (0, 0), is integrated by the trapezoidal rule,
/// interpolated linearly at the limit, and divided by the limit.
/// The value depends on the order of the scores only.
///
/// Source: Bergmann et al., *The MVTec Anomaly Detection Dataset*, IJCV 2021, section 5.2.
///
/// # Shapes
/// - maps, masks: `[n, height, width]`; `true` marks an anomalous pixel
///
/// # Errors
/// [`Undefined`] for masks without an anomalous or without a normal pixel, NaN, no pixels, different shapes, or a limit
/// outside (0, 1].
///
/// # Example
/// ```
/// use anomaly_metrics::{AuproOptions, aupro};
/// use ndarray::array;
/// let maps = array![[[0.9f32, 0.2, 0.3, 0.6]]];
/// let masks = array![[[true, false, false, true]]];
/// assert_eq!(aupro(maps.view(), masks.view(), AuproOptions::default())?, 1.0);
/// # Ok::<(), anomaly_metrics::Undefined>(())
/// ```
pub fn aupro<S: Score>(
    maps: ArrayView3<'_, S>,
    masks: ArrayView3<'_, bool>,
    options: AuproOptions,
) -> Result<f64, Undefined> {
    let mut pixels = PixelMetrics::new(options.connectivity);
    pixels.add_all(maps, masks)?;
    pixels.finish(&[options.max_fpr])?.aupro.swap_remove(0)
}

/// The AUPRO variant behind most published tables, in [0, 1], for comparison with them alone.
///
/// The code of AnomalyCLIP, APRIL-GAN, VCP-CLIP and others takes 200 linear thresholds
/// `min + k (max - min) / 200`, k = 0..199, over the range of all scores, calls a pixel anomalous where its score is
/// strictly greater, keeps the thresholds with FPR < 0.3, stretches their false-positive rates to [0, 1] by their own
/// minimum and maximum, and integrates by the trapezoidal rule; regions have eight neighbours.
/// Unlike [`aupro`] this depends on the scale of the scores and leaves out the curve below its smallest FPR.
///
/// # Shapes
/// - maps, masks: `[n, height, width]`; `true` marks an anomalous pixel
///
/// # Errors
/// As [`aupro`], and [`Undefined::NoPeerCurve`] where the thresholds give no curve, as with constant scores.
///
/// # Example
/// ```
/// use ndarray::array;
/// let maps = array![[[0.0f32, 0.1, 0.2, 0.3, 0.5, 1.0]]];
/// let masks = array![[[false, false, false, false, true, true]]];
/// assert_eq!(anomaly_metrics::aupro_peer(maps.view(), masks.view())?, 1.0);
/// # Ok::<(), anomaly_metrics::Undefined>(())
/// ```
pub fn aupro_peer<S: Score>(
    maps: ArrayView3<'_, S>,
    masks: ArrayView3<'_, bool>,
) -> Result<f64, Undefined> {
    let mut pixels = PixelMetrics::new(Connectivity::Eight);
    pixels.add_all(maps, masks)?;
    pixels.finish(&[])?.aupro_peer
}
