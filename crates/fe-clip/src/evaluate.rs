//! Evaluation: predictions of a data set to metrics, category by category.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use data::{Sample, Split};
use metrics::{Connectivity, Curve, PixelMetrics, Undefined};
use ndarray::{Array1, Array2};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::inspect::Inspector;
use crate::inspect_group::JudgedGroup;
use crate::masks::read_sample_mask;
use crate::verdict::Verdict;

/// False-positive rate up to which AUPRO is integrated.
const MAX_FPR: f64 = 0.3;

/// Image metrics, fractions in [0, 1]; absent where undefined.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ImageMetrics {
    /// Area under the ROC curve.
    pub auroc: Option<f64>,
    /// Average precision.
    pub ap: Option<f64>,
    /// Largest F1 over all thresholds.
    pub f1_max: Option<f64>,
}

/// Pixel metrics, fractions in [0, 1]; absent where undefined.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PixelMetricsReport {
    /// Area under the ROC curve.
    pub auroc: Option<f64>,
    /// Average precision.
    pub ap: Option<f64>,
    /// Largest F1 over all thresholds.
    pub f1_max: Option<f64>,
    /// Area under the per-region overlap curve, exact.
    pub aupro: Option<f64>,
    /// The variant that published tables used.
    pub aupro_peer: Option<f64>,
}

/// Results of one category.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CategoryReport {
    /// Image metrics.
    pub image: ImageMetrics,
    /// Pixel metrics.
    pub pixel: PixelMetricsReport,
    /// Normal images.
    pub normal: usize,
    /// Anomalous images.
    pub anomalous: usize,
    /// The PRO curve for plots; empty where AUPRO is undefined.
    #[serde(skip)]
    pub pro: Curve,
}

/// Results of a data set.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DatasetReport {
    /// By category.
    pub categories: BTreeMap<String, CategoryReport>,
    /// Plain means over the categories in which the metric is defined.
    pub mean: Mean,
}

/// Means over categories.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Mean {
    /// Image metrics.
    pub image: ImageMetrics,
    /// Pixel metrics.
    pub pixel: PixelMetricsReport,
}

/// What was left out or chosen while evaluating.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Undefined metrics, `category.level.metric`, with the reason.
    pub undefined: BTreeMap<String, String>,
    /// Few-shot references by category.
    pub references: BTreeMap<String, Vec<PathBuf>>,
    /// Images that could not be used, with the reason.
    pub failed: Vec<(PathBuf, String)>,
}

/// An image that was judged, with what is known about it.
pub struct Evaluated<'a> {
    /// What is said of it.
    pub verdict: &'a Verdict,
    /// The mask at the map's size; absent where an anomalous image has none.
    pub mask: Option<&'a Array2<bool>>,
}

/// The few-shot references of a category: a permutation of its normal training images, sorted by
/// path, that depends on data set, category and seed alone; the first `shots` of it, so that one
/// shot is contained in two and two in four.
///
/// # Errors
/// If the category has fewer normal training images.
pub fn references(
    samples: &[Sample],
    dataset: &str,
    category: &str,
    shots: usize,
    seed: u64,
) -> Result<Vec<PathBuf>, Error> {
    let normal =
        |s: &&Sample| s.category == category && s.split == Split::Train && s.defect.is_none();
    let mut paths: Vec<PathBuf> = samples.iter().filter(normal).map(|s| s.image.clone()).collect();
    if paths.len() < shots {
        return Err(Error::Settings(format!(
            "{dataset}, {category}: {shots} shots need as many normal training images, there are {}",
            paths.len()
        )));
    }
    paths.sort();
    let digest = Sha256::digest(format!("{dataset}/{category}/{seed}"));
    let mut rng = ChaCha8Rng::from_seed(digest.into());
    paths.shuffle(&mut rng);
    paths.truncate(shots);
    Ok(paths)
}

/// Evaluates one category, whose images were scored against each other where a group is given. `visit` is told of every image: with its verdict, or without one if
/// it could not be read; there is no report if it breaks off.
///
/// Images and masks that cannot be read are left out and named in the notes.
///
/// Undefined metrics are notes.
pub fn evaluate_category(
    inspector: &Inspector,
    category: &str,
    samples: &[&Sample],
    group: Option<JudgedGroup>,
    notes: &mut Notes,
    mut visit: impl FnMut(&Sample, Option<Evaluated<'_>>) -> ControlFlow<()>,
) -> Option<CategoryReport> {
    let mut report = CategoryReport::default();
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    let mut pixels = PixelMetrics::new(Connectivity::Eight);
    let mut masks_known = true;
    let verdicts: Box<dyn Iterator<Item = _>> = match group {
        None => Box::new(inspector.inspect(samples.iter().map(|sample| &sample.image))),
        Some(group) => Box::new(inspector.group_verdicts(group)),
    };
    for (sample, found) in samples.iter().zip(verdicts) {
        let found = found.map_err(|failed| failed.error).and_then(|verdict| {
            let mask = read_mask(sample, &verdict)?;
            Ok((verdict, mask))
        });
        let (verdict, mask) = match found {
            Ok(found) => found,
            Err(error) => {
                notes.failed.push((sample.image.clone(), cause(error, &sample.image)));
                if visit(sample, None).is_break() {
                    return None;
                }
                continue;
            }
        };
        let mask = mask.as_ref();
        if visit(sample, Some(Evaluated { verdict: &verdict, mask })).is_break() {
            return None;
        }
        let anomalous = sample.defect.is_some();
        *if anomalous { &mut report.anomalous } else { &mut report.normal } += 1;
        scores.push(verdict.raw_score);
        labels.push(anomalous);
        match mask {
            None => masks_known = false,
            Some(mask) => {
                let (map, mask) = (verdict.map.view(), mask.view());
                let added = match verdict.ignored_on_map() {
                    None => pixels.add(map, mask),
                    Some(ignored) => pixels.add_without(map, mask, ignored.view()),
                };
                if let Err(error) = added {
                    notes.failed.push((sample.image.clone(), error.to_string()));
                }
            }
        }
    }
    let (scores, labels) = (Array1::from(scores), Array1::from(labels));
    let mut note = |metric: &str, value: Result<f64, Undefined>| match value {
        Ok(value) => Some(value),
        Err(reason) => {
            notes.undefined.insert(format!("{category}.{metric}"), reason.to_string());
            None
        }
    };
    let (s, l) = (scores.view(), labels.view());
    report.image = ImageMetrics {
        auroc: note("image.auroc", metrics::auroc(s, l)),
        ap: note("image.ap", both_classes(&labels).and_then(|()| metrics::average_precision(s, l))),
        f1_max: note(
            "image.f1_max",
            both_classes(&labels).and_then(|()| metrics::f1_max(s, l).map(|f| f.value)),
        ),
    };
    if !masks_known {
        notes.undefined.insert(format!("{category}.pixel"), "images without masks".into());
        return Some(report);
    }
    let found = pixels.finish(&[MAX_FPR]).expect("the limit is in (0, 1]");
    report.pro = found.pro;
    report.pixel = PixelMetricsReport {
        auroc: note("pixel.auroc", found.auroc),
        ap: note("pixel.ap", found.average_precision),
        f1_max: note("pixel.f1_max", found.f1_max.map(|f| f.value)),
        aupro: note("pixel.aupro", found.aupro[0].clone()),
        aupro_peer: note("pixel.aupro_peer", found.aupro_peer),
    };
    Some(report)
}

/// The plain mean over categories.
pub fn mean(categories: &BTreeMap<String, CategoryReport>) -> Mean {
    let of = |value: fn(&CategoryReport) -> Option<f64>| {
        let values: Vec<f64> = categories.values().filter_map(value).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    Mean {
        image: ImageMetrics {
            auroc: of(|c| c.image.auroc),
            ap: of(|c| c.image.ap),
            f1_max: of(|c| c.image.f1_max),
        },
        pixel: PixelMetricsReport {
            auroc: of(|c| c.pixel.auroc),
            ap: of(|c| c.pixel.ap),
            f1_max: of(|c| c.pixel.f1_max),
            aupro: of(|c| c.pixel.aupro),
            aupro_peer: of(|c| c.pixel.aupro_peer),
        },
    }
}

/// With one class only, AP and F1 are numbers that say nothing: they count as undefined, too.
fn both_classes(labels: &Array1<bool>) -> Result<(), Undefined> {
    match (labels.iter().any(|l| *l), labels.iter().any(|l| !*l)) {
        (true, false) => Err(Undefined::OnlyAnomalous),
        (false, true) => Err(Undefined::OnlyNormal),
        (false, false) => Err(Undefined::Empty),
        (true, true) => Ok(()),
    }
}

/// Why a sample cannot be used, which is named beside it; its mask is named here.
fn cause(error: Error, image: &Path) -> String {
    match error {
        Error::Data(error) if error.path() == image => error.cause(),
        error => error.to_string(),
    }
}

/// The mask of a sample at the map's size; absent where an anomalous image has none.
fn read_mask(sample: &Sample, verdict: &Verdict) -> Result<Option<Array2<bool>>, Error> {
    match sample.defect {
        None => Ok(Some(Array2::default(verdict.map.dim()))),
        Some(_) => read_sample_mask(sample, verdict.size, verdict.frame()),
    }
}
