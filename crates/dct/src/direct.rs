//! Lengths beyond the unrolled ones, up to where an FFT wins: the matrix, folded by its symmetry.
//!
//! Types I and II are even or odd about the middle sample, type III about the middle coefficient,
//! so that half the products suffice:
//!
//! ```text
//! I, II   y[k] = sum_{i < n/2} M[k,i] (x[i] + (-1)^k x[n-1-i])
//! III     y[i], y[n-1-i] = sum_{k even} M[i,k] x[k] +- sum_{k odd} M[i,k] x[k]
//! ```

use crate::Float;
use crate::definition::{DctType, Definition};
use crate::simd::{Vectorize, load, store};

/// Coefficients computed together.
const WIDTH: usize = 8;

pub(crate) struct Direct<T> {
    len: usize,
    symmetry: Symmetry,
    parts: Vec<Part<T>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Symmetry {
    Input,
    Output,
    Absent,
}

/// One matrix, `terms` columns by `outputs` rows, in groups of [`WIDTH`] rows:
/// `[outputs / WIDTH][terms][WIDTH]`, padded with zeros.
struct Part<T> {
    terms: usize,
    outputs: usize,
    table: Vec<[T; WIDTH]>,
}

impl<T: Float> Part<T> {
    fn new(outputs: usize, terms: usize, coefficient: impl Fn(usize, usize) -> f64) -> Self {
        let mut table = Vec::with_capacity(outputs.div_ceil(WIDTH) * terms);
        for group in 0..outputs.div_ceil(WIDTH) {
            for term in 0..terms {
                table.push(std::array::from_fn(|lane| {
                    let output = group * WIDTH + lane;
                    if output < outputs { T::of(coefficient(output, term)) } else { T::zero() }
                }));
            }
        }
        Self { terms, outputs, table }
    }

    /// Outputs rounded up to whole groups.
    fn padded(&self) -> usize {
        self.outputs.next_multiple_of(WIDTH)
    }
}

impl<T: Float> Direct<T> {
    pub(crate) fn new(definition: &Definition) -> Self {
        let len = definition.len;
        let m = |k, i| definition.coefficient(k, i);
        let (long, short) = (len.div_ceil(2), len / 2);
        let (symmetry, parts) = match definition.kind {
            DctType::I | DctType::II => (
                Symmetry::Input,
                vec![
                    Part::new(long, long, |k, i| m(2 * k, i)),
                    Part::new(short, short, |k, i| m(2 * k + 1, short - 1 - i)),
                ],
            ),
            DctType::III => (
                Symmetry::Output,
                vec![
                    Part::new(long, long, |i, k| m(i, 2 * k)),
                    Part::new(short, short, |i, k| m(i, 2 * k + 1)),
                ],
            ),
            DctType::IV => (Symmetry::Absent, vec![Part::new(len, len, m)]),
        };
        Self { len, symmetry, parts }
    }

    /// Elements of scratch that both `process` functions need.
    pub(crate) fn scratch_len(&self) -> usize {
        let outputs: usize = self.parts.iter().map(Part::padded).sum();
        (self.len + outputs) * if size_of::<T>() == 4 { 16 } else { 8 }
    }

    /// Transforms contiguous rows in place.
    pub(crate) fn process(&self, rows: &mut [T], scratch: &mut [T]) {
        if size_of::<T>() == 4 {
            Rows::<T, 16> { direct: self, rows, scratch }.dispatch();
        } else {
            Rows::<T, 8> { direct: self, rows, scratch }.dispatch();
        }
    }

    /// Transforms along the first axis of each contiguous `[len, inner]` array in place.
    pub(crate) fn process_lanes(&self, arrays: &mut [T], inner: usize, scratch: &mut [T]) {
        if size_of::<T>() == 4 {
            Lanes::<T, 16> { direct: self, arrays, inner, scratch }.dispatch();
        } else {
            Lanes::<T, 8> { direct: self, arrays, inner, scratch }.dispatch();
        }
    }
}

struct Rows<'a, T, const L: usize> {
    direct: &'a Direct<T>,
    rows: &'a mut [T],
    scratch: &'a mut [T],
}

impl<T: Float, const L: usize> Vectorize for Rows<'_, T, L> {
    #[inline(always)]
    fn run(self) {
        let Self { direct, rows, scratch } = self;
        let len = direct.len;
        let mut tiles = rows.chunks_exact_mut(L * len);
        for tile in &mut tiles {
            let (scratch, _) = scratch.as_chunks_mut::<L>();
            let (inputs, outputs) = scratch.split_at_mut(len);
            for (i, x) in inputs.iter_mut().enumerate() {
                for l in 0..L {
                    x[l] = tile[l * len + i];
                }
            }
            direct.multiply_lanes(inputs, outputs);
            direct.merge_lanes(outputs, |index, values| {
                for l in 0..L {
                    tile[l * len + index] = values[l];
                }
            });
        }
        let (inputs, outputs) = scratch.split_at_mut(len);
        for row in tiles.into_remainder().chunks_exact_mut(len) {
            direct.split_row(row, inputs);
            direct.multiply_row(inputs, outputs);
            direct.merge_row(row, outputs);
        }
    }
}

impl<T: Float> Direct<T> {
    /// The terms of the first part, then those of the second.
    #[inline(always)]
    fn split_row(&self, row: &[T], inputs: &mut [T]) {
        let (long, short) = (self.len.div_ceil(2), self.len / 2);
        let (a, b) = inputs.split_at_mut(long);
        match self.symmetry {
            Symmetry::Absent => {
                a.copy_from_slice(&row[..long]);
                b.copy_from_slice(&row[long..]);
            }
            Symmetry::Input => {
                let mirrored = row[..short].iter().zip(row[long..].iter().rev());
                for ((a, b), (&x, &y)) in a.iter_mut().zip(b.iter_mut().rev()).zip(mirrored) {
                    (*a, *b) = (x + y, x - y);
                }
                if long > short {
                    a[short] = row[short];
                }
            }
            Symmetry::Output => {
                let (pairs, last) = row.as_chunks::<2>();
                for ((a, b), &[x, y]) in a.iter_mut().zip(b).zip(pairs) {
                    (*a, *b) = (x, y);
                }
                if let [last] = last {
                    a[short] = *last;
                }
            }
        }
    }

    #[inline(always)]
    fn multiply_row(&self, mut inputs: &[T], mut outputs: &mut [T]) {
        for part in &self.parts {
            let input;
            (input, inputs) = inputs.split_at(part.terms);
            let (output, rest) = outputs.split_at_mut(part.padded());
            outputs = rest;
            let (output, _) = output.as_chunks_mut::<WIDTH>();
            for (output, table) in output.iter_mut().zip(part.table.chunks_exact(part.terms)) {
                let mut sums = [T::zero(); WIDTH];
                for (&x, factors) in input.iter().zip(table) {
                    for k in 0..WIDTH {
                        sums[k] += x * factors[k];
                    }
                }
                *output = sums;
            }
        }
    }

    #[inline(always)]
    fn merge_row(&self, row: &mut [T], outputs: &[T]) {
        let (long, short) = (self.len.div_ceil(2), self.len / 2);
        let (a, b) = outputs.split_at(self.parts[0].padded());
        match self.symmetry {
            Symmetry::Absent => row.copy_from_slice(&a[..self.len]),
            Symmetry::Input => {
                let (pairs, last) = row.as_chunks_mut::<2>();
                for (pair, (&a, &b)) in pairs.iter_mut().zip(a.iter().zip(b)) {
                    *pair = [a, b];
                }
                if let [last] = last {
                    *last = a[short];
                }
            }
            Symmetry::Output => {
                let (left, right) = row.split_at_mut(long);
                let mirrored = left.iter_mut().zip(right.iter_mut().rev());
                for ((x, y), (&a, &b)) in mirrored.zip(a.iter().zip(b)) {
                    (*x, *y) = (a + b, a - b);
                }
                if long > short {
                    left[short] = a[short];
                }
            }
        }
    }
}

struct Lanes<'a, T, const L: usize> {
    direct: &'a Direct<T>,
    arrays: &'a mut [T],
    inner: usize,
    scratch: &'a mut [T],
}

impl<T: Float, const L: usize> Vectorize for Lanes<'_, T, L> {
    #[inline(always)]
    fn run(self) {
        let Self { direct, arrays, inner, scratch } = self;
        let (scratch, _) = scratch.as_chunks_mut::<L>();
        let (inputs, outputs) = scratch.split_at_mut(direct.len);
        for array in arrays.chunks_exact_mut(direct.len * inner) {
            let mut start = 0;
            while start < inner {
                let count = L.min(inner - start);
                for (x, row) in inputs.iter_mut().zip(array.chunks_exact(inner)) {
                    *x = load(&row[start..start + count]);
                }
                direct.multiply_lanes(inputs, outputs);
                direct.merge_lanes(outputs, |index, values| {
                    store(*values, &mut array[index * inner + start..][..count]);
                });
                start += count;
            }
        }
    }
}

impl<T: Float> Direct<T> {
    #[inline(always)]
    fn multiply_lanes<const L: usize>(&self, inputs: &mut [[T; L]], mut outputs: &mut [[T; L]]) {
        let (len, long) = (self.len, self.len.div_ceil(2));
        if self.symmetry == Symmetry::Input {
            let (left, right) = inputs.split_at_mut(long);
            for (x, y) in left.iter_mut().zip(right.iter_mut().rev()) {
                for l in 0..L {
                    (x[l], y[l]) = (x[l] + y[l], x[l] - y[l]);
                }
            }
        }
        for (index, part) in self.parts.iter().enumerate() {
            // where part `index` finds its terms
            let (start, step) = match self.symmetry {
                Symmetry::Absent => (0, 1),
                Symmetry::Output => (index, 2),
                Symmetry::Input if index == 0 => (0, 1),
                Symmetry::Input => (long, 1),
            };
            let (output, rest) = outputs.split_at_mut(part.padded());
            outputs = rest;
            let (output, _) = output.as_chunks_mut::<WIDTH>();
            for (output, table) in output.iter_mut().zip(part.table.chunks_exact(part.terms)) {
                let terms = inputs[start..len.min(start + part.terms * step)].chunks(step);
                let (low, high) = output.split_at_mut(WIDTH / 2);
                for (half, output) in [low, high].into_iter().enumerate() {
                    let mut sums = [[T::zero(); L]; WIDTH / 2];
                    let mut add = |x: &[T; L], factors: &[T; WIDTH]| {
                        for k in 0..WIDTH / 2 {
                            let factor = factors[half * (WIDTH / 2) + k];
                            for l in 0..L {
                                sums[k][l] += factor * x[l];
                            }
                        }
                    };
                    terms.clone().zip(table).for_each(|(x, factors)| add(&x[0], factors));
                    output.copy_from_slice(&sums);
                }
            }
        }
    }

    #[inline(always)]
    fn merge_lanes<const L: usize>(&self, outputs: &[[T; L]], mut put: impl FnMut(usize, &[T; L])) {
        let (len, long, short) = (self.len, self.len.div_ceil(2), self.len / 2);
        let (even, odd) = outputs.split_at(self.parts[0].padded());
        match self.symmetry {
            Symmetry::Absent => even[..len].iter().enumerate().for_each(|(k, y)| put(k, y)),
            Symmetry::Input => {
                even[..long].iter().enumerate().for_each(|(k, y)| put(2 * k, y));
                odd[..short].iter().enumerate().for_each(|(k, y)| put(2 * k + 1, y));
            }
            Symmetry::Output => {
                for (i, (a, b)) in even.iter().zip(&odd[..short]).enumerate() {
                    put(i, &std::array::from_fn(|l| a[l] + b[l]));
                    put(len - 1 - i, &std::array::from_fn(|l| a[l] - b[l]));
                }
                if long > short {
                    put(short, &even[short]);
                }
            }
        }
    }
}
