//! Sliding reductions that are separable filters: columns first, straight from the image, then rows.

use ndarray::{ArrayView3, ArrayViewMut3};

use crate::simd::Vectorize;
use crate::{Float, Sliding};

/// A separable filter, of the samples or of their squares.
pub(crate) struct Filter<T> {
    pub(crate) weights: Vec<T>,
    pub(crate) square: bool,
}

/// Bytes of a filtered line, about: half a second-level cache holds it and the rows it comes from.
const LINE: usize = 1 << 17;

impl<T: Float> Filter<T> {
    /// Filters the rows of `out`, contiguous `[rows, columns, C]`, whose first row is row `first` of
    /// the whole result.
    pub(crate) fn run(
        &self,
        image: ArrayView3<'_, T>,
        sliding: &Sliding,
        first: usize,
        mut out: ArrayViewMut3<'_, T>,
    ) {
        let image = image.as_standard_layout();
        let samples = image.as_slice().expect("standard layout");
        let (height, width, channels) = image.dim();
        let Sliding { window, stride: [rows_apart, columns_apart], padding } = *sliding;
        if out.is_empty() {
            return;
        }
        let step = (LINE / size_of::<T>() / channels / columns_apart).max(1);
        let mut line = vec![T::zero(); ((step - 1) * columns_apart + window) * channels];
        let mut terms = Vec::with_capacity(window);
        for (output, mut row) in out.outer_iter_mut().enumerate() {
            let row = row.as_slice_mut().expect("contiguous rows");
            let top = sliding.start(first + output, rows_apart);
            for (piece, row) in row.chunks_mut(step * channels).enumerate() {
                terms.clear();
                terms.extend((top..).zip(&self.weights).filter_map(|(row, &weight)| {
                    let row = padding.source(row, height)?;
                    Some((row * width * channels, weight))
                }));
                let columns = row.len() / channels;
                let left = sliding.start(piece * step, columns_apart);
                let padded = (columns - 1) * columns_apart + window;
                let right = left + padded as isize;
                // columns that lie in the image go together, the others one by one
                let inside = left.clamp(0, width as isize)..right.clamp(0, width as isize);
                let single = (left..inside.start).chain(inside.end.max(left)..right);
                let runs = single.map(|column| (column, padding.source(column, width), 1));
                let whole = (inside.start, Some(inside.start as usize), inside.len());
                for (column, source, count) in runs.chain([whole]) {
                    let start = (column - left) as usize * channels;
                    let to = &mut line[start..][..count * channels];
                    match source {
                        Some(source) => {
                            let from = &samples[source * channels..];
                            T::weighted_sum(from, &terms, self.square, to);
                        }
                        None => to.fill(T::zero()),
                    }
                }
                terms.clear();
                terms.extend((0..).step_by(channels).zip(self.weights.iter().copied()));
                if columns_apart == 1 {
                    T::weighted_sum(&line, &terms, false, row);
                    continue;
                }
                let starts = (0..).step_by(columns_apart * channels);
                for (out, start) in row.chunks_exact_mut(channels).zip(starts) {
                    T::weighted_sum(&line[start..], &terms, false, out);
                }
            }
        }
    }
}

/// `out[e] = sum_(start, weight) weight samples[start + e]`, of the samples or their squares.
pub(crate) struct WeightedSum<'a, T> {
    pub(crate) samples: &'a [T],
    pub(crate) terms: &'a [(usize, T)],
    pub(crate) square: bool,
    pub(crate) out: &'a mut [T],
}

impl<T: Float> Vectorize for WeightedSum<'_, T> {
    #[inline(always)]
    fn run(self) {
        if self.square { self.sum(|x| x * x) } else { self.sum(|x| x) }
    }
}

impl<T: Float> WeightedSum<'_, T> {
    #[inline(always)]
    fn sum(self, of: impl Fn(T) -> T + Copy) {
        let (mut terms, mut started) = (self.terms, false);
        if terms.is_empty() {
            self.out.fill(T::zero());
        }
        while !terms.is_empty() {
            let count = terms.len().min(3);
            let (some, rest) = terms.split_at(count);
            match count {
                1 => add::<T, 1>(self.samples, some, of, started, self.out),
                2 => add::<T, 2>(self.samples, some, of, started, self.out),
                _ => add::<T, 3>(self.samples, some, of, started, self.out),
            }
            (terms, started) = (rest, true);
        }
    }
}

/// Writes the sum of `N` terms, or adds it.
#[inline(always)]
fn add<T: Float, const N: usize>(
    samples: &[T],
    terms: &[(usize, T)],
    of: impl Fn(T) -> T,
    to_sum: bool,
    out: &mut [T],
) {
    let sources: [&[T]; N] = std::array::from_fn(|i| &samples[terms[i].0..][..out.len()]);
    let weights: [T; N] = std::array::from_fn(|i| terms[i].1);
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
