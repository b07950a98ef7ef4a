//! Every algorithm of the 1-D transforms against the O(n^2) definition.

use dct::{DctType, Normalization, Plan, basis_of, inverse_basis_of};
use ndarray::{Array1, Array2};

/// Deterministic samples in (-1, 1).
fn noise(seed: u64, len: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Rounding of sums of n terms of order 1 grows as sqrt(n), of FFTs as log n: 256 terms in f64.
const TOLERANCE: f64 = 2e-14;

#[test]
fn every_length_equals_the_definition() {
    use {DctType::*, Normalization::*};
    for n in 1..=256_usize {
        for kind in [I, II, III, IV] {
            if kind == I && n == 1 {
                continue;
            }
            for normalization in [Ortho, Backward, Forward] {
                for inverse in [false, true] {
                    let (matrix, plan) = if inverse {
                        (
                            inverse_basis_of::<f64>(kind, n, normalization),
                            Plan::<f64>::inverse(kind, n, normalization),
                        )
                    } else {
                        (
                            basis_of::<f64>(kind, n, normalization),
                            Plan::<f64>::forward(kind, n, normalization),
                        )
                    };
                    check(
                        n,
                        &matrix,
                        &plan,
                        &format!("DCT-{kind:?} {normalization:?} n = {n} inverse = {inverse}"),
                    );
                }
            }
        }
    }
}

/// Lengths beyond 256 that are split before an FFT: in three, in seven, in 25.
#[test]
fn long_odd_lengths_equal_the_definition() {
    for n in [3 * 113, 7 * 7 * 11, 625, 3 * 13 * 17, 3 * 5 * 7 * 11] {
        for kind in [DctType::II, DctType::III] {
            let matrix = basis_of::<f64>(kind, n, Normalization::Ortho);
            let plan = Plan::<f64>::forward(kind, n, Normalization::Ortho);
            check(n, &matrix, &plan, &format!("DCT-{kind:?} n = {n}"));
        }
    }
}

fn check(n: usize, matrix: &Array2<f64>, plan: &Plan<f64>, name: &str) {
    let rows = 11;
    let samples = noise(n as u64, rows * n);
    let mut transformed = samples.clone();
    plan.process(&mut transformed, &mut plan.scratch());
    let scale = matrix.iter().fold(0.0_f64, |m, x| m.max(x.abs())) * (n as f64).sqrt();
    for (x, y) in samples.chunks(n).zip(transformed.chunks(n)) {
        let expected = matrix.dot(&Array1::from(x.to_vec()));
        for (k, (a, b)) in y.iter().zip(&expected).enumerate() {
            assert!((a - b).abs() <= TOLERANCE * scale, "{name}, k = {k}: {a} != {b}");
        }
    }
}

#[test]
fn matrices_are_exact_where_they_can_be() {
    let m = basis_of::<f64>(DctType::II, 6, Normalization::Backward);
    assert_eq!(m[[0, 3]], 2.0);
    assert_eq!(m[[3, 1]], -m[[3, 0]]);
    assert_eq!(m[[2, 1]], 0.0);
    for n in 1..=64 {
        let m = basis_of::<f64>(DctType::II, n, Normalization::Backward);
        for k in 0..n {
            for i in 0..n {
                let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
                assert_eq!(m[[k, i]], sign * m[[k, n - 1 - i]], "n = {n}, k = {k}, i = {i}");
            }
        }
    }
}

#[test]
fn inverse_matrices_invert() {
    use {DctType::*, Normalization::*};
    for kind in [I, II, III, IV] {
        for normalization in [Ortho, Backward, Forward] {
            for n in 2..=16 {
                let forward = basis_of::<f64>(kind, n, normalization);
                let inverse = inverse_basis_of::<f64>(kind, n, normalization);
                let error = &inverse.dot(&forward) - &Array2::<f64>::eye(n);
                let worst = error.iter().fold(0.0, |m: f64, e| m.max(e.abs()));
                assert!(worst < 1e-14, "DCT-{kind:?} {normalization:?} {n}: {worst}");
            }
        }
    }
}
