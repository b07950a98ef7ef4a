/// Why a metric has no value.
///
/// A metric that its definition leaves open is never replaced by 0, 0.5 or NaN: the caller decides what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Undefined {
    /// There is no score at all.
    #[error("no scores")]
    Empty,
    /// No label is anomalous, so there is no true-positive rate.
    #[error("only normal labels")]
    OnlyNormal,
    /// No label is normal, so there is no false-positive rate.
    #[error("only anomalous labels")]
    OnlyAnomalous,
    /// No mask has an anomalous pixel, so there is no region to overlap with.
    #[error("no anomalous region")]
    NoRegion,
    /// A score is NaN and has no place in the order of the scores.
    #[error("the score at {index:?} is NaN")]
    NotANumber {
        /// Position of the first NaN that was met; of several, any may be named.
        index: Vec<usize>,
    },
    /// Scores and labels differ in shape.
    #[error("scores of shape {scores:?} do not fit labels of shape {labels:?}")]
    ShapeMismatch {
        /// Shape of the scores or maps.
        scores: Vec<usize>,
        /// Shape of the labels or masks.
        labels: Vec<usize>,
    },
    /// A limit on the false-positive rate lies outside (0, 1].
    #[error("the limit {0} on the false-positive rate is not in (0, 1]")]
    Limit(f64),
    /// Fewer than two of the peers' 200 thresholds have different false-positive rates below 0.3,
    /// so that the axis cannot be stretched.
    #[error("the linear thresholds give no curve to integrate")]
    NoPeerCurve,
}
