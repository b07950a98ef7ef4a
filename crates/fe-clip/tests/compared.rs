//! Images compared with normal ones or with each other, by a detector, against plain loops over
//! the tokens of its model.
#![allow(clippy::unwrap_used)]

mod small;

use std::ops::ControlFlow;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use clip_vit::Clip;
use fe_clip::group::{Group, GroupLimits, GroupTokens, relative};
use fe_clip::resample::{bilinear, bilinear_aligned, both_axes};
use fe_clip::{
    Detector, FeClip, FeClipConfig, FewFeature, FewScore, GroupConfig, Method, ModelConfig,
    MuscConfig, Prediction, Prompts, RunConfig, Stages,
};
use ndarray::{Array2, Array3};
use small::Look;

const GRID: usize = 15;
const SIDE: usize = 60;

fn backbone(device: &Device) -> Clip {
    let clip = small::backbone(SIDE, device);
    clip.vision.visit(&mut Look);
    clip.text.visit(&mut Look);
    clip
}

/// A detector and the model that it has.
fn fe_clip(config: &FeClipConfig) -> (Detector, FeClip) {
    let device = Device::flex();
    let clip = backbone(&device);
    let method = Method::FeClip(config.clone());
    let head = method.new_head(&clip, &device).unwrap();
    head.visit(&mut Look);
    let model = FeClip::new(&clip, config, &Prompts::default(), head.clone(), &device).unwrap();
    let run = RunConfig {
        model: ModelConfig { method, ..ModelConfig::default() },
        ..RunConfig::default()
    };
    (Detector::new(&run, Some(clip), Some(head), &device).unwrap(), model)
}

fn photo(phase: f32) -> Array3<f32> {
    Array3::from_shape_fn((3, SIDE, SIDE), |(c, y, x)| {
        let (x, y) = (x as f32, y as f32);
        (phase + c as f32 + 0.4 * x + 0.02 * y * y).sin() + (0.3 * phase * y).cos()
    })
}

fn stages(model: &FeClip, image: &Array3<f32>) -> Stages {
    let data = TensorData::new(image.iter().copied().collect::<Vec<_>>(), [1, 3, SIDE, SIDE]);
    model.stages(model.prefix(Tensor::from_data(data, &Device::flex())))
}

fn map(tokens: &Tensor<4>) -> Array3<f32> {
    let [_, h, w, d] = tokens.dims();
    let values = tokens.clone().into_data().try_to_vec::<f32>().unwrap();
    Array3::from_shape_vec((h, w, d), values).unwrap()
}

/// Means over the neighbours that there are, of unit length.
fn neighbourhoods(map: &Array3<f32>, side: usize) -> Vec<Vec<f64>> {
    let (h, w, d) = map.dim();
    let reach = side / 2;
    let around = |i: usize, n: usize| i.saturating_sub(reach)..n.min(i + reach + 1);
    let token = |y: usize, x: usize| {
        let sum = |c| -> f64 {
            let places = around(y, h).flat_map(|y| around(x, w).map(move |x| (y, x)));
            places.map(|(y, x)| f64::from(map[[y, x, c]])).sum()
        };
        let sums: Vec<f64> = (0..d).map(sum).collect();
        let length = sums.iter().map(|x| x * x).sum::<f64>().sqrt();
        sums.into_iter().map(|x| x / length).collect()
    };
    (0..h * w).map(|p| token(p / w, p % w)).collect()
}

/// Mean over the stages of 1 - cosine to the nearest normal token.
fn distances(query: &[Array3<f32>], normal: &[Array3<f32>], side: usize) -> Array2<f32> {
    let mut sums = vec![0f64; GRID * GRID];
    for (query, normal) in query.iter().zip(normal) {
        let (query, normal) = (neighbourhoods(query, side), neighbourhoods(normal, side));
        for (sum, token) in sums.iter_mut().zip(&query) {
            let cosine = |other: &Vec<f64>| token.iter().zip(other).map(|(a, b)| a * b).sum();
            *sum += 1.0 - normal.iter().map(cosine).fold(f64::NEG_INFINITY, f64::max);
        }
    }
    let mean = sums.into_iter().map(|sum| (sum / query.len() as f64) as f32).collect();
    Array2::from_shape_vec((GRID, GRID), mean).unwrap()
}

#[track_caller]
fn assert_near(found: &Array2<f32>, expected: &Array2<f32>, tolerance: f32) {
    let worst = (found - expected).iter().fold(0f32, |m, d| m.max(d.abs()));
    assert!(worst < tolerance, "off by {worst}");
}

/// 225 tokens: two of them are the largest hundredth.
#[test]
fn few_normal_images_are_compared_by_neighbourhoods_of_chosen_stages() {
    let up = bilinear(GRID, SIDE);
    let (image, normal) = (photo(0.3), photo(1.1));
    for (side, few_stages, few_score) in [
        (1, vec![1, 2, 3, 4], FewScore::Max),
        (3, vec![2, 3], FewScore::TopPercent),
        (5, vec![4], FewScore::TopPercent),
    ] {
        let config = FeClipConfig {
            few_feature: FewFeature::Raw,
            few_neighbourhood: side,
            few_stages: Some(few_stages.clone()),
            few_score,
            smoothing_sigma: Some(0.0),
            ..FeClipConfig::default()
        };
        let (mut detector, model) = fe_clip(&config);
        let tokens = |image| -> Vec<Array3<f32>> {
            let stages = stages(&model, image);
            few_stages.iter().map(|stage| map(&stages.tokens[stage - 1])).collect()
        };
        let expected = distances(&tokens(&image), &tokens(&normal), side);
        let before = detector.detect(std::slice::from_ref(&image)).remove(0);
        detector.remember(std::slice::from_ref(&normal));
        let after = detector.detect(std::slice::from_ref(&image)).remove(0);
        // Cosines in single precision of vectors of sixteen coordinates.
        assert_near(&(&after.map - &before.map), &both_axes(&up, expected.view()), 5e-6);
        let mut largest: Vec<f32> = expected.iter().copied().collect();
        largest.sort_by(|a, b| b.total_cmp(a));
        assert!(largest[0] > largest[1]);
        let score = match few_score {
            FewScore::Max => largest[0],
            FewScore::TopPercent => (largest[0] + largest[1]) / 2.0,
        };
        let found = after.score - before.score;
        assert!((found - score).abs() < 5e-6, "{few_score:?}: {found} {score}");
    }
}

#[test]
fn neighbourhoods_without_a_middle_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    for (text, key) in [
        ("few_neighbourhood = 2", "few_neighbourhood"),
        ("few_neighbourhood = 0", "few_neighbourhood"),
        ("few_score = \"mean\"", "few_score"),
        ("method = \"musc\"\nfew_score = \"max\"", "few_score"),
        ("method = \"musc\"\ngroup = { weight = 2.0 }", "group.weight"),
        ("method = \"musc\"\ngroup = { share = 2.0 }", "group.share"),
        ("group = { stages = [0] }", "group.stages"),
        ("group = { rescore = \"no\" }", "group"),
    ] {
        std::fs::write(&path, format!("[model]\n{text}\n")).unwrap();
        let error = RunConfig::read(&path).unwrap_err().to_string();
        assert!(error.contains(key), "{text}: {error}");
    }
    let text = "[model]\nfew_score = \"top_percent\"\nfew_neighbourhood = 3\n\
                group = { references = 0, rescore = [1, 8, 9] }\n[eval]\ngroup = true\n";
    std::fs::write(&path, text).unwrap();
    let run = RunConfig::read(&path).unwrap();
    std::fs::write(&path, run.to_toml()).unwrap();
    assert_eq!(RunConfig::read(&path).unwrap(), run);
}

fn predictions(detector: &Detector, images: &[Array3<f32>]) -> Vec<Prediction> {
    let mut group = detector.group(GroupLimits::default()).unwrap();
    for pair in images.chunks(2) {
        assert!(detector.add_to_group(&mut group, pair).iter().all(Result::is_ok));
    }
    assert_eq!(group.len(), images.len());
    let scores = detector.score_group(group, |_, _| ControlFlow::Continue(())).unwrap().unwrap();
    (0..images.len()).map(|image| detector.group_prediction(&scores, image)).collect()
}

/// The group as the mathematics has it, from the model's tokens.
fn group(
    model: &FeClip,
    images: &[Array3<f32>],
    config: &GroupConfig,
) -> fe_clip::group::GroupMaps {
    let mut group = Group::new(config, GroupLimits::default());
    for image in images {
        let stages = stages(model, image);
        let chosen = config.stages.clone().unwrap_or_else(|| (1..=4).collect());
        let tokens = chosen.iter().map(|stage| map(&stages.tokens[stage - 1])).collect();
        let class = stages.class.into_data().try_to_vec::<f32>().unwrap();
        assert!((class.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        group.add(&GroupTokens { stages: tokens, class }).unwrap();
    }
    group.score(|_, _| ControlFlow::Continue(())).unwrap().unwrap()
}

fn images() -> Vec<Array3<f32>> {
    (0..6).map(|i| photo(if i == 4 { 3.0 } else { 0.1 * i as f32 })).collect()
}

#[test]
fn musc_is_the_group_s_maps_and_relative_scores() {
    let device = Device::flex();
    let clip = backbone(&device);
    let config = MuscConfig {
        group: GroupConfig { stages: Some(vec![2, 4]), ..GroupConfig::default() },
        ..MuscConfig::default()
    };
    let plain = FeClipConfig {
        ffe: fe_clip::Switch::Off,
        lfs: fe_clip::Switch::Off,
        ..FeClipConfig::default()
    };
    let head = FeClip::new_head(&clip, &plain, &device).unwrap();
    let model = FeClip::new(&clip, &plain, &Prompts::default(), head, &device).unwrap();
    let expected = group(&model, &images(), &config.group);
    let up = bilinear_aligned(GRID, SIDE);
    let maps: Vec<Array2<f32>> =
        expected.maps.iter().map(|map| both_axes(&up, map.view())).collect();
    let highest: Vec<f32> =
        maps.iter().map(|map| map.iter().copied().fold(0.0, f32::max)).collect();
    let scores = expected.rescored(&relative(&highest), &config.group);

    let run = RunConfig::of_method(Method::Musc(config));
    let detector = Detector::new(&run, Some(clip), None, &device).unwrap();
    let found = predictions(&detector, &images());
    for ((found, map), score) in found.iter().zip(&maps).zip(&scores) {
        // The batch is of two images here, and of one there.
        assert_near(&found.map, map, 1e-5);
        assert!((found.score - score).abs() < 1e-4, "{} {score}", found.score);
    }
    assert!(detector.check_group(true).is_ok());
    let error = detector.check_group(false).unwrap_err().to_string();
    assert!(error.contains("musc") && error.contains("of a group against each other"), "{error}");
}

#[test]
fn fe_clip_adds_the_group_by_its_weight() {
    let group_config = GroupConfig { weight: 0.5, ..GroupConfig::default() };
    let config = FeClipConfig {
        smoothing_sigma: Some(0.0),
        group: group_config.clone(),
        ..FeClipConfig::default()
    };
    let (mut detector, model) = fe_clip(&config);
    let expected = group(&model, &images(), &group_config);
    let highest: Vec<f32> =
        expected.maps.iter().map(|map| map.iter().copied().fold(0.0, f32::max)).collect();
    let scores = expected.rescored(&highest, &group_config);
    let up = bilinear(GRID, SIDE);
    for remembers in [false, true] {
        if remembers {
            detector.remember(&[photo(0.2)]);
        }
        let alone = detector.detect(&images());
        let found = predictions(&detector, &images());
        for (i, (found, alone)) in found.iter().zip(&alone).enumerate() {
            let map = &alone.map + &(both_axes(&up, expected.maps[i].view()) * 0.5);
            assert_near(&found.map, &map, 1e-5);
            let score = alone.score + 0.5 * scores[i];
            assert!((found.score - score).abs() < 1e-5, "{} {score}", found.score);
        }
    }
    assert!(detector.check_group(true).is_ok() && detector.check_group(false).is_ok());
}
