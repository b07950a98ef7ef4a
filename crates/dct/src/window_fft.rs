//! The Fourier counterparts of the block and sliding transforms.

use std::sync::Arc;

use ndarray::{Array, Array3, Array4, ArrayView, ArrayView3, Axis, s};
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection, FftPlanner};

use crate::padding::fill_row;
use crate::{Float, ImageDim, Padding, RaggedBlocks, Sliding};

/// Real and imaginary part.
pub type Parts<T, D> = (Array<T, D>, Array<T, D>);

/// Orthonormal 2-D discrete Fourier transform of each `window x window` block of each channel:
/// real and imaginary parts, laid out as [`block_dct_2d`](crate::block_dct_2d) does.
///
/// ```text
/// X[u, v] = (1/window) sum_{i,j} x[i, j] exp(-2 pi i (u i + v j) / window)
/// ```
///
/// ```
/// let x = ndarray::array![[1.0, 2.0], [3.0, 4.0]];
/// let (re, im) = dct::block_fft_2d(x.view(), 2, dct::Padding::None)?;
/// approx::assert_abs_diff_eq!(re, ndarray::array![[5.0, -1.0], [-2.0, 0.0]], epsilon = 1e-14);
/// approx::assert_abs_diff_eq!(im, ndarray::Array2::zeros((2, 2)), epsilon = 1e-14);
/// # Ok::<(), dct::RaggedBlocks>(())
/// ```
///
/// # Errors
/// [`RaggedBlocks`] if a side is no multiple of `window` and `padding` is [`Padding::None`].
///
/// # Panics
/// If `window == 0`.
#[track_caller]
pub fn block_fft_2d<T: Float, D: ImageDim>(
    image: ArrayView<'_, T, D>,
    window: usize,
    padding: Padding,
) -> Result<Parts<T, D>, RaggedBlocks> {
    let mut fft = WindowFft::new(window, FftDirection::Forward);
    let image = D::into_batch(image);
    let (batch, height, width, channels) = image.dim();
    if padding == Padding::None {
        RaggedBlocks::check(image.dim(), window)?;
    }
    let (rows, columns) = (height.next_multiple_of(window), width.next_multiple_of(window));
    let mut parts = [0, 1].map(|_| Array4::zeros((batch, rows, columns, channels)));
    let mut row = vec![T::zero(); columns * channels];
    let mut strip = Array3::zeros((window, columns, channels));
    let strips = (0..batch).flat_map(|b| (0..rows).step_by(window).map(move |top| (b, top)));
    for (b, top) in strips {
        let image = image.index_axis(Axis(0), b);
        for (i, mut out) in strip.outer_iter_mut().enumerate() {
            fill_row(&mut row, image, ((top + i) as isize, 0), padding);
            out.iter_mut().zip(&row).for_each(|(to, &x)| *to = Complex::new(x, T::zero()));
        }
        fft.each_block(&mut strip);
        let [re, im] = &mut parts;
        let at = s![b, top..top + window, .., ..];
        re.slice_mut(at).zip_mut_with(&strip, |re, z| *re = z.re);
        im.slice_mut(at).zip_mut_with(&strip, |im, z| *im = z.im);
    }
    let [re, im] = parts;
    Ok((D::from_batch(re), D::from_batch(im)))
}

/// The real part of the inverse of [`block_fft_2d`], of any real and imaginary parts.
///
/// ```
/// let x = ndarray::array![[1.0, 2.0, 0.0], [3.0, 4.0, 1.0], [0.0, 1.0, 5.0]];
/// let (re, im) = dct::block_fft_2d(x.view(), 3, dct::Padding::None)?;
/// let back = dct::block_ifft_2d(re.view(), im.view(), 3)?;
/// approx::assert_abs_diff_eq!(back, x, epsilon = 1e-14);
/// # Ok::<(), dct::RaggedBlocks>(())
/// ```
///
/// # Errors
/// [`RaggedBlocks`] if a side is no multiple of `window`.
///
/// # Panics
/// If `window == 0`, or if the shapes of the parts differ.
#[track_caller]
pub fn block_ifft_2d<T: Float, D: ImageDim>(
    re: ArrayView<'_, T, D>,
    im: ArrayView<'_, T, D>,
    window: usize,
) -> Result<Array<T, D>, RaggedBlocks> {
    assert!(
        re.shape() == im.shape(),
        "block_ifft_2d: expected an imaginary part of shape {:?}, got {:?}",
        re.shape(),
        im.shape()
    );
    let mut fft = WindowFft::new(window, FftDirection::Inverse);
    let (re, im) = (D::into_batch(re), D::into_batch(im));
    let height = re.dim().1;
    RaggedBlocks::check(re.dim(), window)?;
    let mut out = Array4::zeros(re.raw_dim());
    for ((re, im), mut out) in re.outer_iter().zip(im.outer_iter()).zip(out.outer_iter_mut()) {
        for top in (0..height).step_by(window) {
            let at = s![top..top + window, .., ..];
            let mut strip = re.slice(at).mapv(|re| Complex::new(re, T::zero()));
            strip.zip_mut_with(&im.slice(at), |z, &im| z.im = im);
            fft.each_block(&mut strip);
            out.slice_mut(at).zip_mut_with(&strip, |out, z| *out = z.re);
        }
    }
    Ok(D::from_batch(out))
}

/// Orthonormal 2-D discrete Fourier transform of each sliding window: real and imaginary parts,
/// each `[window*window, H', W', C]`, laid out as
/// [`sliding_coefficients`](crate::sliding_coefficients) does.
///
/// Their signed means say little: the real parts of a window add up to `window` times its first
/// sample, the imaginary ones to nothing.
///
/// ```
/// let x = ndarray::Array3::from_elem((4, 4, 1), 1.0_f64);
/// let (re, im) = dct::sliding_fft_2d(x.view(), &dct::Sliding::new(3));
/// approx::assert_abs_diff_eq!(re[[0, 2, 2, 0]], 3.0, epsilon = 1e-14);
/// approx::assert_abs_diff_eq!(im.sum(), 0.0, epsilon = 1e-12);
/// ```
///
/// # Panics
/// As [`Sliding::output_size`].
#[track_caller]
pub fn sliding_fft_2d<T: Float>(
    image: ArrayView3<'_, T>,
    sliding: &Sliding,
) -> (Array4<T>, Array4<T>) {
    let (height, width, channels) = image.dim();
    let (rows, columns) = sliding.output_size(height, width);
    let Sliding { window, stride, padding } = *sliding;
    let mut fft = WindowFft::new(window, FftDirection::Forward);
    let mut parts = [0, 1].map(|_| Array4::zeros((window * window, rows, columns, channels)));
    let mut row = vec![T::zero(); window * channels];
    let mut strip = Array3::zeros((window, columns * window, channels));
    for output in 0..rows {
        let top = sliding.start(output, stride[0]);
        for (i, mut out) in strip.outer_iter_mut().enumerate() {
            for column in 0..columns {
                let left = sliding.start(column, stride[1]);
                fill_row(&mut row, image, (top + i as isize, left), padding);
                let mut out = out.slice_mut(s![column * window..(column + 1) * window, ..]);
                out.iter_mut().zip(&row).for_each(|(to, &x)| *to = Complex::new(x, T::zero()));
            }
        }
        fft.each_block(&mut strip);
        let [re, im] = &mut parts;
        for (k, (mut re, mut im)) in re.outer_iter_mut().zip(im.outer_iter_mut()).enumerate() {
            // frequency (k / window, k % window) of each block: [columns, channels]
            let coefficients = strip.slice(s![k / window, k % window..; window, ..]);
            let (mut re, mut im) =
                (re.index_axis_mut(Axis(0), output), im.index_axis_mut(Axis(0), output));
            re.zip_mut_with(&coefficients, |re, z| *re = z.re);
            im.zip_mut_with(&coefficients, |im, z| *im = z.im);
        }
    }
    let [re, im] = parts;
    (re, im)
}

/// The FFT of one window along both axes.
struct WindowFft<T> {
    fft: Arc<dyn Fft<T>>,
    block: Vec<Complex<T>>,
    transposed: Vec<Complex<T>>,
    scratch: Vec<Complex<T>>,
}

impl<T: Float> WindowFft<T> {
    #[track_caller]
    fn new(window: usize, direction: FftDirection) -> Self {
        assert!(window > 0, "window FFT: expected a window >= 1, got 0");
        let fft = FftPlanner::new().plan_fft(window, direction);
        let zeros = |len| vec![Complex::new(T::zero(), T::zero()); len];
        let scratch = zeros(fft.get_inplace_scratch_len());
        Self { fft, block: zeros(window * window), transposed: zeros(window * window), scratch }
    }

    /// Transforms each block and channel of `[window, blocks * window, C]` in place.
    fn each_block(&mut self, strip: &mut Array3<Complex<T>>) {
        let (window, _, channels) = strip.dim();
        let scale = T::of(1.0 / window as f64);
        for mut block in strip.axis_chunks_iter_mut(Axis(1), window) {
            for c in 0..channels {
                let mut plane = block.index_axis_mut(Axis(2), c);
                self.block.iter_mut().zip(&plane).for_each(|(to, from)| *to = *from);
                for _ in 0..2 {
                    self.fft.process_with_scratch(&mut self.block, &mut self.scratch);
                    for (k, to) in self.transposed.iter_mut().enumerate() {
                        *to = self.block[k % window * window + k / window];
                    }
                    std::mem::swap(&mut self.block, &mut self.transposed);
                }
                plane.iter_mut().zip(&self.block).for_each(|(to, from)| *to = from * scale);
            }
        }
    }
}
