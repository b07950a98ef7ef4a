//! Agreement with scikit-learn, torchmetrics, anomalib, MVTec's definition and AnomalyCLIP's routine.
//!
//! `golden/generate.py` makes the vectors and explains their names.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use anomaly_metrics::{AuproOptions, Connectivity, PixelMetrics, Score, Undefined};
use ndarray::{Array, Array1, Array2, Array3, Dimension, Ix1, Ix2, Ix3};
use safetensors::{Dtype, SafeTensors};

/// Both sides sum in f64.
const EXACT: f64 = 1e-12;
/// The peers sum in f32.
const SINGLE: f64 = 1e-6;
const LIMITS: [f64; 3] = [0.05, 0.3, 1.0];

struct Golden(Vec<u8>);

impl Golden {
    fn read(name: &str) -> Self {
        let path = format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        Self(std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")))
    }

    fn tensors(&self) -> HashMap<String, Tensor<'_>> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap().tensors();
        tensors.into_iter().map(|(name, tensor)| (name, Tensor(tensor))).collect()
    }
}

struct Tensor<'a>(safetensors::tensor::TensorView<'a>);

impl Tensor<'_> {
    fn array<T, D: Dimension>(&self, decode: impl Fn(&[u8]) -> T) -> Array<T, D> {
        let size = self.0.dtype().bitsize() / 8;
        let values = self.0.data().chunks_exact(size).map(decode).collect();
        Array::from_shape_vec(self.0.shape(), values).unwrap().into_dimensionality().unwrap()
    }

    fn bools<D: Dimension>(&self) -> Array<bool, D> {
        self.array(|bytes| bytes[0] != 0)
    }

    fn doubles<D: Dimension>(&self) -> Array<f64, D> {
        assert_eq!(self.0.dtype(), Dtype::F64);
        self.array(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()))
    }

    fn singles<D: Dimension>(&self) -> Array<f32, D> {
        assert_eq!(self.0.dtype(), Dtype::F32);
        self.array(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
    }

    fn is_single(&self) -> bool {
        self.0.dtype() == Dtype::F32
    }
}

fn cases(tensors: &HashMap<String, Tensor<'_>>) -> Vec<String> {
    let mut names: Vec<String> =
        tensors.keys().filter_map(|name| Some(name.strip_suffix(".exact")?.to_owned())).collect();
    names.sort();
    names
}

#[track_caller]
fn assert_close(what: &str, ours: f64, theirs: f64, tolerance: f64) {
    let close = ours == theirs || (ours - theirs).abs() <= tolerance;
    assert!(close, "{what}: expected {theirs}, got {ours}");
}

fn check_pixels<S: Score>(case: &str, maps: &Array3<S>, masks: &Array3<bool>, exact: &[f64]) {
    let report = |connectivity| {
        let mut pixels = PixelMetrics::new(connectivity);
        for (map, mask) in maps.outer_iter().zip(masks.outer_iter()) {
            pixels.add(map, mask).unwrap();
        }
        pixels.finish(&LIMITS).unwrap()
    };
    let (eight, four) = (report(Connectivity::Eight), report(Connectivity::Four));
    let best = eight.f1_max.clone().unwrap();
    let mut ours = vec![eight.auroc.unwrap(), eight.average_precision.unwrap(), best.value];
    ours.push(best.threshold);
    for value in eight.aupro.iter().chain(&four.aupro) {
        ours.push(value.clone().unwrap());
    }
    let (peer, rest) = exact.split_last().unwrap();
    assert_eq!(ours.len(), rest.len());
    for (index, (&ours, &theirs)) in ours.iter().zip(rest).enumerate() {
        assert_close(&format!("{case}, value {index}"), ours, theirs, EXACT);
    }
    match eight.aupro_peer {
        Err(Undefined::NoPeerCurve) => assert!(peer.is_nan(), "{case}: expected {peer}"),
        value => assert_close(&format!("{case}, peer"), value.unwrap(), *peer, EXACT),
    }

    // The functions are the same computation on whole arrays.
    for (value, limit) in eight.aupro.into_iter().zip(LIMITS) {
        let options = AuproOptions { max_fpr: limit, ..AuproOptions::default() };
        assert_eq!(anomaly_metrics::aupro(maps.view(), masks.view(), options), value);
    }
    let scores = Array1::from_iter(maps.iter().copied());
    let labels = Array1::from_iter(masks.iter().copied());
    assert_eq!(anomaly_metrics::auroc(scores.view(), labels.view()), Ok(ours[0]));
    assert_eq!(anomaly_metrics::average_precision(scores.view(), labels.view()), Ok(ours[1]));
    assert_eq!(anomaly_metrics::f1_max(scores.view(), labels.view()), Ok(best));

    let curve = anomaly_metrics::pro_curve(maps.view(), masks.view(), Connectivity::Eight).unwrap();
    assert_close(&format!("{case}, PRO curve"), area(&curve), eight_at_one(exact), EXACT);
}

/// AUPRO of eight neighbours at a limit of 1.
fn eight_at_one(exact: &[f64]) -> f64 {
    exact[6]
}

fn area(curve: &anomaly_metrics::Curve) -> f64 {
    let strips = curve.x.windows(2).zip(curve.y.windows(2));
    strips.map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) / 2.0).sum()
}

#[test]
fn pixels_agree_with_every_peer() {
    let golden = Golden::read("pixels");
    let tensors = golden.tensors();
    let names = cases(&tensors);
    assert_eq!(names.len(), 12);
    for case in &names {
        let get = |part: &str| &tensors[&format!("{case}.{part}")];
        let masks: Array3<bool> = get("masks").bools::<Ix3>();
        let exact = get("exact").doubles::<Ix1>().to_vec();
        if get("maps").is_single() {
            let maps = get("maps").singles::<Ix3>();
            check_pixels(case, &maps, &masks, &exact);
            check_pixels(case, &maps.mapv(f64::from), &masks, &exact);
        } else {
            check_pixels(case, &get("maps").doubles::<Ix3>(), &masks, &exact);
        }
        let ours = [exact[0], exact[1], exact[5]];
        for (index, single) in get("single").doubles::<Ix1>().into_iter().enumerate() {
            if !single.is_nan() {
                assert_close(&format!("{case}, f32 peer {index}"), ours[index], single, SINGLE);
            }
        }
    }
}

fn check_scores<S: Score>(
    case: &str,
    scores: &Array1<S>,
    labels: &Array1<bool>,
    exact: &[f64],
    (roc, pr): (&Array2<f64>, &Array2<f64>),
) {
    let (scores, labels) = (scores.view(), labels.view());
    let best = anomaly_metrics::f1_max(scores, labels).unwrap();
    let ours = [
        anomaly_metrics::auroc(scores, labels).unwrap(),
        anomaly_metrics::average_precision(scores, labels).unwrap(),
        best.value,
        best.threshold,
    ];
    for (index, (&ours, &theirs)) in ours.iter().zip(exact).enumerate() {
        assert_close(&format!("{case}, value {index}"), ours, theirs, EXACT);
    }

    let curve = anomaly_metrics::roc_curve(scores, labels).unwrap();
    assert_close(&format!("{case}, ROC curve"), area(&curve), exact[0], EXACT);
    for ((&x, &y), &threshold) in curve.x.iter().zip(&curve.y).zip(&curve.thresholds) {
        // Their last point whose threshold is not below ours calls the same scores anomalous.
        let at = roc.row(2).iter().rposition(|&theirs| theirs >= threshold).unwrap();
        assert_close(case, x, roc[(0, at)], EXACT);
        assert_close(case, y, roc[(1, at)], EXACT);
    }

    let curve = anomaly_metrics::precision_recall_curve(scores, labels).unwrap();
    let mut steps = 0;
    for at in (0..pr.ncols()).rev() {
        let (precision, recall, threshold) = (pr[(0, at)], pr[(1, at)], pr[(2, at)]);
        if at + 1 == pr.ncols() && recall == 0.0 || at + 1 < pr.ncols() && recall == pr[(1, at + 1)]
        {
            continue; // no anomalous score at this threshold
        }
        assert_close(case, curve.x[steps], recall, EXACT);
        assert_close(case, curve.y[steps], precision, EXACT);
        assert_eq!(curve.thresholds[steps], threshold);
        steps += 1;
    }
    assert_eq!(steps, curve.x.len());
}

#[test]
fn scores_agree_with_scikit_learn() {
    let golden = Golden::read("scores");
    let tensors = golden.tensors();
    let names = cases(&tensors);
    assert_eq!(names.len(), 16);
    for case in &names {
        let get = |part: &str| &tensors[&format!("{case}.{part}")];
        let labels = get("labels").bools::<Ix1>();
        let exact = get("exact").doubles::<Ix1>().to_vec();
        let curves = (&get("roc").doubles::<Ix2>(), &get("pr").doubles::<Ix2>());
        if get("scores").is_single() {
            check_scores(case, &get("scores").singles::<Ix1>(), &labels, &exact, curves);
        } else {
            check_scores(case, &get("scores").doubles::<Ix1>(), &labels, &exact, curves);
        }
    }
}
