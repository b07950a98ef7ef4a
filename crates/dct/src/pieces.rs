//! The loop of sliding transforms that reduce each window to one value: columns first, straight from
//! the images, then rows, piece by piece, so that intermediate values stay in the fastest caches.

use std::ops::Range;

use ndarray::{Array4, ArrayView4};

use crate::parallel::collect_rows;
use crate::{Float, Padding, Sliding};

/// Size of a piece's intermediate values in bytes, about. Only the last few columns are read again by the next piece.
const PIECE: usize = 64 << 10;

/// Pieces are split at multiples of this many channels: whole cache lines.
const CHANNELS: usize = 64;

/// From this number of channels on, windows with a stride are worked on column by column.
const WIDE: usize = 16;

/// How a window is reduced to one value, one axis after the other.
pub(crate) trait Reduce<T: Float> {
    /// Intermediate values per column of a window.
    fn planes(&self) -> usize;

    /// From columns to values, `count` of each plane: column `e` is made of the samples `first + e`
    /// of the rows.
    fn columns(&self, rows: &[&[T]], first: usize, count: usize, lines: LinesMut<'_, T>);

    /// From values to results: those of the window of result `e` are at `e + j * channels` of each
    /// plane.
    fn rows(&self, lines: Lines<'_, T>, channels: usize, out: &mut [T]);

    /// Both steps at once for a column of results, computing the last columns of their windows from the
    /// samples from `first` on.
    fn last_columns_and_rows(
        &self,
        rows: &[&[T]],
        first: usize,
        LinesMut { values, pitch }: LinesMut<'_, T>,
        channels: usize,
        out: &mut [T],
    ) {
        let last = (rows.len() - 1) * channels;
        self.columns(rows, first, out.len(), LinesMut { values: &mut values[last..], pitch });
        self.rows(Lines { values, pitch }, channels, out);
    }
}

/// Values of columns, one plane after the other.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a, T> {
    pub(crate) values: &'a [T],
    /// From one plane to the next.
    pub(crate) pitch: usize,
}

/// [`Lines`] to be written.
pub(crate) struct LinesMut<'a, T> {
    pub(crate) values: &'a mut [T],
    pub(crate) pitch: usize,
}

/// Reduces the windows of each image.
#[track_caller]
pub(crate) fn run<T: Float>(
    images: ArrayView4<'_, T>,
    sliding: &Sliding,
    reduce: &(impl Reduce<T> + Sync),
) -> Array4<T> {
    let (batch, height, width, channels) = images.dim();
    let (rows, columns) = sliding.output_size(height, width);
    let shape = (batch, rows, columns, channels);
    if batch * channels == 0 {
        return Array4::zeros(shape);
    }
    let images = images.as_standard_layout();
    let samples = images.as_slice().expect("standard layout");
    let length = width * channels;
    let zeros = vec![T::zero(); if sliding.padding == Padding::Zero { length } else { 0 }];
    let out = collect_rows(
        batch * rows,
        columns * channels,
        || Pieces::new(sliding, (width, channels), columns, reduce),
        |pieces, index, out| {
            let image = &samples[index / rows * height * length..][..height * length];
            let top = sliding.start(index % rows, sliding.stride[0]);
            pieces.rows.clear();
            pieces.rows.extend((top..).take(sliding.window).map(|row| {
                match sliding.padding.source(row, height) {
                    Some(row) => &image[row * length..][..length],
                    None => &zeros[..],
                }
            }));
            pieces.run(out);
        },
    );
    Array4::from_shape_vec(shape, out).expect("as many results")
}

/// Buffers and sizes, for one row of results after the other.
struct Pieces<'a, T, R> {
    sliding: &'a Sliding,
    reduce: &'a R,
    /// Columns and channels of the images.
    width: usize,
    channels: usize,
    /// Channels, and columns of results, in a piece.
    block: usize,
    step: usize,
    /// The rows of the windows.
    rows: Vec<&'a [T]>,
    /// `[planes, pitch]`
    line: Vec<T>,
    pitch: usize,
    /// Results of all positions, where only some are wanted.
    dense: Vec<T>,
}

impl<'a, T: Float, R: Reduce<T>> Pieces<'a, T, R> {
    fn new(
        sliding: &'a Sliding,
        (width, channels): (usize, usize),
        columns: usize,
        reduce: &'a R,
    ) -> Self {
        let (window, apart) = (sliding.window, sliding.stride[1]);
        // so many channels that a piece recomputes no more columns than it adds
        let planes = reduce.planes();
        let place = PIECE / size_of::<T>() / planes;
        let most = (place / (2 * (window - 1)).max(window) / CHANNELS).max(1) * CHANNELS;
        let block = channels.div_ceil(channels.div_ceil(most));
        let block = if block < channels { block.next_multiple_of(CHANNELS) } else { channels };
        let step = (place / block).saturating_sub(window - 1) / apart;
        let step = step.clamp(1, columns);
        let pitch = ((step - 1) * apart + window) * block;
        Self {
            sliding,
            reduce,
            width,
            channels,
            block,
            step,
            rows: Vec::with_capacity(window),
            line: vec![T::zero(); planes * pitch],
            pitch,
            dense: Vec::new(),
        }
    }

    /// Computes one row of results.
    fn run(&mut self, out: &mut [T]) {
        let columns = out.len() / self.channels;
        let apart = self.sliding.stride[1];
        for channel in (0..self.channels).step_by(self.block) {
            let channels = channel..self.channels.min(channel + self.block);
            let count = channels.len();
            let mut ready = 0;
            for start in (0..columns).step_by(self.step) {
                let some = self.step.min(columns - start);
                let padded = (some - 1) * apart + self.sliding.window;
                let left = self.sliding.start(start, apart);
                if apart == 1 && count == self.channels {
                    let out = &mut out[start * count..][..some * count];
                    self.fill(left, ready..padded, channels.clone(), Some(out));
                } else {
                    self.fill(left, ready..padded, channels.clone(), None);
                    self.pick(some, channels.clone(), &mut out[start * self.channels..]);
                }
                // columns that the next piece needs too
                let next = (some * apart).min(padded);
                ready = padded - next;
                for plane in self.line.chunks_exact_mut(self.pitch) {
                    plane.copy_within(next * count..padded * count, 0);
                }
            }
        }
    }

    /// Computes the results of some of the columns or channels.
    fn pick(&mut self, columns: usize, channels: Range<usize>, out: &mut [T]) {
        let (apart, count) = (self.sliding.stride[1], channels.len());
        if self.channels < WIDE {
            // all columns, to have whole vectors
            self.dense.resize(((columns - 1) * apart + 1) * count, T::zero());
            let lines = Lines { values: &self.line, pitch: self.pitch };
            self.reduce.rows(lines, count, &mut self.dense);
            let wanted = self.dense.chunks_exact(count).step_by(apart);
            for (to, from) in out.chunks_exact_mut(count).zip(wanted) {
                to.copy_from_slice(from);
            }
            return;
        }
        for column in 0..columns {
            let values = &self.line[column * apart * count..];
            let out = &mut out[column * self.channels + channels.start..][..count];
            self.reduce.rows(Lines { values, pitch: self.pitch }, count, out);
        }
    }

    /// Computes the values of the `missing` columns, counted from column `left` of the image on, and
    /// the results too where `out` is given.
    fn fill(
        &mut self,
        left: isize,
        missing: Range<usize>,
        channels: Range<usize>,
        mut out: Option<&mut [T]>,
    ) {
        let (first, end) = (left + missing.start as isize, left + missing.end as isize);
        // columns inside the image are done together, those outside one by one, in order
        let width = self.width as isize;
        let inside = first.clamp(0, width)..end.clamp(0, width);
        let one = |column| (column, self.sliding.padding.source(column, self.width), 1);
        let whole = (inside.start, Some(inside.start as usize), inside.len());
        let runs = (first..inside.start.min(end)).map(one).chain([whole]);
        let runs: Vec<_> = runs.chain((inside.end.max(first)..end).map(one)).collect();
        for (column, source, run) in runs {
            let start = (column - left) as usize;
            let end = start + run;
            // results begin with the last column of the first window
            let last = self.sliding.window - 1;
            let cut = if out.is_some() { last.clamp(start, end) } else { end };
            self.columns(start..cut, source, &channels);
            if let Some(out) = &mut out
                && cut < end
            {
                let out = &mut out[(cut - last) * self.channels..(end - last) * self.channels];
                self.finish(cut - last, source.map(|source| source + cut - start), out);
            }
        }
    }

    /// Computes the values of some columns from the column `source` of the image on, or from zeros.
    fn columns(&mut self, columns: Range<usize>, source: Option<usize>, channels: &Range<usize>) {
        let count = channels.len();
        // neighbouring columns with all their channels are contiguous
        let (runs, size) = match columns.len() {
            many if count == self.channels => (usize::from(many > 0), many * count),
            many => (many, count),
        };
        for run in 0..runs {
            let start = (columns.start + run) * count;
            let values = &mut self.line[start..];
            match source {
                Some(source) => {
                    let first = (source + run) * self.channels + channels.start;
                    let lines = LinesMut { values, pitch: self.pitch };
                    self.reduce.columns(&self.rows, first, size, lines);
                }
                None => zero(values, self.pitch, size),
            }
        }
    }

    /// Computes results whose windows, from column `start` on, still lack their last columns, which come
    /// from the column `source` of the image on, or are zeros.
    fn finish(&mut self, start: usize, source: Option<usize>, out: &mut [T]) {
        let (channels, pitch) = (self.channels, self.pitch);
        let values = &mut self.line[start * channels..];
        if let Some(source) = source {
            let lines = LinesMut { values, pitch };
            let first = source * channels;
            self.reduce.last_columns_and_rows(&self.rows, first, lines, channels, out);
        } else {
            let last = (self.sliding.window - 1) * channels;
            zero(&mut values[last..], pitch, out.len());
            self.reduce.rows(Lines { values, pitch }, channels, out);
        }
    }
}

/// Clears the first values of each plane.
fn zero<T: Float>(values: &mut [T], pitch: usize, count: usize) {
    values.chunks_mut(pitch).for_each(|plane| plane[..count].fill(T::zero()));
}
