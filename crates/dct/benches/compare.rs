//! Times of this crate, and of rustdct, for `peers.py` to set beside those of scipy and torch.
//!
//! Prints `case <tab> name <tab> nanoseconds a sample`, the best of several repetitions.
//! `cargo bench -p dct --bench compare -- lengths [longest]` times the 1-D transforms.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use dct::{DctType, Normalization, Plan};
use rustdct::DctPlanner;

/// Samples in one batch of rows: within the second-level cache.
const BATCH: usize = 1 << 14;

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|a| a != "--bench").skip(1).collect();
    let longest = arguments.get(1).map_or(Ok(4096), |n| n.parse()).expect("a length");
    match arguments.first().map(String::as_str) {
        Some("lengths") => (1..=longest).for_each(|n| length(n, (BATCH / n).max(1))),
        Some("single") => (1..=longest).for_each(|n| length(n, 1)),
        other => panic!("expected lengths or single, got {other:?}"),
    }
}

fn length(n: usize, rows: usize) {
    let samples = noise(n * rows);
    let plan = Plan::<f32>::forward(DctType::II, n, Normalization::Ortho);
    let mut scratch = plan.scratch();
    let mut x = samples.clone();
    let ours = best(|| plan.process(black_box(&mut x), &mut scratch));
    let peer = DctPlanner::<f32>::new().plan_dct2(n);
    let mut peer_scratch = vec![0.0; peer.get_scratch_len()];
    let mut y = samples;
    // its transform is scaled by sqrt(n/2): keep the values finite
    let theirs = best(|| {
        for row in black_box(&mut y).chunks_exact_mut(n) {
            peer.process_dct2_with_scratch(row, &mut peer_scratch);
        }
        if y[0].abs() > 1e20 {
            y.fill(1.0);
        }
    });
    let scale = 1.0 / (n * rows) as f64;
    println!("{n}\tdct\t{:.3}", ours * scale);
    println!("{n}\trustdct\t{:.3}", theirs * scale);
}

/// Nanoseconds of the fastest of many calls, of which each batch lasts long enough for the clock.
fn best(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    call();
    let calls = (20_000.0 / start.elapsed().as_nanos().max(1) as f64).ceil() as usize;
    let mut fastest = f64::INFINITY;
    let end = Instant::now() + Duration::from_millis(4);
    let mut repetitions = 0;
    while repetitions < 5 || Instant::now() < end {
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        fastest = fastest.min(start.elapsed().as_nanos() as f64 / calls as f64);
        repetitions += 1;
    }
    fastest
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
