//! Orthonormal transforms of columns: `n` vectors of `L` samples, each lane a transform.

use std::ops::RangeInclusive;

use crate::Float;
use crate::definition::{DctType, Definition, Normalization};

/// The lengths that [`with_unrolled`] has code for.
pub(crate) const UNROLLED: RangeInclusive<usize> = 2..=8;

/// A type II or III transform of columns.
pub(crate) trait Columns<T>: Copy + Send + Sync {
    /// Vectors in, vectors out.
    fn len(self) -> usize;

    /// Calls `store(k, y)` for each `k`, in order, after all `load`s if unrolled.
    fn apply<const L: usize>(
        self,
        load: impl Fn(usize) -> [T; L],
        store: impl FnMut(usize, [T; L]),
    );
}

/// The orthonormal type II or type III matrix of one length.
pub(crate) struct Matrix<T> {
    pub(crate) len: usize,
    pub(crate) inverse: bool,
    /// One row per frequency, whichever the direction.
    basis: Vec<T>,
}

impl<T: Float> Matrix<T> {
    #[track_caller]
    pub(crate) fn new(len: usize, inverse: bool) -> Self {
        let definition = Definition::forward(DctType::II, len, Normalization::Ortho);
        let basis = definition.matrix().iter().map(|&c| T::of(c)).collect();
        Self { len, inverse, basis }
    }

    pub(crate) fn looped(&self) -> Looped<'_, T> {
        Looped(self)
    }

    /// # Panics
    /// If `N` is not the length.
    pub(crate) fn unrolled<const N: usize>(&self) -> Unrolled<T, N> {
        let (rows, _) = self.basis.as_chunks::<N>();
        let basis = *rows.first_chunk().expect("N is the length");
        Unrolled { basis, inverse: self.inverse }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Looped<'a, T>(&'a Matrix<T>);

impl<T: Float> Columns<T> for Looped<'_, T> {
    #[inline(always)]
    fn len(self) -> usize {
        self.0.len
    }

    #[inline(always)]
    fn apply<const L: usize>(
        self,
        load: impl Fn(usize) -> [T; L],
        mut store: impl FnMut(usize, [T; L]),
    ) {
        let n = self.0.len;
        let (row, column) = if self.0.inverse { (1, n) } else { (n, 1) };
        for k in 0..n {
            let mut sum = [T::zero(); L];
            for i in 0..n {
                let (factor, x) = (self.0.basis[k * row + i * column], load(i));
                for l in 0..L {
                    sum[l] += factor * x[l];
                }
            }
            store(k, sum);
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Unrolled<T, const N: usize> {
    /// By value, so that stores to the output cannot alias it and the factors stay in registers.
    basis: [[T; N]; N],
    inverse: bool,
}

impl<T: Float, const N: usize> Columns<T> for Unrolled<T, N> {
    #[inline(always)]
    fn len(self) -> usize {
        N
    }

    #[inline(always)]
    fn apply<const L: usize>(
        self,
        load: impl Fn(usize) -> [T; L],
        mut store: impl FnMut(usize, [T; L]),
    ) {
        for (k, y) in self.transform(std::array::from_fn(load)).into_iter().enumerate() {
            store(k, y);
        }
    }
}

impl<T: Float, const N: usize> Unrolled<T, N> {
    /// The factor of the first sample in each frequency.
    pub(crate) fn first_column(self) -> [T; N] {
        self.basis.map(|row| row[0])
    }

    #[inline(always)]
    pub(crate) fn transform<const L: usize>(self, x: [[T; L]; N]) -> [[T; L]; N] {
        if self.inverse {
            each_lane(x, |x| inverse(&self.basis, x))
        } else {
            each_lane(x, |x| forward(&self.basis, x))
        }
    }
}

/// Transforms each lane. The transform itself is unrolled, so this is the one loop left for the compiler to vectorise.
#[inline(always)]
fn each_lane<T: Float, const N: usize, const L: usize>(
    x: [[T; L]; N],
    transform: impl Fn([T; N]) -> [T; N],
) -> [[T; L]; N] {
    let mut y = [[T::zero(); L]; N];
    for l in 0..L {
        let lane = transform(std::array::from_fn(|i| x[i][l]));
        for k in 0..N {
            y[k][l] = lane[k];
        }
    }
    y
}

/// `X[k] = sum_{i < n/2} C[k,i] (x[i] + (-1)^k x[n-1-i])`
#[inline(always)]
fn forward<T: Float, const N: usize>(basis: &[[T; N]; N], x: [T; N]) -> [T; N] {
    let folded: [T; N] = std::array::from_fn(|i| match N - 1 - i {
        mirror if i < mirror => x[i] + x[mirror],
        mirror if i > mirror => x[mirror] - x[i],
        _ => x[i],
    });
    std::array::from_fn(|k| {
        let odd = k % 2 == 1;
        let term = |i: usize| basis[k][i] * folded[if odd { N - 1 - i } else { i }];
        (1..(N + 1 - k % 2) / 2).fold(term(0), |sum, i| sum + term(i))
    })
}

/// `x[i], x[n-1-i] = sum_{k even} C[k,i] X[k] +- sum_{k odd} C[k,i] X[k]`
#[inline(always)]
fn inverse<T: Float, const N: usize>(basis: &[[T; N]; N], y: [T; N]) -> [T; N] {
    let mut x = [T::zero(); N];
    for i in 0..N.div_ceil(2) {
        let term = |k: usize| basis[k][i] * y[k];
        let even = (2..N).step_by(2).fold(term(0), |sum, k| sum + term(k));
        let odd = (3..N).step_by(2).fold(term(1), |sum, k| sum + term(k));
        // the middle sample has no odd part
        (x[i], x[N - 1 - i]) = if 2 * i + 1 == N { (even, even) } else { (even + odd, even - odd) };
    }
    x
}

/// Runs `$call` with `$columns` bound to the unrolled transform of the matrix's length, or else to
/// the looped one.
macro_rules! with_columns {
    ($matrix:expr, $columns:ident => $call:expr) => {
        with_columns!(@ $matrix, $columns => $call; 2 3 4 5 8;
            _ => { let $columns = $matrix.looped(); $call })
    };
    (@ $matrix:expr, $columns:ident => $call:expr; $($n:literal)*; $($other:tt)*) => {
        match $matrix.len {
            $($n => { let $columns = $matrix.unrolled::<$n>(); $call })*
            $($other)*
        }
    };
}
pub(crate) use with_columns;

/// Runs `$call` with `$columns` bound to the unrolled transform of the matrix's length.
macro_rules! with_unrolled {
    ($matrix:expr, $columns:ident => $call:expr) => {
        $crate::columns::with_columns!(@ $matrix, $columns => $call; 2 3 4 5 6 7 8;
            len => unreachable!("length {len} has no unrolled columns"))
    };
}
pub(crate) use with_unrolled;
