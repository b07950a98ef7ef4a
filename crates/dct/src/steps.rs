//! What sliding transforms do to lines.

use rustfft::num_traits::Float as NumFloat;

use crate::Float;
use crate::columns::{Columns, Matrix};
use crate::lines::{L, Ring, Steps};
use crate::simd::{Vectorize, load};

/// Keeps all coefficients.
pub(crate) struct Keep<T>(pub(crate) Matrix<T>);

impl<T: Float> Steps<T> for Keep<T> {
    fn planes_in(&self) -> usize {
        self.0.len
    }

    fn planes_out(&self) -> usize {
        self.0.len * self.0.len
    }

    fn horizontal(&self, row: &mut [T], channels: usize, lines: &mut [T]) {
        T::row(&self.0, row, channels, lines);
    }

    fn vertical(&self, ring: Ring<'_, T>, lines: &mut [T]) {
        T::keep_column(&self.0, ring, lines);
    }
}

pub(crate) struct Row<'a, T, K> {
    pub(crate) columns: K,
    pub(crate) row: &'a [T],
    pub(crate) channels: usize,
    pub(crate) lines: &'a mut [T],
}

impl<T: Float, K: Columns<T>> Vectorize for Row<'_, T, K> {
    #[inline(always)]
    fn run(self) {
        let Self { columns, row, channels, lines } = self;
        let line = lines.len() / columns.len();
        for start in (0..line).step_by(L) {
            columns.apply(
                |j| load(&row[start + j * channels..][..L]),
                |v, y: [T; L]| lines[v * line + start..][..L].copy_from_slice(&y),
            );
        }
    }
}

pub(crate) struct KeepColumn<'a, T, K> {
    pub(crate) columns: K,
    pub(crate) ring: Ring<'a, T>,
    pub(crate) lines: &'a mut [T],
}

impl<T: Float, K: Columns<T>> Vectorize for KeepColumn<'_, T, K> {
    #[inline(always)]
    fn run(self) {
        let Self { columns, ring, lines } = self;
        let (q, line) = (columns.len(), ring.line());
        for v in 0..q {
            for start in (0..line).step_by(L) {
                columns.apply(
                    |i| ring.load(i, v, start),
                    |u, y: [T; L]| {
                        lines[(u * q + v) * line + start..][..L].copy_from_slice(&y);
                    },
                );
            }
        }
    }
}

/// What [`Mean`] averages.
#[derive(Clone, Copy)]
pub enum Measure {
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

impl<T: Float> Steps<T> for Mean<T> {
    fn planes_in(&self) -> usize {
        self.matrix.len
    }

    fn planes_out(&self) -> usize {
        1
    }

    fn horizontal(&self, row: &mut [T], channels: usize, lines: &mut [T]) {
        T::row(&self.matrix, row, channels, lines);
    }

    fn vertical(&self, ring: Ring<'_, T>, line: &mut [T]) {
        T::mean_column(&self.matrix, self.measure, ring, line);
    }
}

pub(crate) struct MeanColumn<'a, T, K> {
    pub(crate) columns: K,
    pub(crate) ring: Ring<'a, T>,
    pub(crate) line: &'a mut [T],
    pub(crate) measure: Measure,
}

impl<T: Float, K: Columns<T>> Vectorize for MeanColumn<'_, T, K> {
    #[inline(always)]
    fn run(self) {
        match self.measure {
            Measure::Magnitude => self.magnitude(),
            Measure::LogMagnitude => self.log_magnitude(),
        }
    }
}

impl<T: Float, K: Columns<T>> MeanColumn<'_, T, K> {
    #[inline(always)]
    fn magnitude(self) {
        let Self { columns, ring, line, .. } = self;
        let q = columns.len();
        let scale = T::of(1.0 / (q * q) as f64);
        let (vectors, _) = line.as_chunks_mut::<L>();
        for (vector, start) in vectors.iter_mut().zip((0..).step_by(L)) {
            let mut sum = [T::zero(); L];
            for v in 0..q {
                columns.apply(
                    |i| ring.load(i, v, start),
                    |_, y: [T; L]| {
                        for l in 0..L {
                            sum[l] += NumFloat::abs(y[l]);
                        }
                    },
                );
            }
            *vector = sum.map(|x| x * scale);
        }
    }

    /// The logarithm of products, as long as they stay finite: one logarithm for all coefficients.
    #[inline(always)]
    fn log_magnitude(self) {
        let Self { columns, ring, line, .. } = self;
        let q = columns.len();
        let scale = T::of(1.0 / (q * q) as f64);
        let limit = T::max_value().sqrt();
        let (vectors, _) = line.as_chunks_mut::<L>();
        for (vector, start) in vectors.iter_mut().zip((0..).step_by(L)) {
            let (mut sum, mut product) = ([T::zero(); L], [T::one(); L]);
            for v in 0..q {
                columns.apply(
                    |i| ring.load(i, v, start),
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
            for l in 0..L {
                vector[l] = (sum[l] + product[l].ln()) * scale;
            }
        }
    }
}

/// Any function of the coefficients of one window.
pub(crate) struct Map<T, F> {
    pub(crate) keep: Keep<T>,
    pub(crate) function: F,
}

impl<T: Float, F: Fn(&[T]) -> T> Steps<T> for Map<T, F> {
    fn planes_in(&self) -> usize {
        self.keep.planes_in()
    }

    fn planes_out(&self) -> usize {
        self.keep.planes_out()
    }

    fn horizontal(&self, row: &mut [T], channels: usize, lines: &mut [T]) {
        self.keep.horizontal(row, channels, lines);
    }

    fn vertical(&self, ring: Ring<'_, T>, lines: &mut [T]) {
        self.keep.vertical(ring, lines);
        let line = ring.line();
        let mut coefficients = vec![T::zero(); self.planes_out()];
        for position in 0..line {
            for (to, from) in coefficients.iter_mut().zip(lines[position..].iter().step_by(line)) {
                *to = *from;
            }
            lines[position] = (self.function)(&coefficients);
        }
    }
}
