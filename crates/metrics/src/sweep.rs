use ndarray::ArrayView1;

use crate::Undefined;
use crate::counts::Key;
use crate::ranking::{Ranking, Tie};
use crate::score::Score;
use crate::sum::Sum;

/// The largest F1 and where it is reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct F1Max {
    /// F1, in (0, 1].
    pub value: f64,
    /// Scores at or above it are called anomalous; of several thresholds with the same F1 the highest.
    pub threshold: f64,
}

/// Area under the ROC curve, in [0, 1].
///
/// The share of pairs of one anomalous and one normal score in which the anomalous one is higher; a tie counts one
/// half (Mann-Whitney).
/// This equals the trapezoidal area, as scikit-learn's `roc_auc_score`.
/// The pairs are counted in integers, so the value is the closest `f64` but for one division.
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
/// let scores = array![0.1f32, 0.4, 0.35, 0.8];
/// let labels = array![false, false, true, true];
/// assert_eq!(anomaly_metrics::auroc(scores.view(), labels.view())?, 0.75);
/// # Ok::<(), anomaly_metrics::Undefined>(())
/// ```
pub fn auroc<S: Score>(
    scores: ArrayView1<'_, S>,
    labels: ArrayView1<'_, bool>,
) -> Result<f64, Undefined> {
    Ok(Sweep::run(scores, labels)?.auroc())
}

/// Average precision, in (0, 1]: the area under the precision-recall curve as a step function.
///
/// ```text
/// AP = sum_k (R_k - R_{k-1}) P_k
/// ```
/// over the distinct scores in descending order, precision and recall being those of `score >= threshold`; nothing
/// is interpolated.
/// This is scikit-learn's `average_precision_score`.
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
/// let scores = array![0.1f32, 0.4, 0.35, 0.8];
/// let labels = array![false, false, true, true];
/// assert_eq!(anomaly_metrics::average_precision(scores.view(), labels.view())?, 0.8333333333333333);
/// # Ok::<(), anomaly_metrics::Undefined>(())
/// ```
pub fn average_precision<S: Score>(
    scores: ArrayView1<'_, S>,
    labels: ArrayView1<'_, bool>,
) -> Result<f64, Undefined> {
    Ok(Sweep::run(scores, labels)?.average_precision())
}

/// Largest F1 over all thresholds, with the threshold.
///
/// ```text
/// F1 = 2 TP / (2 TP + FP + FN)
/// ```
/// where a score at or above the threshold is called anomalous and every distinct score is a threshold.
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
/// let best = anomaly_metrics::f1_max(scores.view(), labels.view())?;
/// assert_eq!((best.value, best.threshold), (0.8, 0.35));
/// # Ok::<(), anomaly_metrics::Undefined>(())
/// ```
pub fn f1_max<S: Score>(
    scores: ArrayView1<'_, S>,
    labels: ArrayView1<'_, bool>,
) -> Result<F1Max, Undefined> {
    Ok(Sweep::run(scores, labels)?.f1_max::<S>())
}

/// One walk through the distinct anomalous scores, from the top.
pub(crate) struct Sweep<K> {
    normal: u64,
    anomalous: u64,
    /// Anomalous scores so far.
    hits: u64,
    /// Twice the pairs of an anomalous score above a normal one; a tie adds one.
    pairs: u128,
    precisions: Sum,
    best: Confusion<K>,
}

#[derive(Clone, Copy)]
struct Confusion<K> {
    threshold: Option<K>,
    hits: u64,
    false_alarms: u64,
}

impl<K: Key> Sweep<K> {
    fn run<S: Score<Key = K>>(
        scores: ArrayView1<'_, S>,
        labels: ArrayView1<'_, bool>,
    ) -> Result<Self, Undefined> {
        let ranking = Ranking::new(scores, labels)?;
        let mut sweep = Self::new(ranking.normal.total(), ranking.anomalous.len() as u64);
        ranking.descend(Vec::new(), |tie| sweep.visit(&tie));
        Ok(sweep)
    }

    pub(crate) fn new(normal: u64, anomalous: u64) -> Self {
        let best = Confusion { threshold: None, hits: 0, false_alarms: 0 };
        Self { normal, anomalous, hits: 0, pairs: 0, precisions: Sum::default(), best }
    }

    pub(crate) fn visit<T>(&mut self, tie: &Tie<'_, K, T>) {
        let tied = tie.anomalous.len() as u64;
        self.hits += tied;
        let false_alarms = tie.above + tie.equal;
        let beaten = 2 * (self.normal - false_alarms) + tie.equal;
        self.pairs += u128::from(tied) * u128::from(beaten);
        self.precisions.add(tied as f64 * (self.hits as f64 / (self.hits + false_alarms) as f64));

        let here = Confusion { threshold: Some(tie.key), hits: self.hits, false_alarms };
        if self.f1_exceeds(&here, &self.best) {
            self.best = here;
        }
    }

    /// Compares 2 TP / (TP + FP + positives) in integers.
    fn f1_exceeds(&self, left: &Confusion<K>, right: &Confusion<K>) -> bool {
        let denominator = |c: &Confusion<K>| u128::from(c.hits + c.false_alarms + self.anomalous);
        u128::from(left.hits) * denominator(right) > u128::from(right.hits) * denominator(left)
    }

    pub(crate) fn auroc(&self) -> f64 {
        let all = 2 * u128::from(self.normal) * u128::from(self.anomalous);
        self.pairs as f64 / all as f64
    }

    pub(crate) fn average_precision(&self) -> f64 {
        self.precisions.value() / self.anomalous as f64
    }

    pub(crate) fn f1_max<S: Score<Key = K>>(&self) -> F1Max {
        let Confusion { threshold, hits, false_alarms } = self.best;
        F1Max {
            value: (2 * hits) as f64 / (hits + false_alarms + self.anomalous) as f64,
            threshold: threshold.map_or(f64::INFINITY, S::from_key),
        }
    }
}
