//! What sliding transforms do to lines.

use crate::Float;
use crate::columns::{Columns, Matrix, with_columns};
use crate::lines::{L, Ring, Steps};
use crate::simd::{Vectorize, load};

/// A separable filter, of the samples or of their squares.
pub(crate) struct Filter<T> {
    pub(crate) weights: Vec<T>,
    pub(crate) square: bool,
}

impl<T: Float> Steps<T> for Filter<T> {
    fn planes_in(&self) -> usize {
        1
    }

    fn planes_out(&self) -> usize {
        1
    }

    fn horizontal(&self, row: &mut [T], channels: usize, lines: &mut [T]) {
        FilterRow { filter: self, row, channels, line: lines }.dispatch();
    }

    fn vertical(&self, ring: Ring<'_, T>, lines: &mut [T]) {
        FilterColumn { filter: self, ring, line: lines }.dispatch();
    }
}

struct FilterRow<'a, T> {
    filter: &'a Filter<T>,
    row: &'a mut [T],
    channels: usize,
    line: &'a mut [T],
}

impl<T: Float> Vectorize for FilterRow<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { filter, row, channels, line } = self;
        if filter.square {
            row.iter_mut().for_each(|x| *x = *x * *x);
        }
        let (vectors, _) = line.as_chunks_mut::<L>();
        for (vector, start) in vectors.iter_mut().zip((0..).step_by(L)) {
            let at = |j: usize| load(&row[start + j * channels..][..L]);
            *vector = weigh(&filter.weights, at);
        }
    }
}

struct FilterColumn<'a, T> {
    filter: &'a Filter<T>,
    ring: Ring<'a, T>,
    line: &'a mut [T],
}

impl<T: Float> Vectorize for FilterColumn<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { filter, ring, line } = self;
        let (vectors, _) = line.as_chunks_mut::<L>();
        for (vector, start) in vectors.iter_mut().zip((0..).step_by(L)) {
            *vector = weigh(&filter.weights, |i| ring.load(i, 0, start));
        }
    }
}

/// `sum_i weights[i] x[i]`
#[inline(always)]
fn weigh<T: Float>(weights: &[T], x: impl Fn(usize) -> [T; L]) -> [T; L] {
    let mut sum = [T::zero(); L];
    for (i, &weight) in weights.iter().enumerate() {
        let x = x(i);
        for l in 0..L {
            sum[l] = sum[l] + weight * x[l];
        }
    }
    sum
}

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
        with_columns!(self.0, columns => Row { columns, row, channels, lines }.dispatch());
    }

    fn vertical(&self, ring: Ring<'_, T>, lines: &mut [T]) {
        with_columns!(self.0, columns => KeepColumn { columns, ring, lines }.dispatch());
    }
}

struct Row<'a, T, K> {
    columns: K,
    row: &'a [T],
    channels: usize,
    lines: &'a mut [T],
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

struct KeepColumn<'a, T, K> {
    columns: K,
    ring: Ring<'a, T>,
    lines: &'a mut [T],
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

/// The mean of a function of the coefficients.
pub(crate) struct Mean<T, F> {
    pub(crate) matrix: Matrix<T>,
    pub(crate) function: F,
}

impl<T: Float, F: Fn(T) -> T + Copy> Steps<T> for Mean<T, F> {
    fn planes_in(&self) -> usize {
        self.matrix.len
    }

    fn planes_out(&self) -> usize {
        1
    }

    fn horizontal(&self, row: &mut [T], channels: usize, lines: &mut [T]) {
        with_columns!(self.matrix, columns => Row { columns, row, channels, lines }.dispatch());
    }

    fn vertical(&self, ring: Ring<'_, T>, line: &mut [T]) {
        let function = self.function;
        with_columns!(self.matrix, columns => {
            MeanColumn { columns, ring, line, function }.dispatch()
        });
    }
}

struct MeanColumn<'a, T, K, F> {
    columns: K,
    ring: Ring<'a, T>,
    line: &'a mut [T],
    function: F,
}

impl<T: Float, K: Columns<T>, F: Fn(T) -> T> Vectorize for MeanColumn<'_, T, K, F> {
    #[inline(always)]
    fn run(self) {
        let Self { columns, ring, line, function } = self;
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
                            sum[l] = sum[l] + function(y[l]);
                        }
                    },
                );
            }
            *vector = sum.map(|x| x * scale);
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
