//! Products beside float64.

use super::*;
use crate::panels::Packed;
use crate::{Arithmetic, int8};

const ARITHMETICS: [Arithmetic; 3] = [Arithmetic::Float32, Arithmetic::Bfloat16, Arithmetic::Int8];

/// Numbers of both signs and of sizes from 1 to 2^-8.
fn values(n: usize, seed: usize) -> Vec<f32> {
    let value = |i: usize| {
        let x = ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
        x * 0.5f32.powi((i * 31 % 9) as i32)
    };
    (0..n).map(value).collect()
}

fn product_of(rows: &[f32], columns: &[f32], depth: usize, arithmetic: Arithmetic) -> Vec<f32> {
    let packed = Packed::of_columns(&[columns], depth, arithmetic).unwrap();
    let weights = packed.weights();
    let width = weights.ncols();
    let mut tiles = Tiles::default();
    tiles.pack(rows, depth, weights.form());
    let mut out = vec![0f32; tiles.len() * width];
    let each = shares(&mut out, width, SHARE);
    multiply(&tiles, weights, each, |share, tile, column, sums| {
        write_rows(&sums, share, tile, column);
    });
    out
}

const SHAPES: [(usize, usize, usize); 7] = [
    (1, 16, 16),
    (5, 48, 32),
    (6, 16, 48),
    (7, 80, 16),
    (13, 336, 96),
    (25, 1056, 48),
    (12, 1024, 32),
];

/// The numbers that a row is rounded to.
fn rounded(row: &[f32], arithmetic: Arithmetic) -> Vec<f32> {
    match arithmetic {
        Arithmetic::Float32 => row.to_vec(),
        Arithmetic::Bfloat16 => row.iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect(),
        Arithmetic::Int8 => {
            let mut words = vec![0; int8::words(row.len(), 1)];
            int8::pack(row, &mut words, 0, |scale, _| [scale.to_bits()]);
            let mut numbers = vec![0.0; row.len()];
            int8::unpack::<1>(&words, &mut numbers, |head| f32::from_bits(head[0]));
            numbers
        }
    }
}

#[test]
fn products_are_those_of_float64() {
    for (rows, depth, width) in SHAPES {
        let (a, b) = (values(rows * depth, 1), values(width * depth, 2));
        for arithmetic in ARITHMETICS {
            let found = product_of(&a, &b, depth, arithmetic);
            let a: Vec<f32> = a.chunks(depth).flat_map(|a| rounded(a, arithmetic)).collect();
            let b: Vec<f32> = b.chunks(depth).flat_map(|b| rounded(b, arithmetic)).collect();
            for (i, found) in found.into_iter().enumerate() {
                let (row, column) = (&a[i / width * depth..], &b[i % width * depth..]);
                let products = row.iter().zip(column).take(depth);
                let products = products.map(|(x, y)| f64::from(*x) * f64::from(*y));
                let (sum, size) =
                    products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()));
                // Each of `depth` additions rounds a sum that is at most `size`.
                let mut bound = depth as f64 * size * f64::from(f32::EPSILON) / 2.0;
                if arithmetic == Arithmetic::Int8 {
                    // Both factors were rotated back, each in seven additions.
                    let length = |x: &[f32]| {
                        x[..depth].iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
                    };
                    bound += 16.0 * length(row) * length(column) * f64::from(f32::EPSILON);
                }
                let error = (f64::from(found) - sum).abs();
                assert!(error <= bound, "{arithmetic:?}, {rows} {depth} {width}: {error} {bound}");
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_so() {
    let (depth, width) = (336, 32);
    let mut a = values(2 * depth, 1);
    let b = values(width * depth, 2);
    for bad in [f32::NAN, f32::INFINITY] {
        a[200] = bad;
        for arithmetic in ARITHMETICS {
            let found = product_of(&a, &b, depth, arithmetic);
            let (first, second) = found.split_at(width);
            assert!(first.iter().all(|x| !x.is_finite()), "{arithmetic:?} {bad}");
            assert!(second.iter().all(|x| x.is_finite()), "{arithmetic:?} {bad}");
        }
    }
}

#[test]
fn products_depend_neither_on_other_rows_nor_on_threads() {
    let (rows, depth, width) = (25, 336, 96);
    let (a, b) = (values(rows * depth, 3), values(width * depth, 4));
    for arithmetic in ARITHMETICS {
        let together = product_of(&a, &b, depth, arithmetic);
        for (row, expected) in a.chunks(depth).zip(together.chunks(width)) {
            assert_eq!(product_of(row, &b, depth, arithmetic), expected);
        }
        for threads in [1, 3, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| product_of(&a, &b, depth, arithmetic)), together);
        }
    }
}

#[test]
fn without_fused_operations_the_sums_are_the_same_but_for_rounding() {
    let (a, b) = (values(ROWS * 9, 4), values(COLUMNS * 9, 5));
    let (tile, panel) = (a.as_chunks().0, b.as_chunks().0);
    let (fused, plain) = (product(tile, panel), separate(tile, panel));
    for (x, y) in fused.as_flattened().iter().zip(plain.as_flattened()) {
        // Each of nine sums, of at most 9, is rounded.
        assert!((x - y).abs() <= 81.0 * f32::EPSILON, "{x} {y}");
    }
}
