//! The training loss, eq. 4 and 5.

use std::fmt;

use burn::tensor::activation::{sigmoid, softplus};
use burn::tensor::{Device, Tensor, TensorData};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::model::Stages;
use crate::resample::{bilinear, bilinear_aligned};
use crate::settings::fe_clip::FeClipConfig;
use crate::settings::train::TrainConfig;
use crate::tensors::floats;

/// Label smoothing of the focal loss.
///
/// Source: AnomalyCLIP, `loss.py`.
const SMOOTH: f64 = 1e-5;

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

impl fmt::Display for LossTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loss, loss_cls, loss_focal, loss_dice } = self;
        write!(f, "loss {loss} (cls {loss_cls}, focal {loss_focal}, dice {loss_dice})")
    }
}

/// The loss of one batch with the defaults of `run.toml`.
///
/// # Shapes
/// - `anomalous`: 1 or 0 an image
/// - `masks`: 1 or 0 a pixel, `[batch, size, size]` row-major; without them the pixel terms are 0
///
/// # Panics
/// If the shapes disagree.
pub fn loss(
    stages: &Stages,
    temperature: f64,
    anomalous: &[f32],
    masks: Option<&[f32]>,
    size: usize,
) -> (Tensor<1>, LossTerms) {
    LossForm::new(&FeClipConfig::default(), &TrainConfig::default()).loss(
        stages,
        temperature,
        anomalous,
        masks,
        size,
    )
}

/// Which loss it is.
#[derive(Debug, Clone)]
pub struct LossForm {
    pub(crate) image_weight: f64,
    pub(crate) mask_weight: f64,
    pub(crate) gamma: f64,
    pub(crate) alpha: Option<f64>,
    pub(crate) dice_complement: bool,
    pub(crate) align_corners: bool,
    pub(crate) upsampled: Upsampled,
    pub(crate) over_stages: OverStages,
}

/// What is upsampled to pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upsampled {
    /// Probabilities of tokens.
    Probabilities,
    /// Logits of tokens; probabilities are those of pixels.
    Logits,
}

/// How the mask losses of the stages become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverStages {
    Mean,
    Sum,
}

impl LossForm {
    /// FE-CLIP's loss, eq. 4 and 5, as the settings ask for.
    pub fn new(model: &FeClipConfig, train: &TrainConfig) -> Self {
        Self {
            image_weight: train.image_loss_weight,
            mask_weight: train.mask_loss_weight,
            gamma: train.focal_gamma,
            alpha: train.focal_alpha,
            dice_complement: train.dice_complement,
            align_corners: model.align_corners,
            upsampled: Upsampled::Probabilities,
            over_stages: OverStages::Mean,
        }
    }

    /// The loss of one batch and its terms; arguments as for [`loss`].
    ///
    /// # Panics
    /// If the shapes disagree.
    pub fn loss(
        &self,
        stages: &Stages,
        temperature: f64,
        anomalous: &[f32],
        masks: Option<&[f32]>,
        size: usize,
    ) -> (Tensor<1>, LossTerms) {
        let (image, pixel) = (stages.image.clone(), stages.pixel.clone());
        self.of_margins(image, Some(pixel), temperature, anomalous, masks.zip(Some(size)))
    }

    /// The same from cosine differences; without those of patches nothing is learned from masks.
    ///
    /// # Shapes
    /// - image: `[batch, stages]`
    /// - pixel: `[batch, stages, height, width]`
    /// - masks: `[batch, size, size]` and their `size`
    pub(crate) fn of_margins(
        &self,
        image: Tensor<2>,
        pixel: Option<Tensor<4>>,
        temperature: f64,
        anomalous: &[f32],
        masks: Option<(&[f32], usize)>,
    ) -> (Tensor<1>, LossTerms) {
        let device = image.device();
        let [b, n] = image.dims();
        let labels = tensor(anomalous, [b, 1], &device);
        let logits = image / temperature;
        // softplus((1 - 2y) x) = softplus(x) - y x
        let cls = (softplus(logits.clone(), 1.0) - logits * labels.expand([b, n])).mean();
        let cls = cls * self.image_weight;

        let zero = || Tensor::<1>::zeros([1], &device);
        let (mut focal, mut dice) = (zero(), zero());
        if let (Some((masks, size)), Some(pixel)) = (masks, pixel) {
            let masks = tensor(masks, [b, size * size], &device);
            for stage in 0..n {
                let grid = pixel.clone().narrow(1, stage, 1).squeeze_dim::<3>(1) / temperature;
                let map = self.pixels(grid, size);
                focal = focal + self.focal(map.clone(), masks.clone());
                dice = dice + self.dice(map, masks.clone());
            }
        }
        let share = match self.over_stages {
            OverStages::Mean => self.mask_weight / n as f64,
            OverStages::Sum => self.mask_weight,
        };
        let (focal, dice) = (focal * share, dice * share);
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

    /// Probabilities of pixels, `[batch, size * size]`, from logits of patches.
    fn pixels(&self, grid: Tensor<3>, size: usize) -> Tensor<2> {
        let interpolation = if self.align_corners { bilinear_aligned } else { bilinear };
        let map = match self.upsampled {
            Upsampled::Probabilities => upsample(sigmoid(grid), size, interpolation),
            Upsampled::Logits => sigmoid(upsample(grid, size, interpolation)),
        };
        map.flatten(1, 2)
    }

    /// Focal loss over both channels, mean over pixels: -(1 - p)^gamma log p of the true class.
    pub(crate) fn focal(&self, map: Tensor<2>, masks: Tensor<2>) -> Tensor<1> {
        let target = masks.clone().clamp(SMOOTH, 1.0 - SMOOTH);
        let p = target.clone() * map.clone() + (target.neg() + 1.0) * (map.neg() + 1.0) + SMOOTH;
        let miss = p.clone().neg() + 1.0;
        let focus = if self.gamma == 2.0 {
            miss.clone() * miss
        } else {
            // A base of zero has no finite slope below an exponent of 1; rounding may pass it.
            miss.clamp_min(1e-12).powf_scalar(self.gamma)
        };
        let loss = focus * p.log();
        match self.alpha {
            None => loss.mean().neg(),
            Some(alpha) => (loss * (masks * (2.0 * alpha - 1.0) + (1.0 - alpha))).mean().neg(),
        }
    }

    fn dice(&self, map: Tensor<2>, masks: Tensor<2>) -> Tensor<1> {
        let anomalous = dice(map.clone(), masks.clone());
        if self.dice_complement {
            anomalous + dice(map.neg() + 1.0, masks.neg() + 1.0)
        } else {
            anomalous
        }
    }
}

/// Upsampling of token maps by the matrix of one axis.
fn upsample(
    maps: Tensor<3>,
    size: usize,
    interpolation: fn(usize, usize) -> Array2<f32>,
) -> Tensor<3> {
    let device = maps.device();
    let [_, h, w] = maps.dims();
    let matrix = |from: usize| {
        let (values, _) = interpolation(from, size).into_raw_vec_and_offset();
        tensor(&values, [size, from], &device)
    };
    let rows = matrix(h).unsqueeze::<3>().matmul(maps); // [b, size, w]
    rows.matmul(matrix(w).transpose().unsqueeze())
}

/// Dice loss of one channel, mean over images.
fn dice(map: Tensor<2>, masks: Tensor<2>) -> Tensor<1> {
    let overlap = (map.clone() * masks.clone()).sum_dim(1);
    let sizes = map.sum_dim(1) + masks.sum_dim(1);
    ((overlap * 2.0 + 1.0) / (sizes + 1.0)).mean().neg() + 1.0
}

fn tensor(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}
