//! Sliding reductions that amount to separable filters.

use crate::Float;
use crate::pieces::{Lines, LinesMut, Reduce};
use crate::simd::Vectorize;

/// Channels from which on columns are filtered one by one.
const WIDE: usize = 16;

/// A separable filter, of the samples or of their squares.
pub(crate) struct Filter<T> {
    pub(crate) weights: Vec<T>,
    pub(crate) square: bool,
}

impl<T: Float> Reduce<T> for Filter<T> {
    fn planes(&self) -> usize {
        1
    }

    fn columns(&self, rows: &[&[T]], first: usize, count: usize, lines: LinesMut<'_, T>) {
        T::filter_columns(self, rows, first, &mut lines.values[..count]);
    }

    fn rows(&self, lines: Lines<'_, T>, channels: usize, out: &mut [T]) {
        T::filter_rows(self, lines.values, channels, out);
    }

    fn last_columns_and_rows(
        &self,
        rows: &[&[T]],
        first: usize,
        lines: LinesMut<'_, T>,
        channels: usize,
        out: &mut [T],
    ) {
        T::filter_both(self, rows, first, lines.values, channels, out);
    }
}

/// `out[e] = sum_i weights[i] rows[i][first + e]`, of the samples or their squares.
pub(crate) struct FilterColumns<'a, T> {
    pub(crate) filter: &'a Filter<T>,
    pub(crate) rows: &'a [&'a [T]],
    pub(crate) first: usize,
    pub(crate) out: &'a mut [T],
}

impl<T: Float> Vectorize for FilterColumns<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { filter, rows, first, out } = self;
        let source = |i: usize| &rows[i][first..];
        if filter.square {
            weighted_sum(&filter.weights, source, |x| x * x, out);
        } else {
            weighted_sum(&filter.weights, source, |x| x, out);
        }
    }
}

/// `out[e] = sum_j weights[j] line[e + j * channels]`
pub(crate) struct FilterRows<'a, T> {
    pub(crate) filter: &'a Filter<T>,
    pub(crate) line: &'a [T],
    pub(crate) channels: usize,
    pub(crate) out: &'a mut [T],
}

impl<T: Float> Vectorize for FilterRows<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { filter, line, channels, out } = self;
        weighted_sum(&filter.weights, |j| &line[j * channels..], |x| x, out);
    }
}

/// The columns `line[e + (q-1) * channels]`, and the rows right after them.
pub(crate) struct FilterBoth<'a, T> {
    pub(crate) filter: &'a Filter<T>,
    pub(crate) rows: &'a [&'a [T]],
    pub(crate) first: usize,
    pub(crate) line: &'a mut [T],
    pub(crate) channels: usize,
    pub(crate) out: &'a mut [T],
}

impl<T: Float> Vectorize for FilterBoth<'_, T> {
    #[inline(always)]
    fn run(self) {
        match (self.filter.weights.len(), self.filter.square) {
            (3, false) if self.channels >= WIDE => self.fused::<3>(|x| x),
            (3, true) if self.channels >= WIDE => self.fused::<3>(|x| x * x),
            (q, _) => {
                let Self { filter, rows, first, line, channels, out } = self;
                let last = &mut line[(q - 1) * channels..][..out.len()];
                FilterColumns { filter, rows, first, out: last }.run();
                FilterRows { filter, line, channels, out }.run();
            }
        }
    }
}

impl<T: Float> FilterBoth<'_, T> {
    #[inline(always)]
    fn fused<const Q: usize>(self, of: impl Fn(T) -> T) {
        let Self { filter, rows, first, line, channels, out } = self;
        let weights: [T; Q] = std::array::from_fn(|i| filter.weights[i]);
        for (column, out) in out.chunks_exact_mut(channels).enumerate() {
            let start = column * channels;
            let rows: [&[T]; Q] = std::array::from_fn(|i| &rows[i][first + start..][..channels]);
            let (old, new) = line[start..].split_at_mut((Q - 1) * channels);
            let old: [&[T]; Q] =
                std::array::from_fn(
                    |j| {
                        if j + 1 < Q { &old[j * channels..][..channels] } else { &[] }
                    },
                );
            let new = &mut new[..channels];
            for e in 0..channels {
                let value = (1..Q)
                    .fold(weights[0] * of(rows[0][e]), |sum, i| sum + weights[i] * of(rows[i][e]));
                new[e] = value;
                let sum =
                    (1..Q - 1).fold(weights[0] * old[0][e], |sum, j| sum + weights[j] * old[j][e]);
                out[e] = sum + weights[Q - 1] * value;
            }
        }
    }
}

/// Three terms at a time.
#[inline(always)]
fn weighted_sum<'a, T: Float>(
    weights: &[T],
    source: impl Fn(usize) -> &'a [T],
    of: impl Fn(T) -> T + Copy,
    out: &mut [T],
) {
    for (index, some) in weights.chunks(3).enumerate() {
        let first = 3 * index;
        match *some {
            [a] => add([a], [source(first)], of, index > 0, out),
            [a, b] => add([a, b], [source(first), source(first + 1)], of, index > 0, out),
            [a, b, c] => {
                let sources = [source(first), source(first + 1), source(first + 2)];
                add([a, b, c], sources, of, index > 0, out);
            }
            _ => {}
        }
    }
}

/// Writes the sum of `N` terms, or adds it.
#[inline(always)]
fn add<T: Float, const N: usize>(
    weights: [T; N],
    sources: [&[T]; N],
    of: impl Fn(T) -> T,
    to_sum: bool,
    out: &mut [T],
) {
    let sources = sources.map(|source| &source[..out.len()]);
    let sum = |e: usize| {
        (1..N).fold(weights[0] * of(sources[0][e]), |sum, i| sum + weights[i] * of(sources[i][e]))
    };
    if to_sum {
        for e in 0..out.len() {
            out[e] += sum(e);
        }
    } else {
        for e in 0..out.len() {
            out[e] = sum(e);
        }
    }
}
