//! Mean magnitudes of the coefficients of 3x3 windows, the window of the adapters.
//!
//! Without its scale factors a transform of three samples takes additions and subtractions alone, and
//! the scale of a frequency is applied once, after its magnitudes are summed.

use rustfft::num_traits::Float as NumFloat;

use crate::Float;
use crate::columns::Matrix;
use crate::pieces::{Lines, LinesMut, Reduce};
use crate::simd::{Vectorize, load, store};

/// Samples in a vector.
const L: usize = 16;

/// The mean of `|X|`; holds the scales of the three frequencies.
#[derive(Clone, Copy)]
pub(crate) struct MeanOfThree<T>([T; 3]);

impl<T: Float> MeanOfThree<T> {
    pub(crate) fn new() -> Self {
        Self(Matrix::new(3, false).unrolled::<3>().first_column())
    }
}

impl<T: Float> Reduce<T> for MeanOfThree<T> {
    fn planes(&self) -> usize {
        3
    }

    fn columns(&self, rows: &[&[T]], first: usize, count: usize, lines: LinesMut<'_, T>) {
        T::three_columns(*self, rows, first, count, lines);
    }

    fn rows(&self, lines: Lines<'_, T>, channels: usize, out: &mut [T]) {
        T::three_rows(*self, lines, channels, out);
    }

    fn last_columns_and_rows(
        &self,
        rows: &[&[T]],
        first: usize,
        lines: LinesMut<'_, T>,
        channels: usize,
        out: &mut [T],
    ) {
        T::three_both(*self, rows, first, lines, channels, out);
    }
}

/// `X` of three samples, each divided by its scale.
#[inline(always)]
fn transform<T: Float>([a, b, c]: [[T; L]; 3]) -> [[T; L]; 3] {
    let mut y = [[T::zero(); L]; 3];
    for l in 0..L {
        let sum = a[l] + c[l];
        y[0][l] = sum + b[l];
        y[1][l] = a[l] - c[l];
        y[2][l] = sum - (b[l] + b[l]);
    }
    y
}

impl<T: Float> MeanOfThree<T> {
    /// Columns of the samples from `start` on, with their scale.
    #[inline(always)]
    fn column(self, rows: &[&[T]; 3], start: usize, some: usize) -> [[T; L]; 3] {
        let mut y = transform(std::array::from_fn(|i| load(&rows[i][start..][..some])));
        for u in 0..3 {
            for l in 0..L {
                y[u][l] *= self.0[u];
            }
        }
        y
    }

    /// The result from the columns of the windows: `load(u, j)` of vertical frequency `u`.
    #[inline(always)]
    fn result(self, load: impl Fn(usize, usize) -> [T; L]) -> [T; L] {
        let mut sums = [[T::zero(); L]; 3];
        for u in 0..3 {
            let y = transform(std::array::from_fn(|j| load(u, j)));
            for v in 0..3 {
                for l in 0..L {
                    sums[v][l] += NumFloat::abs(y[v][l]);
                }
            }
        }
        let [a, b, c]: [T; 3] = std::array::from_fn(|v| self.0[v] / T::of(9.0));
        let mut mean = [T::zero(); L];
        for l in 0..L {
            mean[l] = a * sums[0][l] + b * sums[1][l] + c * sums[2][l];
        }
        mean
    }
}

/// Calls `$work` with the start and the length of each vector of `$count` samples.
macro_rules! each_vector {
    ($count:expr, |$start:ident, $some:ident| $work:expr) => {
        let whole = $count / L * L;
        for $start in (0..whole).step_by(L) {
            let $some = L;
            $work
        }
        if whole < $count {
            let ($start, $some) = (whole, $count - whole);
            $work
        }
    };
}

pub(crate) struct ThreeColumns<'a, T> {
    pub(crate) mean: MeanOfThree<T>,
    pub(crate) rows: &'a [&'a [T]],
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) lines: LinesMut<'a, T>,
}

impl<T: Float> Vectorize for ThreeColumns<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { mean, rows, first, count, lines: LinesMut { values, pitch } } = self;
        let rows: [&[T]; 3] = std::array::from_fn(|i| &rows[i][first..][..count]);
        each_vector!(count, |start, some| {
            let y = mean.column(&rows, start, some);
            for u in 0..3 {
                store(y[u], &mut values[u * pitch + start..][..some]);
            }
        });
    }
}

pub(crate) struct ThreeRows<'a, T> {
    pub(crate) mean: MeanOfThree<T>,
    pub(crate) lines: Lines<'a, T>,
    pub(crate) channels: usize,
    pub(crate) out: &'a mut [T],
}

impl<T: Float> Vectorize for ThreeRows<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { mean, lines: Lines { values, pitch }, channels, out } = self;
        each_vector!(out.len(), |start, some| {
            let place = |u, j| u * pitch + j * channels + start;
            let y = mean.result(|u, j| load(&values[place(u, j)..][..some]));
            store(y, &mut out[start..][..some]);
        });
    }
}

/// Transforms column after column, and the rows of each window as soon as its last column is in registers.
pub(crate) struct ThreeBoth<'a, T> {
    pub(crate) mean: MeanOfThree<T>,
    pub(crate) rows: &'a [&'a [T]],
    pub(crate) first: usize,
    pub(crate) lines: LinesMut<'a, T>,
    pub(crate) channels: usize,
    pub(crate) out: &'a mut [T],
}

impl<T: Float> Vectorize for ThreeBoth<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { mean, rows, first, lines: LinesMut { values, pitch }, channels, out } = self;
        if channels < L {
            let count = out.len();
            let lines = LinesMut { values: &mut values[2 * channels..], pitch };
            ThreeColumns { mean, rows, first, count, lines }.run();
            return ThreeRows { mean, lines: Lines { values, pitch }, channels, out }.run();
        }
        let (zero, others) = values.split_at_mut(pitch);
        let (one, two) = others.split_at_mut(pitch);
        for (column, out) in out.chunks_exact_mut(channels).enumerate() {
            let place = column * channels;
            let rows: [&[T]; 3] = std::array::from_fn(|i| &rows[i][first + place..][..channels]);
            let (zero, new_zero) = zero[place..][..3 * channels].split_at_mut(2 * channels);
            let (one, new_one) = one[place..][..3 * channels].split_at_mut(2 * channels);
            let (two, new_two) = two[place..][..3 * channels].split_at_mut(2 * channels);
            let (old, new) = ([&*zero, &*one, &*two], [new_zero, new_one, new_two]);
            each_vector!(channels, |start, some| {
                let last = mean.column(&rows, start, some);
                let y = mean.result(|u, j| match j {
                    2 => last[u],
                    _ => load(&old[u][j * channels + start..][..some]),
                });
                for u in 0..3 {
                    store(last[u], &mut new[u][start..][..some]);
                }
                store(y, &mut out[start..][..some]);
            });
        }
    }
}
