//! Images in, verdicts out, with the embedded default.
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use fe_clip::{
    Backbone, Calibration, Detector, Error, Input, Inspector, Label, MemoryBankConfig, Method,
    RunConfig, ScoreScale, Thresholds, Verdict,
};
use image::{Rgb, RgbImage};

/// Stripes, and from 0 on a stain that grows.
fn part(stain: u32) -> RgbImage {
    RgbImage::from_fn(200, 120, |x, y| {
        let inside = x.abs_diff(120) < stain && y.abs_diff(60) < stain;
        let stripe = if x / 8 % 2 == 0 { 90 } else { 160 };
        if inside { Rgb([250, 30, 20]) } else { Rgb([stripe; 3]) }
    })
}

fn assert_same(a: &Verdict, b: &Verdict) {
    assert_eq!((a.raw_score, a.score, a.label), (b.raw_score, b.score, b.label));
    assert_eq!((&a.map, &a.regions, a.size), (&b.map, &b.regions, b.size));
}

#[test]
fn files_bytes_and_pixels_get_the_same_verdicts_in_order_and_a_bad_one_costs_no_other_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut inputs: Vec<Input> = Vec::new();
    for stain in 0..7 {
        let file = path(&format!("{stain}.png"));
        part(3 * stain).save(&file).unwrap();
        match stain {
            2 => std::fs::write(&file, "no image").unwrap(),
            3 => inputs.push(path("absent.png").into()),
            _ => {}
        }
        inputs.push(match stain {
            4 => Input::bytes("4.png", std::fs::read(&file).unwrap()),
            5 => Input::pixels("5.png", part(15)),
            _ => file.into(),
        });
    }
    let inspector = Inspector::tiny().unwrap();
    let verdicts = inspector.inspect(inputs);
    assert_eq!(verdicts.len(), 8);
    let found: Vec<_> = verdicts.collect();
    let names = ["0.png", "1.png", "2.png", "absent.png", "3.png", "4.png", "5.png", "6.png"];
    for (found, name) in found.iter().zip(names) {
        let path = match found {
            Ok(verdict) => &verdict.path,
            Err(failed) => &failed.path,
        };
        assert!(path.ends_with(name), "{} in place of {name}", path.display());
        match (found, name) {
            (Err(failed), "2.png" | "absent.png") => {
                assert!(matches!(failed.error, Error::Data(_)));
                assert_eq!(failed.to_string().matches(name).count(), 1, "{failed}");
            }
            (Ok(verdict), _) => {
                let stain = name[..1].parse::<u32>().unwrap();
                let alone = inspector.inspect_one(part(3 * stain)).unwrap();
                assert_same(verdict, &alone);
                assert_eq!(verdict.image, part(3 * stain));
            }
            (Err(failed), _) => panic!("{failed}"),
        }
    }
}

#[test]
fn the_verdict_follows_from_score_map_and_thresholds() {
    let inspector = Inspector::tiny().unwrap();
    let shipped = inspector.judge().thresholds.unwrap();
    assert_eq!(shipped, Thresholds::of(&Calibration::of_tiny().unwrap(), ScoreScale::Unit));
    let verdict = inspector.inspect_one(part(30)).unwrap();
    assert_eq!(verdict.label == Some(Label::Anomalous), verdict.score >= shipped.image);
    assert_eq!(verdict.map_on_image().dim(), (120, 200));
    assert_eq!((verdict.size, verdict.scores().pixel), ((200, 120), verdict.map_max()));

    // A threshold is reached by what equals it.
    let exact = inspector.threshold(verdict.score).inspect_one(part(30)).unwrap();
    assert_eq!(exact.label, Some(Label::Anomalous));
    let level = Thresholds { image: 2.0, pixel: verdict.map_max() / 2.0 };
    let inspector = Inspector::tiny().unwrap().thresholds(Some(level));
    let found = inspector.inspect_one(part(30)).unwrap();
    assert_eq!(found.label, Some(Label::Normal));
    assert_eq!(found.regions[0].peak, verdict.map_max());
    assert!(found.regions.iter().all(|r| r.x + r.width <= 200 && r.y + r.height <= 120));
    let none = inspector.thresholds(None).inspect_one(part(30)).unwrap();
    assert!(none.label.is_none() && none.regions.is_empty() && none.last_stage.is_none());

    let features = Inspector::tiny().unwrap().features(true).inspect_one(part(30)).unwrap();
    assert!(features.last_stage.is_some_and(|last| last.ffe.is_some() && last.lfs.is_some()));
}

#[test]
fn normal_images_move_all_scores_so_the_shipped_thresholds_go() {
    let before = Inspector::tiny().unwrap().inspect_one(part(30)).unwrap();
    let inspector = Inspector::tiny().unwrap().normals([part(0), part(1)]).unwrap();
    assert!(inspector.judge().thresholds.is_none());
    let after = inspector.inspect_one(part(30)).unwrap();
    assert!(after.raw_score > before.raw_score + 1e-3 && after.label.is_none());
    assert!((0.0..=1.0).contains(&after.score));
    // Those of a calibration that was asked for stay.
    let calibrated = inspector.calibration(Calibration::of_tiny().unwrap());
    assert!(calibrated.inspect_one(part(30)).unwrap().label.is_some());
    let mut empty = Inspector::tiny().unwrap();
    assert!(empty.remember(Vec::<Input>::new()).is_err());
}

#[test]
fn a_method_that_misses_normal_images_says_so_of_every_image() {
    let device = Device::flex();
    let run = RunConfig::of_method(Method::MemoryBank(MemoryBankConfig::default()));
    let clip = Backbone::load("tiny", None, &device).unwrap().clip;
    let mut inspector = Inspector::new(Detector::new(&run, Some(clip), None, &device).unwrap());
    let found: Vec<_> = inspector.inspect([part(0), part(9)]).collect();
    assert_eq!(found.len(), 2);
    for found in found {
        let message = found.unwrap_err().to_string();
        assert!(message.contains("image") && message.contains("needs normal images"), "{message}");
    }
    inspector.remember([part(0)]).unwrap();
    let scores: Vec<f32> =
        inspector.inspect([part(0), part(20)]).map(|v| v.unwrap().raw_score).collect();
    assert!(scores[0] < 1e-3 && scores[1] > 0.05, "{scores:?}");
}

#[test]
fn what_a_method_needs_and_what_it_is_given_must_agree() {
    let device = Device::flex();
    let tiny = || Backbone::load("tiny", None, &device).unwrap().clip;
    let run = RunConfig::default();
    let head = run.model.method.new_head(&tiny(), &device).unwrap();
    let bank = RunConfig::of_method(Method::MemoryBank(MemoryBankConfig::default()));
    for (found, expected) in [
        (Detector::new(&run, None, None, &device), "method fe-clip needs a backbone"),
        (Detector::new(&run, Some(tiny()), None, &device), "method fe-clip has a trained part"),
        (Detector::new(&bank, Some(tiny()), Some(head), &device), "has no trained part"),
    ] {
        let message = found.err().unwrap().to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert!(bank.model.method.new_head(&tiny(), &device).is_err());
    assert!(bank.model.method.loss_form(&bank.train).is_err());
}
