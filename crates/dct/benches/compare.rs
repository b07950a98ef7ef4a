//! Times of this crate, and of rustdct, for `peers.py` to set beside those of scipy and torch.
//!
//! Prints `case <tab> name <tab> nanoseconds a sample`: processor time, the best of several
//! repetitions.
//! `cargo bench -p dct --bench compare -- arrays` times blocks and sliding windows,
//! `-- lengths 8 9` the 1-D transforms of many rows of these lengths, `-- single 8 9` of one row.
#![allow(clippy::print_stdout)]

use std::f32::consts::FRAC_1_SQRT_2;
use std::hint::black_box;

use dct::{
    DctType, Normalization, Padding, Plan, Reduction, Sliding, block_dct_2d, block_dct_2d_in_place,
    sliding_dct_2d, sliding_reduce,
};
use ndarray::{Array2, Array4, Axis};
use rustdct::{DctPlanner, TransformType2And3};

/// Samples in one batch of rows: within the second-level cache.
const BATCH: usize = 1 << 14;

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|a| a != "--bench").skip(1).collect();
    let lengths = || arguments[1..].iter().map(|n| n.parse().expect("a length"));
    match arguments.first().map(String::as_str) {
        Some("arrays") => arrays(arguments.get(1).map_or("", String::as_str)),
        Some("lengths") => lengths().for_each(|n| length(n, (BATCH / n).max(1))),
        Some("single") => lengths().for_each(|n| length(n, 1)),
        other => panic!("expected arrays, lengths or single, got {other:?}"),
    }
}

/// The tokens of eight images in ViT-L, and a 4K image; cases whose names contain `part`.
fn arrays(part: &str) {
    let tokens = Array4::from_shape_vec((8, 24, 24, 1024), noise(8 * 24 * 24 * 1024));
    let tokens = tokens.expect("as many samples");
    let photo = Array2::from_shape_vec((2160, 3840), noise(2160 * 3840)).expect("as many samples");
    let report = |case: &str, samples: usize, call: &mut dyn FnMut()| {
        if case.contains(part) {
            println!("{case}\tdct\t{:.4}", best(call) / samples as f64);
        }
    };
    let mut x = tokens.clone();
    report("copy of tokens", tokens.len(), &mut || black_box(&mut x).assign(&tokens));
    report("3x3 blocks of tokens, in place", tokens.len(), &mut || {
        block_dct_2d_in_place(black_box(&mut x), 3).expect("24 = 8 x 3");
    });
    report("3x3 blocks of tokens", tokens.len(), &mut || {
        black_box(block_dct_2d(tokens.view(), 3, Padding::None)).expect("24 = 8 x 3");
    });
    for (name, reduction) in [
        ("mean", Reduction::Mean),
        ("absolute mean", Reduction::AbsMean),
        ("power mean", Reduction::PowerMean),
        ("log mean", Reduction::LogMean),
    ] {
        report(&format!("sliding 3x3, {name}"), tokens.len(), &mut || {
            black_box(sliding_reduce(tokens.view(), &Sliding::new(3), reduction));
        });
    }
    // what a convolution without padding of its own does
    let padded = Array4::from_shape_vec((8, 26, 26, 1024), noise(8 * 26 * 26 * 1024));
    let padded = padded.expect("as many samples");
    let inside = Sliding { padding: Padding::None, ..Sliding::new(3) };
    report("sliding 3x3, mean, padded before", tokens.len(), &mut || {
        black_box(sliding_reduce(padded.view(), &inside, Reduction::Mean));
    });
    let image = tokens.index_axis(Axis(0), 0);
    report("sliding 3x3, all coefficients", image.len(), &mut || {
        black_box(sliding_dct_2d(image, 3));
    });
    let mut y = photo.clone();
    report("copy of a 4K image", photo.len(), &mut || black_box(&mut y).assign(&photo));
    report("8x8 blocks of a 4K image, in place", photo.len(), &mut || {
        block_dct_2d_in_place(black_box(&mut y), 8).expect("2160 = 270 x 8");
    });
    if !"8x8 blocks of a 4K image".contains(part) {
        return;
    }
    let plan = DctPlanner::<f32>::new().plan_dct2(8);
    let mut columns = vec![0.0_f32; photo.len()];
    report_peer("8x8 blocks of a 4K image, in place", photo.len(), || {
        rows_then_columns(&*plan, y.as_slice_mut().expect("contiguous"), &mut columns);
    });
}

/// What one does with 1-D transforms only: rows, a transposition, columns, and back.
fn rows_then_columns(plan: &dyn TransformType2And3<f32>, image: &mut [f32], columns: &mut [f32]) {
    let (height, width) = (2160, 3840);
    for row in image.chunks_exact_mut(8) {
        plan.process_dct2_with_scratch(row, &mut []);
    }
    for strip in 0..height / 8 {
        let from = &mut image[strip * 8 * width..][..8 * width];
        let to = &mut columns[..8 * width];
        for (j, column) in to.chunks_exact_mut(8).enumerate() {
            for (i, y) in column.iter_mut().enumerate() {
                *y = from[i * width + j];
            }
            plan.process_dct2_with_scratch(column, &mut []);
        }
        for (j, column) in to.chunks_exact(8).enumerate() {
            for (i, y) in column.iter().enumerate() {
                // orthonormal up to the factors of frequency 0
                from[i * width + j] = y * 0.25;
            }
        }
    }
}

fn report_peer(case: &str, samples: usize, call: impl FnMut()) {
    println!("{case}\trustdct\t{:.4}", best(call) / samples as f64);
}

fn length(n: usize, rows: usize) {
    let noise = noise(n * rows);
    let plan = Plan::<f32>::forward(DctType::II, n, Normalization::Ortho);
    let mut scratch = plan.scratch();
    let mut x = noise.clone();
    let peer = DctPlanner::<f32>::new().plan_dct2(n);
    let mut peer_scratch = vec![0.0; peer.get_scratch_len()];
    let mut y = noise;
    let scale = (2.0 / n as f32).sqrt();
    let [ours, theirs] = best_of_both(
        || plan.process(black_box(&mut x), &mut scratch),
        || {
            for row in black_box(&mut y).chunks_exact_mut(n) {
                peer.process_dct2_with_scratch(row, &mut peer_scratch);
                // it does not normalise: the same result as ours
                row[0] *= FRAC_1_SQRT_2;
                row.iter_mut().for_each(|y| *y *= scale);
            }
        },
    );
    let samples = (n * rows) as f64;
    println!("{n}\tdct\t{:.3}", ours / samples);
    println!("{n}\trustdct\t{:.3}", theirs / samples);
}

/// Processor nanoseconds of the fastest of many calls: time that other processes take away does
/// not count.
fn best(mut call: impl FnMut()) -> f64 {
    let calls = calls_per_repetition(&mut call);
    let mut fastest = f64::INFINITY;
    let end = now() + if calls > 1 { 2e6 } else { 1e8 };
    let mut repetitions = 0;
    while repetitions < 5 || now() < end {
        fastest = fastest.min(nanoseconds(&mut call, calls));
        repetitions += 1;
    }
    fastest
}

/// [`best`] of two that take turns, so that both meet the machine in the same states.
fn best_of_both(mut first: impl FnMut(), mut second: impl FnMut()) -> [f64; 2] {
    let calls = [calls_per_repetition(&mut first), calls_per_repetition(&mut second)];
    let mut fastest = [f64::INFINITY; 2];
    let end = now() + 2e7;
    while now() < end {
        fastest[0] = fastest[0].min(nanoseconds(&mut first, calls[0]));
        fastest[1] = fastest[1].min(nanoseconds(&mut second, calls[1]));
    }
    fastest
}

/// As many calls as take 20 microseconds: reading the clock takes half of one.
fn calls_per_repetition(call: &mut impl FnMut()) -> usize {
    let mut calls = 1;
    // The first call of all may take as long by itself: warm-up, not work.
    let mut fastest = |calls| (0..3).map(|_| nanoseconds(call, calls)).fold(f64::MAX, f64::min);
    while fastest(calls) * (calls as f64) < 20_000.0 {
        calls *= 2;
    }
    calls
}

/// Processor nanoseconds of one call, the mean of `calls`.
fn nanoseconds(call: &mut impl FnMut(), calls: usize) -> f64 {
    let start = now();
    for _ in 0..calls {
        call();
    }
    (now() - start) / calls as f64
}

/// Processor time of this thread, in nanoseconds.
fn now() -> f64 {
    cpu_time::ThreadTime::now().as_duration().as_secs_f64() * 1e9
}

/// Deterministic samples in (-1, 1).
fn noise(len: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}
