use ndarray::{Array2, Array4, ArrayView3};

use crate::columns::Matrix;
use crate::definition::{DctType, Definition, Normalization};
use crate::lines::run;
use crate::parallel::each_band;
use crate::steps::Keep;
use crate::{Float, Padding};

/// Which windows a sliding transform has.
///
/// With a padding, there is a window for each `stride`-th row and column from the first on,
/// `ceil(H / stride)` by `ceil(W / stride)` of them; the one of position `(i, j)` covers rows
/// `i - window/2 ..` and columns `j - window/2 ..`, `window` of each (integer division).
/// With [`Padding::None`], windows start at each `stride`-th row and column and lie inside:
/// `(H - window) / stride + 1` by `(W - window) / stride + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sliding {
    /// Side of the windows.
    pub window: usize,
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// What lies outside the array.
    pub padding: Padding,
}

impl Sliding {
    /// A window around every position, the nearest sample repeated outside.
    pub fn new(window: usize) -> Self {
        Self { window, stride: [1, 1], padding: Padding::Replicate }
    }

    /// Rows and columns of the result for an array of `height` by `width`.
    ///
    /// ```
    /// use dct::{Padding, Sliding};
    /// let windows = Sliding { window: 3, stride: [2, 1], padding: Padding::None };
    /// assert_eq!(windows.output_size(7, 5), (3, 3));
    /// assert_eq!(Sliding::new(3).output_size(7, 5), (7, 5));
    /// ```
    ///
    /// # Panics
    /// If the window or a stride is zero, or if a side is zero, or without padding shorter than the
    /// window.
    #[track_caller]
    pub fn output_size(&self, height: usize, width: usize) -> (usize, usize) {
        assert!(self.window > 0, "sliding transform: expected a window >= 1, got 0");
        assert!(
            self.stride.iter().all(|&stride| stride > 0),
            "sliding transform: expected strides >= 1, got {:?}",
            self.stride
        );
        let shortest = if self.padding == Padding::None { self.window } else { 1 };
        assert!(
            height >= shortest && width >= shortest,
            "sliding transform: expected sides >= {shortest}, got {height} x {width}"
        );
        let [rows, columns] = self.stride;
        ((height - shortest) / rows + 1, (width - shortest) / columns + 1)
    }

    /// First row, or column, of the window at `output` with this stride.
    pub(crate) fn start(&self, output: usize, stride: usize) -> isize {
        let before = if self.padding == Padding::None { 0 } else { self.window / 2 };
        (output * stride) as isize - before as isize
    }
}

/// All orthonormal DCT-II coefficients of the window around every position,
/// `[H, W, C]` to `[window*window, H, W, C]`.
///
/// The window of position `(i, j)` starts `window/2` rows above and `window/2` columns left of it;
/// outside, the nearest sample is repeated.
/// Frequencies are row-major: plane `u*window + v` holds vertical frequency `u`, horizontal `v`.
/// For strides and other paddings see [`sliding_coefficients`]; if the coefficients are only summed
/// up afterwards, [`sliding_reduce`](crate::sliding_reduce) does not store them.
///
/// ```
/// let x = ndarray::Array3::from_elem((4, 5, 2), 1.0_f64);
/// let y = dct::sliding_dct_2d(x.view(), 3);
/// assert_eq!(y.dim(), (9, 4, 5, 2));
/// approx::assert_abs_diff_eq!(y[[0, 0, 0, 0]], 3.0, epsilon = 1e-14); // mean x window
/// approx::assert_abs_diff_eq!(y[[5, 0, 0, 0]], 0.0, epsilon = 1e-14);
/// ```
///
/// # Panics
/// If `window == 0`, or if `H` or `W` is zero.
#[track_caller]
pub fn sliding_dct_2d<T: Float>(image: ArrayView3<'_, T>, window: usize) -> Array4<T> {
    sliding_coefficients(image, &Sliding::new(window))
}

/// [`sliding_dct_2d`] with any stride and padding, `[H, W, C]` to `[window*window, H', W', C]`.
///
/// ```
/// use dct::{Padding, Sliding, sliding_coefficients};
/// let x = ndarray::array![[[1.0], [2.0], [0.0]], [[3.0], [4.0], [0.0]]];
/// let windows = Sliding { window: 2, stride: [1, 1], padding: Padding::None };
/// let y = sliding_coefficients(x.view(), &windows);
/// assert_eq!(y.dim(), (4, 1, 2, 1)); // two windows
/// let left = y.slice(ndarray::s![.., 0, 0, 0]);
/// approx::assert_abs_diff_eq!(left, ndarray::array![5.0, -1.0, -2.0, 0.0].view(), epsilon = 1e-14);
/// ```
///
/// # Panics
/// As [`Sliding::output_size`].
#[track_caller]
pub fn sliding_coefficients<T: Float>(image: ArrayView3<'_, T>, sliding: &Sliding) -> Array4<T> {
    let (height, width, channels) = image.dim();
    let (rows, columns) = sliding.output_size(height, width);
    let mut out = Array4::zeros((sliding.window * sliding.window, rows, columns, channels));
    let keep = Keep(Matrix::new(sliding.window, false));
    each_band(out.view_mut(), |first, band| run(image, sliding, first, band, &keep));
    out
}

/// The kernel `[q, q]` whose correlation with the image is the mean of all `q*q` sliding-window coefficients.
///
/// The coefficients of a window `x` are `X = C x C^T`, so their mean is linear in `x`:
///
/// ```text
/// (1/q^2) sum_{u,v} X[u,v] = sum_{i,j} k[i] k[j] x[i,j],   k[i] = (1/q) sum_u C[u,i]
/// ```
///
/// that is, a correlation (no flip) with the rank-one kernel `k k^T`.
/// `k` is far from symmetric, since all cosines agree near the first sample only: for `q = 3` it is
/// `(0.5642, -0.0797, 0.0928)`, with 91 % of the energy of `k k^T` on the window's first sample.
///
/// ```
/// let k = dct::sliding_mean_kernel::<f64>(2);
/// approx::assert_abs_diff_eq!(k, ndarray::array![[0.5, 0.0], [0.0, 0.0]], epsilon = 1e-15);
/// ```
///
/// # Panics
/// If `q == 0`.
#[track_caller]
pub fn sliding_mean_kernel<T: Float>(q: usize) -> Array2<T> {
    let k = mean_weights(q);
    Array2::from_shape_fn((q, q), |(i, j)| T::of(k[i] * k[j]))
}

/// Column means of the basis.
#[track_caller]
pub(crate) fn mean_weights(q: usize) -> Vec<f64> {
    let c = Definition::forward(DctType::II, q, Normalization::Ortho).matrix();
    c.columns().into_iter().map(|column| column.sum() / q as f64).collect()
}
