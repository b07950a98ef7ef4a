//! Exact AUROC, average precision, F1-max and AUPRO for anomaly detection.
//!
//! ```
//! use anomaly_metrics::{Connectivity, PixelMetrics};
//! use ndarray::array;
//!
//! let mut pixels = PixelMetrics::new(Connectivity::Eight);
//! // For every image: its anomaly map and its mask.
//! pixels.add(array![[0.2f32, 0.9], [0.4, 0.8]].view(), array![[false, true], [false, false]].view())?;
//! pixels.add(array![[0.1f32, 0.3], [0.3, 0.2]].view(), array![[false, false], [false, false]].view())?;
//! let report = pixels.finish(&[0.3])?;
//! assert_eq!(report.auroc, Ok(1.0));
//! assert_eq!(report.aupro, [Ok(1.0)]);
//! # Ok::<(), anomaly_metrics::Undefined>(())
//! ```
//!
//! # Which function
//!
//! | for | use |
//! |---|---|
//! | scores of images | [`auroc`], [`average_precision`], [`f1_max`] |
//! | maps in memory | [`aupro`], [`aupro_peer`] |
//! | maps that come one by one, or all metrics at once | [`PixelMetrics`] |
//! | any number of pixels in 19 MB, with a bound on the error | [`PixelHistogram`] |
//! | shards on several machines | `save`, `load` and `merge` of the two |
//! | which defects are missed | [`PixelReport::regions`], [`PixelReport::by_image`] |
//! | plots | [`roc_curve`], [`precision_recall_curve`], [`pro_curve`] |
//!
//! # Conventions
//!
//! - Higher scores are more anomalous; `true` marks what is anomalous; arrays are `[n]`, `[height, width]` or
//!   `[n, height, width]` of any memory layout.
//! - A threshold `t` calls anomalous what has `score >= t`. Every distinct score is a threshold; equal scores are never
//!   told apart.
//! - Infinities are scores like others, -0 equals 0, NaN is refused.
//! - What the definition leaves open is an error, [`Undefined`]: one class only, no region, no scores. It is never 0,
//!   0.5 or NaN. Constant scores are defined: AUROC 0.5, average precision the share of anomalous scores, AUPRO half its
//!   limit.
//! - AUROC, F1-max and AUPRO are ratios of integers until the last steps, average precision a compensated sum:
//!   neither the order of images nor threads nor shards change a bit.
//!
//! # How other packages differ
//!
//! | package | difference |
//! |---|---|
//! | scikit-learn | the same AUROC and average precision; no AUPRO |
//! | torchmetrics | AUROC and average precision in `f32`; scores outside [0, 1] pass through a sigmoid, which merges large ones; with `thresholds=200`, errors of 1e-3 |
//! | anomalib | the same AUPRO, summed in `f32`; an image without a normal pixel is taken for a normal one (2.7.0); before 2.3 the area was divided by the last false-positive rate reached, which gave more than 1 |
//! | MVTec AD's evaluation code | the same AUPRO with as many thresholds as asked for; few are wrong by 1e-2 on 8-bit maps |
//! | adeval | 1000 linear bins |
//! | AnomalyCLIP, APRIL-GAN, VCP-CLIP | [`aupro_peer`]: it changes when scores are rescaled |
//!
//! # Cost
//!
//! Overlap, recall and precision change only at the scores of anomalous pixels, which are few.
//! Only they are sorted; of the normal pixels it is enough to count how many have each score, in tables of 8-bit
//! counters over the bits of the number, made where scores are.
//! So time is linear in the pixels, whatever the range of the scores, and a normal pixel takes about two bytes at most.
//!
//! # Leaves out
//!
//! Reading maps, averages over categories, thresholds chosen by other means than F1.

mod counts;
mod curve;
mod format;
mod histogram;
mod overlap;
mod pixel;
mod pro;
mod ranking;
mod regions;
mod score;
mod sum;
mod sweep;
mod undefined;

pub use curve::{Curve, precision_recall_curve, pro_curve, roc_curve};
pub use format::{Kind, LoadError};
pub use histogram::{Bounded, HistogramReport, PixelHistogram};
pub use pixel::{ImageRegions, PixelMetrics, PixelReport, Region};
pub use pro::{AuproOptions, aupro, aupro_peer};
pub use regions::{Connectivity, connected_regions};
pub use score::Score;
pub use sweep::{F1Max, auroc, average_precision, f1_max};
pub use undefined::Undefined;
