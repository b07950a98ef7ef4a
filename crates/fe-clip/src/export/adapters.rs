//! The adapters of a stage as nodes; the transforms are constant matrices.

use adapters::{Conv, Ffe, Lfs, Statistic};
use ndarray::{Array2, Axis, concatenate};

use super::graph::{Graph, Kernel, Value};
use super::tower::{bias, gelu, linear};
use crate::head::StageAdapters;
use crate::tensors::floats;

/// Tokens of a stage: a square of `side` x `side` with so many channels, `[n, side², channels]`.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) side: usize,
    pub(super) channels: usize,
}

/// Eq. 2: `lambda * (FFE + LFS) + (1 - lambda) * tokens`, with the branches that there are.
pub(super) fn adapt<'a>(
    g: &mut Graph<'a>,
    name: &str,
    adapters: &'a StageAdapters,
    lambda: f64,
    grid: Grid,
    x: &Value,
) -> Value {
    let mut branches = Vec::new();
    if let Some(adapter) = &adapters.ffe {
        branches.push(ffe(g, &format!("{name}.ffe"), adapter, grid, x));
    }
    if let Some(adapter) = &adapters.lfs {
        g.scope(format!("{name}.lfs").replace('.', "/"));
        let statistics = statistics(g, adapter, grid, x);
        let convolved = conv(g, &format!("{name}.lfs.conv"), &adapter.conv, grid, &statistics);
        branches.push(gelu(g, &convolved));
    }
    if let Some(adapter) = &adapters.conv {
        g.scope(format!("{name}.conv").replace('.', "/"));
        let convolved = conv(g, &format!("{name}.conv.conv"), &adapter.conv, grid, x);
        branches.push(gelu(g, &convolved));
    }
    let Some(added) = total(g, branches) else { return x.clone() };
    g.scope(name.replace('.', "/"));
    let (own, others) = (g.number(1.0 - lambda), g.number(lambda));
    let added = g.mul(&added, &others);
    let x = g.mul(x, &own);
    g.add(&added, &x)
}

/// Frequency feature extraction.
fn ffe<'a>(g: &mut Graph<'a>, name: &str, ffe: &'a Ffe, grid: Grid, x: &Value) -> Value {
    g.scope(name.replace('.', "/"));
    let Grid { side, channels } = grid;
    let inside = ffe.window() * ffe.window();
    let places = ffe.gathered(side, side);
    let windows = places.len() / inside;
    let zero = side * side;
    let x = if places.contains(&None) { g.pad(x, 0, 1) } else { x.clone() };
    let places: Vec<i64> = places.iter().map(|at| at.unwrap_or(zero) as i64).collect();
    let places = g.places("ffe.gathered", &[places.len()], &places);
    let x = g.gather(&x, 1, &places);
    let x = g.reshape(&x, &[0, inside, windows * channels]);
    let mut parts = Vec::new();
    let layer = format!("{name}.linear");
    for (part, basis) in ffe.bases().into_iter().enumerate() {
        let back = matrix(g, &format!("ffe.inverse.{part}"), basis.t().to_owned());
        let basis = matrix(g, &format!("ffe.basis.{part}"), basis);
        let coefficients = g.matmul(&basis, &x);
        let coefficients = g.reshape(&coefficients, &[0, inside, windows, channels]);
        // Imaginary parts pass the same layer.
        let mapped = linear(g, &layer, &ffe.linear, &coefficients);
        let mapped = gelu(g, &mapped);
        let mapped = g.reshape(&mapped, &[0, inside, windows * channels]);
        parts.push(g.matmul(&back, &mapped));
    }
    let x = total(g, parts).expect("a transform has at least one basis");
    let x = g.reshape(&x, &[0, inside * windows, channels]);
    let places: Vec<i64> = ffe.scattered(side, side).iter().map(|at| *at as i64).collect();
    let places = g.places("ffe.scattered", &[places.len()], &places);
    g.gather(&x, 1, &places)
}

/// The statistic of LFS at every token, before the convolution.
fn statistics(g: &mut Graph<'_>, lfs: &Lfs, grid: Grid, x: &Value) -> Value {
    let Grid { side, channels } = grid;
    let q = lfs.window();
    let bases = lfs.bases();
    let band = |kernel: &[f64]| lfs.band(kernel, side);
    let square = g.reshape(x, &[0, side, side, channels]);
    let statistic = match lfs.statistic() {
        // One separable kernel for all coefficients; of the FFT only real parts contribute.
        Statistic::SignedMean => {
            let mean =
                |basis: &Array2<f64>| basis.mean_axis(Axis(0)).expect("a basis has rows").to_vec();
            let real = both_axes(g, "lfs.mean.0", band(&mean(&bases[0])), grid, &square);
            match bases.get(1) {
                None => real,
                Some(basis) => {
                    let imaginary = both_axes(g, "lfs.mean.1", band(&mean(basis)), grid, &square);
                    g.sub(&real, &imaginary)
                }
            }
        }
        // Parseval: the coefficients' energy is the window's.
        Statistic::PowerMean => {
            let squares = g.mul(&square, &square);
            let sum = both_axes(g, "lfs.sum", band(&vec![1.0; q]), grid, &squares);
            let count = g.number((q * q) as f64);
            g.div(&sum, &count)
        }
        statistic @ (Statistic::AbsMean | Statistic::LogAbsMean) => {
            let logarithm = statistic == Statistic::LogAbsMean;
            let sum = streamed(g, lfs, &bases, logarithm, grid, &square);
            let count = g.number((q * q) as f64);
            g.div(&sum, &count)
        }
    };
    g.reshape(&statistic, &[0, side * side, channels])
}

/// Applies one matrix, `[side, side]`, to both axes of `[n, side, side, channels]`: `[n, side,
/// side * channels]`.
pub(super) fn both_axes(
    g: &mut Graph<'_>,
    name: &str,
    along: Array2<f64>,
    grid: Grid,
    x: &Value,
) -> Value {
    let Grid { side, channels } = grid;
    let along = matrix(g, name, along);
    let across = g.matmul(&along, x);
    let across = g.reshape(&across, &[0, side, side * channels]);
    g.matmul(&along, &across)
}

/// Sum over all coefficients of a window of their absolute values or of the logarithms of one
/// more: `[n, side, side * channels]`. The coefficients of one frequency across are in memory at
/// once.
fn streamed(
    g: &mut Graph<'_>,
    lfs: &Lfs,
    bases: &[Array2<f64>],
    logarithm: bool,
    grid: Grid,
    x: &Value,
) -> Value {
    let Grid { side, channels } = grid;
    let q = lfs.window();
    let band = |part: usize, k: usize| lfs.band(&bases[part].row(k).to_vec(), side);
    let below: Vec<Value> = (0..bases.len())
        .map(|part| {
            let bands: Vec<Array2<f64>> = (0..q).map(|u| band(part, u)).collect();
            let views: Vec<_> = bands.iter().map(|band| band.view()).collect();
            let stacked = concatenate(Axis(0), &views).expect("bands of one width");
            matrix(g, &format!("lfs.down.{part}"), stacked) // [q * side, side]
        })
        .collect();
    let mut sums = Vec::new();
    for v in 0..q {
        let mut across = Vec::new();
        for part in 0..bases.len() {
            let band = matrix(g, &format!("lfs.across.{part}.{v}"), band(part, v));
            let filtered = g.matmul(&band, x);
            across.push(g.reshape(&filtered, &[0, side, side * channels]));
        }
        let coefficients = match &across[..] {
            [re, im] => {
                let [a, b] = [g.matmul(&below[0], re), g.matmul(&below[1], im)];
                let [c, d] = [g.matmul(&below[0], im), g.matmul(&below[1], re)];
                vec![g.sub(&a, &b), g.add(&c, &d)]
            }
            _ => vec![g.matmul(&below[0], &across[0])],
        };
        for c in coefficients {
            let mut c = g.unary("Abs", &c);
            if logarithm {
                let one = g.number(1.0);
                let more = g.add(&c, &one);
                c = g.unary("Log", &more);
            }
            let c = g.reshape(&c, &[0, q, side, side * channels]);
            sums.push(g.sum(&c, 1, false));
        }
    }
    total(g, sums).expect("a window has at least one coefficient")
}

/// The convolution of LFS and of the Conv adapter on `[n, side², channels]`.
fn conv<'a>(g: &mut Graph<'a>, name: &str, conv: &'a Conv, grid: Grid, x: &Value) -> Value {
    let Grid { side, channels } = grid;
    let k = conv.kernel();
    let layer = &conv.linear;
    if k == 1 {
        return linear(g, name, layer, x);
    }
    let kernels = g.weight(&format!("{name}.weight"), &[channels, channels, k, k], move || {
        kernels(&floats(layer.weight.val()), channels, k * k)
    });
    let bias = bias(g, name, layer);
    let x = g.transpose(x, &[0, 2, 1]);
    let x = g.reshape(&x, &[0, channels, side, side]);
    let x = g.conv(&x, (&kernels, bias.as_ref()), &Kernel { side: k, stride: 1, padding: k / 2 });
    let x = g.reshape(&x, &[0, channels, side * side]);
    g.transpose(&x, &[0, 2, 1])
}

/// Kernels `[channels, channels, taps]`, outputs first, of a matrix with rows in the order tap,
/// input.
fn kernels(matrix: &[f32], channels: usize, taps: usize) -> Vec<f32> {
    let mut kernels = Vec::with_capacity(matrix.len());
    for o in 0..channels {
        for i in 0..channels {
            kernels.extend((0..taps).map(|tap| matrix[(tap * channels + i) * channels + o]));
        }
    }
    kernels
}

fn total(g: &mut Graph<'_>, parts: Vec<Value>) -> Option<Value> {
    parts.into_iter().reduce(|a, b| g.add(&a, &b))
}

/// A constant matrix in single precision.
fn matrix(g: &mut Graph<'_>, name: &str, values: Array2<f64>) -> Value {
    let (rows, columns) = values.dim();
    g.constant(name, &[rows, columns], move || values.iter().map(|v| *v as f32).collect())
}
