//! Evaluation: predictions of a data set to metrics, category by category.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use data::{Limits, Sample, Split, preprocess, read_image};
use image::RgbImage;
use metrics::{Connectivity, Curve, PixelMetrics, Undefined};
use ndarray::{Array1, Array2, Array3};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::detect::Detector;
use crate::group::{GroupLimits, GroupScores};
use crate::masks::read_sample_mask;
use crate::scorer::Prediction;

/// False-positive rate up to which AUPRO is integrated.
const MAX_FPR: f64 = 0.3;
/// Images of a forward pass.
const BATCH: usize = 4;

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

/// An image that the model has seen, with what is known about it.
pub struct Evaluated<'a> {
    /// The image as read.
    pub image: &'a RgbImage,
    /// What the model says.
    pub prediction: &'a Prediction,
    /// The mask at the model's size; absent where an anomalous image has none.
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

/// The images of a category, scored against each other.
pub struct CategoryGroup {
    scores: GroupScores,
    /// Of every sample its place in the group, or why it has none.
    places: Vec<Result<usize, String>>,
}

impl CategoryGroup {
    /// Scores the images of a category against each other; those that cannot be read are left out.
    /// Before each image and each block of comparisons `go_on` is asked; nothing is returned if it
    /// breaks off.
    ///
    /// # Errors
    /// If there are too few images, the method scores every image by itself, or what memory does
    /// not hold cannot be kept in a file.
    pub fn score(
        detector: &Detector,
        samples: &[&Sample],
        mut go_on: impl FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Self>, Error> {
        let mut group = detector.group(GroupLimits::default())?;
        let mut places = Vec::with_capacity(samples.len());
        for sample in samples {
            if go_on().is_break() {
                return Ok(None);
            }
            let image = match read_image(&sample.image, &Limits::default()) {
                Ok(image) => preprocess(&image, detector.preprocess()),
                Err(error) => {
                    places.push(Err(cause(error.into(), &sample.image)));
                    continue;
                }
            };
            let place = group.len();
            let added = detector.add_to_group(&mut group, &[image]).pop();
            let added = added.expect("an answer an image");
            places.push(added.map(|()| place).map_err(|error| error.to_string()));
        }
        let scores = detector.score_group(group, |_, _| go_on())?;
        Ok(scores.map(|scores| Self { scores, places }))
    }
}

/// Evaluates one category, whose images were scored against each other where a group is given.
/// `visit` is told of every image: with its prediction, or without one if
/// it could not be read; there is no report if it breaks off.
///
/// Images and masks that cannot be read are left out and named in the notes.
///
/// Undefined metrics are notes.
pub fn evaluate_category(
    detector: &Detector,
    category: &str,
    samples: &[&Sample],
    group: Option<&CategoryGroup>,
    notes: &mut Notes,
    mut visit: impl FnMut(&Sample, Option<Evaluated<'_>>) -> ControlFlow<()>,
) -> Option<CategoryReport> {
    let mut report = CategoryReport::default();
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    let mut pixels = PixelMetrics::new(Connectivity::Eight);
    let mut masks_known = true;
    for (start, chunk) in (0..).step_by(BATCH).zip(samples.chunks(BATCH)) {
        let (mut read, mut images) = (Vec::new(), Vec::new());
        for (at, sample) in (start..).zip(chunk) {
            match read_sample(sample, detector) {
                Ok((pixels, found)) => {
                    read.push((at, *sample, found));
                    images.push(pixels);
                }
                Err(error) => {
                    notes.failed.push((sample.image.clone(), cause(error, &sample.image)));
                    if visit(sample, None).is_break() {
                        return None;
                    }
                }
            }
        }
        let predictions: Vec<Result<Prediction, String>> = match group {
            None => detector.detect(&images).into_iter().map(finite).collect(),
            Some(CategoryGroup { scores, places }) => {
                let predict = |image: usize| finite(detector.group_prediction(scores, image));
                read.iter().map(|(at, ..)| places[*at].clone().and_then(predict)).collect()
            }
        };
        for ((_, sample, found), prediction) in read.iter().zip(predictions) {
            let prediction = match prediction {
                Ok(prediction) => prediction,
                Err(error) => {
                    notes.failed.push((sample.image.clone(), error));
                    if visit(sample, None).is_break() {
                        return None;
                    }
                    continue;
                }
            };
            let Read { image, mask, .. } = found;
            let mask = mask.as_ref();
            if visit(sample, Some(Evaluated { image, prediction: &prediction, mask })).is_break() {
                return None;
            }
            let anomalous = sample.defect.is_some();
            *if anomalous { &mut report.anomalous } else { &mut report.normal } += 1;
            scores.push(prediction.score);
            labels.push(anomalous);
            match mask {
                None => masks_known = false,
                Some(mask) => {
                    if let Err(error) = pixels.add(prediction.map.view(), mask.view()) {
                        notes.failed.push((sample.image.clone(), error.to_string()));
                    }
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

fn finite(prediction: Prediction) -> Result<Prediction, String> {
    prediction.require_finite().map(|()| prediction).map_err(|error| error.to_string())
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

/// What is read of a sample.
struct Read {
    image: RgbImage,
    /// The mask at the model's size; absent where an anomalous image has none.
    mask: Option<Array2<bool>>,
}

/// The model's input, and what else is read.
fn read_sample(sample: &Sample, detector: &Detector) -> Result<(Array3<f32>, Read), Error> {
    let (limits, p) = (Limits::default(), detector.preprocess());
    let image = read_image(&sample.image, &limits)?;
    let mask = match &sample.defect {
        None => Some(Array2::default((p.height, p.width))),
        Some(_) => read_sample_mask(sample, image.dimensions(), p)?,
    };
    Ok((preprocess(&image, p), Read { image, mask }))
}
