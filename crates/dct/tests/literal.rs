//! Block and sliding transforms against their literal definitions, and the properties of both.

use dct::{
    DctType, Normalization, Padding, Plan, RaggedBlocks, Reduction, Sliding, basis, basis_2d,
    block_dct_2d, block_dct_2d_in_place, block_idct_2d, block_idct_2d_in_place, dct, dct_2d, idct,
    idct_2d, sliding_coefficients, sliding_dct_2d, sliding_fft_2d, sliding_map,
    sliding_mean_kernel, sliding_reduce,
};
use ndarray::{Array1, Array2, Array3, Array4, ArrayView3, Axis, s};

/// Sums of at most 81 products of numbers below 1, in f64.
const TOLERANCE: f64 = 1e-13;

/// Deterministic samples in (-1, 1).
fn noise(shape: (usize, usize, usize)) -> Array3<f64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    Array3::from_shape_simple_fn(shape, || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}

#[track_caller]
fn close<D: ndarray::Dimension>(
    actual: &ndarray::Array<f64, D>,
    expected: &ndarray::Array<f64, D>,
    name: &str,
) {
    assert_eq!(actual.shape(), expected.shape(), "{name}");
    for (a, e) in actual.iter().zip(expected) {
        assert!((a - e).abs() <= TOLERANCE, "{name}: expected {e}, got {a}");
    }
}

const SHAPES: [(usize, usize, usize); 7] =
    [(1, 1, 1), (1, 7, 3), (5, 1, 2), (3, 4, 1), (11, 13, 3), (9, 10, 8), (10, 9, 19)];

/// `sum_ij C[u,i] C[v,j] x[i,j]` of one window.
fn literal(window: &Array2<f64>) -> Array2<f64> {
    let c = basis::<f64>(window.nrows());
    c.dot(window).dot(&c.t())
}

fn replicated(image: ArrayView3<'_, f64>, i: isize, j: isize, c: usize) -> f64 {
    let (height, width, _) = image.dim();
    let clamp = |position: isize, len: usize| position.clamp(0, len as isize - 1) as usize;
    image[[clamp(i, height), clamp(j, width), c]]
}

fn window_at(
    image: ArrayView3<'_, f64>,
    (i, j, c): (usize, usize, usize),
    q: usize,
) -> Array2<f64> {
    Array2::from_shape_fn((q, q), |(u, v)| {
        let at = |position: usize, offset: usize| (position + offset) as isize - (q / 2) as isize;
        replicated(image, at(i, u), at(j, v), c)
    })
}

/// The views that one array can be seen through: contiguous, thinned out, backwards, transposed.
fn views(image: &Array3<f64>) -> Vec<ArrayView3<'_, f64>> {
    vec![
        image.view(),
        image.slice(s![..;2, ..;3, ..]),
        image.slice(s![..;-1, ..;-1, ..;-1]),
        image.slice(s![.., .., ..;2]),
        image.view().permuted_axes([1, 0, 2]),
        image.view().permuted_axes([2, 0, 1]),
    ]
}

#[test]
fn sliding_windows_of_every_size_shape_and_view() {
    for shape in SHAPES {
        let image = noise(shape);
        for view in views(&image) {
            for q in 1..=9 {
                let (height, width, channels) = view.dim();
                let mut expected = Array4::zeros((q * q, height, width, channels));
                for ((i, j, c), _) in view.indexed_iter() {
                    let y = literal(&window_at(view, (i, j, c), q));
                    for ((u, v), &y) in y.indexed_iter() {
                        expected[[u * q + v, i, j, c]] = y;
                    }
                }
                let name = format!("{:?}, window {q}", view.dim());
                close(&sliding_dct_2d(view, q), &expected, &name);
                let means = [
                    (Reduction::Mean, expected.mean_axis(Axis(0))),
                    (Reduction::AbsMean, expected.mapv(f64::abs).mean_axis(Axis(0))),
                    (Reduction::PowerMean, expected.mapv(|x| x * x).mean_axis(Axis(0))),
                    (Reduction::LogMean, expected.mapv(|x| x.abs().ln_1p()).mean_axis(Axis(0))),
                ];
                for (reduction, mean) in means {
                    let actual = sliding_reduce(view, &Sliding::new(q), reduction);
                    close(&actual, &mean.expect("not empty"), &format!("{name} {reduction:?}"));
                }
                let last = sliding_map(view, &Sliding::new(q), |c: &[f64]| c[q * q - 1]);
                close(&last, &expected.index_axis(Axis(0), q * q - 1).to_owned(), &name);
            }
        }
    }
}

/// Long rows and many channels go in pieces.
#[test]
fn reductions_of_large_arrays_equal_those_of_their_coefficients() {
    let paddings = [Padding::None, Padding::Zero, Padding::Replicate, Padding::Reflect];
    for shape in [(3, 4000, 1), (2, 900, 7), (4, 9, 700), (3, 40, 130)] {
        let image = noise(shape);
        let shortest = shape.0.min(shape.1);
        for (window, stride) in [(1, [1, 1]), (2, [1, 3]), (3, [1, 1]), (3, [2, 2]), (4, [1, 7])] {
            for padding in paddings {
                let sliding = Sliding { window, stride, padding };
                if padding == Padding::None && window > shortest {
                    continue;
                }
                for reduction in
                    [Reduction::Mean, Reduction::AbsMean, Reduction::PowerMean, Reduction::LogMean]
                {
                    let of = |x: f64| match reduction {
                        Reduction::Mean => x,
                        Reduction::AbsMean => x.abs(),
                        Reduction::PowerMean => x * x,
                        Reduction::LogMean => x.abs().ln_1p(),
                    };
                    let mean = |c: &[f64]| c.iter().map(|&x| of(x)).sum::<f64>() / c.len() as f64;
                    close(
                        &sliding_reduce(image.view(), &sliding, reduction),
                        &sliding_map(image.view(), &sliding, mean),
                        &format!("{shape:?} {sliding:?} {reduction:?}"),
                    );
                }
            }
        }
    }
}

#[test]
fn the_mean_kernel_is_the_mean() {
    for q in 1..=9 {
        let kernel = sliding_mean_kernel::<f64>(q);
        let image = noise((q, q, 1));
        let mean = literal(&image.index_axis(Axis(2), 0).to_owned()).sum() / (q * q) as f64;
        let filtered = (&kernel * &image.index_axis(Axis(2), 0)).sum();
        assert!((mean - filtered).abs() < 1e-15, "window {q}: {mean} != {filtered}");
    }
    let k = sliding_mean_kernel::<f64>(3);
    let energy = k[[0, 0]].powi(2) / k.mapv(|x| x * x).sum();
    assert!((energy - 0.912).abs() < 5e-4, "{energy}");
}

#[test]
fn blocks_of_every_size_shape_and_view() {
    for shape in SHAPES {
        let image = noise(shape);
        for view in views(&image) {
            for p in 1..=9 {
                let (height, width, channels) = view.dim();
                let sides = (height.next_multiple_of(p), width.next_multiple_of(p), channels);
                let padded = Array3::from_shape_fn(sides, |(i, j, c)| {
                    replicated(view, i as isize, j as isize, c)
                });
                let mut expected = padded.clone();
                for mut block in expected.exact_chunks_mut((p, p, channels)) {
                    for mut plane in block.axis_iter_mut(Axis(2)) {
                        let y = literal(&plane.to_owned());
                        plane.assign(&y);
                    }
                }
                let name = format!("{:?}, blocks of {p}", view.dim());
                let y = block_dct_2d(view, p, Padding::Replicate).unwrap();
                close(&y, &expected, &name);
                close(&block_idct_2d(y.view(), p).unwrap(), &padded, &name);
                let mut in_place = padded.clone();
                block_dct_2d_in_place(&mut in_place, p).unwrap();
                assert_eq!(in_place, y, "{name}");
                // backwards in memory
                let mut backwards = padded.slice(s![..;-1, ..;-1, ..;-1]).to_owned();
                let mut seen = backwards.slice_mut(s![..;-1, ..;-1, ..;-1]);
                block_dct_2d_in_place(&mut seen, p).unwrap();
                close(&seen.to_owned(), &expected, &name);
                block_idct_2d_in_place(&mut seen, p).unwrap();
                close(&seen.to_owned(), &padded, &name);
            }
        }
    }
}

#[test]
fn ragged_blocks_are_refused_and_left_alone() {
    let image = noise((6, 8, 2));
    let error = RaggedBlocks { height: 6, width: 8, window: 3 };
    assert_eq!(block_dct_2d(image.view(), 3, Padding::None), Err(error));
    assert_eq!(error.to_string(), "expected sides that are multiples of 3, got 6 x 8");
    let mut untouched = image.clone();
    assert_eq!(block_dct_2d_in_place(&mut untouched, 3), Err(error));
    assert_eq!(untouched, image);
}

#[test]
fn any_axis_of_any_view() {
    let image = noise((7, 40, 5));
    for view in views(&image) {
        for axis in [Axis(0), Axis(1), Axis(2)] {
            let matrix = basis::<f64>(view.len_of(axis));
            let mut expected = view.to_owned();
            for mut lane in expected.lanes_mut(axis) {
                let y = matrix.dot(&lane);
                lane.assign(&y);
            }
            let y = dct(view, DctType::II, axis, Normalization::Ortho);
            close(&y, &expected, "lanes");
            close(
                &idct(y.view(), DctType::II, axis, Normalization::Ortho),
                &view.to_owned(),
                "back",
            );
        }
    }
}

#[test]
fn lanes_of_long_arrays() {
    for n in [24, 65, 100, 128, 134, 243, 400] {
        let image = noise((n, 5, 3));
        let y = dct(image.view(), DctType::II, Axis(0), Normalization::Ortho);
        let matrix = basis::<f64>(n);
        let lane = |i, j| image.slice(s![.., i, j]).to_owned();
        let expected = Array3::from_shape_fn((n, 5, 3), |(k, i, j)| matrix.row(k).dot(&lane(i, j)));
        close(&y, &expected, &format!("length {n}"));
    }
}

#[test]
fn parseval_linearity_and_the_kronecker_matrix() {
    let (x, y) = (noise((37, 50, 1)), noise((50, 37, 1)));
    let x = x.index_axis(Axis(2), 0);
    let y = y.index_axis(Axis(2), 0).reversed_axes();
    let energy = |x: &Array2<f64>| x.mapv(|x| x * x).sum();
    let transformed = dct_2d(x);
    assert!((energy(&transformed) / energy(&x.to_owned()) - 1.0).abs() < 1e-14);
    let sum = &x * 2.0 + y;
    close(&dct_2d(sum.view()), &(&transformed * 2.0 + dct_2d(y)), "linearity");
    close(&idct_2d(transformed.view()), &x.to_owned(), "round trip");
    let block = x.slice(s![..4, ..4]);
    let flat = Array1::from_iter(block.iter().copied());
    let product = basis_2d::<f64>(4).dot(&flat).into_shape_with_order((4, 4)).unwrap();
    close(&dct_2d(block), &product, "Kronecker product");
}

#[test]
fn signed_means_of_fourier_coefficients_degenerate() {
    let image = noise((5, 6, 2));
    let (re, im) = sliding_fft_2d(image.view(), &Sliding::new(3));
    close(&im.sum_axis(Axis(0)), &Array3::zeros((5, 6, 2)), "imaginary parts");
    let first = Array3::from_shape_fn((5, 6, 2), |(i, j, c)| {
        3.0 * replicated(image.view(), i as isize - 1, j as isize - 1, c)
    });
    close(&re.sum_axis(Axis(0)), &first, "real parts");
}

#[test]
fn rows_do_not_see_each_other() {
    for n in [8, 33, 65, 128, 131] {
        let plan = Plan::<f32>::forward(DctType::II, n, Normalization::Ortho);
        let mut rows = vec![1.0; 40 * n];
        rows[3 * n] = f32::NAN;
        plan.process(&mut rows, &mut plan.scratch());
        for (index, row) in rows.chunks(n).enumerate() {
            assert_eq!(row.iter().any(|x| x.is_nan()), index == 3, "length {n}, row {index}");
        }
    }
}

#[test]
fn huge_coefficients_have_finite_logarithms() {
    let image = Array2::from_elem((4, 4), 1e30_f32);
    let y = sliding_reduce(image.view(), &Sliding::new(3), Reduction::LogMean);
    let expected = (3e30_f32).ln() / 9.0;
    assert!(y.iter().all(|y| y.is_finite() && *y >= expected * 0.999), "{y}");
}

#[test]
#[should_panic(expected = "expected sides >= 4, got 3 x 5")]
fn windows_that_do_not_fit() {
    let sliding = Sliding { window: 4, stride: [1, 1], padding: Padding::None };
    sliding_coefficients(noise((3, 5, 1)).view(), &sliding);
}

#[test]
#[should_panic(expected = "expected an axis of 4 samples, got 5")]
fn plans_of_another_length() {
    let plan = Plan::<f64>::forward(DctType::II, 4, Normalization::Ortho);
    plan.process_axis(&mut noise((5, 4, 1)), Axis(0), &mut plan.scratch());
}

#[test]
#[should_panic(expected = "expected a length >= 2, got 1")]
fn type_one_of_one_sample() {
    let _ = Plan::<f32>::forward(DctType::I, 1, Normalization::Ortho);
}
