//! The loop that sliding transforms of all coefficients share: each row is transformed once, and a
//! ring buffer keeps the last `window` of them.

use ndarray::{ArrayView3, ArrayViewMut3, ArrayViewMut4, s};

use crate::padding::fill_row;
use crate::{Float, Sliding};

/// Samples in a vector. Lines are whole numbers of vectors.
pub(crate) const L: usize = 16;

/// Size of the working set in bytes, about: half a second-level cache, so that rows seldom have to be
/// split by channels.
const MEMORY: usize = 1 << 19;

/// Lines are split at multiples of this many channels: whole cache lines.
const CHANNELS: usize = 64;

/// The transform of a line, that is, of one row for some of the channels, columns outermost.
///
/// Position `e` of a transformed line belongs to the window that starts at position `e` of the
/// padded row; column `j` of that window is at `e + j * channels`.
pub(crate) trait Steps<T> {
    /// Lines that one padded row becomes.
    fn planes_in(&self) -> usize;

    /// Lines that `vertical` writes; the first ones are the result.
    fn planes_out(&self) -> usize;

    /// From one padded row to `[planes_in, line]`.
    fn horizontal(&self, row: &mut [T], channels: usize, lines: &mut [T]);

    /// From `window` rows of such lines to `[planes_out, line]`.
    fn vertical(&self, ring: Ring<'_, T>, lines: &mut [T]);
}

/// The horizontally transformed rows of a window.
#[derive(Clone, Copy)]
pub(crate) struct Ring<'a, T> {
    samples: &'a [T],
    /// Where each row starts, top first.
    starts: &'a [usize],
    line: usize,
}

impl<T: Float> Ring<'_, T> {
    #[inline(always)]
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    #[inline(always)]
    pub(crate) fn load(&self, row: usize, plane: usize, position: usize) -> [T; L] {
        let start = self.starts[row] + plane * self.line + position;
        crate::simd::load(&self.samples[start..start + L])
    }
}

/// Runs the steps over `out`, `[planes, rows, columns, channels]`, whose first row is row `first` of
/// the whole result.
pub(crate) fn run<T: Float>(
    image: ArrayView3<'_, T>,
    sliding: &Sliding,
    first: usize,
    mut out: ArrayViewMut4<'_, T>,
    steps: &impl Steps<T>,
) {
    let (_, _, columns, channels) = out.dim();
    let lines = sliding.window * steps.planes_in() + steps.planes_out() + 1;
    let step = MEMORY / size_of::<T>() / lines / columns;
    let step = (step / CHANNELS).max(1) * CHANNELS;
    for start in (0..channels).step_by(step) {
        let end = channels.min(start + step);
        let image = image.slice(s![.., .., start..end]);
        let out = out.slice_mut(s![.., .., .., start..end]);
        Tile::new(image, sliding, columns, steps).run(first, out, steps);
    }
}

/// Some of the channels, and the buffers to work on them.
struct Tile<'a, T> {
    image: ArrayView3<'a, T>,
    sliding: &'a Sliding,
    /// Columns of the result.
    columns: usize,
    /// Samples from one line to the next.
    line: usize,
    /// One padded row, with room for a vector to read past its end.
    row: Vec<T>,
    /// `[window, planes_in, line]`
    ring: Vec<T>,
    starts: Vec<usize>,
    /// `[planes_out, line]`
    lines: Vec<T>,
}

impl<'a, T: Float> Tile<'a, T> {
    fn new(
        image: ArrayView3<'a, T>,
        sliding: &'a Sliding,
        columns: usize,
        steps: &impl Steps<T>,
    ) -> Self {
        let (window, channels) = (sliding.window, image.dim().2);
        let dense = ((columns - 1) * sliding.stride[1] + 1) * channels;
        let line = dense.next_multiple_of(L);
        Self {
            image,
            sliding,
            columns,
            line,
            row: vec![T::zero(); line + (window - 1) * channels],
            ring: vec![T::zero(); window * steps.planes_in() * line],
            starts: vec![0; window],
            lines: vec![T::zero(); steps.planes_out() * line],
        }
    }

    fn run(&mut self, first: usize, mut out: ArrayViewMut4<'_, T>, steps: &impl Steps<T>) {
        let window = self.sliding.window as isize;
        let mut next = isize::MIN;
        for output in 0..out.dim().1 {
            let top = self.sliding.start(first + output, self.sliding.stride[0]);
            for input in next.max(top)..top + window {
                self.take_row(input, steps);
            }
            next = top + window;
            let slot = self.ring.len() / self.sliding.window;
            for (input, start) in (top..).zip(&mut self.starts) {
                *start = input.rem_euclid(window) as usize * slot;
            }
            let ring = Ring { samples: &self.ring, starts: &self.starts, line: self.line };
            let mut row = out.slice_mut(s![.., output, .., ..]);
            match row.as_slice_mut() {
                Some(row) if row.len() == self.lines.len() => steps.vertical(ring, row),
                _ => {
                    steps.vertical(ring, &mut self.lines);
                    self.put_row(row);
                }
            }
        }
    }

    /// Brings row `input` of the image into the ring.
    fn take_row(&mut self, input: isize, steps: &impl Steps<T>) {
        let Sliding { window, stride: [_, stride], padding } = *self.sliding;
        let channels = self.image.dim().2;
        let padded = ((self.columns - 1) * stride + window) * channels;
        let left = self.sliding.start(0, stride);
        fill_row(&mut self.row[..padded], self.image, (input, left), padding);
        let slot = self.ring.len() / window;
        let slot_start = input.rem_euclid(window as isize) as usize * slot;
        let lines = &mut self.ring[slot_start..slot_start + slot];
        steps.horizontal(&mut self.row, channels, lines);
        if stride > 1 {
            for line in lines.chunks_exact_mut(self.line) {
                for column in 1..self.columns {
                    let from = column * stride * channels;
                    line.copy_within(from..from + channels, column * channels);
                }
            }
        }
    }

    /// Copies the lines to a row of each plane, `[planes, columns, channels]`.
    fn put_row(&self, mut planes: ArrayViewMut3<'_, T>) {
        for (line, mut row) in self.lines.chunks_exact(self.line).zip(planes.outer_iter_mut()) {
            if let Some(row) = row.as_slice_mut() {
                row.copy_from_slice(&line[..row.len()]);
                continue;
            }
            let columns = line.chunks_exact(self.image.dim().2);
            for (mut out, column) in row.outer_iter_mut().zip(columns) {
                match out.as_slice_mut() {
                    Some(out) => out.copy_from_slice(column),
                    None => out.iter_mut().zip(column).for_each(|(to, from)| *to = *from),
                }
            }
        }
    }
}
