//! The training loss, eq. 4 and 5.

use burn::tensor::activation::{sigmoid, softplus};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::detect::floats;
use crate::model::Stages;
use crate::resample::bilinear;

/// Label smoothing of the focal loss.
///
/// Source: AnomalyCLIP, `loss.py`.
const SMOOTH: f64 = 1e-5;
/// Focusing exponent of the focal loss.
const GAMMA: i32 = 2;

/// The loss of a batch: the sum and its terms, each a mean over the stages.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LossTerms {
    /// Sum of the others.
    pub loss: f64,
    /// Binary cross-entropy of the image scores.
    pub loss_cls: f64,
    /// Focal loss of the pixel maps.
    pub loss_focal: f64,
    /// Dice loss of the pixel maps.
    pub loss_dice: f64,
}

/// The loss of one batch.
///
/// # Shapes
/// - `anomalous`: 1 or 0 an image
/// - `masks`: 1 or 0 a pixel, `[batch, size, size]` row-major
///
/// # Panics
/// If the shapes disagree.
pub fn loss(
    stages: &Stages,
    temperature: f64,
    anomalous: &[f32],
    masks: &[f32],
    size: usize,
) -> (Tensor<1>, LossTerms) {
    let device = stages.image.device();
    let [b, n] = stages.image.dims();
    let labels = tensor(anomalous, [b, 1], &device);
    let logits = stages.image.clone() / temperature;
    // softplus((1 - 2y) x) = softplus(x) - y x
    let cls = (softplus(logits.clone(), 1.0) - logits * labels.expand([b, n])).mean();

    let masks = tensor(masks, [b, size * size], &device);
    let (mut focal_sum, mut dice_sum) =
        (Tensor::<1>::zeros([1], &device), Tensor::<1>::zeros([1], &device));
    for stage in 0..n {
        let grid = stages.pixel.clone().narrow(1, stage, 1).squeeze_dim::<3>(1); // [b, h, w]
        let map = upsample(sigmoid(grid / temperature), size).reshape([b, size * size]);
        focal_sum = focal_sum + focal(map.clone(), masks.clone());
        dice_sum = dice_sum + dice(map, masks.clone());
    }
    let (focal, dice) = (focal_sum / n as f64, dice_sum / n as f64);
    let total = cls.clone() + focal.clone() + dice.clone();
    let packed = Tensor::cat(vec![total.clone(), cls, focal, dice], 0);
    let values: Vec<f64> = floats(packed.inner()).into_iter().map(f64::from).collect();
    let terms = LossTerms {
        loss: values[0],
        loss_cls: values[1],
        loss_focal: values[2],
        loss_dice: values[3],
    };
    (total, terms)
}

/// Bilinear upsampling of token maps, `align_corners = false`.
fn upsample(maps: Tensor<3>, size: usize) -> Tensor<3> {
    let device = maps.device();
    let [_, h, w] = maps.dims();
    let matrix = |from: usize| {
        let (values, _) = bilinear(from, size).into_raw_vec_and_offset();
        tensor(&values, [size, from], &device)
    };
    let rows = matrix(h).unsqueeze::<3>().matmul(maps); // [b, size, w]
    rows.matmul(matrix(w).transpose().unsqueeze())
}

/// Focal loss over both channels, mean over pixels: -(1 - p)^2 log p of the true class.
fn focal(map: Tensor<2>, masks: Tensor<2>) -> Tensor<1> {
    let target = masks.clamp(SMOOTH, 1.0 - SMOOTH);
    let p = target.clone() * map.clone() + (target.neg() + 1.0) * (map.neg() + 1.0) + SMOOTH;
    ((p.clone().neg() + 1.0).powi_scalar(GAMMA) * p.log()).mean().neg()
}

/// Dice loss of the anomalous channel, mean over images.
fn dice(map: Tensor<2>, masks: Tensor<2>) -> Tensor<1> {
    let overlap = (map.clone() * masks.clone()).sum_dim(1);
    let sizes = map.sum_dim(1) + masks.sum_dim(1);
    ((overlap * 2.0 + 1.0) / (sizes + 1.0)).mean().neg() + 1.0
}

fn tensor(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}
