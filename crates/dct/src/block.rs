use ndarray::{Array, Array4, ArrayBase, ArrayView, ArrayView4, Axis, DataMut};

use crate::columns::{Matrix, UNROLLED, Unrolled};
use crate::padding::fill_row;
use crate::parallel::each_chunk;
use crate::plan::{Plan, Scratch};
use crate::simd::{Vectorize, load, store};
use crate::{DctType, Float, ImageDim, Normalization, Padding};

/// The array's sides are no multiples of the block's, and no padding was asked for.
///
/// ```
/// let image = ndarray::Array2::<f32>::zeros((8, 12));
/// let error = dct::block_dct_2d(image.view(), 8, dct::Padding::None).unwrap_err();
/// assert_eq!(error.to_string(), "expected sides that are multiples of 8, got 8 x 12");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaggedBlocks {
    /// Rows of the array.
    pub height: usize,
    /// Columns of the array.
    pub width: usize,
    /// Side of the blocks.
    pub window: usize,
}

impl RaggedBlocks {
    /// Refuses a `[B, H, W, C]` whose sides are no multiples of `window`.
    pub(crate) fn check(
        (_, height, width, _): (usize, usize, usize, usize),
        window: usize,
    ) -> Result<(), Self> {
        if height.is_multiple_of(window) && width.is_multiple_of(window) {
            Ok(())
        } else {
            Err(Self { height, width, window })
        }
    }
}

impl std::fmt::Display for RaggedBlocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { height, width, window } = self;
        write!(f, "expected sides that are multiples of {window}, got {height} x {width}")
    }
}

impl std::error::Error for RaggedBlocks {}

/// Orthonormal DCT-II of each `window x window` block of each channel.
///
/// `[H, W]`, `[H, W, C]` or `[B, H, W, C]`, with `H` and `W` rounded up to multiples of `window`
/// in the result.
/// Coefficient `(u, v)` of block `(i, j)` stands at row `i*window + u`, column `j*window + v`.
///
/// ```
/// use dct::{Padding, block_dct_2d};
/// let image = ndarray::Array2::from_elem((8, 12), 3.0);
/// let y = block_dct_2d(image.view(), 8, Padding::Replicate)?;
/// assert_eq!(y.dim(), (8, 16));
/// approx::assert_abs_diff_eq!(y[[0, 0]], 24.0, epsilon = 1e-12); // window x mean
/// approx::assert_abs_diff_eq!(y[[0, 8]], 24.0, epsilon = 1e-12);
/// approx::assert_abs_diff_eq!(y[[1, 0]], 0.0, epsilon = 1e-12);
/// # Ok::<(), dct::RaggedBlocks>(())
/// ```
///
/// # Errors
/// [`RaggedBlocks`] if a side is no multiple of `window` and `padding` is [`Padding::None`].
///
/// # Panics
/// If `window == 0`.
#[track_caller]
pub fn block_dct_2d<T: Float, D: ImageDim>(
    image: ArrayView<'_, T, D>,
    window: usize,
    padding: Padding,
) -> Result<Array<T, D>, RaggedBlocks> {
    let blocks = Blocks::new(window, false);
    let image = D::into_batch(image);
    if padding == Padding::None {
        RaggedBlocks::check(image.dim(), window)?;
    }
    Ok(D::from_batch(blocks.transform(image, padding)))
}

/// Inverse of [`block_dct_2d`]: orthonormal DCT-III of each block.
///
/// Rows and columns that padding had added are still there: cut them off with `slice`.
///
/// ```
/// let y = ndarray::array![[5.0, -1.0], [-2.0, 0.0]];
/// let x = dct::block_idct_2d(y.view(), 2)?;
/// approx::assert_abs_diff_eq!(x, ndarray::array![[1.0, 2.0], [3.0, 4.0]], epsilon = 1e-14);
/// # Ok::<(), dct::RaggedBlocks>(())
/// ```
///
/// # Errors
/// [`RaggedBlocks`] if a side is no multiple of `window`.
///
/// # Panics
/// If `window == 0`.
#[track_caller]
pub fn block_idct_2d<T: Float, D: ImageDim>(
    coefficients: ArrayView<'_, T, D>,
    window: usize,
) -> Result<Array<T, D>, RaggedBlocks> {
    let blocks = Blocks::new(window, true);
    let coefficients = D::into_batch(coefficients);
    RaggedBlocks::check(coefficients.dim(), window)?;
    Ok(D::from_batch(blocks.transform(coefficients, Padding::None)))
}

/// [`block_dct_2d`] in place.
///
/// Contiguous arrays are transformed where they are; others through a copy.
///
/// ```
/// let mut x = ndarray::array![[1.0, 2.0], [3.0, 4.0]];
/// dct::block_dct_2d_in_place(&mut x, 2)?;
/// approx::assert_abs_diff_eq!(x, ndarray::array![[5.0, -1.0], [-2.0, 0.0]], epsilon = 1e-14);
/// # Ok::<(), dct::RaggedBlocks>(())
/// ```
///
/// # Errors
/// [`RaggedBlocks`] if a side is no multiple of `window`; the array is unchanged.
///
/// # Panics
/// If `window == 0`.
#[track_caller]
pub fn block_dct_2d_in_place<T: Float, S: DataMut<Elem = T>, D: ImageDim>(
    image: &mut ArrayBase<S, D>,
    window: usize,
) -> Result<(), RaggedBlocks> {
    Blocks::new(window, false).transform_in_place(image)
}

/// [`block_idct_2d`] in place.
///
/// ```
/// let mut x = ndarray::array![[5.0, -1.0], [-2.0, 0.0]];
/// dct::block_idct_2d_in_place(&mut x, 2)?;
/// approx::assert_abs_diff_eq!(x, ndarray::array![[1.0, 2.0], [3.0, 4.0]], epsilon = 1e-14);
/// # Ok::<(), dct::RaggedBlocks>(())
/// ```
///
/// # Errors
/// [`RaggedBlocks`] if a side is no multiple of `window`; the array is unchanged.
///
/// # Panics
/// If `window == 0`.
#[track_caller]
pub fn block_idct_2d_in_place<T: Float, S: DataMut<Elem = T>, D: ImageDim>(
    coefficients: &mut ArrayBase<S, D>,
    window: usize,
) -> Result<(), RaggedBlocks> {
    Blocks::new(window, true).transform_in_place(coefficients)
}

/// From this number of channels on, SIMD vectors run over channels and a block is transformed in one pass.
const MANY_CHANNELS: usize = 8;

struct Blocks<T: Float> {
    window: usize,
    matrix: Matrix<T>,
    plan: Plan<T>,
}

struct Buffers<T> {
    plan: Scratch<T>,
    /// A row of the image, one plane per channel.
    planes: Vec<T>,
}

impl<T: Float> Blocks<T> {
    #[track_caller]
    fn new(window: usize, inverse: bool) -> Self {
        assert!(window > 0, "block transform: expected a window >= 1, got 0");
        let make = if inverse { Plan::inverse } else { Plan::forward };
        let plan = make(DctType::II, window, Normalization::Ortho);
        Self { window, matrix: Matrix::new(window, inverse), plan }
    }

    fn transform(&self, image: ArrayView4<'_, T>, padding: Padding) -> Array4<T> {
        let (batch, height, width, channels) = image.dim();
        let rows = height.next_multiple_of(self.window);
        let row = width.next_multiple_of(self.window) * channels;
        let mut out = Array4::zeros((batch, rows, width.next_multiple_of(self.window), channels));
        let strips = rows / self.window;
        self.each_strip(&mut out, |index, strip| {
            let image = image.index_axis(Axis(0), index / strips);
            let first = index % strips * self.window;
            for (i, out) in strip.chunks_exact_mut(row).enumerate() {
                fill_row(out, image, ((first + i) as isize, 0), padding);
            }
        });
        out
    }

    fn transform_in_place<S: DataMut<Elem = T>, D: ImageDim>(
        &self,
        image: &mut ArrayBase<S, D>,
    ) -> Result<(), RaggedBlocks> {
        let contiguous = image.is_standard_layout();
        let mut view = D::into_batch(image.view_mut());
        RaggedBlocks::check(view.dim(), self.window)?;
        if contiguous {
            self.each_strip(&mut view, |_, _| {});
        } else {
            let transformed = self.transform(view.view(), Padding::None);
            view.assign(&transformed);
        }
        Ok(())
    }

    /// Fills each strip of `window` rows of a contiguous `[B, H, W, C]`, then transforms it.
    fn each_strip<S: DataMut<Elem = T>>(
        &self,
        image: &mut ArrayBase<S, ndarray::Ix4>,
        fill: impl Fn(usize, &mut [T]) + Sync + Send,
    ) {
        let (_, _, width, channels) = image.dim();
        let strip = self.window * width * channels;
        let Some(samples) = image.as_slice_mut().filter(|_| strip > 0) else { return };
        let buffers =
            || Buffers { plan: self.plan.scratch(), planes: vec![T::zero(); width * channels] };
        each_chunk(samples, strip, buffers, |buffers, index, samples| {
            fill(index, samples);
            self.transform_strip(samples, channels, buffers);
        });
    }

    fn transform_strip(&self, strip: &mut [T], channels: usize, buffers: &mut Buffers<T>) {
        let unrolled = UNROLLED.contains(&self.window);
        if unrolled && channels >= MANY_CHANNELS {
            return T::whole_blocks(&self.matrix, strip, channels);
        }
        let row = strip.len() / self.window;
        if unrolled {
            T::tall_columns(&self.matrix, strip);
        } else {
            self.plan.process_inner(strip, row, &mut buffers.plan);
        }
        if channels == 1 || channels >= MANY_CHANNELS {
            return self.plan.process_inner(strip, channels, &mut buffers.plan);
        }
        for row in strip.chunks_exact_mut(row) {
            let width = row.len() / channels;
            for (c, plane) in buffers.planes.chunks_exact_mut(width).enumerate() {
                plane
                    .iter_mut()
                    .zip(row[c..].iter().step_by(channels))
                    .for_each(|(to, x)| *to = *x);
            }
            self.plan.process_inner(&mut buffers.planes, 1, &mut buffers.plan);
            for (c, plane) in buffers.planes.chunks_exact(width).enumerate() {
                plane
                    .iter()
                    .zip(row[c..].iter_mut().step_by(channels))
                    .for_each(|(x, to)| *to = *x);
            }
        }
    }
}

/// Samples transformed together: in `f32` a cache line, so that blocks whose columns are a power of
/// two apart, and compete for the same places in the cache, need each line once.
const LANES: usize = 16;

/// Calls `work(start, load, store)` for each vector of `0..count`; the last one may be shorter.
macro_rules! each_vector {
    ($count:expr, |$start:ident, $load:ident, $store:ident| $work:expr) => {{
        let whole = $count / LANES * LANES;
        for $start in (0..whole).step_by(LANES) {
            let $load = |samples: &[T]| *samples.first_chunk::<LANES>().expect("LANES samples");
            let $store = |y: [T; LANES], samples: &mut [T]| {
                *samples.first_chunk_mut().expect("LANES samples") = y;
            };
            $work
        }
        if whole < $count {
            let ($start, rest) = (whole, $count - whole);
            let $load = |samples: &[T]| load(&samples[..rest]);
            let $store = |y: [T; LANES], samples: &mut [T]| store(y, &mut samples[..rest]);
            $work
        }
    }};
}

/// One strip, each block in one pass, SIMD vectors running over channels.
pub(crate) struct Whole<'a, T, const N: usize> {
    pub(crate) columns: Unrolled<T, N>,
    pub(crate) strip: &'a mut [T],
    pub(crate) channels: usize,
}

impl<T: Float, const N: usize> Vectorize for Whole<'_, T, N> {
    #[inline(always)]
    fn run(self) {
        let Self { columns, strip, channels } = self;
        let row = strip.len() / N;
        for block in (0..row).step_by(N * channels) {
            let at = |u: usize, v: usize| block + u * row + v * channels;
            each_vector!(channels, |start, load, store| {
                let mut square = [[[T::zero(); LANES]; N]; N];
                for u in 0..N {
                    let row = std::array::from_fn(|v| load(&strip[at(u, v) + start..]));
                    square[u] = columns.transform(row);
                }
                for v in 0..N {
                    let column = columns.transform(std::array::from_fn(|u| square[u][v]));
                    for u in 0..N {
                        store(column[u], &mut strip[at(u, v) + start..]);
                    }
                }
            });
        }
    }
}

/// The columns of one strip, vectors running along its rows.
pub(crate) struct Tall<'a, T, const N: usize> {
    pub(crate) columns: Unrolled<T, N>,
    pub(crate) strip: &'a mut [T],
}

impl<T: Float, const N: usize> Vectorize for Tall<'_, T, N> {
    #[inline(always)]
    fn run(self) {
        let Self { columns, strip } = self;
        let row = strip.len() / N;
        each_vector!(row, |start, load, store| {
            let column = std::array::from_fn(|u| load(&strip[u * row + start..]));
            let column = columns.transform(column);
            for u in 0..N {
                store(column[u], &mut strip[u * row + start..]);
            }
        });
    }
}
