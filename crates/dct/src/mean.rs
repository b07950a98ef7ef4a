//! The mean of a function of the coefficients, without storing them.

use rustfft::num_traits::Float as NumFloat;

use crate::Float;
use crate::columns::{Columns, Matrix};
use crate::pieces::{Lines, LinesMut, Reduce};
use crate::simd::{Vectorize, load, store};

/// Samples in a vector.
const L: usize = 16;

/// What [`Mean`] averages.
#[derive(Clone, Copy)]
pub(crate) enum Measure {
    /// `|X|`
    Magnitude,
    /// `ln(1 + |X|)`
    LogMagnitude,
}

/// The mean of a function of the coefficients.
pub(crate) struct Mean<T> {
    pub(crate) matrix: Matrix<T>,
    pub(crate) measure: Measure,
}

impl<T: Float> Reduce<T> for Mean<T> {
    fn planes(&self) -> usize {
        self.matrix.len
    }

    fn columns(&self, rows: &[&[T]], first: usize, count: usize, lines: LinesMut<'_, T>) {
        T::mean_columns(self, rows, first, count, lines);
    }

    fn rows(&self, lines: Lines<'_, T>, channels: usize, out: &mut [T]) {
        T::mean_rows(self, lines, channels, out);
    }
}

pub(crate) struct MeanColumns<'a, T, K> {
    pub(crate) columns: K,
    pub(crate) rows: &'a [&'a [T]],
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) lines: LinesMut<'a, T>,
}

impl<T: Float, K: Columns<T>> Vectorize for MeanColumns<'_, T, K> {
    #[inline(always)]
    fn run(mut self) {
        let whole = self.count / L * L;
        for start in (0..whole).step_by(L) {
            self.vector(start, L);
        }
        if whole < self.count {
            self.vector(whole, self.count - whole);
        }
    }
}

impl<T: Float, K: Columns<T>> MeanColumns<'_, T, K> {
    #[inline(always)]
    fn vector(&mut self, start: usize, some: usize) {
        let Self { columns, rows, first, lines: LinesMut { values, pitch }, .. } = self;
        columns.apply(
            |i| load(&rows[i][*first + start..][..some]),
            |u, y: [T; L]| store(y, &mut values[u * *pitch + start..][..some]),
        );
    }
}

pub(crate) struct MeanRows<'a, T, K> {
    pub(crate) columns: K,
    pub(crate) measure: Measure,
    pub(crate) lines: Lines<'a, T>,
    pub(crate) channels: usize,
    pub(crate) out: &'a mut [T],
}

impl<T: Float, K: Columns<T>> Vectorize for MeanRows<'_, T, K> {
    #[inline(always)]
    fn run(self) {
        let Self { columns, lines, channels, out, measure } = self;
        let windows = Windows { columns, lines, channels };
        let (vectors, rest) = out.as_chunks_mut::<L>();
        let end = vectors.len() * L;
        match measure {
            Measure::Magnitude => {
                for (vector, start) in vectors.iter_mut().zip((0..).step_by(L)) {
                    *vector = windows.magnitude(start, L);
                }
                if !rest.is_empty() {
                    store(windows.magnitude(end, rest.len()), rest);
                }
            }
            Measure::LogMagnitude => {
                for (vector, start) in vectors.iter_mut().zip((0..).step_by(L)) {
                    *vector = windows.log_magnitude(start, L);
                }
                if !rest.is_empty() {
                    store(windows.log_magnitude(end, rest.len()), rest);
                }
            }
        }
    }
}

/// Windows whose columns have been transformed.
struct Windows<'a, T, K> {
    columns: K,
    lines: Lines<'a, T>,
    channels: usize,
}

impl<T: Float, K: Columns<T>> Windows<'_, T, K> {
    /// Some values of a column, vertical frequency `u`.
    #[inline(always)]
    fn load(&self, u: usize, j: usize, start: usize, some: usize) -> [T; L] {
        let Lines { values, pitch } = self.lines;
        load(&values[u * pitch + j * self.channels + start..][..some])
    }

    /// Factor of a sum over all coefficients.
    #[inline(always)]
    fn scale(&self) -> T {
        T::of(1.0 / self.columns.len().pow(2) as f64)
    }

    #[inline(always)]
    fn magnitude(&self, start: usize, some: usize) -> [T; L] {
        let mut sum = [T::zero(); L];
        for u in 0..self.columns.len() {
            self.columns.apply(
                |j| self.load(u, j, start, some),
                |_, y: [T; L]| {
                    for l in 0..L {
                        sum[l] += NumFloat::abs(y[l]);
                    }
                },
            );
        }
        let scale = self.scale();
        sum.map(|x| x * scale)
    }

    /// Sums logarithms as the logarithm of a product, as long as that stays finite: one logarithm for all coefficients.
    #[inline(always)]
    fn log_magnitude(&self, start: usize, some: usize) -> [T; L] {
        let limit = T::max_value().sqrt();
        let (mut sum, mut product) = ([T::zero(); L], [T::one(); L]);
        for u in 0..self.columns.len() {
            self.columns.apply(
                |j| self.load(u, j, start, some),
                |_, y: [T; L]| {
                    let factor = y.map(|y| T::one() + NumFloat::abs(y));
                    if (0..L).any(|l| product[l] > limit || factor[l] > limit) {
                        for l in 0..L {
                            sum[l] += product[l].ln();
                        }
                        product = factor;
                    } else {
                        for l in 0..L {
                            product[l] *= factor[l];
                        }
                    }
                },
            );
        }
        let scale = self.scale();
        std::array::from_fn(|l| (sum[l] + product[l].ln()) * scale)
    }
}
