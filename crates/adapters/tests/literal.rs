//! The adapters against their definitions.
#![allow(clippy::unwrap_used)]

use adapters::{Ffe, FfeConfig, Lfs, LfsConfig, Padding, Statistic, Transform, literal_statistic};
use burn::module::Param;
use burn::tensor::{Device, Distribution, Tensor};

/// f32 sums of at most 49 products of values of order one.
const TOLERANCE: f32 = 2e-5;

fn tokens(shape: [usize; 4]) -> Tensor<4> {
    let device = Device::flex();
    device.seed(7);
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device)
}

fn difference(a: Tensor<4>, b: Tensor<4>) -> f32 {
    assert_eq!(a.dims(), b.dims());
    (a - b).abs().max().into_scalar()
}

#[test]
fn every_statistic_equals_its_literal_form_for_every_window_and_ragged_grids() {
    let device = Device::flex();
    let statistics =
        [Statistic::SignedMean, Statistic::AbsMean, Statistic::PowerMean, Statistic::LogAbsMean];
    for transform in [Transform::Dct, Transform::Fft] {
        for window in 1..=7 {
            for (height, width) in [(1, 1), (5, 4), (7, 9)] {
                let x = tokens([2, height, width, 3]);
                for statistic in statistics {
                    let config = LfsConfig {
                        window,
                        statistic: Some(statistic),
                        kernel: 1,
                        transform: Some(transform),
                        ..LfsConfig::default()
                    };
                    let fast = Lfs::new(&config, 3, &device).statistics(x.clone());
                    let slow =
                        literal_statistic(x.clone(), window, config.padding, statistic, transform);
                    let error = difference(fast, slow);
                    assert!(
                        error < TOLERANCE,
                        "{transform:?} {statistic:?} window {window} on {height}x{width}: {error}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_signed_mean_is_the_kernel_that_the_crate_dct_names() {
    let device = Device::flex();
    let config = LfsConfig { kernel: 1, ..LfsConfig::default() };
    let kernel = dct::sliding_mean_kernel::<f64>(3);
    let mut x = Tensor::<4>::zeros([1, 5, 5, 1], &device);
    x = x.slice_assign([0..1, 2..3, 2..3, 0..1], Tensor::ones([1, 1, 1, 1], &device));
    let response = Lfs::new(&config, 1, &device).statistics(x);
    let values: Vec<f32> = response.into_data().try_to_vec().unwrap();
    for ((i, j), weight) in kernel.indexed_iter() {
        // A unit impulse at (2, 2) meets tap (i, j) of the window centred at (3 - i, 3 - j).
        let value = values[(3 - i) * 5 + 3 - j];
        assert!((f64::from(value) - weight).abs() < 1e-6, "tap {i},{j}: {value} {weight}");
    }
}

#[test]
fn the_fourier_signed_mean_is_the_windows_first_token() {
    let x = tokens([1, 6, 6, 2]);
    let mean =
        literal_statistic(x.clone(), 3, Padding::Replicate, Statistic::SignedMean, Transform::Fft);
    // Orthonormal scaling: the sum of all coefficients is window * x[0, 0].
    let corner = x.narrow(1, 0, 5).narrow(2, 0, 5) / 3.0;
    assert!(difference(mean.narrow(1, 1, 5).narrow(2, 1, 5), corner) < TOLERANCE);
}

/// With GELU in its linear range and the linear layer a small identity, what is left of FFE is
/// transform and inverse.
#[test]
fn transform_and_inverse_cancel() {
    let device = Device::flex();
    for transform in [Transform::Dct, Transform::Fft] {
        for (window, side) in [(3, 6), (3, 7), (2, 5), (5, 15)] {
            let config = FfeConfig { window, transform: Some(transform), ..FfeConfig::default() };
            let mut ffe = Ffe::new(&config, 4, &device);
            // gelu(x + 30) = x + 30 in f32: the bias comes back as 30 times the DC image.
            ffe.linear.weight = Param::from_tensor(Tensor::eye(4, &device));
            ffe.linear.bias = Some(Param::from_tensor(Tensor::full([4], 30.0, &device)));
            let x = tokens([1, side, side, 4]);
            let zero = ffe.forward(x.zeros_like());
            let error = difference(ffe.forward(x.clone()) - zero, x);
            assert!(error < 1e-4, "{transform:?} window {window} side {side}: {error}");
        }
    }
}

#[test]
fn grids_that_the_window_does_not_divide_keep_their_shape() {
    let device = Device::flex();
    let ffe = Ffe::new(&FfeConfig::default(), 4, &device);
    for side in [1, 2, 3, 4, 37] {
        assert_eq!(ffe.forward(tokens([1, side, side, 4])).dims(), [1, side, side, 4]);
    }
}

#[test]
fn windows_see_beyond_the_border_what_they_are_told_to() {
    let device = Device::flex();
    let x = tokens([1, 5, 4, 2]);
    let statistic = Statistic::AbsMean;
    let fast = |padding| {
        let statistic = Some(statistic);
        let config = LfsConfig { padding, statistic, kernel: 1, ..LfsConfig::default() };
        Lfs::new(&config, 2, &device).statistics(x.clone())
    };
    let all = [Padding::Replicate, Padding::Reflect, Padding::Zero];
    for padding in all {
        let slow = literal_statistic(x.clone(), 3, padding, statistic, Transform::Dct);
        assert!(difference(fast(padding), slow) < TOLERANCE, "{padding:?}");
    }
    let inner = |t: Tensor<4>| t.narrow(1, 1, 3).narrow(2, 1, 2);
    for padding in &all[1..] {
        assert!(difference(fast(*padding), fast(all[0])) > 1e-2, "{padding:?}");
        assert!(difference(inner(fast(*padding)), inner(fast(all[0]))) < TOLERANCE);
    }
    // FFE completes a ragged grid at the right and at the bottom.
    let replicating = Ffe::new(&FfeConfig::default(), 2, &device);
    let config = FfeConfig { padding: Padding::Reflect, ..FfeConfig::default() };
    let mut reflecting = Ffe::new(&config, 2, &device);
    reflecting.linear = replicating.linear.clone();
    let replicating = replicating.forward(x.clone());
    let reflected = reflecting.forward(x.clone());
    assert!(difference(reflected.clone(), replicating.clone()) > 1e-3);
    let whole = |t: Tensor<4>| t.narrow(1, 0, 3).narrow(2, 0, 3);
    assert!(difference(whole(reflected), whole(replicating)) < TOLERANCE);
}
