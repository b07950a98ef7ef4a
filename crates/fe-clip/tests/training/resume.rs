//! Runs that are stopped and go on.

use fe_clip::{CoopConfig, Error, Method, RunConfig};

use crate::{Place, config, samples};

#[test]
fn a_resumed_run_gives_the_same_bytes_as_one_in_a_piece() {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(&folder.path().join("data"));
    let whole = folder.path().join("whole");
    let expected = Place::new(&samples, &whole).train(&config(3, None)).unwrap();
    let parts = folder.path().join("parts");
    // Stop after 1, 4 and 5 steps, in and at the end of an epoch, then once by the stop flag;
    // every other time with the activations on disk.
    let cache = folder.path().join("cache");
    let place = Place::new(&samples, &parts);
    let cached = || Place { cache: Some(&cache), ..Place::new(&samples, &parts) };
    for (i, max_steps) in [1, 4, 5].into_iter().enumerate() {
        let place = if i % 2 == 0 { &cached() } else { &place };
        place.train(&config(3, Some(max_steps))).unwrap();
    }
    match (Place { stop: true, ..cached() }).train(&config(3, None)) {
        Err(Error::Interrupted { step: 6 }) => {}
        other => panic!("expected an interruption after step 6, got {:?}", other.map(|_| ())),
    }
    let rest = cached().train(&config(3, None)).unwrap();
    assert_eq!(rest.steps.first().map(|s| s.step), Some(7));
    assert_eq!(rest.steps.last().map(|s| s.step), Some(expected.steps.len()));
    assert!(rest.bytes == expected.bytes, "the adapters differ");
    let log = std::fs::read_to_string(parts.join("train.jsonl")).unwrap();
    assert_eq!(log.lines().count(), expected.steps.len());
}

#[test]
fn momentum_and_falling_rates_go_on_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(&folder.path().join("data"));
    let coop = |epochs, max_steps| {
        let mut run = RunConfig::of_method(Method::Coop(CoopConfig::default()));
        (run.train.epochs, run.train.max_steps, run.train.batch_size) = (epochs, max_steps, 4);
        run.train.learning_rate = 0.1;
        run
    };
    let train =
        |name: &str, run: &RunConfig| Place::new(&samples, &folder.path().join(name)).train(run);
    let whole = train("whole", &coop(4, None)).unwrap();
    let per_epoch = samples.len().div_ceil(4);
    train("parts", &coop(4, Some(per_epoch + 1))).unwrap();
    // The rates are those of so many epochs.
    assert!(matches!(train("parts", &coop(5, None)), Err(Error::OtherRun { .. })));
    let rest = train("parts", &coop(4, None)).unwrap();
    assert_eq!(rest.steps.first().map(|s| s.step), Some(per_epoch + 2));
    assert!(rest.bytes == whole.bytes, "the vectors differ");
    let (first, last) = (whole.steps.first().unwrap(), whole.steps.last().unwrap());
    assert!(last.terms.loss_cls < first.terms.loss_cls, "{first:?} {last:?}");
}

#[test]
fn a_state_of_other_settings_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(&folder.path().join("data"));
    let out = folder.path().join("run");
    let place = Place::new(&samples, &out);
    place.train(&config(1, Some(1))).unwrap();
    let mut other = config(1, None);
    other.train.learning_rate = 1e-3;
    assert!(matches!(place.train(&other), Err(Error::OtherRun { .. })));
}

#[test]
fn a_diverging_run_names_step_and_images_and_keeps_the_last_good_state() {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(&folder.path().join("data"));
    let out = folder.path().join("run");
    let place = Place::new(&samples, &out);
    place.train(&config(1, None)).unwrap();
    let state = || {
        let read = |name: &str| std::fs::read(out.join("state").join(name)).unwrap();
        ["header.json", "head.bpk", "adapters.optimizer.bpk", "projection.optimizer.bpk"].map(read)
    };
    // The same state goes on at a rate that no number survives.
    let (header, last) = (out.join("state/header.json"), samples.len().div_ceil(4));
    let mut absurd = config(9, None);
    absurd.train.learning_rate = 1e38;
    let text = std::fs::read_to_string(&header).unwrap().replace("0.002", "1e38");
    absurd.train.projection_learning_rate = 1e38;
    std::fs::write(&header, text).unwrap();
    let before = state();
    let error = place.train(&absurd).unwrap_err();
    let message = error.to_string();
    let Error::NotFinite { step, images, .. } = error else { panic!("{message}") };
    assert!(step > last && step <= last + 2, "{message}");
    assert!(!images.is_empty() && images.len() <= 4);
    for image in &images {
        assert!(samples.iter().any(|s| s.image == *image));
        assert!(message.contains(image.to_str().unwrap()), "{message}");
    }
    assert!(message.contains(&format!("step {step}")), "{message}");
    assert!(state() == before, "the state has changed");
}

#[test]
fn mosaics_change_training_and_are_the_same_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(&folder.path().join("data"));
    let train = |name: &str, mosaic: f64, max_steps| {
        let out = folder.path().join(name);
        let mut config = config(2, max_steps);
        config.train.mosaic = mosaic;
        Place::new(&samples, &out).train(&config).unwrap()
    };
    let whole = train("whole", 0.5, None);
    train("parts", 0.5, Some(2));
    let rest = train("parts", 0.5, None);
    assert_eq!(rest.steps.first().map(|s| s.step), Some(3));
    assert!(rest.bytes == whole.bytes, "the adapters differ");
    assert!(train("none", 0.0, None).bytes != whole.bytes, "mosaics change nothing");
}
