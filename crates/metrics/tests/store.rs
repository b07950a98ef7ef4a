//! Accumulators written and read again: shards give the result of the whole, damaged files are refused.
//!
//! `golden/shards.py` writes the same files from the documented format.

#![allow(clippy::unwrap_used)]

use anomaly_metrics::{Connectivity, Kind, LoadError, PixelHistogram, PixelMetrics, Score};
use ndarray::{Array3, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;

const LIMITS: [f64; 2] = [0.3, 1.0];

fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The case "tied" of the golden vectors.
fn tied() -> (Array3<f32>, Array3<bool>) {
    let file = golden("pixels.safetensors");
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let [maps, masks] = ["tied.maps", "tied.masks"].map(|name| tensors.tensor(name).unwrap());
    let shape: [usize; 3] = maps.shape().try_into().unwrap();
    let floats = maps.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    let maps = Array3::from_shape_vec(shape, floats.collect()).unwrap();
    let truths = masks.data().iter().map(|&byte| byte != 0).collect();
    (maps, Array3::from_shape_vec(shape, truths).unwrap())
}

/// Scores of several kinds: ties beyond the 8-bit counters, decades, both signs, infinities.
fn varied(images: usize, side: usize) -> (Array3<f32>, Array3<bool>) {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut masks = Array3::default((images, side, side));
    for image in 0..images {
        for _ in 0..image {
            let (top, left) = (rng.random_range(0..side - 3), rng.random_range(0..side - 3));
            masks.slice_mut(s![image, top..top + 3, left..left + 3]).fill(true);
        }
    }
    let maps = masks.mapv(|anomalous| {
        let score: f32 = rng.random::<f32>() * if anomalous { 1.0 } else { 0.9 };
        match rng.random_range(0..8) {
            0..3 => 0.25,
            3 => score.powi(30),
            4 => -score,
            5 if rng.random_bool(0.01) => f32::INFINITY,
            _ => score,
        }
    });
    (maps, masks)
}

fn accumulate<S: Score>(maps: &Array3<S>, masks: &Array3<bool>) -> PixelMetrics<S> {
    let mut pixels = PixelMetrics::new(Connectivity::Eight);
    pixels.add_all(maps.view(), masks.view()).unwrap();
    pixels
}

fn saved<S: Score>(pixels: &mut PixelMetrics<S>) -> Vec<u8> {
    let mut file = Vec::new();
    pixels.save(&mut file).unwrap();
    file
}

fn shards<S: Score>(maps: &Array3<S>, masks: &Array3<bool>) {
    let whole = saved(&mut accumulate(maps, masks));
    let report = accumulate(maps, masks).finish(&LIMITS).unwrap();
    let images = maps.dim().0;
    for cuts in [vec![0, images], vec![0, 1, images], (0..=images).collect(), vec![0, 0, images]] {
        let mut merged = PixelMetrics::<S>::new(Connectivity::Eight);
        for ends in cuts.windows(2) {
            let part = s![ends[0]..ends[1], .., ..];
            let shard =
                &mut accumulate(&maps.slice(part).to_owned(), &masks.slice(part).to_owned());
            let file = saved(shard);
            assert_eq!(file, saved(shard), "saving changes nothing");
            merged.merge(PixelMetrics::load(file.as_slice()).unwrap());
        }
        assert_eq!(saved(&mut merged), whole);
        assert_eq!(merged.finish(&LIMITS).unwrap(), report);
    }

    // Images may follow those of a file, and a file those in memory.
    let first = s![..1, .., ..];
    let file =
        saved(&mut accumulate(&maps.slice(first).to_owned(), &masks.slice(first).to_owned()));
    let rest = s![1.., .., ..];
    let mut resumed = PixelMetrics::<S>::load(file.as_slice()).unwrap();
    resumed.add_all(maps.slice(rest), masks.slice(rest)).unwrap();
    assert_eq!(saved(&mut resumed), whole);
    let rest = accumulate(&maps.slice(rest).to_owned(), &masks.slice(rest).to_owned());
    let mut front = accumulate(&maps.slice(first).to_owned(), &masks.slice(first).to_owned());
    front.merge(rest);
    assert_eq!(saved(&mut front), whole);
}

#[test]
fn shards_give_the_result_of_the_whole() {
    for (images, side) in [(3, 5), (4, 300)] {
        let (maps, masks) = varied(images, side);
        shards(&maps, &masks);
        shards(&maps.mapv(f64::from), &masks);
    }
}

#[test]
fn histograms_give_the_result_of_the_whole() {
    let (maps, masks) = varied(5, 60);
    let histogram = |part: std::ops::Range<usize>| {
        let mut histogram = PixelHistogram::new(Connectivity::Eight, -1.0, 1.0);
        for image in part {
            histogram.add(maps.slice(s![image, .., ..]), masks.slice(s![image, .., ..])).unwrap();
        }
        let mut file = Vec::new();
        histogram.save(&mut file).unwrap();
        (histogram, file)
    };
    let (whole, bytes) = histogram(0..5);
    let mut merged = PixelHistogram::load(histogram(2..5).1.as_slice()).unwrap();
    merged.merge(&PixelHistogram::load(histogram(0..2).1.as_slice()).unwrap());
    assert_eq!(merged.finish(&LIMITS).unwrap(), whole.finish(&LIMITS).unwrap());
    let mut file = Vec::new();
    merged.save(&mut file).unwrap();
    assert_eq!(file, bytes);
}

#[test]
fn the_format_is_the_documented_one() {
    let (maps, masks) = tied();
    assert_eq!(saved(&mut accumulate(&maps, &masks)), golden("shard_single.bin"));
    assert_eq!(saved(&mut accumulate(&maps.mapv(f64::from), &masks)), golden("shard_double.bin"));
    let mut histogram = PixelHistogram::new(Connectivity::Eight, 0.0, 1.0);
    for (map, mask) in maps.outer_iter().zip(masks.outer_iter()) {
        histogram.add(map, mask).unwrap();
    }
    let mut file = Vec::new();
    histogram.save(&mut file).unwrap();
    let sum = u32::from_le_bytes(file[file.len() - 4..].try_into().unwrap());
    assert_eq!(format!("{sum:08x}\n").into_bytes(), golden("shard_histogram.crc32"));

    let mut report = accumulate(&maps, &masks).finish(&LIMITS).unwrap();
    let loaded = PixelMetrics::<f32>::load(golden("shard_single.bin").as_slice()).unwrap();
    assert_eq!(loaded.finish(&LIMITS).unwrap(), report);
    let double = accumulate(&maps.mapv(f64::from), &masks).finish(&LIMITS).unwrap();
    let loaded = PixelMetrics::<f64>::load(golden("shard_double.bin").as_slice()).unwrap();
    assert_eq!(loaded.finish(&LIMITS).unwrap(), double);
    // All but the curve for plots, which may keep other points, is the same in both precisions.
    report.pro = double.pro.clone();
    assert_eq!(report, double);
}

#[test]
fn files_lie_one_behind_another() {
    let file = [golden("shard_single.bin"), golden("shard_double.bin")].concat();
    let mut rest = file.as_slice();
    PixelMetrics::<f32>::load(&mut rest).unwrap();
    PixelMetrics::<f64>::load(&mut rest).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn other_files_are_told_apart() {
    let file = golden("shard_single.bin");
    let kind = |result: LoadError| match result {
        LoadError::Kind { expected, found } => (expected, found),
        other => panic!("{other}"),
    };
    let wrong = PixelMetrics::<f64>::load(file.as_slice()).err().unwrap();
    assert_eq!(
        wrong.to_string(),
        "holds exact counts of float32 scores, not exact counts of float64 scores"
    );
    assert_eq!(kind(wrong), (Kind::Double, Kind::Single));
    let wrong = PixelHistogram::load(file.as_slice()).err().unwrap();
    assert_eq!(kind(wrong), (Kind::Histogram, Kind::Single));
    for foreign in [&b""[..], b"\x93NUMPY\x01\x00", b"\x93METRICT\x01\x00\x01\x08"] {
        let error = PixelMetrics::<f32>::load(foreign).err();
        assert!(matches!(error, Some(LoadError::Foreign)), "{error:?}");
    }
    let mut newer = file;
    newer[8] = 2;
    let error = PixelMetrics::<f32>::load(newer.as_slice()).err();
    assert!(matches!(error, Some(LoadError::Version(2))), "{error:?}");
}

/// Replaces the checksum by the right one.
fn seal(file: &mut [u8]) {
    let body = file.len() - 4;
    let sum = crc32fast::hash(&file[..body]).to_le_bytes();
    file[body..].copy_from_slice(&sum);
}

#[test]
fn damaged_files_are_refused() {
    for name in ["shard_single.bin", "shard_double.bin"] {
        let file = golden(name);
        let refused = |bytes: &[u8]| match name {
            "shard_single.bin" => PixelMetrics::<f32>::load(bytes).is_err(),
            _ => PixelMetrics::<f64>::load(bytes).is_err(),
        };
        assert!(!refused(&file));
        for length in 0..file.len() {
            assert!(refused(&file[..length]), "{name} cut to {length}");
        }
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                assert!(refused(&damaged), "{name}, bit {bit} of byte {at}");
            }
        }
    }
    let (histogram, mut file) = (PixelHistogram::new(Connectivity::Four, 0.0, 1.0), Vec::new());
    histogram.save(&mut file).unwrap();
    for at in (0..64).chain(file.len() - 8..file.len()) {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        assert!(PixelHistogram::load(damaged.as_slice()).is_err(), "byte {at}");
        assert!(PixelHistogram::load(&file[..at]).is_err(), "cut to {at}");
    }
}

/// What someone wrote on purpose, with a right checksum, is an accumulator or an error, and takes no memory that is not
/// there.
#[test]
fn forged_files_do_no_harm() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let file = golden("shard_single.bin");
    let mut sound = 0;
    for _ in 0..20_000 {
        let mut forged = file.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(12..forged.len() - 4);
            forged[at] = [rng.random(), 0, 0xff, 0x80][rng.random_range(0..4)];
        }
        seal(&mut forged);
        if let Ok(pixels) = PixelMetrics::<f32>::load(forged.as_slice()) {
            pixels.finish(&LIMITS).unwrap();
            sound += 1;
        }
    }
    assert!(sound > 100, "{sound} of the forgeries are sound");

    let lie = |at: usize, number: u64| {
        let mut forged = file.clone();
        forged[at..at + 8].copy_from_slice(&number.to_le_bytes());
        seal(&mut forged);
        PixelMetrics::<f32>::load(forged.as_slice()).err().map(|error| error.to_string())
    };
    for number in [u64::MAX, 1 << 48, 1 << 40] {
        for (at, reasons) in
            [(12, ["images"; 2]), (20, ["regions", "ends early"]), (52, ["area", "ends early"])]
        {
            if let Some(error) = lie(at, number) {
                assert!(reasons.iter().any(|reason| error.contains(reason)), "{at}: {error}");
            } else {
                assert!(at == 12 && number <= 1 << 48, "{at}: {number} is believed");
            }
        }
    }
    // The first key of the first region becomes NaN.
    let mut nan = file.clone();
    nan[60..64].fill(0xff);
    seal(&mut nan);
    let error = PixelMetrics::<f32>::load(nan.as_slice()).err().unwrap();
    assert_eq!(error.to_string(), "is damaged: a score is NaN");
}
