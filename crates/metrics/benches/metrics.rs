//! All metrics of a set of maps in one pass, by the kind of scores. Beside the peers: `peers.py`.

use anomaly_metrics::{Connectivity, PixelMetrics, PixelReport, Score};
use divan::Bencher;
use divan::counter::ItemsCount;
use ndarray::{Array2, Array3, Zip};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() {
    divan::main();
}

const SHAPE: (usize, usize, usize) = (16, 1024, 1024);

/// About 1 % anomalous pixels in discs, and scores that tell them from the rest imperfectly.
fn data(shape: (usize, usize, usize)) -> (Array3<f32>, Array3<bool>) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (images, height, width) = shape;
    let radius = (height * width) as f32 * 0.01 / 3.0 / std::f32::consts::PI;
    let mut masks = Array3::default(shape);
    for image in 0..images {
        for _ in 0..3 {
            let (y, x) = (rng.random_range(0..height), rng.random_range(0..width));
            let disc = Array2::from_shape_fn((height, width), |(row, column)| {
                let (dy, dx) = (row as f32 - y as f32, column as f32 - x as f32);
                dy * dy + dx * dx <= radius
            });
            let mut mask = masks.index_axis_mut(ndarray::Axis(0), image);
            mask.zip_mut_with(&disc, |pixel, &inside| *pixel |= inside);
        }
    }
    let maps = Zip::from(&masks).map_collect(|&anomalous| {
        let noise: f32 = (0..4).map(|_| rng.random_range(-1.0..1.0)).sum();
        1.0 / (1.0 + (3.0 - 1.5 * noise - if anomalous { 2.5 } else { 0.0 }).exp())
    });
    (maps, masks)
}

fn scores(kind: &str) -> (Array3<f32>, Array3<bool>) {
    let (mut maps, masks) = data(SHAPE);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    match kind {
        "sigmoid" => {}
        "decades" => {
            maps.mapv_inplace(|score| 10f32.powf(-20.0 * (1.0 - score) * rng.random::<f32>()))
        }
        "distinct" => {
            let mut ranks: Vec<u32> = (0..maps.len() as u32).collect();
            rand::seq::SliceRandom::shuffle(ranks.as_mut_slice(), &mut rng);
            for (score, rank) in maps.iter_mut().zip(ranks) {
                *score = f32::from_bits(0x3e00_0000 + rank);
            }
        }
        "ties" => maps.mapv_inplace(|score| (score * 255.0).round() / 255.0),
        "constant" => maps.fill(0.5),
        _ => unreachable!(),
    }
    (maps, masks)
}

fn all<S: Score>(maps: &Array3<S>, masks: &Array3<bool>) -> PixelReport {
    let mut pixels = PixelMetrics::new(Connectivity::Eight);
    pixels.add_all(maps.view(), masks.view()).expect("no NaN");
    pixels.finish(&[0.3]).expect("a valid limit")
}

#[divan::bench(args = ["sigmoid", "decades", "distinct", "ties", "constant"], sample_count = 5)]
fn exact(bencher: Bencher<'_, '_>, kind: &str) {
    let (maps, masks) = scores(kind);
    bencher.counter(ItemsCount::new(maps.len())).bench(|| all(&maps, &masks));
}

#[divan::bench(sample_count = 3)]
fn exact_f64(bencher: Bencher<'_, '_>) {
    let (maps, masks) = scores("sigmoid");
    let maps = maps.mapv(f64::from);
    bencher.counter(ItemsCount::new(maps.len())).bench(|| all(&maps, &masks));
}

/// Maps as small as they come.
#[divan::bench(args = [8, 32, 128])]
fn tiny(bencher: Bencher<'_, '_>, side: usize) {
    let (maps, masks) = data((1, side, side));
    bencher.counter(ItemsCount::new(maps.len())).bench(|| all(&maps, &masks));
}

/// Many maps as small as they come.
#[divan::bench(args = [8, 32], sample_count = 10)]
fn many_tiny(bencher: Bencher<'_, '_>, side: usize) {
    let (maps, masks) = data(((1 << 20) / (side * side), side, side));
    bencher.counter(ItemsCount::new(maps.len())).bench(|| all(&maps, &masks));
}

/// Image scores of one category.
#[divan::bench(args = [100, 1000])]
fn auroc(bencher: Bencher<'_, '_>, count: usize) {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let scores = ndarray::Array1::from_shape_simple_fn(count, || rng.random::<f32>());
    let labels = scores.mapv(|score| score * rng.random::<f32>() > 0.3);
    bencher
        .counter(ItemsCount::new(count))
        .bench(|| anomaly_metrics::auroc(scores.view(), labels.view()));
}
