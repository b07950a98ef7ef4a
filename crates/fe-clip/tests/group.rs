//! Images scored against each other: against a plain loop in double precision and against a
//! transcription of MuSc (`golden_methods/musc.py`).
#![allow(clippy::unwrap_used)]

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use fe_clip::group::{Group, GroupLimits, GroupMaps, GroupTokens, relative, rescored};
use fe_clip::resample::{bilinear_aligned, both_axes};
use fe_clip::{Error, GroupConfig, Precision, Rescore};
use ndarray::Array3;
use safetensors::SafeTensors;

/// What the transcription's results are compared to.
const TOLERANCE: f32 = 2e-4;
const SIZE: usize = 20;

fn full() -> GroupLimits {
    GroupLimits { precision: Precision::Full, ..GroupLimits::default() }
}

fn scored(images: &[GroupTokens], config: &GroupConfig, limits: &GroupLimits) -> GroupMaps {
    let mut group = Group::new(config, limits.clone());
    images.iter().for_each(|image| group.add(image).unwrap());
    let cost = group.cost();
    let (mut last, passes) = (0, images[0].stages.len() * config.neighbourhoods.len());
    let maps = group.score(|done, all| {
        assert!(last < done && done <= all && all == cost.pairs * passes as u64);
        last = done;
        ControlFlow::Continue(())
    });
    assert_eq!(last, cost.pairs * passes as u64);
    maps.unwrap().unwrap()
}

/// Numbers in [-1, 1) without a pattern that a sum would see.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Images that have a map of tokens in common, each with noise of its own; a channel more in every stage.
fn images(count: usize, stages: usize, grid: usize, channels: usize) -> Vec<GroupTokens> {
    let mut common = noise(1);
    let stage = |stage| Array3::from_shape_simple_fn((grid, grid, channels + stage), &mut common);
    let common: Vec<Array3<f32>> = (0..stages).map(stage).collect();
    let image = |i: usize| {
        let mut own = noise(10 + i as u64);
        let stages = common.iter().map(|common| common.mapv(|x| x + 0.5 * own())).collect();
        let class: Vec<f32> = (0..6).map(|_| 0.8 + own()).collect();
        let length = class.iter().map(|x| x * x).sum::<f32>().sqrt();
        GroupTokens { stages, class: class.iter().map(|x| x / length).collect() }
    };
    (0..count).map(image).collect()
}

/// MuSc's maps by loops over images and tokens, double precision.
fn literal(images: &[GroupTokens], config: &GroupConfig) -> Vec<Vec<f64>> {
    let grid = images[0].stages[0].dim().0;
    let mut maps = vec![vec![0f64; grid * grid]; images.len()];
    let passes = (images[0].stages.len() * config.neighbourhoods.len()) as f64;
    for stage in 0..images[0].stages.len() {
        for side in &config.neighbourhoods {
            let tokens: Vec<_> =
                images.iter().map(|image| literal_tokens(&image.stages[stage], *side)).collect();
            for (i, own) in tokens.iter().enumerate() {
                for (p, token) in own.iter().enumerate() {
                    let nearest = |other: &Vec<Vec<f64>>| {
                        let distance = |q: &Vec<f64>| -> f64 {
                            token.iter().zip(q).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
                        };
                        other.iter().map(distance).fold(f64::INFINITY, f64::min)
                    };
                    let others = tokens.iter().enumerate().filter(|(j, _)| *j != i);
                    let mut distances: Vec<f64> = others.map(|(_, other)| nearest(other)).collect();
                    distances.sort_by(f64::total_cmp);
                    distances.truncate((config.share * (images.len() - 1) as f64) as usize);
                    maps[i][p] += distances.iter().sum::<f64>() / distances.len() as f64 / passes;
                }
            }
        }
    }
    maps
}

/// Layer norm of the map, mean over neighbours with zeros outside, unit length.
fn literal_tokens(map: &Array3<f32>, side: usize) -> Vec<Vec<f64>> {
    let (rows, columns, channels) = map.dim();
    let mean = map.iter().map(|x| f64::from(*x)).sum::<f64>() / map.len() as f64;
    let variance =
        map.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / map.len() as f64;
    let reach = side as isize / 2;
    let mut tokens = Vec::new();
    for y in 0..rows as isize {
        for x in 0..columns as isize {
            let mut token = vec![0f64; channels];
            for (v, u) in (-reach..=reach).flat_map(|v| (-reach..=reach).map(move |u| (v, u))) {
                let (y, x) = (y + v, x + u);
                if (0..rows as isize).contains(&y) && (0..columns as isize).contains(&x) {
                    for (c, sum) in token.iter_mut().enumerate() {
                        let value = f64::from(map[[y as usize, x as usize, c]]);
                        *sum += (value - mean) / (variance + 1e-5).sqrt() / (side * side) as f64;
                    }
                }
            }
            let length = token.iter().map(|x| x * x).sum::<f64>().sqrt();
            tokens.push(token.iter().map(|x| x / length).collect());
        }
    }
    tokens
}

/// The largest difference of maps.
fn off(found: &GroupMaps, expected: &[Vec<f64>]) -> f64 {
    assert_eq!(found.maps.len(), expected.len());
    let differences = found.maps.iter().zip(expected).flat_map(|(map, expected)| {
        map.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs())
    });
    differences.fold(0.0, f64::max)
}

/// 21 images are more than a block, 5 the fewest.
#[test]
fn maps_are_those_of_a_plain_loop() {
    let config = GroupConfig::default();
    for (count, stages, grid, channels) in [(5, 1, 3, 5), (9, 2, 5, 16), (21, 2, 4, 9)] {
        let images = images(count, stages, grid, channels);
        let expected = literal(&images, &config);
        let found = off(&scored(&images, &config, &full()), &expected);
        // A few roundings of numbers up to 1, squared distances being at least 0.1 here.
        assert!(found < 5e-6, "{count} images: off by {found}");
        // A coordinate is rounded by 2^-11 of itself: a distance by less than its sum of squares.
        let half = off(&scored(&images, &config, &GroupLimits::default()), &expected);
        assert!(half < 1.0 / 2048.0, "{count} images: off by {half} in half precision");
    }
    let config = GroupConfig { neighbourhoods: vec![3], share: 0.7, ..config };
    let images = images(8, 1, 4, 6);
    assert!(off(&scored(&images, &config, &full()), &literal(&images, &config)) < 5e-6);
}

struct Golden(Vec<u8>);

impl Golden {
    fn read() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden_methods");
        Self(fs::read(folder.join("musc.safetensors")).unwrap())
    }

    fn values(&self, key: &str) -> (Vec<usize>, Vec<f32>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(key).unwrap();
        let numbers = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
        (view.shape().to_vec(), numbers.collect())
    }

    fn images(&self, name: &str) -> Vec<GroupTokens> {
        let (shape, tokens) = self.values(&format!("{name}.tokens"));
        let (_, classes) = self.values(&format!("{name}.classes"));
        let [images, stages, grid, _, channels] = shape[..] else { panic!("{shape:?}") };
        let map = |values: &[f32]| {
            Array3::from_shape_vec((grid, grid, channels), values.to_vec()).unwrap()
        };
        let each = tokens.chunks_exact(stages * grid * grid * channels);
        let classes = classes.chunks_exact(classes.len() / images);
        each.zip(classes)
            .map(|(tokens, class)| GroupTokens {
                stages: tokens.chunks_exact(grid * grid * channels).map(map).collect(),
                class: class.to_vec(),
            })
            .collect()
    }
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(worst < TOLERANCE, "{what}: off by {worst}");
}

#[test]
fn maps_and_scores_are_those_of_the_transcription() {
    let golden = Golden::read();
    for (name, rescore) in
        [("mvtec", Rescore::Switch(true)), ("visa", Rescore::Images(vec![1, 8, 9]))]
    {
        let config = GroupConfig { rescore, ..GroupConfig::default() };
        let images = golden.images(name);
        let found = scored(&images, &config, &full());
        let grids: Vec<f32> = found.maps.iter().flatten().copied().collect();
        assert_near(&grids, &golden.values(&format!("{name}.grids")).1, "grids");
        let up = bilinear_aligned(found.maps[0].nrows(), SIZE);
        let maps: Vec<_> = found.maps.iter().map(|map| both_axes(&up, map.view())).collect();
        let pixels: Vec<f32> = maps.iter().flatten().copied().collect();
        assert_near(&pixels, &golden.values(&format!("{name}.maps")).1, "maps");
        let highest: Vec<f32> =
            maps.iter().map(|map| map.iter().copied().fold(0.0, f32::max)).collect();
        assert_near(&highest, &golden.values(&format!("{name}.highest")).1, "before re-scoring");
        let expected = golden.values(&format!("{name}.scores")).1;
        assert_near(&found.rescored(&relative(&highest), &config), &expected, "scores");
        // Scores in their own unit are ranked the same.
        let (low, range) = highest
            .iter()
            .fold((f32::INFINITY, 0f32), |(low, high), x| (low.min(*x), high.max(*x)));
        let own = found.rescored(&highest, &config);
        let own: Vec<f32> = own.iter().map(|x| (x - low) / (range - low)).collect();
        assert_near(&own, &expected, "scores in their own unit");
    }
}

fn permuted<T: Clone>(values: &[T], order: &[usize]) -> Vec<T> {
    order.iter().map(|i| values[*i].clone()).collect()
}

#[test]
fn the_order_of_the_images_changes_no_bit() {
    let mut images = images(19, 2, 4, 10);
    images[7].stages = images[3].stages.iter().map(|stage| stage.mapv(|x| x * 1.001)).collect();
    let order: Vec<usize> = (0..19).map(|i| (i * 7 + 3) % 19).collect();
    for references in [None, Some(6)] {
        let config = GroupConfig { references, duplicates: 0.05, ..GroupConfig::default() };
        for limits in [full(), GroupLimits::default()] {
            let found = scored(&images, &config, &limits);
            let other = scored(&permuted(&images, &order), &config, &limits);
            assert_eq!(other.maps, permuted(&found.maps, &order));
            let scores: Vec<f32> = found.maps.iter().map(|map| map[[1, 2]]).collect();
            let rescored = found.rescored(&scores, &config);
            assert_ne!(rescored, scores);
            let other = other.rescored(&permuted(&scores, &order), &config);
            assert_eq!(other, permuted(&rescored, &order));
        }
    }
}

#[test]
fn images_that_are_all_the_same_score_zero() {
    let images = vec![images(1, 2, 4, 11).remove(0); 6];
    for duplicates in [0.0, 0.1] {
        let config = GroupConfig { duplicates, ..GroupConfig::default() };
        let found = scored(&images, &config, &GroupLimits::default());
        assert!(found.maps.iter().flatten().all(|x| *x == 0.0));
        assert!(found.odd.is_empty());
        assert_eq!(found.rescored(&relative(&[0.0; 6]), &config), [0.0; 6]);
    }
}

#[test]
fn references_are_drawn_by_the_seed_and_all_of_them_are_all_images() {
    let images = images(18, 1, 4, 8);
    let with = |references, seed| {
        let config = GroupConfig { references, seed, ..GroupConfig::default() };
        scored(&images, &config, &full()).maps
    };
    let all = with(None, 0);
    assert_eq!(with(Some(17), 1), all);
    assert_eq!(with(Some(400), 2), all);
    let few = with(Some(5), 0);
    assert_eq!(with(Some(5), 0), few);
    assert_ne!(with(Some(5), 1), few);
    assert_ne!(few, all);
    let mean = |maps: &[ndarray::Array2<f32>]| {
        maps.iter().map(|map| map.mean().unwrap()).sum::<f32>() / 18.0
    };
    // One of five others is further away than five of seventeen, but not by much.
    assert!(mean(&all) < 1.2 * mean(&few) && mean(&few) < 1.2 * mean(&all));
}

#[test]
fn what_is_in_files_scores_the_same() {
    let images = images(18, 2, 4, 8);
    let folder = tempfile::tempdir().unwrap();
    for precision in [Precision::Full, Precision::Half] {
        let limits = |memory| GroupLimits { memory, folder: folder.path().into(), precision };
        let config = GroupConfig::default();
        let found = scored(&images, &config, &limits(1 << 30));
        for memory in [0, 6000] {
            let spilled = scored(&images, &config, &limits(memory));
            assert_eq!(spilled.maps, found.maps);
            let mut group = Group::new(&config, limits(memory));
            images.iter().for_each(|image| group.add(image).unwrap());
            assert!(group.is_spilled());
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "files are left behind");
    let missing = GroupLimits { memory: 0, folder: PathBuf::from("missing"), ..full() };
    let error = Group::new(&GroupConfig::default(), missing).add(&images[0]).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn a_copy_does_not_make_its_twin_normal() {
    let mut images = images(8, 1, 4, 8);
    let mut odd = noise(99);
    images[2].stages[0].mapv_inplace(|x| x + odd());
    let highest =
        |maps: &GroupMaps, image: usize| maps.maps[image].iter().copied().fold(0.0, f32::max);
    let off = GroupConfig::default();
    let alone = highest(&scored(&images, &off, &full()), 2);
    let mut own = noise(7);
    let mut copy = images[2].clone();
    copy.stages[0].mapv_inplace(|x| x + 0.005 * own());
    images.push(copy);
    let twins = scored(&images, &off, &full());
    assert!(highest(&twins, 2) < 0.6 * alone && twins.duplicates.is_empty());
    let ignored = scored(&images, &GroupConfig { duplicates: 0.02, ..off }, &full());
    assert_eq!(ignored.duplicates, [[2, 8]]);
    // The copy is no other image: what is left is the group as it was.
    assert_eq!(highest(&ignored, 2), alone);
}

#[test]
fn an_image_of_something_else_is_told() {
    let config = GroupConfig::default();
    let mut images = images(9, 2, 4, 24);
    assert!(scored(&images, &config, &full()).odd.is_empty());
    let mut other = noise(77);
    images[4].stages.iter_mut().for_each(|stage| stage.mapv_inplace(|_| other()));
    assert_eq!(scored(&images, &config, &full()).odd, [4]);
}

#[test]
fn small_and_broken_groups_are_refused() {
    let mut images = images(5, 1, 3, 4);
    let mut group = Group::new(&GroupConfig::default(), full());
    assert!(group.is_empty() && group.cost().pairs == 0);
    images[..4].iter().for_each(|image| group.add(image).unwrap());
    images[4].stages[0][[1, 1, 2]] = f32::NAN;
    let error = group.add(&images[4]).unwrap_err().to_string();
    assert!(error.contains("not finite"), "{error}");
    assert_eq!(group.len(), 4);
    let error = group.score(|_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, Error::SmallGroup { images: 4, needed: 5 }));
    assert!(error.to_string().contains("at least 5 images"), "{error}");
}

#[test]
fn scoring_stops_when_it_is_asked_to() {
    let images = images(6, 1, 3, 4);
    let mut group = Group::new(&GroupConfig::default(), full());
    images.iter().for_each(|image| group.add(image).unwrap());
    assert!(group.score(|_, _| ControlFlow::Break(())).unwrap().is_none());
}

#[test]
fn scores_of_similar_images_are_averaged() {
    let classes = [vec![1.0, 0.0], vec![0.6, 0.8], vec![0.0, 1.0]];
    let scores = [1.0, 0.0, 0.5];
    assert_eq!(rescored(&scores, &classes, &[]), scores);
    assert_eq!(rescored(&scores, &classes, &[1]), scores);
    let found = rescored(&scores, &classes, &[1, 2]);
    let pair = |own: f32, weight: f32, other: f32| {
        let both = (own + weight * other) / (1.0 + weight);
        (own + both) / 2.0
    };
    let expected = [pair(1.0, 0.6, 0.0), pair(0.0, 0.8, 0.5), pair(0.5, 0.8, 0.0)];
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    assert_eq!(relative(&[2.0, 4.0, 3.0]), [0.0, 1.0, 0.5]);
    assert_eq!(relative(&[2.0, 2.0]), [0.0, 0.0]);
}

#[test]
fn settings_out_of_range_are_named() {
    let usual = GroupConfig::default;
    for (config, key) in [
        (GroupConfig { stages: Some(vec![]), ..usual() }, "stages"),
        (GroupConfig { stages: Some(vec![2, 1]), ..usual() }, "stages"),
        (GroupConfig { neighbourhoods: vec![], ..usual() }, "neighbourhoods"),
        (GroupConfig { neighbourhoods: vec![2], ..usual() }, "neighbourhoods"),
        (GroupConfig { share: 0.0, ..usual() }, "share"),
        (GroupConfig { share: f64::NAN, ..usual() }, "share"),
        (GroupConfig { rescore: Rescore::Images(vec![0]), ..usual() }, "rescore"),
        (GroupConfig { rescore: Rescore::Images(vec![]), ..usual() }, "rescore"),
        (GroupConfig { duplicates: -1.0, ..usual() }, "duplicates"),
        (GroupConfig { weight: f64::INFINITY, ..usual() }, "weight"),
    ] {
        let reason = config.check().unwrap_err();
        assert!(reason.starts_with(&format!("model.group.{key}: ")), "{reason}");
    }
    assert_eq!(usual().check(), Ok(()));
}
