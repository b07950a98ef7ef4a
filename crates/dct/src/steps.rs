//! The steps of sliding transforms on lines.

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
