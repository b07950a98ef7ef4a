//! Exact AUROC, average precision, F1-max and AUPRO for anomaly detection.

mod counts;
mod curve;
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
pub use histogram::{Bounded, HistogramReport, PixelHistogram};
pub use pixel::{PixelMetrics, PixelReport, Region};
pub use pro::{AuproOptions, aupro, aupro_peer};
pub use regions::Connectivity;
pub use score::Score;
pub use sweep::{F1Max, auroc, average_precision, f1_max};
pub use undefined::Undefined;
