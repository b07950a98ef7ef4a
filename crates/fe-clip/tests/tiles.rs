//! Large images in tiles.
#![allow(clippy::unwrap_used)]

use std::f64::consts::PI;

use burn::tensor::Device;
use data::{Preprocess, Resize, preprocess};
use fe_clip::geometry::to_image;
use fe_clip::{
    Backbone, Detector, Inspector, Method, RunConfig, Scope, SpectralResidualConfig, TileConfig,
};
use image::imageops::crop_imm;
use image::{Rgb, RgbImage};
use ndarray::{Array2, ArrayView2, s};

/// The embedded default with these tiles.
fn tiny(tile: Option<TileConfig>) -> Inspector {
    let device = Device::flex();
    let backbone = Backbone::load("tiny", None, &device).unwrap();
    let adapters = backbone.adapters().unwrap().unwrap();
    let mut run = RunConfig {
        model: adapters.origin.config.clone().unwrap(),
        prompts: adapters.origin.prompts.clone().unwrap(),
        ..RunConfig::default()
    };
    run.model.tile = tile;
    let head = run.model.method.new_head(&backbone.clip, &device).unwrap();
    let head = adapters.head(head, &device).unwrap();
    Inspector::new(Detector::new(&run, Some(backbone.clip), Some(head), &device).unwrap())
}

/// Brushed metal, and a pit of six pixels with its corner there.
fn plate((width, height): (u32, u32), pit: Option<(u32, u32)>) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let grain = ((x / 3 * 7919 + y * 104_729).wrapping_mul(2_654_435_761) >> 29) as u8;
        let light = (x * 40 / width) as u8;
        let inside = pit.is_some_and(|(left, top)| {
            (left..left + 6).contains(&x) && (top..top + 6).contains(&y)
        });
        if inside {
            Rgb([25, 20, 20])
        } else {
            Rgb([140 + grain + light, 142 + grain, 145 + grain])
        }
    })
}

fn highest(map: ArrayView2<'_, f32>) -> ((usize, usize), f32) {
    let values = map.indexed_iter().map(|(at, value)| (at, *value));
    values.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

#[test]
fn a_defect_of_six_pixels_is_found_in_tiles_and_lost_by_squashing() {
    let size = (4096, 3072);
    let pit = (2703, 1411);
    let (clean, damaged) = (plate(size, None), plate(size, Some(pit)));
    let whole = tiny(None);
    let [a, b] = [&clean, &damaged].map(|image| whole.inspect_one(image.clone()).unwrap());
    let moved = (&a.map - &b.map).fold(0.0f32, |m, d| m.max(d.abs()));
    let tiles = tiny(Some(TileConfig::default()));
    let found = tiles.inspect_one(damaged).unwrap();
    assert_eq!(found.map.dim(), (3072, 4096));
    let ((row, column), peak) = highest(found.map.view());
    assert!(row.abs_diff(1414) < 16 && column.abs_diff(2706) < 16, "{row}, {column}");
    // Nowhere else in twelve million pixels is anything like it.
    let mut elsewhere = found.map.clone();
    elsewhere.slice_mut(s![1300..1530, 2590..2830]).fill(0.0);
    let (_, other) = highest(elsewhere.view());
    assert!(found.raw_score > b.raw_score + 0.1 && peak > other + 0.1);
    assert!((b.raw_score - a.raw_score).abs() < 0.02 && moved < 0.05);
}

/// Tile by tile from the definition: even places, a cosine window, the higher of tiles and whole.
#[test]
fn the_map_is_the_blended_tiles_or_the_whole() {
    let image = plate((500, 150), Some((333, 77)));
    let config = TileConfig { size: Some(200), overlap: Some(50), ..TileConfig::default() };
    let method = Method::SpectralResidual(SpectralResidualConfig {});
    let mut run = RunConfig::of_method(method);
    run.model.image_size = Some(64);
    run.model.resize = Resize::ShortestCrop;
    let device = Device::flex();
    let detector = Detector::new(&run, None, None, &device).unwrap();
    run.model.tile = Some(config);
    let tiled = Inspector::new(Detector::new(&run, None, None, &device).unwrap());
    let verdict = tiled.inspect_one(image.clone()).unwrap();
    // 64 pixels of the map are 200 of the image.
    assert_eq!(verdict.map.dim(), (48, 160));
    let crop = Preprocess::clip(64, Resize::ShortestCrop);
    let whole = &detector.detect(&[preprocess(&image, &crop)])[0];
    let mut score = whole.score;
    let whole = to_image(whole.map.view(), &crop, (500, 150), (160, 48));
    // Steps of 48 or less from 0 to 96; a tile is narrower than high and keeps its shape.
    let (mut sum, mut weight) = (Array2::<f64>::zeros((48, 160)), Array2::<f64>::zeros((48, 160)));
    let letterbox = Preprocess::clip(64, Resize::Letterbox);
    for (start, left, right) in [(0, 0, 200), (48, 150, 350), (96, 300, 500)] {
        let tile = crop_imm(&image, left, 0, right - left, 150).to_image();
        let found = &detector.detect(&[preprocess(&tile, &letterbox)])[0];
        score = score.max(found.score);
        let map = to_image(found.map.view(), &letterbox, (200, 150), (64, 48));
        for ((y, x), value) in map.indexed_iter() {
            let window = |i: usize, n: f64| (1.0 - (2.0 * PI * (i as f64 + 0.5) / n).cos()) / 2.0;
            let w = window(y, 48.0) * window(x, 64.0);
            sum[[y, start + x]] += w * f64::from(*value);
            weight[[y, start + x]] += w;
        }
    }
    assert_eq!(verdict.raw_score, score);
    for ((at, value), whole) in verdict.map.indexed_iter().zip(&whole) {
        let expected = (sum[at] / weight[at]).max(f64::from(*whole));
        assert!((f64::from(*value) - expected).abs() < 1e-5, "{at:?}: {value}, not {expected}");
    }
    // One that is no larger than a tile is seen as ever.
    let small = plate((200, 150), None);
    let alone = &detector.detect(&[preprocess(&small, &crop)])[0];
    let verdict = tiled.inspect_one(small).unwrap();
    assert_eq!((verdict.raw_score, verdict.map), (alone.score, alone.map.clone()));
}

#[test]
fn what_is_ignored_counts_in_no_tile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("right.json");
    std::fs::write(&path, r#"{"polygons": [[[300, 0], [700, 0], [700, 400], [300, 400]]]}"#)
        .unwrap();
    let mut inspector = tiny(Some(TileConfig::default())).threshold(0.2);
    let image = plate((700, 400), Some((500, 200)));
    let seen = inspector.inspect_one(image.clone()).unwrap();
    assert!(seen.regions.iter().any(|region| region.x > 450), "{:?}", seen.map_max());
    inspector.look(Some(Scope::new(None, Some(&path)).unwrap()));
    let found = inspector.inspect_one(image).unwrap();
    assert!(found.raw_score < seen.raw_score);
    assert!(found.map.slice(s![.., 300..]).iter().all(|value| *value == 0.0));
    assert!(found.map.slice(s![.., ..300]).iter().all(|value| *value > 0.0));
    assert!(found.regions.iter().all(|region| region.x + region.width <= 300));
}

#[test]
fn normal_images_are_remembered_in_tiles() {
    let config = Some(TileConfig::default());
    let with = tiny(config).normals([plate((480, 480), None)]).unwrap();
    let clean = with.inspect_one(plate((480, 480), None)).unwrap();
    let found = with.inspect_one(plate((480, 480), Some((300, 200)))).unwrap();
    // What was remembered is near itself, in the tiles that were and in those between.
    let alone = tiny(config).inspect_one(plate((480, 480), None)).unwrap();
    assert!(clean.raw_score - alone.raw_score < 0.1, "{} {}", clean.raw_score, alone.raw_score);
    assert!(found.raw_score > clean.raw_score + 0.2, "{} {}", found.raw_score, clean.raw_score);
}
