//! CLIP, WinCLIP and APRIL-GAN against a PyTorch transcription (`golden_methods/generate.py`).
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use clip_vit::Clip;
use fe_clip::{
    AprilGanConfig, Checkpoint, ClipConfig, Detector, Head, Method, Prediction, RunConfig, Truth,
    WinclipConfig, model_to_train,
};
use ndarray::{Array2, Array3};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// Single precision through four layers; the windows' harmonic means add to it.
const TOLERANCE: f32 = 2e-4;
/// Relative to the largest gradient of a parameter.
const GRADIENT_TOLERANCE: f32 = 1e-4;
const SIZE: usize = 20;

fn read(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden_methods").join(name)).unwrap()
}

/// What the transcription wrote.
struct Expected(Vec<u8>);

impl Expected {
    fn values(&self, key: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(key).unwrap();
        view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn images(&self, key: &str) -> Vec<Array3<f32>> {
        let values = self.values(key);
        let each = values.chunks_exact(3 * SIZE * SIZE);
        each.map(|v| Array3::from_shape_vec((3, SIZE, SIZE), v.to_vec()).unwrap()).collect()
    }

    #[track_caller]
    fn assert_predictions(&self, name: &str, found: &[Prediction]) {
        let (scores, maps) =
            (self.values(&format!("{name}.score")), self.values(&format!("{name}.map")));
        assert_eq!(found.len(), scores.len());
        for (i, (prediction, map)) in found.iter().zip(maps.chunks_exact(SIZE * SIZE)).enumerate() {
            let off = (prediction.score - scores[i]).abs();
            assert!(off < TOLERANCE, "{name}: score {} is {}", prediction.score, scores[i]);
            let map = Array2::from_shape_vec((SIZE, SIZE), map.to_vec()).unwrap();
            let worst = (&prediction.map - &map).iter().fold(0f32, |m, d| m.max(d.abs()));
            assert!(worst < TOLERANCE, "{name}: the map of image {i} is off by {worst}");
        }
    }
}

/// The backbone in the layout of transformers, through the loader that users have.
fn backbone(device: &Device) -> Clip {
    const CONFIG: &str = r#"{"model_type": "clip", "projection_dim": 12,
        "text_config": {"hidden_act": "quick_gelu", "hidden_size": 16, "intermediate_size": 32,
            "max_position_embeddings": 32, "num_attention_heads": 2, "num_hidden_layers": 1,
            "vocab_size": 49408},
        "vision_config": {"hidden_act": "quick_gelu", "hidden_size": 16, "image_size": 20,
            "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 4,
            "patch_size": 4}}"#;
    let bytes = read("backbone.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (rows, ids) = (file.tensor("token_rows").unwrap(), file.tensor("token_ids").unwrap());
    let mut table = vec![0u8; 49408 * 32]; // half precision, 16 channels
    for (id, row) in ids.data().chunks_exact(4).zip(rows.data().chunks_exact(32)) {
        let id = u32::from_le_bytes(id.try_into().unwrap()) as usize;
        table[id * 32..(id + 1) * 32].copy_from_slice(row);
    }
    let mut tensors: HashMap<String, TensorView<'_>> =
        file.iter().filter(|(k, _)| !k.starts_with("token_")).map(|(k, v)| (k.into(), v)).collect();
    let table = TensorView::new(Dtype::F16, vec![49408, 16], &table).unwrap();
    tensors.insert("text_model.embeddings.token_embedding.weight".into(), table);
    let weights = safetensors::serialize(tensors, None).unwrap();
    clip_vit::load_bytes("golden", CONFIG.as_bytes(), &weights, device).unwrap().0
}

/// The methods without smoothing, as the transcription has none.
fn plain_clip() -> RunConfig {
    let config = ClipConfig { smoothing_sigma: Some(0.0), ..ClipConfig::default() };
    RunConfig::of_method(Method::Clip(config))
}

fn april_gan() -> RunConfig {
    let config = AprilGanConfig { smoothing_sigma: Some(0.0), ..AprilGanConfig::default() };
    RunConfig::of_method(Method::AprilGan(config))
}

#[test]
fn plain_clip_with_two_prompts() {
    let device = Device::flex();
    let expected = Expected(read("expected.safetensors"));
    let run = plain_clip();
    let mut detector = Detector::new(&run, Some(backbone(&device)), None, &device).unwrap();
    detector.describe("metal_nut");
    expected.assert_predictions("clip", &detector.detect(&expected.images("images")));
    assert!(detector.check_normals(1).unwrap_err().to_string().contains("no use of normal"));
}

#[test]
fn winclip_without_and_with_normal_images() {
    let device = Device::flex();
    let expected = Expected(read("expected.safetensors"));
    let run = RunConfig::of_method(Method::Winclip(WinclipConfig::default()));
    let mut detector = Detector::new(&run, Some(backbone(&device)), None, &device).unwrap();
    let images = expected.images("images");
    let of_an_object = detector.detect(&images);
    detector.describe("metal_nut");
    expected.assert_predictions("winclip", &detector.detect(&images));
    assert_ne!(of_an_object[0].score, detector.detect(&images)[0].score);
    detector.remember(&expected.images("references"));
    expected.assert_predictions("winclip_few", &detector.detect(&images));
}

fn april_gan_head(clip: &Clip, run: &RunConfig, expected: &Expected, device: &Device) -> Head {
    let mut head = run.model.method.new_head(clip, device).unwrap();
    assert_eq!(head.patch_projection.len(), 4);
    for (n, layer) in head.patch_projection.iter_mut().enumerate() {
        let weight = expected.values(&format!("patch_projection.{n}.weight"));
        let weight = Tensor::<2>::from_data(TensorData::new(weight, [12, 16]), device);
        layer.weight = Param::from_tensor(weight.transpose());
        let bias = expected.values(&format!("patch_projection.{n}.bias"));
        layer.bias =
            Some(Param::from_tensor(Tensor::from_data(TensorData::new(bias, [12]), device)));
    }
    head
}

#[test]
fn april_gan_without_and_with_normal_images() {
    let device = Device::flex();
    let expected = Expected(read("expected.safetensors"));
    let (clip, run) = (backbone(&device), april_gan());
    let head = april_gan_head(&clip, &run, &expected, &device);
    let mut detector = Detector::new(&run, Some(clip), Some(head), &device).unwrap();
    detector.describe("metal_nut");
    let images = expected.images("images");
    expected.assert_predictions("april_gan", &detector.detect(&images));
    detector.remember(&expected.images("references"));
    expected.assert_predictions("april_gan_few", &detector.detect(&images));
}

#[test]
fn april_gan_loss_and_gradients() {
    let device = Device::flex();
    let expected = Expected(read("expected.safetensors"));
    let (clip, run) = (backbone(&device), april_gan());
    let head = april_gan_head(&clip, &run, &expected, &device);
    let mut model = model_to_train(&run, clip, head, &device).unwrap().0;
    let images: Vec<f32> = expected.values("images");
    let images = Tensor::<4>::from_data(TensorData::new(images, [2, 3, SIZE, SIZE]), &device);
    let prefix = model.prefix(images);
    model.describe(&["metal_nut", "screw"]);
    let head = model.head().clone().fork(&device.clone().autodiff()).train();
    model.set_head(head);
    let form = run.model.method.loss_form(&run.train).unwrap();
    let masks = expected.values("masks");
    let truth = Truth { anomalous: &[1.0, 0.0], masks: Some(&masks), size: SIZE };
    let (loss, terms) = model.loss(&form, Tensor::from_inner(prefix), &truth);
    let losses = expected.values("april_gan.losses");
    assert!((terms.loss_focal - f64::from(losses[0])).abs() < 1e-3, "{terms:?} {losses:?}");
    assert!((terms.loss_dice - f64::from(losses[1])).abs() < 1e-4, "{terms:?} {losses:?}");
    assert_eq!(terms.loss_cls, 0.0);
    let gradients = loss.backward();
    for (n, layer) in model.head().patch_projection.iter().enumerate() {
        let weight = layer.weight.val().grad(&gradients).unwrap().transpose();
        let bias = layer.bias.as_ref().unwrap().val().grad(&gradients).unwrap();
        let floats = |data: TensorData| data.try_to_vec::<f32>().unwrap();
        for (what, found) in
            [("weight", floats(weight.into_data())), ("bias", floats(bias.into_data()))]
        {
            let expected = expected.values(&format!("gradient.{n}.{what}"));
            let scale = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
            let worst = found.iter().zip(&expected).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(worst < GRADIENT_TOLERANCE * scale, "{n}.{what}: off by {worst} of {scale}");
        }
    }
}

#[test]
fn the_authors_file_of_april_gan_is_read() {
    let device = Device::flex();
    let expected = Expected(read("expected.safetensors"));
    let (clip, run) = (backbone(&device), april_gan());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden_methods/april_gan.pth");
    let head = run.model.method.new_head(&clip, &device).unwrap();
    let head = Checkpoint::read(&path).unwrap().head(head, &device).unwrap();
    let mut detector = Detector::new(&run, Some(clip), Some(head), &device).unwrap();
    detector.describe("metal_nut");
    expected.assert_predictions("april_gan", &detector.detect(&expected.images("images")));
}
