//! The guarantee of split conformal prediction, and calibrations as files.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use fe_clip::{
    Calibration, Error, FeClipConfig, ModelConfig, ModelIdentity, NormalImage, Prompts, Threshold,
    ZoneThresholds, ZonesIdentity, calibration_rank, images_needed,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fn identity() -> ModelIdentity {
    ModelIdentity {
        backbone: Some("b".into()),
        adapters: Some("a".into()),
        config: ModelConfig::default(),
        prompts: Prompts::default(),
        references: Vec::new(),
        scope: None,
        zones: None,
    }
}

fn calibrate(scores: &[f32], rate: f64) -> Result<Calibration, Error> {
    // The pixel scores run the other way, so that neither can stand for the other.
    let normal = |(n, s): (usize, &f32)| NormalImage {
        sha256: format!("{n:04}"),
        image: *s,
        pixel: 1.0 - s,
        zones: Vec::new(),
    };
    Calibration::new(scores.iter().enumerate().map(normal).collect(), rate, identity())
}

/// The proof of the guarantee, run: whichever of n + 1 scores is the new one, at most a share
/// `rate` of the choices lies above the threshold of the n others. Ties and long tails included.
#[test]
fn of_exchangeable_scores_at_most_the_wanted_share_is_above_the_threshold_of_the_others() {
    for seed in 0..300 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rate = *[0.01, 0.05, 0.1, 0.29, 0.5].get(seed as usize % 5).unwrap();
        let n = images_needed(rate) + rng.random_range(0..40);
        let levels = [3, 10, 1_000_000][seed as usize % 3];
        let scores: Vec<f32> =
            (0..=n).map(|_| (rng.random_range(0..levels) as f32 / levels as f32).powi(8)).collect();
        let (mut image_alarms, mut pixel_alarms) = (0, 0);
        for new in 0..=n {
            let mut others = scores.clone();
            others.remove(new);
            let found = calibrate(&others, rate).unwrap();
            image_alarms += usize::from(scores[new] > found.image.threshold);
            pixel_alarms += usize::from(1.0 - scores[new] > found.pixel.threshold);
        }
        let allowed = (rate * (n + 1) as f64 + 1e-9).floor() as usize;
        assert!(image_alarms <= allowed && pixel_alarms <= allowed, "seed {seed}");
        if levels == 1_000_000 {
            // Without ties it is no stricter than it must be.
            let distinct = scores.iter().all(|a| scores.iter().filter(|b| a == *b).count() == 1);
            assert!(!distinct || image_alarms == allowed, "seed {seed}: {image_alarms}");
        }
    }
}

/// The same as a user sees it: fresh calibrations and fresh images from one distribution.
#[test]
fn fresh_normal_images_raise_the_wanted_share_of_alarms() {
    for (n, rate) in [(19, 0.05), (40, 0.1), (99, 0.05)] {
        let mut rng = ChaCha8Rng::seed_from_u64(n as u64);
        let mut draw = || rng.random::<f32>() + rng.random::<f32>().powi(3);
        let (rounds, fresh) = (2000, 20);
        let mut alarms = 0;
        for _ in 0..rounds {
            let scores: Vec<f32> = (0..n).map(|_| draw()).collect();
            let found = calibrate(&scores, rate).unwrap();
            alarms += (0..fresh).filter(|_| draw() > found.image.threshold).count();
        }
        let share = alarms as f64 / (rounds * fresh) as f64;
        // Exactly (n + 1 - rank) / (n + 1) for a continuous distribution.
        let exact = (n + 1 - calibration_rank(n, rate).unwrap()) as f64 / (n + 1) as f64;
        // Five standard errors: the alarms of one round go together.
        let error = 5.0 * (exact * (1.0 - exact) / rounds as f64).sqrt();
        assert!(exact <= rate + 1e-9 && (share - exact).abs() < error, "{n}: {share} {exact}");
    }
}

#[test]
fn too_few_images_and_scores_that_are_no_numbers_are_refused() {
    match calibrate(&[0.5; 18], 0.05) {
        Err(Error::TooFewNormals { needed: 19, given: 18, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(calibrate(&[0.5; 19], 0.05).unwrap().image.rank, 19);
    assert!(calibrate(&[f32::NAN; 19], 0.05).unwrap_err().to_string().contains("NaN"));
}

#[test]
fn a_calibration_comes_back_from_its_file_and_names_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calibration.json");
    let scores: Vec<f32> = (0..40).map(|i| (i as f32 * 0.37).sin().abs() / 3.0).collect();
    let written = calibrate(&scores, 0.1).unwrap();
    written.write(&path).unwrap();
    let read = Calibration::read(&path).unwrap();
    assert_eq!(read, written);
    let mut sorted = scores;
    sorted.sort_by(f32::total_cmp);
    assert_eq!(read.image.threshold.to_bits(), sorted[36].to_bits());
    read.check(&identity(), &path).unwrap();
    let moved = ModelConfig { backbone: "elsewhere".into(), ..ModelConfig::default() };
    read.check(&ModelIdentity { config: moved, ..identity() }, &path).unwrap();

    let lambda = FeClipConfig { lambda: 0.25, ..FeClipConfig::default() };
    let config = ModelConfig { image_size: Some(112), ..lambda.into() };
    let other = ModelIdentity { adapters: Some("other".into()), config, ..identity() };
    let message = read.check(&other, &path).unwrap_err().to_string();
    for expected in [
        "calibration.json",
        r#"adapters was "a", is "other""#,
        "config.lambda was 0.1, is 0.25",
        "config.image_size was null, is 112",
    ] {
        assert!(message.contains(expected), "{message}");
    }
    assert!(!message.contains("backbone"), "{message}");

    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, expected) in [
        ("fe-clip-calibration", "something", "expected format fe-clip-calibration"),
        ("\"version\": 1", "\"version\": 9", "version 1, got"),
        ("false_alarm_rate", "rate", "rate"),
    ] {
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let message = Calibration::read(&path).unwrap_err().to_string();
        assert!(message.contains("calibration.json") && message.contains(expected), "{message}");
    }
}

/// Each zone has the rank of the others among scores of its own, also when images are added.
#[test]
fn zones_have_thresholds_of_their_own() {
    let zones = ZonesIdentity { names: vec!["rim".into(), "label".into()], sha256: "z".into() };
    let model = || ModelIdentity { zones: Some(zones.clone()), ..identity() };
    let normal = |n: u16| {
        let s = f32::from(n) / 100.0;
        let (sha256, zones) = (format!("{n:04}"), vec![s / 2.0, s, 1.0 - s]);
        NormalImage { sha256, image: s, pixel: s, zones }
    };
    let first = Calibration::new((1..=19).map(normal).collect(), 0.1, model()).unwrap();
    let all = first.with((20..=39).map(normal).collect(), 0.1, Path::new("a")).unwrap();
    // The 18th of 19 and the 36th of 39.
    for (found, rank, highest, label) in [(first, 18, 0.18, 0.98), (all, 36, 0.36, 0.96)] {
        let ZoneThresholds { elsewhere, named } = found.zones.clone().unwrap();
        let told: Vec<_> = named.iter().map(|z| (z.name.as_str(), z.threshold, z.rank)).collect();
        assert_eq!(elsewhere, Threshold { threshold: highest / 2.0, rank });
        assert_eq!(told[0], ("rim", highest, rank));
        assert_eq!(told[1], ("label", label, rank));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calibration.json");
        found.write(&path).unwrap();
        assert_eq!(Calibration::read(&path).unwrap(), found);
        let other = found.check(&identity(), &path).unwrap_err().to_string();
        assert!(other.contains("zones was"), "{other}");
    }
    let few = NormalImage { zones: vec![0.1], ..normal(1) };
    let normals = (2..=19).map(normal).chain([few]).collect();
    let error = Calibration::new(normals, 0.1, model()).unwrap_err().to_string();
    assert!(error.contains("score for each zone"), "{error}");
}
