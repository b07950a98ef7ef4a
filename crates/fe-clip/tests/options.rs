//! Every setting that the paper leaves open does what it says, on a small random backbone.
#![allow(clippy::unwrap_used)]

mod small;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::nn::EmbeddingConfig;
use burn::tensor::{Device, Distribution, Tensor};
use clip_vit::{Clip, TokenHead};
use data::{Defect, Sample, Split};
use fe_clip::{
    AdaClipConfig, AdapterInit, AprilGanConfig, Checkpoint, ClipConfig, Detector, Error, FeClip,
    FeClipConfig, FewFeature, GroupConfig, Head, Interpolation, LossForm, LossTerms, Method,
    ModelConfig, Origin, Precision, Preparation, Prompts, RunConfig, Stages, Storage, Temperature,
    TrainConfig, TrainingRun, model_to_train, save,
};
use image::{Rgb, RgbImage};
use ndarray::Array3;
use small::Look;

/// f32 through four small layers.
const TOLERANCE: f32 = 2e-5;
const SIDE: usize = 20;

fn backbone(device: &Device) -> Clip {
    device.seed(3);
    small::backbone(SIDE, device)
}

/// Burn's random numbers come from one generator a process: two tests that seed it at the same
/// time would disturb each other.
static RANDOM: Mutex<()> = Mutex::new(());

/// The backbone and a head, each drawn by its seed whatever the settings.
fn drawn(config: &FeClipConfig) -> (Clip, Head) {
    drawn_for(&Method::FeClip(config.clone()))
}

fn drawn_for(method: &Method) -> (Clip, Head) {
    let _alone = RANDOM.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    let clip = backbone(&device);
    clip.vision.visit(&mut Look);
    clip.text.visit(&mut Look);
    device.seed(5);
    let head = method.new_head(&clip, &device).unwrap();
    head.visit(&mut Look);
    (clip, head)
}

/// The head in a file; its first weights are drawn before they are replaced.
fn loaded(path: &Path, clip: &Clip, config: &FeClipConfig) -> Result<Head, Error> {
    let _alone = RANDOM.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    Checkpoint::read(path)?.head(FeClip::new_head(clip, config, &device)?, &device)
}

fn model(config: &FeClipConfig) -> FeClip {
    let (clip, head) = drawn(config);
    FeClip::new(&clip, config, &Prompts::default(), head, &Device::flex()).unwrap()
}

fn detector(config: FeClipConfig) -> Detector {
    detector_of(FeClipConfig { smoothing_sigma: Some(0.0), ..config }.into())
}

fn detector_of(model: ModelConfig) -> Detector {
    let (clip, head) = drawn_for(&model.method);
    let run = RunConfig { model, ..RunConfig::default() };
    Detector::new(&run, Some(clip), Some(head), &Device::flex()).unwrap()
}

fn stages(model: &FeClip) -> Stages {
    let device = Device::flex();
    let _alone = RANDOM.lock().unwrap_or_else(PoisonError::into_inner);
    device.seed(11);
    let images = Tensor::random([2, 3, SIDE, SIDE], Distribution::Normal(0.0, 1.0), &device);
    model.stages(model.prefix(images))
}

fn photo(phase: f32, side: usize) -> Array3<f32> {
    Array3::from_shape_fn((3, side, side), |(c, y, x)| {
        (phase + c as f32 + 0.9 * x as f32 + 0.3 * (y * y) as f32).sin()
    })
}

fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    (a - b).abs().max().into_scalar()
}

fn sigmoid(x: Tensor<1>) -> Tensor<1> {
    burn::tensor::activation::sigmoid(x)
}

#[test]
fn only_the_score_stages_count() {
    let config = FeClipConfig { score_stages: Some(vec![2, 4]), ..FeClipConfig::default() };
    let model = model(&config);
    let found = stages(&model);
    let stage = |n: usize| sigmoid(found.image.clone().narrow(1, n - 1, 1).squeeze_dim(1) / 0.07);
    let expected = (stage(2) + stage(4)) / 2.0;
    assert!(difference(model.image_score(&found), expected) < TOLERANCE);
    let beyond = FeClipConfig { score_stages: Some(vec![5]), ..config };
    let device = Device::flex();
    let (clip, _) = drawn(&FeClipConfig::default());
    let error = FeClip::new_head(&clip, &beyond, &device).unwrap_err().to_string();
    assert!(error.contains("score_stages") && error.contains('5'), "{error}");
}

#[test]
fn aligned_corners_are_the_corner_tokens_own() {
    let config = FeClipConfig { align_corners: true, ..FeClipConfig::default() };
    let (aligned, not) = (detector(config.clone()), detector(FeClipConfig::default()));
    let image = [photo(0.0, SIDE)];
    let (a, b) = (&aligned.detect(&image)[0].map, &not.detect(&image)[0].map);
    // Without alignment the half patch at the border repeats the border token.
    assert!((a[[0, 0]] - b[[0, 0]]).abs() < TOLERANCE);
    assert!((a[[0, 1]] - a[[0, 0]]).abs() > 1e-4);
    assert!((b[[0, 1]] - b[[0, 0]]).abs() < TOLERANCE);
}

#[test]
fn positions_are_resampled_as_asked_where_the_size_differs() {
    let map = |size, positional_interpolation| {
        let image_size = Some(size);
        let config = FeClipConfig { smoothing_sigma: Some(0.0), ..FeClipConfig::default() };
        let model = ModelConfig { image_size, positional_interpolation, ..config.into() };
        detector_of(model).detect(&[photo(0.0, size)])[0].map.clone()
    };
    let far = |size: usize| {
        let [a, b] = [Interpolation::Bicubic, Interpolation::Bilinear].map(|i| map(size, i));
        (&a - &b).iter().fold(0f32, |m, d| m.max(d.abs()))
    };
    assert_eq!(far(SIDE), 0.0);
    assert!(far(2 * SIDE) > 1e-5);
}

#[test]
fn the_memory_bank_compares_what_it_is_told_to() {
    let images = [photo(0.0, SIDE)];
    let normals = [photo(1.0, SIDE)];
    let few = |config: FeClipConfig| {
        let mut detector = detector(config);
        let before = detector.detect(&images);
        detector.remember(&normals);
        let after = detector.detect(&images);
        (after[0].score - before[0].score, &after[0].map - &before[0].map)
    };
    let (score, map) = few(FeClipConfig::default());
    let half = few(FeClipConfig { few_weight: 0.5, ..FeClipConfig::default() });
    assert!(score > 1e-3 && (half.0 * 2.0 - score).abs() < TOLERANCE);
    assert!((&half.1 * 2.0 - &map).iter().all(|d| d.abs() < 1e-4));
    // Raw tokens of the first stage know nothing of the adapters; adapted ones do.
    let first = |few_feature, lambda| {
        let few_stages = Some(vec![1]);
        few(FeClipConfig { few_feature, few_stages, lambda, ..FeClipConfig::default() }).0
    };
    let raw = [0.1, 0.9].map(|lambda| first(FewFeature::Raw, lambda));
    assert!((raw[0] - raw[1]).abs() < TOLERANCE, "{raw:?}");
    let adapted = [0.1, 0.9].map(|lambda| first(FewFeature::Adapted, lambda));
    assert!((adapted[0] - adapted[1]).abs() > 1e-3, "{adapted:?}");
    let all = few(FeClipConfig { few_stages: Some(vec![1, 2, 3, 4]), ..FeClipConfig::default() });
    assert_eq!(all.0, score);
    assert!((first(FewFeature::Adapted, 0.1) - score).abs() > 1e-4);
}

#[test]
fn the_memory_bank_compares_what_the_tokens_predict() {
    let predicted = FeClipConfig {
        few_feature: FewFeature::Predicted,
        few_stages: Some(vec![2]),
        group: GroupConfig { stages: Some(vec![2]), ..GroupConfig::default() },
        ..FeClipConfig::default()
    };
    let device = Device::flex();
    let (mut clip, head) = drawn(&FeClipConfig::default());
    let refused = FeClip::new_head(&clip, &predicted, &device).unwrap_err().to_string();
    assert!(refused.contains("model.few_stages") && refused.contains("[]"), "{refused}");

    let alone = RANDOM.lock().unwrap_or_else(PoisonError::into_inner);
    clip.vision.token_heads = vec![None, Some(TokenHead::new(16, 9, &device)), None, None];
    clip.vision.visit(&mut Look);
    drop(alone);
    let all = FeClipConfig { few_stages: None, ..predicted.clone() };
    let refused = FeClip::new_head(&clip, &all, &device).unwrap_err().to_string();
    assert!(refused.contains("stage 1 has no head") && refused.contains("[2]"), "{refused}");
    let model = |config: &FeClipConfig| {
        let prompts = Prompts::default();
        FeClip::new(&clip, config, &prompts, head.clone(), &device).unwrap()
    };
    let raw = FeClipConfig { few_feature: FewFeature::Raw, ..FeClipConfig::default() };
    let before = stages(&model(&raw)).tokens.swap_remove(1);
    let found = stages(&model(&predicted)).tokens.swap_remove(1);
    let [_, h, w, _] = before.dims();
    assert_eq!(found.dims(), [2, h, w, 9]);
    let own = clip.vision.token_heads[1].as_ref().unwrap().forward(before);
    assert_eq!(difference(found, own), 0.0);
}

/// Its rows would not be of the words that the prompts have.
#[test]
fn another_vocabulary_than_clips_is_refused() {
    let _alone = RANDOM.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    let mut clip = backbone(&device);
    clip.text.token_embedding = EmbeddingConfig::new(64, 16).init(&device);
    for method in [
        Method::Clip(ClipConfig::default()),
        Method::FeClip(FeClipConfig::default()),
        Method::AdaClip(AdaClipConfig::default()),
    ] {
        let head = method.is_trained().then(|| method.new_head(&clip, &device).unwrap());
        let model = ModelConfig { method, ..ModelConfig::default() };
        let run = RunConfig { model, ..RunConfig::default() };
        let refused = Detector::new(&run, Some(clip.clone()), head, &device).err().unwrap();
        assert!(refused.to_string().contains("vocabulary of 64 entries"), "{refused}");
    }
}

#[test]
fn a_rotated_bank_knows_its_images_in_four_rotations() {
    let normal = photo(1.0, SIDE);
    let turned = |quarters| {
        let mut view = normal.view();
        for _ in 0..quarters {
            view.swap_axes(1, 2);
            view.invert_axis(ndarray::Axis(2));
        }
        view.to_owned()
    };
    for (few_rotate, knows) in [(false, [true, false, false, false]), (true, [true; 4])] {
        let mut detector = detector(FeClipConfig { few_rotate, ..FeClipConfig::default() });
        let before: Vec<f32> = (0..4).map(|q| detector.detect(&[turned(q)])[0].score).collect();
        detector.remember(std::slice::from_ref(&normal));
        for q in 0..4 {
            let distance = detector.detect(&[turned(q)])[0].score - before[q];
            assert_eq!(distance < 1e-4, knows[q], "{few_rotate} {q}: {distance}");
        }
    }
}

#[test]
fn silent_adapters_only_scale_the_tokens() {
    let config = FeClipConfig { adapter_init: AdapterInit::Zero, ..FeClipConfig::default() };
    let raw = FeClipConfig { few_feature: FewFeature::Raw, ..config.clone() };
    let adapted = stages(&model(&config)).tokens.swap_remove(0);
    let before = stages(&model(&raw)).tokens.swap_remove(0);
    assert!(difference(adapted, before * 0.9) < TOLERANCE);
}

#[test]
fn a_learned_temperature_starts_at_the_fixed_one_and_scales_all_margins() {
    let fixed = stages(&model(&FeClipConfig::default()));
    let config = FeClipConfig { temperature: Temperature::LEARNED, ..FeClipConfig::default() };
    let mut model = model(&config);
    let start = stages(&model);
    assert!(difference(start.image.clone(), fixed.image) < TOLERANCE);
    assert!(difference(start.pixel.clone(), fixed.pixel) < TOLERANCE);
    let scale = model.head.logit_scale.take().unwrap();
    model.head.logit_scale = Some(scale.map(|s| s + std::f64::consts::LN_2));
    let twice = stages(&model);
    assert!(difference(twice.image, start.image * 2.0) < TOLERANCE);
    assert!(difference(twice.pixel, start.pixel * 2.0) < TOLERANCE);
}

#[test]
fn a_learned_temperature_survives_its_checkpoint() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapters.safetensors");
    let config = FeClipConfig { temperature: Temperature::LEARNED, ..FeClipConfig::default() };
    let model = model(&config);
    save(&path, &model.head, &Origin::default(), Precision::Full).unwrap();
    let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
    assert!(text.contains("logit_scale"));
    let (clip, _) = drawn(&config);
    let head = loaded(&path, &clip, &config).unwrap();
    let again = FeClip::new(&clip, &config, &Prompts::default(), head, &device).unwrap();
    let (a, b) = (stages(&model), stages(&again));
    assert_eq!(difference(a.pixel, b.pixel), 0.0);
    // It shows in the keys: no model with a fixed one takes it for its own.
    assert!(loaded(&path, &clip, &FeClipConfig::default()).is_err());
}

fn loss_of(train: TrainConfig) -> LossTerms {
    let model = model(&FeClipConfig::default());
    let mask: Vec<f32> =
        (0..2 * SIDE * SIDE).map(|i| f32::from(u8::from(i % 7 == 0 && i < SIDE * SIDE))).collect();
    let form = LossForm::new(model.config(), &train);
    form.loss(&stages(&model), model.temperature(), &[1.0, 0.0], Some(&mask), SIDE).1
}

#[test]
fn the_loss_has_the_weights_and_forms_it_is_given() {
    let close = |a: f64, b: f64| (a - b).abs() < 1e-5;
    let default = loss_of(TrainConfig::default());
    let weighted = loss_of(TrainConfig {
        image_loss_weight: 0.5,
        mask_loss_weight: 4.0,
        ..TrainConfig::default()
    });
    assert!(close(weighted.loss_cls, 0.5 * default.loss_cls));
    assert!(close(weighted.loss_focal, 4.0 * default.loss_focal));
    assert!(close(weighted.loss_dice, 4.0 * default.loss_dice));
    assert!(close(weighted.loss, weighted.loss_cls + weighted.loss_focal + weighted.loss_dice));
    let both = loss_of(TrainConfig { dice_complement: true, ..TrainConfig::default() });
    assert!(
        both.loss_dice > default.loss_dice + 0.05 && close(both.loss_focal, default.loss_focal)
    );
    let even = loss_of(TrainConfig { focal_alpha: Some(0.5), ..TrainConfig::default() });
    assert!(close(even.loss_focal, 0.5 * default.loss_focal));
    // Normal and anomalous pixels are two parts of one sum.
    let part = |alpha| {
        loss_of(TrainConfig { focal_alpha: Some(alpha), ..TrainConfig::default() }).loss_focal
    };
    assert!(close(part(0.0) + part(1.0), default.loss_focal) && part(1.0) > 0.0);
    let gamma =
        |gamma| loss_of(TrainConfig { focal_gamma: gamma, ..TrainConfig::default() }).loss_focal;
    assert!(gamma(0.0) > gamma(1.0) && gamma(1.0) > gamma(2.0) && gamma(2.0) > gamma(3.0));
    assert!((gamma(1.999_999) - gamma(2.0)).abs() < 1e-4);
}

/// Two images with masks and what three steps of training make of a model.
fn trained(run: &RunConfig) -> (f64, Vec<u8>) {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    RgbImage::from_fn(24, 24, |x, y| Rgb([(x * 9) as u8, (y * 7) as u8, 80]))
        .save(path("normal.png"))
        .unwrap();
    RgbImage::from_fn(24, 24, |x, y| Rgb([(x * 9) as u8, (x * y) as u8, 200]))
        .save(path("anomalous.png"))
        .unwrap();
    image::GrayImage::from_fn(24, 24, |x, _| image::Luma([if x < 8 { 255 } else { 0 }]))
        .save(path("mask.png"))
        .unwrap();
    let sample = |name: &str, defect| Sample {
        image: path(name),
        category: "metal_nut".into(),
        split: Split::Test,
        defect,
    };
    let defect = Defect { kind: "spot".into(), mask: Some(path("mask.png")) };
    let samples = [sample("normal.png", None), sample("anomalous.png", Some(defect))];
    let (clip, head) = drawn_for(&run.model.method);
    let (mut model, preprocessing) = model_to_train(run, clip, head, &device).unwrap();
    let preparation = Preparation {
        model: &*model,
        preprocessing: &preprocessing,
        train: &run.train,
        storage: Storage::Memory,
        device: &device,
    };
    let prefixes = preparation.run(&samples, |_| {}).unwrap();
    let stop = AtomicBool::new(false);
    let training = TrainingRun { config: run, out: folder.path(), resume: false, stop: &stop };
    let mut last = f64::NAN;
    let head =
        training.train(&mut *model, &prefixes, &device, |step| last = step.terms.loss).unwrap();
    let file = path("adapters.safetensors");
    save(&file, &head, &Origin::default(), Precision::Full).unwrap();
    (last, std::fs::read(&file).unwrap())
}

fn three_steps(method: Method) -> RunConfig {
    let mut run = RunConfig::of_method(method);
    run.train.batch_size = 2;
    run.train.epochs = 3;
    run.train.learning_rate = 1e-2;
    run
}

#[test]
fn training_moves_a_learned_temperature_and_obeys_adams_betas() {
    let config = FeClipConfig { temperature: Temperature::LEARNED, ..FeClipConfig::default() };
    let (_, bytes) = trained(&three_steps(Method::FeClip(config)));
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let scale = file.tensor("logit_scale").unwrap();
    let scale = f32::from_le_bytes(scale.data().try_into().unwrap());
    let start = (1.0f32 / 0.07).ln();
    assert!((scale - start).abs() > 1e-3 && (scale - start).abs() < 0.1, "{scale} from {start}");

    let run = three_steps(Method::default());
    let mut other = run.clone();
    other.train.adam_betas = [0.5, 0.999];
    assert_ne!(trained(&run).1, trained(&other).1);
}

#[test]
fn april_gan_s_layers_learn() {
    let mut run = three_steps(Method::AprilGan(AprilGanConfig::default()));
    run.train.max_steps = Some(1);
    let (first, _) = trained(&run);
    run.train.max_steps = None;
    run.train.epochs = 40;
    let (last, bytes) = trained(&run);
    assert!(last < 0.8 * first, "the loss went from {first} to {last}");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.names().len(), 8, "{:?}", file.names());
}
