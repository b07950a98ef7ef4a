//! What must hold for any weights, on a small random backbone.
#![allow(clippy::unwrap_used)]

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use clip_vit::{Activation, Clip, ClipConfig, TextConfig, VisionConfig};
use fe_clip::{
    Checkpoint, FeClip, FeClipConfig, Head, Origin, Precision, Prompts, StageEnds, loss, save,
};

/// f32 through eight small layers.
const TOLERANCE: f32 = 2e-5;

fn backbone(device: &Device) -> Clip {
    device.seed(3);
    let activation = Activation::QuickGelu;
    let config = ClipConfig {
        vision: VisionConfig {
            width: 32,
            layers: 8,
            heads: 2,
            mlp_width: 64,
            patch_size: 4,
            image_size: 28,
            activation,
        },
        text: TextConfig {
            width: 16,
            layers: 1,
            heads: 1,
            mlp_width: 32,
            vocabulary: 49408,
            context_length: 77,
            activation,
        },
        embed_dim: 16,
    };
    Clip::new(&config, device)
}

fn images(n: usize, device: &Device) -> Tensor<4> {
    device.seed(11);
    Tensor::random([n, 3, 28, 28], Distribution::Normal(0.0, 1.0), device)
}

fn model(clip: &Clip, config: &FeClipConfig, prompts: &Prompts, head: Head) -> FeClip {
    FeClip::new(clip, config, prompts, head, &Device::flex()).unwrap()
}

fn fresh(clip: &Clip, config: &FeClipConfig) -> FeClip {
    let head = FeClip::new_head(clip, config, &Device::flex()).unwrap();
    model(clip, config, &Prompts::default(), head)
}

fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    (a - b).abs().max().into_scalar()
}

#[test]
fn without_adapters_the_last_class_score_is_plain_clip() {
    let device = Device::flex();
    let clip = backbone(&device);
    let config = FeClipConfig { lambda: 0.0, ..FeClipConfig::default() };
    let model = fresh(&clip, &config);
    let x = images(2, &device);
    let stages = model.stages(model.prefix(x.clone()));
    let unit = |t: Tensor<2>| t.clone() / t.square().sum_dim(1).sqrt();
    let image = unit(clip.vision.forward(x));
    let ids = clip_vit::Tokenizer::new()
        .tokenize(&["A photo of a normal object", "A photo of a damaged object"], 77);
    let text = unit(clip.text.forward(&ids, &device));
    let cosines = image.matmul(text.transpose()); // [2, 2]
    let margin = cosines.clone().narrow(1, 1, 1) - cosines.narrow(1, 0, 1);
    assert!(difference(stages.image.narrow(1, 3, 1), margin) < TOLERANCE);
}

#[test]
fn no_adapter_changes_the_first_class_score() {
    let device = Device::flex();
    let clip = backbone(&device);
    let config = FeClipConfig { lambda: 0.9, ..FeClipConfig::default() };
    let (one, other) = (fresh(&clip, &config), fresh(&clip, &config));
    let x = one.prefix(images(2, &device));
    let (a, b) = (one.stages(x.clone()), other.stages(x));
    assert_eq!(difference(a.image.clone().narrow(1, 0, 1), b.image.clone().narrow(1, 0, 1)), 0.0);
    assert!(difference(a.image.narrow(1, 1, 3), b.image.narrow(1, 1, 3)) > 1e-4);
}

#[test]
fn swapping_the_prompts_gives_one_minus_score_and_map() {
    let device = Device::flex();
    let clip = backbone(&device);
    let config = FeClipConfig::default();
    let prompts = Prompts::default();
    let head = FeClip::new_head(&clip, &config, &device).unwrap();
    let swapped = Prompts { normal: prompts.anomalous.clone(), anomalous: prompts.normal.clone() };
    let (one, other) =
        (model(&clip, &config, &prompts, head.clone()), model(&clip, &config, &swapped, head));
    let x = one.prefix(images(2, &device));
    let (a, b) = (one.stages(x.clone()), other.stages(x));
    let sum = one.image_score(&a) + other.image_score(&b);
    assert!(difference(sum.clone(), sum.ones_like()) < TOLERANCE);
    let sum = one.patch_map(&a) + other.patch_map(&b);
    assert!(difference(sum.clone(), sum.ones_like()) < TOLERANCE);
}

#[test]
fn a_batch_is_its_images_one_by_one() {
    let device = Device::flex();
    let clip = backbone(&device);
    let model = fresh(&clip, &FeClipConfig::default());
    let x = images(3, &device);
    let all = model.patch_map(&model.stages(model.prefix(x.clone())));
    for i in 0..3 {
        let one = model.stages(model.prefix(x.clone().narrow(0, i, 1)));
        assert!(difference(model.patch_map(&one), all.clone().narrow(0, i, 1)) < TOLERANCE);
    }
}

#[test]
fn gradients_reach_the_first_adapter_from_the_last_map_but_not_from_the_first_score() {
    let device = Device::flex();
    let clip = backbone(&device);
    let mut model = fresh(&clip, &FeClipConfig::default());
    let autodiff = device.clone().autodiff();
    model.head = model.head.clone().fork(&autodiff).train();
    let prefix = model.prefix(images(2, &device));
    let first_adapter = |of: fn(fe_clip::Stages) -> Tensor<1>| {
        let prefix = Tensor::from_inner(prefix.clone());
        let gradients = of(model.stages(prefix)).backward();
        let weight = model.head.stages[0].ffe.as_ref().unwrap().linear.weight.val();
        weight.grad(&gradients).map(|g| g.abs().sum().into_scalar::<f32>())
    };
    assert!(first_adapter(|s| s.pixel.narrow(1, 3, 1).sum()).is_some_and(|g| g > 0.0));
    // The first class margin alone has no trainable ancestor; the second one has.
    assert!(first_adapter(|s| s.image.narrow(1, 1, 1).sum()).is_some_and(|g| g > 0.0));
    let from_first = first_adapter(|s| {
        let zero = s.pixel.sum() * 0.0;
        s.image.narrow(1, 0, 1).sum() + zero
    });
    assert_eq!(from_first.unwrap_or(0.0), 0.0);
}

#[test]
fn the_loss_of_certain_and_right_answers_is_small_and_of_wrong_ones_large() {
    let device = Device::flex();
    let stages = |sign: f32| fe_clip::Stages {
        image: Tensor::full([1, 2], sign, &device),
        pixel: Tensor::full([1, 2, 3, 3], sign, &device),
        tokens: Vec::new(),
        class: Tensor::zeros([1, 1], &device),
        last: Tensor::zeros([1, 3, 3, 1], &device),
    };
    let (_, right) = loss(&stages(1.0), 0.05, &[1.0], Some(&[1.0; 36]), 6);
    let (_, wrong) = loss(&stages(-1.0), 0.05, &[1.0], Some(&[1.0; 36]), 6);
    assert!(right.loss < 1e-3, "{right:?}");
    assert!((wrong.loss_cls - 20.0).abs() < 1e-3, "{wrong:?}");
    assert!(wrong.loss_dice > 0.95 && wrong.loss_focal > 5.0, "{wrong:?}");
}

#[test]
fn checkpoints_come_back_in_both_namings_and_refuse_another_model() {
    let device = Device::flex();
    let clip = backbone(&device);
    let config = FeClipConfig::default();
    let head = FeClip::new_head(&clip, &config, &device).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapters.safetensors");
    let origin = Origin {
        config: Some(config.clone().into()),
        prompts: Some(Prompts::default()),
        ..Origin::default()
    };
    save(&path, &head, &origin, Precision::Full).unwrap();
    let read = Checkpoint::read(&path).unwrap();
    assert_eq!(read.origin.config, Some(config.clone().into()));
    let again = read.head(FeClip::new_head(&clip, &config, &device).unwrap(), &device).unwrap();
    let x = images(1, &device);
    let one = model(&clip, &config, &Prompts::default(), head);
    let map = one.patch_map(&one.stages(one.prefix(x.clone())));
    let other = model(&clip, &config, &Prompts::default(), again);
    assert_eq!(
        difference(map.clone(), other.patch_map(&other.stages(other.prefix(x.clone())))),
        0.0
    );

    // The public PyTorch re-implementation's names, without our metadata.
    let bytes = std::fs::read(&path).unwrap();
    let ours = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed: Vec<(String, safetensors::tensor::TensorView<'_>)> = ours
        .iter()
        .map(|(key, view)| {
            let words: Vec<&str> = key.split('.').collect();
            let name = match words[..] {
                ["stages", n, "ffe", "linear", leaf] => format!("ffe.{n}.mlp.0.{leaf}"),
                ["stages", n, "lfs", "conv", leaf] => format!("lfs.{n}.conv.0.{leaf}"),
                ["patch_projection", leaf] => format!("fc_patch.{leaf}"),
                _ => panic!("unexpected key {key}"),
            };
            (name, view)
        })
        .collect();
    let bytes = safetensors::serialize(renamed, None).unwrap();
    let theirs = Checkpoint::from_bytes(&bytes, &path).unwrap();
    let other = model(
        &clip,
        &config,
        &Prompts::default(),
        theirs.head(FeClip::new_head(&clip, &config, &device).unwrap(), &device).unwrap(),
    );
    assert_eq!(difference(map, other.patch_map(&other.stages(other.prefix(x)))), 0.0);

    let fewer = FeClipConfig { stage_ends: Some(StageEnds::Layers(vec![4, 8])), ..config };
    let error = Checkpoint::read(&path)
        .unwrap()
        .head(FeClip::new_head(&clip, &fewer, &device).unwrap(), &device)
        .unwrap_err();
    let message = error.to_string();
    assert!(message.contains("unexpected stages.2.ffe.linear.weight"), "{message}");
    assert!(message.contains("adapters.safetensors"), "{message}");
}
