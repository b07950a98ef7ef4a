//! Orthonormal transforms of columns: `n` vectors of `L` samples, each lane a transform.

use crate::Float;
use crate::definition::{DctType, Definition, Normalization};

/// The longest transform that is unrolled.
pub(crate) const UNROLLED: usize = 8;

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
    /// Row = frequency, whichever the direction.
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
    pub(crate) fn unrolled<const N: usize>(&self) -> Unrolled<'_, T, N> {
        let (rows, _) = self.basis.as_chunks::<N>();
        let basis = rows.try_into().expect("N is the length");
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
pub(crate) struct Unrolled<'a, T, const N: usize> {
    basis: &'a [[T; N]; N],
    inverse: bool,
}

impl<T: Float, const N: usize> Columns<T> for Unrolled<'_, T, N> {
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
        let mut x: [[T; L]; N] = std::array::from_fn(load);
        let y = if self.inverse { inverse(self.basis, &x) } else { forward(self.basis, &mut x) };
        for (k, y) in y.into_iter().enumerate() {
            store(k, y);
        }
    }
}

/// `X[k] = sum_{i < n/2} C[k,i] (x[i] + (-1)^k x[n-1-i])`; overwrites `x`.
#[inline(always)]
fn forward<T: Float, const N: usize, const L: usize>(
    basis: &[[T; N]; N],
    x: &mut [[T; L]; N],
) -> [[T; L]; N] {
    for i in 0..N / 2 {
        for l in 0..L {
            let (a, b) = (x[i][l], x[N - 1 - i][l]);
            (x[i][l], x[N - 1 - i][l]) = (a + b, a - b);
        }
    }
    let mut y = [[T::zero(); L]; N];
    for k in 0..N {
        let terms = if k % 2 == 0 { N - N / 2 } else { N / 2 };
        for i in 0..terms {
            let term = if k % 2 == 0 { i } else { N - 1 - i };
            for l in 0..L {
                let product = basis[k][i] * x[term][l];
                y[k][l] = if i == 0 { product } else { y[k][l] + product };
            }
        }
    }
    y
}

/// `x[i], x[n-1-i] = sum_{k even} C[k,i] X[k] +- sum_{k odd} C[k,i] X[k]`.
#[inline(always)]
fn inverse<T: Float, const N: usize, const L: usize>(
    basis: &[[T; N]; N],
    y: &[[T; L]; N],
) -> [[T; L]; N] {
    let mut x = [[T::zero(); L]; N];
    for i in 0..N - N / 2 {
        for l in 0..L {
            let mut sums = [T::zero(); 2];
            for k in 0..N {
                let product = basis[k][i] * y[k][l];
                sums[k % 2] = if k < 2 { product } else { sums[k % 2] + product };
            }
            x[N - 1 - i][l] = sums[0] - sums[1];
            if i < N / 2 {
                x[i][l] = sums[0] + sums[1];
            }
        }
    }
    if N % 2 == 1 {
        // the middle sample has no odd part
        for l in 0..L {
            let mut sum = basis[0][N / 2] * y[0][l];
            for k in (2..N).step_by(2) {
                sum += basis[k][N / 2] * y[k][l];
            }
            x[N / 2][l] = sum;
        }
    }
    x
}

/// Runs `$call` with `$columns` bound to the unrolled transform of the matrix's length, or else to
/// the looped one.
macro_rules! with_columns {
    ($matrix:expr, $columns:ident => $call:expr) => {
        with_columns!(@ $matrix, $columns => $call; 2 3 4 5 8)
    };
    (@ $matrix:expr, $columns:ident => $call:expr; $($n:literal)*) => {
        match $matrix.len {
            $($n => { let $columns = $matrix.unrolled::<$n>(); $call })*
            _ => { let $columns = $matrix.looped(); $call }
        }
    };
}
pub(crate) use with_columns;
