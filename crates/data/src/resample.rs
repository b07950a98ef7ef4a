//! Antialiased resampling of 8-bit images, bit for bit as Pillow's.
//!
//! Weights are rounded to 22 fractional bits, the horizontal pass comes first and its result is rounded and clipped to
//! 8 bits. Resizing crates with SIMD round weights to 16 bits and choose their own order of passes, which moves some
//! pixels of real photographs by 2 levels, and by 24 where the clipping of the overshoot depends on the order.
//!
//! Source: Pillow 12, src/libImaging/Resample.c. (Pillow 13 takes the vertical pass first when the height alone
//! shrinks; CLIP and the work built on it were made with the older order.)

use pulp::{Arch, Simd, WithSimd};

/// Fractional bits of a weight: 32 less 8 of the sample and 2 of head-room for negative lobes.
const PRECISION: u32 = 32 - 8 - 2;
const HALF: i32 = 1 << (PRECISION - 1);
/// Rows that the horizontal pass takes at a time.
const ROWS: usize = 16;

/// A filter kernel.
#[derive(Clone, Copy)]
pub(crate) enum Filter {
    /// Keys' cubic convolution with a = -0.5.
    Bicubic,
    /// A triangle.
    Bilinear,
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Bicubic => 2.0,
            Self::Bilinear => 1.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        let x = x.abs();
        const A: f64 = -0.5;
        match self {
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bilinear if x < 1.0 => 1.0 - x,
            _ => 0.0,
        }
    }
}

/// One axis: which part of the source becomes how many pixels.
pub(crate) struct Span {
    /// First source coordinate, in source pixels.
    pub(crate) start: f64,
    /// Length of the source part, in source pixels. The filter reaches beyond the part, not beyond the source.
    pub(crate) length: f64,
    /// Number of pixels it becomes.
    pub(crate) size: usize,
}

/// The source pixels that one target pixel is made of.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// Resamples an interleaved image of `C` channels.
pub(crate) fn resample<const C: usize>(
    pixels: &[u8],
    (width, height): (usize, usize),
    x: &Span,
    y: &Span,
    filter: Filter,
) -> Vec<u8> {
    let columns = windows(width, x, filter);
    let mut rows = windows(height, y, filter);
    let first = rows.first().map_or(0, |w| w.start);
    let last = rows.last().map_or(0, |w| w.start + w.weights.len());
    rows.iter_mut().for_each(|w| w.start -= first);
    let pixels = &pixels[first * width * C..last * width * C];

    let mut narrow = vec![0; (last - first) * x.size * C];
    let mut output = vec![0; y.size * x.size * C];
    Arch::new().dispatch(Passes::<C> {
        pixels,
        width,
        columns: &columns,
        rows: &rows,
        narrow: &mut narrow,
        output: &mut output,
    });
    output
}

fn windows(source: usize, span: &Span, filter: Filter) -> Vec<Window> {
    let scale = span.length / span.size as f64;
    let stretch = scale.max(1.0); // of the kernel, against aliasing
    let support = filter.support() * stretch;
    let window = |i: usize| {
        let center = span.start + (i as f64 + 0.5) * scale;
        let start = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(source);
        let weight = |j: usize| filter.at((j as f64 - center + 0.5) * (1.0 / stretch));
        let weights: Vec<f64> = (start..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |w: f64| (w / sum * f64::from(1u32 << PRECISION)).round() as i32;
        Window { start, weights: weights.into_iter().map(fixed).collect() }
    };
    (0..span.size).map(window).collect()
}

/// Both passes. A closure would not do: it is not always inlined to where the CPU's features are known.
struct Passes<'a, const C: usize> {
    pixels: &'a [u8],
    width: usize,
    columns: &'a [Window],
    rows: &'a [Window],
    narrow: &'a mut [u8],
    output: &'a mut [u8],
}

impl<const C: usize> WithSimd for Passes<'_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        horizontal::<C>(self.pixels, self.width, self.columns, self.narrow);
        vertical(self.narrow, self.columns.len() * C, self.rows, self.output);
    }
}

/// Works on [`ROWS`] rows at a time, transposed: a column's samples are contiguous, and one weight applies to them all.
#[inline(always)]
fn horizontal<const C: usize>(pixels: &[u8], width: usize, columns: &[Window], output: &mut [u8]) {
    let (stride, narrow) = (width * C, columns.len() * C);
    let mut turned = vec![0; ROWS * stride];
    let mut sums = vec![0; ROWS * C];
    for (rows, out) in pixels.chunks(ROWS * stride).zip(output.chunks_mut(ROWS * narrow)) {
        let column = rows.len() / width; // bytes of a column: its rows times C
        for (r, row) in rows.chunks_exact(stride).enumerate() {
            for (x, pixel) in row.as_chunks::<C>().0.iter().enumerate() {
                turned[x * column + r * C..][..C].copy_from_slice(pixel);
            }
        }
        for (x, window) in columns.iter().enumerate() {
            let sums = &mut sums[..column];
            sum(sums, &window.weights, &turned[window.start * column..], column);
            for (r, sums) in sums.as_chunks::<C>().0.iter().enumerate() {
                out[r * narrow + x * C..][..C].copy_from_slice(&sums.map(level));
            }
        }
    }
}

#[inline(always)]
fn vertical(pixels: &[u8], stride: usize, rows: &[Window], output: &mut [u8]) {
    let mut sums = vec![0; stride];
    for (window, out) in rows.iter().zip(output.chunks_exact_mut(stride)) {
        sum(&mut sums, &window.weights, &pixels[window.start * stride..], stride);
        for (out, &sum) in out.iter_mut().zip(&sums) {
            *out = level(sum);
        }
    }
}

/// The weighted sum of lines of `length` samples.
#[inline(always)]
fn sum(sums: &mut [i32], weights: &[i32], lines: &[u8], length: usize) {
    sums.fill(HALF);
    for (&weight, line) in weights.iter().zip(lines.chunks_exact(length)) {
        for (sum, &sample) in sums.iter_mut().zip(line) {
            *sum += weight * i32::from(sample);
        }
    }
}

#[inline(always)]
fn level(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}
