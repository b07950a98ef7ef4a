//! Image towers with products in other numbers, beside float32: random weights with channels that stand out, as they do
//! in trained models.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use clip_vit::{
    Activation, Arithmetic, Clip, ClipConfig, Precision, TextConfig, VisionConfig, load, load_in,
    save_hf,
};

/// Burn's random numbers come from one generator a process: tests that draw at the same time would change what the
/// others find.
static RANDOM: Mutex<()> = Mutex::new(());

const WIDTH: usize = 256;
const CHANNELS: [usize; 4] = [3, 70, 131, 250];

fn config(width: usize, activation: Activation) -> ClipConfig {
    ClipConfig {
        vision: VisionConfig {
            width,
            layers: 8,
            heads: 4,
            mlp_width: 4 * width,
            patch_size: 14,
            image_size: 112,
            activation,
        },
        text: TextConfig {
            width: 16,
            layers: 1,
            heads: 1,
            mlp_width: 32,
            vocabulary: 100,
            context_length: 8,
            activation,
        },
        embed_dim: 128,
    }
}

/// One, and `factor` in the channels that stand out.
fn factors(factor: f32, device: &Device) -> Tensor<1> {
    let mut factors = vec![1f32; WIDTH];
    CHANNELS.into_iter().for_each(|channel| factors[channel] = factor);
    Tensor::from_data(TensorData::new(factors, [WIDTH]), device)
}

/// Scales the channels that a layer adds to the residual stream.
fn scale_outputs(layer: &mut Linear, factors: &Tensor<1>) {
    let all = factors.clone();
    layer.weight = layer.weight.clone().map(|w| w * all.unsqueeze());
    let all = factors.clone();
    layer.bias = layer.bias.clone().map(|bias| bias.map(|bias| bias * all));
}

/// Scales channels of a norm, and the weights of the layer after it inversely: float32 computes the same.
fn scale_between(
    gamma: &mut Param<Tensor<1>>,
    beta: &mut Option<Param<Tensor<1>>>,
    layer: &mut Linear,
    device: &Device,
) {
    let all = factors(30.0, device);
    *gamma = gamma.clone().map(|gamma| gamma * all.clone());
    *beta = beta.clone().map(|beta| beta.map(|beta| beta * all));
    let inverse = factors(1.0 / 30.0, device).reshape([WIDTH, 1]);
    layer.weight = layer.weight.clone().map(|w| w * inverse);
}

#[derive(Clone, Copy, Debug)]
enum Outliers {
    None,
    Residual,
    Norms,
}

fn saved(outliers: Outliers, folder: &std::path::Path) {
    let device = Device::flex();
    device.seed(7);
    let config = config(WIDTH, Activation::QuickGelu);
    let mut clip = Clip::new(&config, &device);
    for block in &mut clip.vision.blocks {
        match outliers {
            Outliers::None => {}
            Outliers::Residual => {
                scale_outputs(&mut block.out, &factors(30.0, &device));
                scale_outputs(&mut block.proj, &factors(30.0, &device));
            }
            Outliers::Norms => {
                scale_between(&mut block.ln_1.gamma, &mut block.ln_1.beta, &mut block.qkv, &device);
                scale_between(&mut block.ln_2.gamma, &mut block.ln_2.beta, &mut block.fc, &device);
            }
        }
    }
    save_hf(&clip, &config, folder, Precision::F32).unwrap();
}

fn embeddings(clip: &Clip) -> Vec<f32> {
    let device = Device::flex();
    device.seed(8);
    let images = Tensor::random([6, 3, 112, 112], Distribution::Normal(0.0, 1.0), &device);
    clip.vision.forward(images).into_data().try_into_vec().unwrap()
}

fn smallest_cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    let cosine = |(a, b): (&[f32], &[f32])| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    a.chunks(128).zip(b.chunks(128)).map(cosine).fold(1.0, f64::min)
}

#[test]
fn embeddings_stay_near_those_of_float32_with_outliers() {
    let _random = RANDOM.lock();
    for outliers in [Outliers::None, Outliers::Residual, Outliers::Norms] {
        let folder = tempfile::tempdir().unwrap();
        saved(outliers, folder.path());
        let float32 = load(folder.path(), None, &Device::flex()).unwrap();
        let expected = embeddings(&float32.clip);
        for (arithmetic, bound) in [(Arithmetic::Bfloat16, 0.9999), (Arithmetic::Int8, 0.999)] {
            let other = load_in(folder.path(), None, arithmetic, &Device::flex()).unwrap();
            assert_eq!(other.clip.vision.arithmetic(), arithmetic);
            let found = embeddings(&other.clip);
            assert_eq!(other.clip.vision.arithmetic(), arithmetic, "a pass looked at the weights");
            let cosine = smallest_cosine(&found, &expected);
            assert!(cosine >= bound && found != expected, "{outliers:?}, {arithmetic:?}: {cosine}");
        }
    }
}

#[test]
fn what_cannot_be_computed_in_other_numbers_is_refused() {
    let _random = RANDOM.lock();
    let folder = tempfile::tempdir().unwrap();
    let config = config(40, Activation::Gelu);
    let device = Device::flex();
    save_hf(&Clip::new(&config, &device), &config, folder.path(), Precision::F32).unwrap();
    let refusal = |device: &Device| {
        load_in(folder.path(), None, Arithmetic::Bfloat16, device).unwrap_err().to_string()
    };
    let widths =
        "bfloat16: expected widths that are multiples of 16, the image tower's are 40 and 160";
    assert_eq!(refusal(&device), widths);
    assert!(refusal(&device.autodiff()).contains("only the CPU backend flex computes in it"));
}
