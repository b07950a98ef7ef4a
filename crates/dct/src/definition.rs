//! The transforms by their definitions; the tests compare the fast algorithms with these.

use std::f64::consts::{FRAC_1_SQRT_2, PI, SQRT_2};

use ndarray::Array2;

use crate::Float;

/// Which of the four even-length discrete cosine transforms.
///
/// The unscaled sums, for `n` samples `x` and `0 <= k < n`:
///
/// ```text
/// I    y[k] = x[0] + (-1)^k x[n-1] + 2 sum_{0<i<n-1} x[i] cos(pi k i / (n-1))      (n >= 2)
/// II   y[k] = 2 sum_i x[i] cos(pi k (2i+1) / (2n))
/// III  y[k] = x[0] + 2 sum_{i>0} x[i] cos(pi (2k+1) i / (2n))
/// IV   y[k] = 2 sum_i x[i] cos(pi (2k+1)(2i+1) / (4n))
/// ```
///
/// Source: `scipy.fft.dct`; N. Ahmed, T. Natarajan, K. R. Rao, "Discrete Cosine Transform", 1974.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DctType {
    /// Whole-sample even at both ends; needs two samples or more. Its own inverse up to scale.
    I,
    /// "The" DCT: half-sample even at both ends.
    II,
    /// "The" inverse DCT: the inverse of type II up to scale.
    III,
    /// Even at the left, odd at the right. Its own inverse up to scale.
    IV,
}

/// How forward and inverse share the factor `m = 2n` (type I: `m = 2(n-1)`), named as scipy does.
///
/// | | forward | inverse |
/// | --- | --- | --- |
/// | `Backward`, `None` | 1 | 1/m |
/// | `Ortho` | 1/sqrt(m), end samples weighted | its transpose |
/// | `Forward` | 1/m | 1 |
///
/// `Ortho` makes the matrix orthogonal.
/// For that it also multiplies `x[0]` (types I, III) and `x[n-1]` (type I) by sqrt(2) before the
/// sum, and `y[0]` (types I, II) and `y[n-1]` (type I) by 1/sqrt(2) after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Normalization {
    /// Orthonormal.
    Ortho,
    /// Unscaled forward, the whole factor in the inverse.
    Backward,
    /// The whole factor forward, unscaled inverse.
    Forward,
}

impl Normalization {
    /// scipy's `norm=None`, its default: another name of [`Backward`](Self::Backward).
    #[expect(non_upper_case_globals, reason = "named as a variant, because scipy does")]
    pub const None: Self = Self::Backward;
}

/// A transform as the unscaled sums of one type, times a factor: the form that all algorithms of
/// the crate implement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Definition {
    pub(crate) kind: DctType,
    pub(crate) len: usize,
    /// Multiplies every output.
    pub(crate) scale: f64,
    /// Whether end samples are weighted by sqrt(2) to make the matrix orthogonal.
    pub(crate) ortho: bool,
}

impl Definition {
    #[track_caller]
    pub(crate) fn forward(kind: DctType, len: usize, normalization: Normalization) -> Self {
        let shortest = if kind == DctType::I { 2 } else { 1 };
        assert!(len >= shortest, "DCT-{kind:?}: expected a length >= {shortest}, got {len}");
        let period = if kind == DctType::I { 2.0 * (len - 1) as f64 } else { 2.0 * len as f64 };
        let (scale, ortho) = match normalization {
            Normalization::Ortho => (1.0 / period.sqrt(), true),
            Normalization::Backward => (1.0, false),
            Normalization::Forward => (1.0 / period, false),
        };
        Self { kind, len, scale, ortho }
    }

    #[track_caller]
    pub(crate) fn inverse(kind: DctType, len: usize, normalization: Normalization) -> Self {
        let mirrored = match normalization {
            Normalization::Ortho => Normalization::Ortho,
            Normalization::Backward => Normalization::Forward,
            Normalization::Forward => Normalization::Backward,
        };
        let transposed = match kind {
            DctType::II => DctType::III,
            DctType::III => DctType::II,
            own_inverse => own_inverse,
        };
        Self::forward(transposed, len, mirrored)
    }

    /// Factor on sample `index` before the sum.
    pub(crate) fn input_weight(&self, index: usize) -> f64 {
        let end = match self.kind {
            DctType::I => index == 0 || index == self.len - 1,
            DctType::III => index == 0,
            DctType::II | DctType::IV => false,
        };
        if self.ortho && end { SQRT_2 } else { 1.0 }
    }

    /// Factor on coefficient `frequency` after the sum, `scale` included.
    pub(crate) fn output_weight(&self, frequency: usize) -> f64 {
        let end = match self.kind {
            DctType::I => frequency == 0 || frequency == self.len - 1,
            DctType::II => frequency == 0,
            DctType::III | DctType::IV => false,
        };
        if self.ortho && end { self.scale * FRAC_1_SQRT_2 } else { self.scale }
    }

    /// The factor of sample `index` in coefficient `frequency`.
    pub(crate) fn coefficient(&self, frequency: usize, index: usize) -> f64 {
        let (k, i, n) = (frequency, index, self.len);
        let sum = match self.kind {
            DctType::I if i == 0 => 1.0,
            DctType::I if i == n - 1 => cos_pi_ratio(k * i, n - 1),
            DctType::I => 2.0 * cos_pi_ratio(k * i, n - 1),
            DctType::II => 2.0 * cos_pi_ratio(k * (2 * i + 1), 2 * n),
            DctType::III if i == 0 => 1.0,
            DctType::III => 2.0 * cos_pi_ratio((2 * k + 1) * i, 2 * n),
            DctType::IV => 2.0 * cos_pi_ratio((2 * k + 1) * (2 * i + 1), 4 * n),
        };
        self.input_weight(i) * sum * self.output_weight(k)
    }

    /// The whole matrix, `[n, n]`, row = frequency.
    pub(crate) fn matrix(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.len, self.len), |(k, i)| self.coefficient(k, i))
    }
}

/// `cos(pi numerator / denominator)`, with the angle folded into `[0, pi/4]` in integers first, so
/// that the error stays below one ulp for any numerator and symmetric values are equal.
pub(crate) fn cos_pi_ratio(numerator: usize, denominator: usize) -> f64 {
    let n = denominator;
    let mut m = numerator % (2 * n);
    if m > n {
        m = 2 * n - m;
    }
    let negative = 2 * m > n;
    if negative {
        m = n - m;
    }
    let value = if 2 * m == n {
        0.0
    } else if 4 * m > n {
        (PI * (n - 2 * m) as f64 / (2 * n) as f64).sin()
    } else {
        (PI * m as f64 / n as f64).cos()
    };
    if negative { -value } else { value }
}

/// `sin(pi numerator / denominator)`, as exact as [`cos_pi_ratio`].
pub(crate) fn sin_pi_ratio(numerator: usize, denominator: usize) -> f64 {
    // sin(t) = cos(t + 3 pi/2)
    cos_pi_ratio(2 * numerator + 3 * denominator, 2 * denominator)
}

/// Orthonormal DCT-II basis, shape `[n, n]`: row `k` is frequency `k`.
///
/// ```text
/// C[0, i] = 1/sqrt(n),  C[k, i] = sqrt(2/n) cos(pi k (2i+1) / (2n));   X = C x,  x = C^T X,  C C^T = 1
/// ```
///
/// ```
/// let c = dct::basis::<f64>(2);
/// let h = 0.5_f64.sqrt();
/// approx::assert_abs_diff_eq!(c, ndarray::array![[h, h], [h, -h]], epsilon = 1e-15);
/// ```
///
/// # Panics
/// If `n == 0`.
#[track_caller]
pub fn basis<T: Float>(n: usize) -> Array2<T> {
    basis_of(DctType::II, n, Normalization::Ortho)
}

/// The matrix `[n, n]` of any type and normalisation: `dct(x) = M x`.
///
/// ```
/// use dct::{DctType, Normalization, basis_of};
/// let m = basis_of::<f64>(DctType::I, 3, Normalization::Backward);
/// assert_eq!(m, ndarray::array![[1.0, 2.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]]);
/// ```
///
/// # Panics
/// If `n == 0`, or `n == 1` for type I.
#[track_caller]
pub fn basis_of<T: Float>(kind: DctType, n: usize, normalization: Normalization) -> Array2<T> {
    Definition::forward(kind, n, normalization).matrix().mapv(T::of)
}

/// The matrix `[n, n]` that inverts [`basis_of`]: `idct(y) = M y`.
///
/// ```
/// use dct::{DctType, Normalization, inverse_basis_of};
/// let m = inverse_basis_of::<f64>(DctType::I, 2, Normalization::Backward);
/// assert_eq!(m, ndarray::array![[0.5, 0.5], [0.5, -0.5]]);
/// ```
///
/// # Panics
/// If `n == 0`, or `n == 1` for type I.
#[track_caller]
pub fn inverse_basis_of<T: Float>(
    kind: DctType,
    n: usize,
    normalization: Normalization,
) -> Array2<T> {
    Definition::inverse(kind, n, normalization).matrix().mapv(T::of)
}

/// Orthonormal 2-D DCT-II basis of `n x n` blocks, shape `[n*n, n*n]`: the Kronecker product of
/// [`basis`] with itself.
///
/// Row `u*n + v` is the frequency pair (vertical `u`, horizontal `v`), column `i*n + j` the sample
/// in row `i`, column `j`; so a block in row-major order times this matrix gives its coefficients
/// in row-major order.
///
/// ```
/// let c = dct::basis_2d::<f64>(3);
/// let mean = c.row(0).sum() / 9.0;
/// approx::assert_abs_diff_eq!(mean, 1.0 / 3.0, epsilon = 1e-15);
/// ```
///
/// # Panics
/// If `n == 0`.
#[track_caller]
pub fn basis_2d<T: Float>(n: usize) -> Array2<T> {
    let c = Definition::forward(DctType::II, n, Normalization::Ortho).matrix();
    let kron = |(row, column)| T::of(c[[row / n, column / n]] * c[[row % n, column % n]]);
    Array2::from_shape_fn((n * n, n * n), kron)
}
