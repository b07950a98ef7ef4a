use ndarray::{Array, Array4, ArrayView, ArrayView3, ArrayViewMut4, Axis};

use crate::columns::Matrix;
use crate::filter::Filter;
use crate::lines::run;
use crate::mean::{Mean, Measure};
use crate::parallel::each_band;
use crate::pieces;
use crate::sliding::{Sliding, mean_weights};
use crate::steps::{Keep, Map};
use crate::three::MeanOfThree;
use crate::{Float, ImageDim};

/// How the `q*q` coefficients `X` of a window are reduced to one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// `mean X`: a fixed separable filter, see [`sliding_mean_kernel`](crate::sliding_mean_kernel).
    Mean,
    /// `mean |X|`.
    AbsMean,
    /// `mean X^2`: by Parseval's theorem the mean of the squared samples, a box filter.
    PowerMean,
    /// `mean ln(1 + |X|)`.
    LogMean,
}

/// Reduces the orthonormal DCT-II coefficients of each window to one value, without storing them.
///
/// `[H, W]`, `[H, W, C]` or `[B, H, W, C]`, with `H` and `W` replaced by
/// [`Sliding::output_size`].
///
/// ```
/// use dct::{Reduction, Sliding, sliding_reduce};
/// let x = ndarray::Array2::from_elem((5, 5), 2.0);
/// let y = sliding_reduce(x.view(), &Sliding::new(3), Reduction::PowerMean);
/// approx::assert_abs_diff_eq!(y, ndarray::Array2::from_elem((5, 5), 4.0), epsilon = 1e-12);
/// ```
///
/// # Panics
/// As [`Sliding::output_size`].
#[track_caller]
pub fn sliding_reduce<T: Float, D: ImageDim>(
    image: ArrayView<'_, T, D>,
    sliding: &Sliding,
    reduction: Reduction,
) -> Array<T, D> {
    let q = sliding.window;
    let images = D::into_batch(image);
    let filter = |weights, square| pieces::run(images, sliding, &Filter { weights, square });
    let mean =
        |measure| pieces::run(images, sliding, &Mean { matrix: Matrix::new(q, false), measure });
    D::from_batch(match reduction {
        Reduction::Mean => filter(mean_weights(q).into_iter().map(T::of).collect(), false),
        Reduction::PowerMean => filter(vec![T::of(1.0 / q as f64); q], true),
        Reduction::AbsMean if q == 3 => pieces::run(images, sliding, &MeanOfThree::new()),
        Reduction::AbsMean => mean(Measure::Magnitude),
        Reduction::LogMean => mean(Measure::LogMagnitude),
    })
}

/// Reduces the orthonormal DCT-II coefficients of each window by a closure, without storing them.
///
/// The closure gets the `q*q` coefficients of one window and channel, row-major, `u*q + v`.
/// Shapes are those of [`sliding_reduce`].
///
/// ```
/// use dct::{Sliding, sliding_map};
/// let x = ndarray::array![[1.0, 2.0], [3.0, 4.0]];
/// let window = Sliding { window: 2, stride: [1, 1], padding: dct::Padding::None };
/// let largest = sliding_map(x.view(), &window, |c: &[f64]| c.iter().fold(0.0_f64, |m, x| m.max(x.abs())));
/// approx::assert_abs_diff_eq!(largest, ndarray::array![[5.0]], epsilon = 1e-14);
/// ```
///
/// # Panics
/// As [`Sliding::output_size`].
#[track_caller]
pub fn sliding_map<T: Float, D: ImageDim>(
    image: ArrayView<'_, T, D>,
    sliding: &Sliding,
    reduce: impl Fn(&[T]) -> T + Sync + Send,
) -> Array<T, D> {
    let steps = Map { keep: Keep(Matrix::new(sliding.window, false)), function: reduce };
    each_image(image, sliding, |image, first, band| run(image, sliding, first, band, &steps))
}

/// Calls `work(image, first, band)` for bands of rows, `[1, rows, columns, channels]`, of each
/// image's result, the first of them row `first`.
#[track_caller]
fn each_image<T: Float, D: ImageDim>(
    images: ArrayView<'_, T, D>,
    sliding: &Sliding,
    work: impl Fn(ArrayView3<'_, T>, usize, ArrayViewMut4<'_, T>) + Sync + Send,
) -> Array<T, D> {
    let images = D::into_batch(images);
    let (batch, height, width, channels) = images.dim();
    let (rows, columns) = sliding.output_size(height, width);
    let mut out = Array4::zeros((batch, rows, columns, channels));
    for (image, out) in images.outer_iter().zip(out.outer_iter_mut()) {
        each_band(out.insert_axis(Axis(0)), |first, band| work(image, first, band));
    }
    D::from_batch(out)
}
