//! Antialiased resampling of 8-bit images, bit for bit as Pillow's.
//!
//! Weights are rounded to 22 fractional bits, the horizontal pass comes first and its result is rounded and clipped to
//! 8 bits. Resizing crates with SIMD round weights to 16 bits and choose their own order of passes, which moves some
//! pixels of real photographs by 2 levels, and by 24 where the clipping of the overshoot depends on the order.
//!
//! Source: Pillow 12, src/libImaging/Resample.c. (Pillow 13 takes the vertical pass first when the height alone
//! shrinks; CLIP and the work built on it were made with the older order.)

use pulp::Arch;

/// Fractional bits of a weight: 32 less 8 of the sample and 2 of head-room for negative lobes.
const PRECISION: u32 = 32 - 8 - 2;
const HALF: i32 = 1 << (PRECISION - 1);
/// Bytes of a row that the vertical pass sums at a time.
const BLOCK: usize = 32;

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

/// The source pixels that make one target pixel.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// Resamples an interleaved image of `C` channels; `LANES` is `C` or `C` rounded up to a power of two.
pub(crate) fn resample<const C: usize, const LANES: usize>(
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
    Arch::new().dispatch(|| {
        horizontal::<C, LANES>(pixels, width, &columns, &mut narrow);
        vertical(&narrow, x.size * C, &rows, &mut output);
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

#[inline(always)]
fn horizontal<const C: usize, const LANES: usize>(
    pixels: &[u8],
    width: usize,
    columns: &[Window],
    output: &mut [u8],
) {
    let mut wide = vec![[0i32; LANES]; width]; // a row with channels padded to whole lanes
    for (row, out) in pixels.chunks_exact(width * C).zip(output.chunks_exact_mut(columns.len() * C))
    {
        for (lanes, pixel) in wide.iter_mut().zip(row.as_chunks::<C>().0) {
            for c in 0..C {
                lanes[c] = i32::from(pixel[c]);
            }
        }
        for (window, out) in columns.iter().zip(out.as_chunks_mut::<C>().0) {
            let mut sum = [HALF; LANES];
            for (&weight, lanes) in window.weights.iter().zip(&wide[window.start..]) {
                for c in 0..LANES {
                    sum[c] += weight * lanes[c];
                }
            }
            for c in 0..C {
                out[c] = level(sum[c]);
            }
        }
    }
}

#[inline(always)]
fn vertical(pixels: &[u8], stride: usize, rows: &[Window], output: &mut [u8]) {
    for (window, out) in rows.iter().zip(output.chunks_exact_mut(stride)) {
        let source = &pixels[window.start * stride..];
        let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
        for (b, block) in blocks.iter_mut().enumerate() {
            let mut sum = [HALF; BLOCK];
            for (&weight, row) in window.weights.iter().zip(source.chunks_exact(stride)) {
                let samples = &row.as_chunks::<BLOCK>().0[b];
                for i in 0..BLOCK {
                    sum[i] += weight * i32::from(samples[i]);
                }
            }
            *block = sum.map(level);
        }
        let done = stride - rest.len();
        for (i, out) in rest.iter_mut().enumerate() {
            let taps = window.weights.iter().zip(source.chunks_exact(stride));
            let sum = taps.fold(HALF, |sum, (w, row)| sum + w * i32::from(row[done + i]));
            *out = level(sum);
        }
    }
}

#[inline(always)]
fn level(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}
