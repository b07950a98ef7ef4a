use ndarray::{ArrayView1, ArrayView3};

use crate::counts::Key;
use crate::ranking::{Ranking, Tie};
use crate::score::Score;
use crate::{Connectivity, PixelMetrics, Undefined};

/// Points of a curve from the highest threshold down; `score >= threshold` is called anomalous.
///
/// A curve has a point wherever it leaves a horizontal line, that is at most two for each distinct anomalous score.
/// Straight lines between them give the whole curve.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve {
    /// Horizontal coordinate, in [0, 1].
    pub x: Vec<f64>,
    /// Vertical coordinate, in [0, 1].
    pub y: Vec<f64>,
    /// Threshold of each point; infinity where nothing, minus infinity where everything is called anomalous.
    pub thresholds: Vec<f64>,
}

impl Curve {
    fn push(&mut self, x: f64, y: f64, threshold: f64) {
        self.x.push(x);
        self.y.push(y);
        self.thresholds.push(threshold);
    }

    /// A curve over the false-positive rate; `height` counts a tie and returns the height below it.
    pub(crate) fn over_fpr<S: Score, T: Copy + Send>(
        ranking: Ranking<S::Key, T>,
        mut height: impl FnMut(&Tie<'_, S::Key, T>) -> f64,
    ) -> Self {
        let normal = ranking.normal.total();
        let fpr = |count: u64| count as f64 / normal as f64;
        let mut curve = Self::default();
        let (mut reached, mut y) = (0, 0.0);
        curve.push(0.0, y, f64::INFINITY);
        ranking.descend(Vec::new(), |tie| {
            if tie.above > reached {
                curve.push(fpr(tie.above), y, S::from_key(tie.key.next()));
            }
            y = height(&tie);
            reached = tie.above + tie.equal;
            curve.push(fpr(reached), y, S::from_key(tie.key));
        });
        if reached < normal {
            curve.push(1.0, y, f64::NEG_INFINITY);
        }
        curve
    }
}

/// Gathers a curve of any number of points for plots: what is left out lies within [`Coarse::STEP`]
/// of a point that stays, on both axes.
#[derive(Default)]
pub(crate) struct Coarse {
    curve: Curve,
    /// The last point, if it has not been kept yet.
    pending: Option<(f64, f64, f64)>,
}

impl Coarse {
    const STEP: f64 = 1.0 / 512.0;

    /// Adds a point; both coordinates grow from one to the next.
    pub(crate) fn push(&mut self, x: f64, y: f64, threshold: f64) {
        let kept = (self.curve.x.last(), self.curve.y.last());
        let far = match kept {
            (Some(last_x), Some(last_y)) => x - last_x > Self::STEP || y - last_y > Self::STEP,
            _ => true,
        };
        if far && let Some((x, y, threshold)) = self.pending.take() {
            self.curve.push(x, y, threshold);
        }
        self.pending = Some((x, y, threshold));
    }

    pub(crate) fn finish(mut self) -> Curve {
        if let Some((x, y, threshold)) = self.pending {
            self.curve.push(x, y, threshold);
        }
        self.curve
    }
}

/// ROC curve: the true-positive rate over the false-positive rate, from (0, 0) to (1, 1).
///
/// Its trapezoidal area is [`auroc`](crate::auroc).
///
/// # Shapes
/// - scores, labels: `[n]`; `true` marks an anomalous sample
///
/// # Errors
/// [`Undefined`] for one class only, NaN, no scores or different lengths.
///
/// # Example
/// ```
/// use ndarray::array;
/// let scores = array![0.1f64, 0.4, 0.35, 0.8];
/// let labels = array![false, false, true, true];
/// let roc = anomaly_metrics::roc_curve(scores.view(), labels.view())?;
/// assert_eq!(roc.x, [0.0, 0.0, 0.5, 0.5, 1.0]);
/// assert_eq!(roc.y, [0.0, 0.5, 0.5, 1.0, 1.0]);
/// # Ok::<(), anomaly_metrics::Undefined>(())
/// ```
pub fn roc_curve<S: Score>(
    scores: ArrayView1<'_, S>,
    labels: ArrayView1<'_, bool>,
) -> Result<Curve, Undefined> {
    let ranking = Ranking::new(scores, labels)?;
    let anomalous = ranking.anomalous.len() as f64;
    let mut hits = 0;
    Ok(Curve::over_fpr::<S, ()>(ranking, |tie| {
        hits += tie.anomalous.len();
        hits as f64 / anomalous
    }))
}

/// Precision over recall, one point for each distinct anomalous score.
///
/// A threshold between two of them has the recall of the higher and less precision, and is left out.
///
/// # Shapes
/// - scores, labels: `[n]`; `true` marks an anomalous sample
///
/// # Errors
/// [`Undefined`] for one class only, NaN, no scores or different lengths.
///
/// # Example
/// ```
/// use ndarray::array;
/// let scores = array![0.1f64, 0.4, 0.35, 0.8];
/// let labels = array![false, false, true, true];
/// let pr = anomaly_metrics::precision_recall_curve(scores.view(), labels.view())?;
/// assert_eq!(pr.x, [0.5, 1.0]); // recall
/// assert_eq!(pr.y, [1.0, 2.0 / 3.0]); // precision
/// # Ok::<(), anomaly_metrics::Undefined>(())
/// ```
pub fn precision_recall_curve<S: Score>(
    scores: ArrayView1<'_, S>,
    labels: ArrayView1<'_, bool>,
) -> Result<Curve, Undefined> {
    let ranking = Ranking::new(scores, labels)?;
    let anomalous = ranking.anomalous.len() as f64;
    let mut curve = Curve::default();
    let mut hits = 0;
    ranking.descend(Vec::new(), |tie| {
        hits += tie.anomalous.len() as u64;
        let flagged = hits + tie.above + tie.equal;
        curve.push(hits as f64 / anomalous, hits as f64 / flagged as f64, S::from_key(tie.key));
    });
    Ok(curve)
}

/// PRO curve: the mean overlap of the regions over the false-positive rate, from (0, 0) to (1, 1).
///
/// Its trapezoidal area up to a limit, divided by the limit, is [`aupro`](crate::aupro).
///
/// # Shapes
/// - maps, masks: `[n, height, width]`; `true` marks an anomalous pixel
///
/// # Errors
/// As [`aupro`](crate::aupro).
///
/// # Example
/// ```
/// use anomaly_metrics::{Connectivity, pro_curve};
/// use ndarray::array;
/// let maps = array![[[0.9f32, 0.2, 0.3, 0.3, 0.6]]];
/// let masks = array![[[true, false, false, true, true]]];
/// let pro = pro_curve(maps.view(), masks.view(), Connectivity::Eight)?;
/// assert_eq!(pro.x, [0.0, 0.0, 0.0, 0.5, 1.0]);
/// assert_eq!(pro.y, [0.0, 0.5, 0.75, 1.0, 1.0]);
/// # Ok::<(), anomaly_metrics::Undefined>(())
/// ```
pub fn pro_curve<S: Score>(
    maps: ArrayView3<'_, S>,
    masks: ArrayView3<'_, bool>,
    connectivity: Connectivity,
) -> Result<Curve, Undefined> {
    let mut pixels = PixelMetrics::new(connectivity);
    pixels.add_all(maps, masks)?;
    pixels.into_curve()
}

#[cfg(test)]
mod tests {
    use super::Coarse;

    #[test]
    fn a_coarse_curve_is_the_fine_one_within_its_step() {
        let fine: Vec<(f64, f64)> =
            (0..=100_000).map(|i| f64::from(i) / 1e5).map(|x| (x, x.powf(0.1))).collect();
        let mut coarse = Coarse::default();
        fine.iter().for_each(|&(x, y)| coarse.push(x, y, 1.0 - x));
        let kept = coarse.finish();
        assert!(kept.x.len() < 2100, "{} points", kept.x.len());
        let ends = [kept.x[0], kept.y[0], kept.x[kept.x.len() - 1], kept.y[kept.y.len() - 1]];
        assert_eq!(ends, [0.0, 0.0, 1.0, 1.0]);
        let area = |x: &[f64], y: &[f64]| -> f64 {
            x.windows(2).zip(y.windows(2)).map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) / 2.0).sum()
        };
        let (x, y): (Vec<f64>, Vec<f64>) = fine.into_iter().unzip();
        assert!((area(&kept.x, &kept.y) - area(&x, &y)).abs() < Coarse::STEP);
        // Steep steps keep their corners.
        let mut step = Coarse::default();
        [(0.0, 0.0), (0.001, 0.0), (0.002, 1.0), (0.5, 1.0), (1.0, 1.0)]
            .iter()
            .for_each(|&(x, y)| step.push(x, y, 0.0));
        assert_eq!(step.finish().x, [0.0, 0.001, 0.002, 0.5, 1.0]);
    }
}
