//! Where to look: polygons, masks, and what methods make of what is left.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::tensor::Device;
use data::{Preprocess, Resize, preprocess};
use fe_clip::{
    Backbone, Detector, Input, Inspector, MemoryBankConfig, Method, Prediction, RunConfig, Scope,
    SpectralResidualConfig, WinclipConfig,
};
use image::{GrayImage, Luma, Rgb, RgbImage};
use ndarray::{Array2, Array3, s};
use serde_json::{Value, json};

fn written(folder: &Path, name: &str, content: impl ToString) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content.to_string()).unwrap();
    path
}

/// The file is made by tests/scope/generate.py.
#[test]
fn pixels_lie_inside_of_polygons_as_scikit_image_says() {
    let golden: Value = serde_json::from_str(include_str!("scope/polygons.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let size = ["width", "height"].map(|key| golden[key].as_u64().unwrap() as u32);
    let mut inside_of_all = Array2::from_elem((size[1] as usize, size[0] as usize), false);
    let cases = golden["cases"].as_array().unwrap();
    for case in cases {
        let rows = case["inside"].as_array().unwrap().iter();
        let rows = rows.map(|row| row.as_str().unwrap().chars().map(|c| c == '#'));
        let expected =
            Array2::from_shape_vec(inside_of_all.dim(), rows.flatten().collect()).unwrap();
        let path = written(folder.path(), "p.json", json!({ "polygons": [case["polygon"]] }));
        let ignored = Scope::new(None, Some(&path)).unwrap().ignored(size.into()).unwrap();
        assert_eq!(ignored, expected, "{}", case["polygon"]);
        let outside = Scope::new(Some(&path), None).unwrap().ignored(size.into()).unwrap();
        assert_eq!(outside, expected.mapv(|inside| !inside));
        inside_of_all.zip_mut_with(&expected, |all, inside| *all |= inside);
    }
    let all: Vec<&Value> = cases.iter().map(|case| &case["polygon"]).collect();
    let path = written(folder.path(), "all.json", json!({ "polygons": all }));
    let ignored = Scope::new(None, Some(&path)).unwrap().ignored(size.into()).unwrap();
    assert_eq!(ignored, inside_of_all);
}

#[test]
fn what_is_no_scope_for_an_image_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| written(folder.path(), name, text);
    let mask = folder.path().join("mask.png");
    GrayImage::from_fn(20, 10, |x, _| Luma([u8::from(x < 5)])).save(&mask).unwrap();
    let right = file("right.json", r#"{"polygons": [[[5, 0], [20, 0], [20, 10], [5, 10]]]}"#);
    let said = |roi: Option<&Path>, ignore: Option<&Path>, size| {
        let scope = Scope::new(roi, ignore);
        let error = scope.and_then(|scope| scope.ignored(size)).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let size = (20, 10);
    let error = said(Some(&mask), None, (20, 11));
    assert!(error.contains("mask.png: the mask is 20 x 10, the image 20 x 11"), "{error}");
    let error = said(None, Some(&right), (19, 10));
    assert!(error.contains("right.json: the corner [20, 0] lies outside"), "{error}");
    let error = said(Some(&mask), Some(&mask), size);
    assert!(error.contains("nothing is left to look at in an image of 20 x 10"), "{error}");
    // Together they leave nothing.
    let left = file("left.json", r#"{"polygons": [[[0, 0], [5, 0], [5, 10], [0, 10]]]}"#);
    assert!(said(Some(&mask), Some(&left), size).contains("nothing is left"));
    assert!(Scope::new(Some(&mask), Some(&right)).unwrap().ignored(size).is_ok());
    for (name, text, expected) in [
        ("none.json", r#"{"polygons": []}"#, "expected at least one polygon"),
        ("two.json", r#"{"polygons": [[[1, 2], [3, 4]]]}"#, "at least three corners, not 2"),
        ("list.json", "[[1, 2]]", "expected {\"polygons\""),
        ("key.json", r#"{"polygon": []}"#, "unknown field"),
        ("text.png", "no image", "not an image"),
    ] {
        let error = said(None, Some(&file(name, text)), size);
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
    let absent = folder.path().join("absent.png");
    assert!(said(None, Some(&absent), size).contains("absent.png"));
}

/// A grey part, where it is wanted with a stain at the left.
fn part(stain: bool) -> RgbImage {
    RgbImage::from_fn(240, 160, |x, y| {
        let stripe = if x / 8 % 2 == 0 { 120 } else { 150 };
        let inside = stain && x.abs_diff(50) < 20 && y.abs_diff(80) < 20;
        if inside { Rgb([250, 30, 20]) } else { Rgb([stripe; 3]) }
    })
}

/// Looks at all but the stain and what is around it.
fn right_side(folder: &Path) -> Scope {
    let text = json!({ "polygons": [[[0, 0], [110, 0], [110, 160], [0, 160]]] });
    Scope::new(None, Some(&written(folder, "left.json", text))).unwrap()
}

#[test]
fn verdicts_are_of_what_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let mut inspector = Inspector::tiny().unwrap().threshold(0.3);
    let whole = inspector.inspect_one(part(true)).unwrap();
    assert!(whole.regions.iter().any(|region| region.x < 60), "{:?}", whole.regions);
    inspector.look(Some(right_side(folder.path())));
    let found = inspector.inspect_one(part(true)).unwrap();
    let clean = inspector.inspect_one(part(false)).unwrap();
    assert!(found.raw_score < whole.raw_score - 0.1, "{} {}", found.raw_score, whole.raw_score);
    assert!((found.raw_score - clean.raw_score).abs() < 0.1, "{}", clean.raw_score);
    assert!(found.regions.iter().all(|region| region.x >= 109), "{:?}", found.regions);
    assert!(found.map.slice(s![.., ..110]).iter().all(|value| *value == 0.0));
    assert!(found.map.slice(s![.., 110..]).iter().all(|value| *value > 0.0));
    assert!(found.map_on_image().slice(s![.., ..110]).iter().all(|value| *value == 0.0));
    assert_eq!(found.scores().pixel, found.map_max());
    // One that does not fit costs no other its verdict.
    let small = RgbImage::from_pixel(50, 50, Rgb([9, 9, 9]));
    let images = [Input::pixels("small", small), Input::pixels("part", part(true))];
    let found: Vec<_> = inspector.inspect(images).collect();
    let error = found[0].as_ref().unwrap_err().to_string();
    assert!(error.starts_with("small: ") && error.contains("left.json"), "{error}");
    assert!(found[1].is_ok());
    let group: Vec<RgbImage> = (0..5).map(|_| part(false)).collect();
    let refused = inspector.inspect_group(group, |_| std::ops::ControlFlow::Continue(()));
    assert!(refused.err().unwrap().to_string().contains("nothing of it can be ignored"));
    inspector.look(None);
    let again = inspector.inspect_one(part(true)).unwrap();
    assert_eq!((again.raw_score, again.map), (whole.raw_score, whole.map));
    // A place so small that nothing of it is left at the model's size.
    let dot = json!({ "polygons": [[[3, 3], [4, 3], [4, 4], [3, 4]]] });
    let dot = written(folder.path(), "dot.json", dot);
    inspector.look(Some(Scope::new(Some(&dot), None).unwrap()));
    let large = RgbImage::from_pixel(2000, 2000, Rgb([9, 9, 9]));
    let error = inspector.inspect_one(large).unwrap_err().to_string();
    assert!(error.contains("nothing is left to look at"), "{error}");
}

/// Of every method whose score is of the map alone, or of the class token alone.
#[test]
fn no_method_counts_what_is_ignored() {
    let device = Device::flex();
    let methods = [
        Method::MemoryBank(MemoryBankConfig::default()),
        Method::Winclip(WinclipConfig::default()),
        Method::SpectralResidual(SpectralResidualConfig {}),
    ];
    for method in methods {
        let name = method.name();
        let clip =
            method.has_backbone().then(|| Backbone::load("tiny", None, &device).unwrap().clip);
        let remembers = !matches!(method, Method::SpectralResidual(_));
        let run = RunConfig::of_method(method);
        let mut detector = Detector::new(&run, clip, None, &device).unwrap();
        let side = detector.preprocess().height;
        let frame = Preprocess::clip(side, Resize::Squash);
        let seen = |stain| preprocess(&part(stain), &frame);
        if remembers {
            detector.remember(&[seen(false)]);
        }
        let mut ignored = Array2::from_elem((side, side), false);
        ignored.slice_mut(s![.., ..side * 110 / 240]).fill(true);
        let whole = one(detector.detect(&[seen(true)]));
        let images: [Array3<f32>; 2] = [seen(true), seen(true)];
        let found = detector.detect_without(&images, &[None, Some(ignored.clone())]);
        assert_eq!((found[0].score, &found[0].map), (whole.score, &whole.map), "{name}");
        let part = &found[1];
        assert!(part.score < whole.score, "{name}: {} {}", part.score, whole.score);
        for ((at, value), ignored) in part.map.indexed_iter().zip(&ignored) {
            assert!(!ignored || *value == 0.0, "{name}: {at:?} is {value}");
        }
        let right = s![.., side * 3 / 4..];
        let off = (&part.map.slice(right) - &whole.map.slice(right))
            .fold(0.0, |m: f32, d| m.max(d.abs()));
        assert!(off < 1e-5, "{name}: {off} far from what is ignored");
    }
}

fn one(mut predictions: Vec<Prediction>) -> Prediction {
    assert_eq!(predictions.len(), 1);
    predictions.swap_remove(0)
}
