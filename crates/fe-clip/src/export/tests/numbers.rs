//! Graphs give what the detector gives that they were made from.

use adapters::{FfeConfig, LfsConfig, Padding, Statistic, Transform};
use clip_vit::Activation;
use ndarray::{Array3, Array4, Axis};

use super::interpreter::run;
use super::{PATCH, detector, settings, written};
use crate::detect::Detector;
use crate::methods::{ClipConfig, Method};
use crate::run::ModelConfig;
use crate::settings::fe_clip::{
    Aggregate, ConvAdapterConfig, FeClipConfig, FewFeature, FewScore, ImageScore, Temperature,
    TemperatureWord,
};
use crate::settings::group::GroupConfig;
use crate::settings::stage_ends::StageEnds;
use crate::settings::switch::Switch;

/// f32 through four small layers, its cosines divided by temperatures of 0.07.
const TOLERANCE: f32 = 2e-5;

/// Images in [0, 1], as the graph takes them.
fn images(size: usize) -> Array4<f32> {
    Array4::from_shape_fn((3, 3, size, size), |(n, c, y, x)| {
        let level = (n * 50 + c * 90 + y * y * 3 + x * (7 + n) + x * y) % 256;
        level as f32 / 255.0
    })
}

/// The same as the detector takes them.
fn preprocessed(images: &Array4<f32>, detector: &Detector) -> Vec<Array3<f32>> {
    let p = detector.preprocess();
    let one = |image: ndarray::ArrayView3<'_, f32>| {
        Array3::from_shape_fn(image.dim(), |(c, y, x)| (image[[c, y, x]] - p.mean[c]) / p.std[c])
    };
    images.axis_iter(Axis(0)).map(one).collect()
}

#[track_caller]
fn same_numbers(
    what: &str,
    config: impl Into<ModelConfig>,
    activation: Activation,
    grid: usize,
    normal: bool,
) {
    let config = config.into();
    let images = images(PATCH * grid);
    let mut detector = detector(&config, activation, grid);
    let seen = preprocessed(&images, &detector);
    if normal {
        detector.remember(&seen[2..]);
    }
    let folder = tempfile::tempdir().unwrap();
    let (model, _) = written(&detector, &folder.path().join("model.onnx"), &settings(&config));
    let outputs = run(model.graph.as_ref().unwrap(), images.into_dyn());
    let [scores, maps] = &outputs[..] else { panic!("two outputs") };
    let expected = detector.detect(&seen);
    let (mut low, mut high) = (f32::MAX, f32::MIN);
    for (n, expected) in expected.iter().enumerate() {
        let error = (scores[[n]] - expected.score).abs();
        assert!(error < TOLERANCE, "{what}, image {n}: score off by {error}");
        let map = maps.index_axis(Axis(0), n);
        let off = map.iter().zip(&expected.map).map(|(a, b)| (a - b).abs());
        let error = off.fold(0.0, f32::max);
        assert!(error < TOLERANCE, "{what}, image {n}: map off by {error}");
        low = expected.map.iter().copied().fold(low, f32::min);
        high = expected.map.iter().copied().fold(high, f32::max);
    }
    assert!(high - low > 100.0 * TOLERANCE, "{what}: maps of one value show nothing");
}

#[test]
fn every_statistic_and_transform_on_grids_that_windows_divide_and_not() {
    for transform in [Transform::Dct, Transform::Fft] {
        for statistic in
            [Statistic::SignedMean, Statistic::AbsMean, Statistic::PowerMean, Statistic::LogAbsMean]
        {
            for (activation, grid) in [(Activation::QuickGelu, 5), (Activation::Gelu, 6)] {
                let lfs = LfsConfig { statistic: Some(statistic), ..LfsConfig::default() };
                let config = FeClipConfig {
                    transform,
                    lfs: Switch::On(lfs),
                    lambda: 0.5,
                    ..FeClipConfig::default()
                };
                let what = format!("{transform:?} {statistic:?} {activation:?} {grid}");
                same_numbers(&what, config, activation, grid, false);
            }
        }
    }
}

#[test]
fn every_other_setting() {
    let default = || FeClipConfig { lambda: 0.5, ..FeClipConfig::default() };
    let ffe = |ffe: FfeConfig| FeClipConfig { ffe: Switch::On(ffe), ..default() };
    let lfs = |lfs: LfsConfig| FeClipConfig { lfs: Switch::On(lfs), ..default() };
    let zeros = LfsConfig {
        window: 2,
        padding: Padding::Zero,
        statistic: Some(Statistic::AbsMean),
        ..LfsConfig::default()
    };
    let cases = [
        ("zeros in FFE", ffe(FfeConfig { padding: Padding::Zero, ..FfeConfig::default() })),
        (
            "mirrored windows of 4",
            ffe(FfeConfig { window: 4, padding: Padding::Reflect, ..FfeConfig::default() }),
        ),
        ("zeros in LFS", lfs(zeros)),
        ("kernel 1", lfs(LfsConfig { kernel: 1, ..LfsConfig::default() })),
        (
            "conv adapter",
            FeClipConfig { conv_adapter: Some(ConvAdapterConfig::default()), ..default() },
        ),
        ("no adapter", FeClipConfig { ffe: Switch::Off, lfs: Switch::Off, ..default() }),
        ("norms", FeClipConfig { patch_ln_post: false, class_ln_post: false, ..default() }),
        ("learned temperature", FeClipConfig { temperature: Temperature::LEARNED, ..default() }),
        (
            "CLIP's temperature",
            FeClipConfig {
                temperature: Temperature::Word(TemperatureWord::Clip),
                aggregate: Aggregate::MeanLogit,
                shared_projection: false,
                ..default()
            },
        ),
        (
            "score of the map",
            FeClipConfig {
                image_score: ImageScore::ClassTokenAndMap,
                align_corners: true,
                ..default()
            },
        ),
        (
            "stages",
            FeClipConfig {
                stage_ends: Some(StageEnds::Layers(vec![1, 3])),
                score_stages: Some(vec![2]),
                smoothing_sigma: Some(0.0),
                ..default()
            },
        ),
    ];
    for (what, config) in cases {
        same_numbers(what, config, Activation::QuickGelu, 5, false);
    }
    let clip =
        ModelConfig { method: Method::Clip(ClipConfig::default()), ..ModelConfig::default() };
    same_numbers("plain CLIP", clip, Activation::QuickGelu, 5, false);
}

/// A grid of 15 x 15 tokens, of which the largest hundredth are two.
#[test]
fn scores_of_the_largest_hundredth() {
    for image_score in [ImageScore::TopPercent, ImageScore::ClassTokenAndTopPercent] {
        let config = FeClipConfig { image_score, lambda: 0.5, ..FeClipConfig::default() };
        same_numbers(&format!("{image_score:?}"), config, Activation::Gelu, 15, false);
    }
    let few = FeClipConfig { few_score: FewScore::TopPercent, ..FeClipConfig::default() };
    same_numbers("distances", few, Activation::Gelu, 15, true);
}

#[test]
fn the_memory_bank_is_inside() {
    let bank = |few_feature, few_stages| FeClipConfig {
        few_feature,
        few_stages,
        few_weight: 0.7,
        ..FeClipConfig::default()
    };
    let raw = bank(FewFeature::Raw, Some(vec![2, 3]));
    same_numbers("raw tokens of two stages", raw, Activation::Gelu, 5, true);
    let predicted = FeClipConfig {
        few_neighbourhood: 3,
        group: GroupConfig { stages: Some(vec![2]), ..GroupConfig::default() },
        ..bank(FewFeature::Predicted, Some(vec![2]))
    };
    same_numbers("what tokens predict", predicted, Activation::Gelu, 5, true);
    let adapted = FeClipConfig {
        image_score: ImageScore::ClassTokenAndMap,
        ..bank(FewFeature::Adapted, None)
    };
    same_numbers("adapted tokens", adapted, Activation::Gelu, 5, true);
    for few_neighbourhood in [3, 7] {
        let means = FeClipConfig { few_neighbourhood, ..bank(FewFeature::Adapted, None) };
        let what = format!("neighbourhoods of {few_neighbourhood}");
        same_numbers(&what, means, Activation::Gelu, 5, true);
    }
}
