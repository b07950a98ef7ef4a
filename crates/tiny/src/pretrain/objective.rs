//! The loss of a pre-training step.

use burn::tensor::activation::{log_softmax, softplus};
use burn::tensor::{Device, Int, Tensor, TensorData};
use clip_vit::Tokenizer;
use serde::Serialize;

use super::Student;
use super::batch::Batch;
use fe_clip::tensors::normalize;

/// Weight of the state terms at each of the four stage ends.
const STAGE_WEIGHTS: [f64; 4] = [0.2, 0.3, 0.5, 1.0];
/// Weight of an anomalous patch against a normal one; most patches are normal.
const POSITIVE_WEIGHT: f32 = 3.0;
/// CLIP's upper bound of the logit scale.
const MAX_LOGIT_SCALE: f32 = 4.6052;

/// The loss of a step and its terms.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Terms {
    /// Weighted sum.
    #[serde(rename = "loss")]
    pub total: f64,
    /// Contrast of images and captions.
    pub contrast: f64,
    /// Class token against the pair of prompts, last stage.
    pub state: f64,
    /// Patches against the pair of prompts, last stage.
    pub dense: f64,
    /// Patches against region phrases.
    pub region: f64,
    /// The linear probe of the last stage, class token and patches.
    pub probe: f64,
}

impl Terms {
    /// Adds a share of other terms.
    pub(super) fn add(&mut self, other: &Self, share: f64) {
        self.total += share * other.total;
        self.contrast += share * other.contrast;
        self.state += share * other.state;
        self.dense += share * other.dense;
        self.region += share * other.region;
        self.probe += share * other.probe;
    }
}

/// The loss of one batch with its terms; state terms follow the layers that `stage_ends` counts.
pub(super) fn loss(
    student: &Student,
    tokenizer: &Tokenizer,
    batch: &Batch,
    stage_ends: [usize; 4],
    device: &Device,
) -> (Tensor<1>, Terms) {
    let clip = &student.clip;
    let images = batch.captions.len();
    let patches = batch.grid * batch.grid;
    let side = batch.grid * clip.vision.patch_size();
    let floats = |values: &[f32], shape: [usize; 2]| {
        Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), device)
    };

    // Text: captions, the pair, the phrases in one pass.
    let mut texts: Vec<&str> = batch.captions.iter().map(String::as_str).collect();
    texts.extend(batch.prompts.iter().map(String::as_str));
    texts.extend(batch.phrases.iter().map(String::as_str));
    let texts = normalize(clip.text.forward(&tokenizer.tokenize(&texts, 77), device));
    let captions = texts.clone().narrow(0, 0, images);
    let pair = texts.clone().narrow(0, images, 2);
    let phrases = texts.narrow(0, images + 2, batch.phrases.len());
    let axis = (pair.clone().narrow(0, 1, 1) - pair.narrow(0, 0, 1)).transpose(); // [e, 1]
    let scale = clip.logit_scale.val().clamp_max(MAX_LOGIT_SCALE).exp();

    // Image tower over the window's positions.
    let pixels = TensorData::new(batch.pixels.clone(), [images, 3, side, side]);
    let pixels = Tensor::<4>::from_data(pixels, device);
    let positions = TensorData::new(batch.positions.clone(), [images, patches]);
    let positions = Tensor::<2, Int>::from_data(positions, device);
    let mut x = clip.vision.embed_at(pixels, positions);
    let damaged = floats(&batch.damaged, [images, 1]);
    let coverage = floats(&batch.coverage, [images * patches, 1]);
    // A patch that a defect only touches is already a finding.
    let dense_target = coverage.mul_scalar(3.0).clamp_max(1.0);
    let dense_weight = dense_target.clone().mul_scalar(POSITIVE_WEIGHT - 1.0).add_scalar(1.0);

    let stages = STAGE_WEIGHTS.len();
    let mut total = Tensor::<1>::zeros([1], device);
    let mut terms = Terms::default();
    let mut last = None;
    let mut start = 0;
    for (stage, (weight, end)) in STAGE_WEIGHTS.into_iter().zip(stage_ends).enumerate() {
        for block in &clip.vision.blocks[start..end] {
            x = block.forward(x);
        }
        start = end;
        let normed = clip.vision.ln_post.forward(x.clone());
        let probe = student.probes[stage].forward(normed.clone()); // [b, n, 1]
        let e = normalize(clip.vision.projection.forward(normed));
        let [b, n, d] = e.dims();
        let probed_class = bce(probe.clone().narrow(1, 0, 1).reshape([b, 1]), damaged.clone());
        let probed = bce(probe.narrow(1, 1, n - 1).reshape([b * patches, 1]), dense_target.clone());
        let probed = (probed * dense_weight.clone()).sum() / dense_weight.clone().sum();
        let probed = probed_class.mean() + probed;
        let class = e.clone().narrow(1, 0, 1).reshape([b, d]);
        let tokens = e.narrow(1, 1, n - 1).reshape([b * patches, d]);
        let state =
            bce(class.clone().matmul(axis.clone()) * scale.clone().unsqueeze(), damaged.clone());
        let state = state.mean();
        let dense = bce(
            tokens.clone().matmul(axis.clone()) * scale.clone().unsqueeze(),
            dense_target.clone(),
        );
        let dense = (dense * dense_weight.clone()).sum() / dense_weight.clone().sum();
        total = total + (state.clone() + dense.clone() + probed.clone()).mul_scalar(weight);
        if stage + 1 == stages {
            terms.state = scalar(&state);
            terms.dense = scalar(&dense);
            terms.probe = scalar(&probed);
            last = Some((class, tokens));
        }
    }
    let (class, tokens) = last.expect("there is a last stage");
    let contrast =
        contrast(class.matmul(captions.transpose()) * scale.clone().unsqueeze(), &batch.captions);
    let region = region(tokens.matmul(phrases.transpose()) * scale.unsqueeze(), &batch.regions);
    terms.contrast = scalar(&contrast);
    terms.region = scalar(&region);
    total = total + contrast.mul_scalar(0.5) + region.mul_scalar(0.5);
    terms.total = scalar(&total);
    (total, terms)
}

fn scalar(x: &Tensor<1>) -> f64 {
    f64::from(x.clone().into_scalar::<f32>())
}

/// Binary cross-entropy of logits and targets in [0, 1], element by element.
fn bce(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<2> {
    softplus(logits.clone(), 1.0) - logits * targets
}

/// CLIP's symmetric contrast; equal captions are equally right.
fn contrast(logits: Tensor<2>, captions: &[String]) -> Tensor<1> {
    let n = captions.len();
    let mut targets = vec![0f32; n * n];
    for i in 0..n {
        let same: Vec<usize> = (0..n).filter(|&j| captions[i] == captions[j]).collect();
        for &j in &same {
            targets[i * n + j] = 1.0 / same.len() as f32;
        }
    }
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [n, n]), &logits.device());
    let rows = (log_softmax(logits.clone(), 1) * targets.clone()).sum();
    let columns = (log_softmax(logits, 0) * targets).sum();
    (rows + columns) / (-2.0 * n as f64)
}

/// Cross-entropy of the labelled patches.
fn region(logits: Tensor<2>, labels: &[i64]) -> Tensor<1> {
    let device = logits.device();
    let (rows, picks): (Vec<i64>, Vec<i64>) = labels
        .iter()
        .enumerate()
        .filter(|(_, label)| **label >= 0)
        .map(|(row, label)| (row as i64, *label))
        .unzip();
    let n = rows.len();
    if n == 0 {
        return Tensor::zeros([1], &device);
    }
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [n]), &device);
    let picks = Tensor::<2, Int>::from_data(TensorData::new(picks, [n, 1]), &device);
    let chosen = log_softmax(logits.select(0, rows), 1).gather(1, picks);
    chosen.mean().neg()
}
