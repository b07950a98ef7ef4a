use ndarray::{Array3, ArrayView3, s};

use crate::{Float, Padding, dct_2d, idct_2d};

/// The array's sides are no multiples of the block's, and no padding was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaggedBlocks {
    /// Rows of the array.
    pub height: usize,
    /// Columns of the array.
    pub width: usize,
    /// Side of the blocks.
    pub window: usize,
}

impl std::fmt::Display for RaggedBlocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { height, width, window } = self;
        write!(
            f,
            "expected sides that are multiples of the block side {window}, got {height} x {width}"
        )
    }
}

impl std::error::Error for RaggedBlocks {}

/// Orthonormal DCT-II of each `window x window` block, `[H, W, C]` to `[H', W', C]`, with `H'` and
/// `W'` rounded up to multiples of `window`.
///
/// Coefficient `(u, v)` of block `(i, j)` stands at row `i*window + u`, column `j*window + v`.
///
/// # Errors
/// [`RaggedBlocks`] if a side is no multiple of `window` and `padding` is [`Padding::None`].
///
/// # Panics
/// If `window == 0`, or if `H` or `W` is zero.
#[track_caller]
pub fn block_dct_2d<T: Float>(
    image: ArrayView3<'_, T>,
    window: usize,
    padding: Padding,
) -> Result<Array3<T>, RaggedBlocks> {
    let (height, width, channels) = image.dim();
    if padding == Padding::None && (height % window != 0 || width % window != 0) {
        return Err(RaggedBlocks { height, width, window });
    }
    let (rows, columns) = (height.next_multiple_of(window), width.next_multiple_of(window));
    let mut out = Array3::from_shape_fn((rows, columns, channels), |(i, j, c)| {
        let row = padding.source(i as isize, height);
        let column = padding.source(j as isize, width);
        row.zip(column).map_or(T::zero(), |(i, j)| image[[i, j, c]])
    });
    each_block(&mut out, window, |block| dct_2d(block));
    Ok(out)
}

/// Inverse of [`block_dct_2d`], cropped to `shape = (H, W)`.
///
/// # Panics
/// If `window == 0`, if a side of `coefficients` is no multiple of `window`, or if `shape` is
/// larger than `coefficients`.
#[track_caller]
pub fn block_idct_2d<T: Float>(
    coefficients: ArrayView3<'_, T>,
    window: usize,
    shape: (usize, usize),
) -> Array3<T> {
    let mut out = coefficients.to_owned();
    each_block(&mut out, window, |block| idct_2d(block));
    out.slice(s![..shape.0, ..shape.1, ..]).to_owned()
}

fn each_block<T: Float>(
    array: &mut Array3<T>,
    window: usize,
    transform: impl Fn(ndarray::ArrayView2<'_, T>) -> ndarray::Array2<T>,
) {
    let channels = array.dim().2;
    for mut block in array.exact_chunks_mut((window, window, channels)) {
        for mut plane in block.axis_iter_mut(ndarray::Axis(2)) {
            let transformed = transform(plane.view());
            plane.assign(&transformed);
        }
    }
}
