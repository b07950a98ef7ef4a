//! Lengths beyond the unrolled ones, up to where an FFT is faster: the product with the matrix, with
//! half the multiplications thanks to its symmetry.
//!
//! The rows of types I and II are even or odd about the middle sample, the columns of type III about
//! the middle coefficient:
//!
//! ```text
//! I, II   y[k] = sum_{i < n/2} M[k,i] (x[i] + (-1)^k x[n-1-i])
//! III     y[i], y[n-1-i] = sum_{k even} M[i,k] x[k] +- sum_{k odd} M[i,k] x[k]
//! ```
//!
//! Either way a row is folded into pairs, (sum, difference) or (even, odd). In types I and II even
//! coefficients need the sums and odd ones the differences: a SIMD vector that repeats one pair
//! serves a vector of consecutive coefficients, and nothing needs transposing.

use crate::Float;
use crate::definition::{DctType, Definition};
use crate::simd::{Vectorize, load, store};

/// Coefficients in a group: they are computed together.
const WIDTH: usize = 8;

/// Rows multiplied together, so that each factor is loaded once for all of them.
const ROWS: usize = 4;

/// No transform is shorter: overlapping groups need this many samples.
const SHORTEST: usize = 2 * WIDTH;

pub(crate) struct Direct<T> {
    len: usize,
    symmetry: Symmetry,
    /// Pairs that a row becomes.
    terms: usize,
    /// `[groups, terms]`; where the output is symmetric `[groups, 2, terms]`.
    table: Vec<[T; WIDTH]>,
}

#[derive(Clone, Copy, PartialEq)]
enum Symmetry {
    Input,
    Output,
    Absent,
}

impl<T: Float> Direct<T> {
    pub(crate) fn new(definition: &Definition) -> Self {
        let len = definition.len;
        assert!(len >= SHORTEST, "folded matrix: expected a length >= {SHORTEST}, got {len}");
        let symmetry = match definition.kind {
            DctType::I | DctType::II => Symmetry::Input,
            DctType::III => Symmetry::Output,
            DctType::IV => Symmetry::Absent,
        };
        let terms = if symmetry == Symmetry::Absent { len } else { len.div_ceil(2) };
        let mut direct = Self { len, symmetry, terms, table: Vec::new() };
        for group in 0..direct.groups() {
            let start = direct.start(group);
            // the factors of each term, one for each coefficient of the group
            let mut push = |factor: &dyn Fn(usize, usize) -> f64| {
                let terms = 0..terms;
                let rows =
                    terms.map(|t| std::array::from_fn(|lane| T::of(factor(t, start + lane))));
                direct.table.extend(rows);
            };
            match symmetry {
                Symmetry::Absent => push(&|t, k| definition.coefficient(k, t)),
                Symmetry::Input if start.is_multiple_of(2) => {
                    push(&|t, k| definition.coefficient(k, t))
                }
                Symmetry::Input => push(&|t, k| match (t, k % 2) {
                    (0, 1) => 0.0,
                    (t, odd) => definition.coefficient(k, t - odd),
                }),
                Symmetry::Output => {
                    push(&|t, i| definition.coefficient(i, 2 * t));
                    push(&|t, i| match 2 * t + 1 {
                        k if k < len => definition.coefficient(i, k),
                        _ => 0.0,
                    });
                }
            }
        }
        direct
    }

    /// How many coefficients the groups cover.
    fn covered(&self) -> usize {
        if self.symmetry == Symmetry::Output { self.terms } else { self.len }
    }

    fn groups(&self) -> usize {
        self.covered().div_ceil(WIDTH)
    }

    /// The first coefficient of a group; the last group overlaps the one before.
    #[inline(always)]
    fn start(&self, group: usize) -> usize {
        (group * WIDTH).min(self.covered() - WIDTH)
    }

    /// Length of a folded row: a zero, then the pairs.
    ///
    /// The zero is for the last group of an odd length, which begins with an odd coefficient: its
    /// vectors are (difference, sum) instead of (sum, difference), and start one sample earlier.
    fn pitch(&self) -> usize {
        2 * self.terms + 1
    }

    /// Elements of scratch that both `process` functions need.
    pub(crate) fn scratch_len(&self) -> usize {
        ROWS.max(WIDTH) * self.pitch()
    }

    /// Transforms contiguous rows in place.
    pub(crate) fn process(&self, rows: &mut [T], scratch: &mut [T]) {
        Rows { direct: self, rows, scratch }.dispatch();
    }

    /// Transforms along the first axis of each contiguous `[len, inner]` array in place.
    pub(crate) fn process_lanes(&self, arrays: &mut [T], inner: usize, scratch: &mut [T]) {
        if size_of::<T>() == 4 {
            Lanes::<T, 8> { direct: self, arrays, inner, scratch }.dispatch();
        } else {
            Lanes::<T, 4> { direct: self, arrays, inner, scratch }.dispatch();
        }
    }
}

struct Rows<'a, T> {
    direct: &'a Direct<T>,
    rows: &'a mut [T],
    scratch: &'a mut [T],
}

impl<T: Float> Vectorize for Rows<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { direct, rows, scratch } = self;
        let mut tiles = rows.chunks_exact_mut(ROWS * direct.len);
        for tile in &mut tiles {
            direct.tile::<ROWS>(tile, scratch);
        }
        for row in tiles.into_remainder().chunks_exact_mut(direct.len) {
            direct.tile::<1>(row, scratch);
        }
    }
}

impl<T: Float> Direct<T> {
    /// Transforms `R` rows.
    #[inline(always)]
    fn tile<const R: usize>(&self, tile: &mut [T], scratch: &mut [T]) {
        let (len, pitch) = (self.len, self.pitch());
        let folded = &mut scratch[..R * pitch];
        for (row, folded) in tile.chunks_exact(len).zip(folded.chunks_exact_mut(pitch)) {
            self.fold(row, folded);
        }
        if self.symmetry == Symmetry::Output {
            for group in 0..self.groups() {
                self.mirrored::<R>(folded, group, tile);
            }
            return;
        }
        let from_zero = self.symmetry == Symmetry::Input && len % 2 == 1;
        let groups = self.groups() - usize::from(from_zero);
        let mut group = 0;
        while group < groups {
            group += match groups - group {
                3 => self.alternating::<R, 3>((folded, 1), group, tile),
                2.. => self.alternating::<R, 2>((folded, 1), group, tile),
                _ => self.alternating::<R, 1>((folded, 1), group, tile),
            };
        }
        if from_zero {
            self.alternating::<R, 1>((folded, 0), groups, tile);
        }
    }

    /// Writes a row to `folded` as pairs.
    #[inline(always)]
    fn fold(&self, row: &[T], folded: &mut [T]) {
        let (len, half) = (self.len, self.len / 2);
        folded[0] = T::zero();
        let folded = &mut folded[1..];
        match self.symmetry {
            Symmetry::Absent => {
                let (pairs, _) = folded.as_chunks_mut::<2>();
                pairs.iter_mut().zip(row).for_each(|(pair, &x)| *pair = [x, x]);
            }
            Symmetry::Output => {
                folded[..len].copy_from_slice(row);
                if len % 2 == 1 {
                    folded[len] = T::zero();
                }
            }
            Symmetry::Input => {
                for start in (0..half).step_by(WIDTH).map(|start| start.min(half - WIDTH)) {
                    let x: &[T; WIDTH] = group(row, start);
                    let y: &[T; WIDTH] = group(row, len - start - WIDTH);
                    *group_mut::<T, { 2 * WIDTH }>(folded, 2 * start) = std::array::from_fn(|i| {
                        let (x, y) = (x[i / 2], y[WIDTH - 1 - i / 2]);
                        x + if i % 2 == 0 { y } else { -y }
                    });
                }
                if len % 2 == 1 {
                    (folded[len - 1], folded[len]) = (row[half], T::zero());
                }
            }
        }
    }

    /// The pairs of `R` folded rows, from this position of each row on.
    #[inline(always)]
    fn pairs<'a, const R: usize>(&self, (folded, from): (&'a [T], usize)) -> [&'a [[T; 2]]; R] {
        let (terms, pitch) = (self.terms, self.pitch());
        std::array::from_fn(|r| &folded[r * pitch + from..][..2 * terms].as_chunks().0[..terms])
    }

    /// `G` groups of coefficients that take the first and second of the pairs by turns.
    #[inline(always)]
    fn alternating<const R: usize, const G: usize>(
        &self,
        folded: (&[T], usize),
        first: usize,
        tile: &mut [T],
    ) -> usize {
        let (len, terms) = (self.len, self.terms);
        let pairs = self.pairs::<R>(folded);
        let starts: [_; G] = std::array::from_fn(|g| self.start(first + g));
        let tables: [_; G] = std::array::from_fn(|g| &self.table[(first + g) * terms..][..terms]);
        let mut sums = [[[T::zero(); WIDTH]; G]; R];
        for t in 0..terms {
            for r in 0..R {
                let x: [T; WIDTH] = std::array::from_fn(|k| pairs[r][t][k % 2]);
                for g in 0..G {
                    for k in 0..WIDTH {
                        sums[r][g][k] += x[k] * tables[g][t][k];
                    }
                }
            }
        }
        for r in 0..R {
            for g in 0..G {
                *group_mut(tile, r * len + starts[g]) = sums[r][g];
            }
        }
        G
    }

    /// A group of coefficients, and their mirror images.
    #[inline(always)]
    fn mirrored<const R: usize>(&self, folded: &[T], group: usize, tile: &mut [T]) {
        let (len, terms, start) = (self.len, self.terms, self.start(group));
        let pairs = self.pairs::<R>((folded, 1));
        let (even, odd) = self.table[group * 2 * terms..][..2 * terms].split_at(terms);
        let mut sums = [[[T::zero(); WIDTH]; 2]; R];
        for t in 0..terms {
            for r in 0..R {
                for k in 0..WIDTH {
                    sums[r][0][k] += pairs[r][t][0] * even[t][k];
                    sums[r][1][k] += pairs[r][t][1] * odd[t][k];
                }
            }
        }
        for (row, [even, odd]) in tile.chunks_exact_mut(len).zip(sums) {
            *group_mut::<T, WIDTH>(row, start) = std::array::from_fn(|k| even[k] + odd[k]);
            *group_mut::<T, WIDTH>(row, len - WIDTH - start) =
                std::array::from_fn(|k| even[WIDTH - 1 - k] - odd[WIDTH - 1 - k]);
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
        let folded = &mut scratch[..direct.pitch()];
        for array in arrays.chunks_exact_mut(direct.len * inner) {
            for start in (0..inner).step_by(L) {
                let count = L.min(inner - start);
                direct.fold_lanes(|i| load(&array[i * inner + start..][..count]), folded);
                direct.multiply_lanes(folded, |k, y| {
                    store(y, &mut array[k * inner + start..][..count]);
                });
            }
        }
    }
}

impl<T: Float> Direct<T> {
    /// [`fold`](Self::fold) for `L` transforms, one a lane.
    #[inline(always)]
    fn fold_lanes<const L: usize>(&self, row: impl Fn(usize) -> [T; L], folded: &mut [[T; L]]) {
        let len = self.len;
        folded[0] = [T::zero(); L];
        let (pairs, _) = folded[1..].as_chunks_mut::<2>();
        for (t, pair) in pairs.iter_mut().enumerate() {
            *pair = match self.symmetry {
                Symmetry::Absent => [row(t); 2],
                Symmetry::Output if 2 * t + 1 == len => [row(2 * t), [T::zero(); L]],
                Symmetry::Output => [row(2 * t), row(2 * t + 1)],
                Symmetry::Input if 2 * t + 1 == len => [row(t), [T::zero(); L]],
                Symmetry::Input => {
                    let (x, y) = (row(t), row(len - 1 - t));
                    [std::array::from_fn(|l| x[l] + y[l]), std::array::from_fn(|l| x[l] - y[l])]
                }
            };
        }
    }

    /// Calls `put(k, y)` for each coefficient, for some of them twice.
    #[inline(always)]
    fn multiply_lanes<const L: usize>(
        &self,
        folded: &[[T; L]],
        mut put: impl FnMut(usize, [T; L]),
    ) {
        let terms = self.terms;
        for group in 0..self.groups() {
            let start = self.start(group);
            if self.symmetry == Symmetry::Output {
                let table = &self.table[group * 2 * terms..][..2 * terms];
                for half in [0, WIDTH / 2] {
                    let mut sums = [[[T::zero(); L]; 2]; WIDTH / 2];
                    let factors = table[..terms].iter().zip(&table[terms..]);
                    for (pair, (even, odd)) in folded[1..].as_chunks::<2>().0.iter().zip(factors) {
                        for k in 0..WIDTH / 2 {
                            for l in 0..L {
                                sums[k][0][l] += pair[0][l] * even[half + k];
                                sums[k][1][l] += pair[1][l] * odd[half + k];
                            }
                        }
                    }
                    for (k, [even, odd]) in (start + half..).zip(sums) {
                        put(k, std::array::from_fn(|l| even[l] + odd[l]));
                        put(self.len - 1 - k, std::array::from_fn(|l| even[l] - odd[l]));
                    }
                }
                continue;
            }
            let from_zero = self.symmetry == Symmetry::Input && start % 2 == 1;
            let (pairs, _) = folded[usize::from(!from_zero)..].as_chunks::<2>();
            let mut sums = [[T::zero(); L]; WIDTH];
            for (pair, factors) in pairs.iter().zip(&self.table[group * terms..][..terms]) {
                for k in 0..WIDTH {
                    for l in 0..L {
                        sums[k][l] += pair[k % 2][l] * factors[k];
                    }
                }
            }
            sums.into_iter().enumerate().for_each(|(k, y)| put(start + k, y));
        }
    }
}

/// The `N` samples from `start` on.
#[inline(always)]
fn group<T, const N: usize>(samples: &[T], start: usize) -> &[T; N] {
    samples[start..].first_chunk().expect("a whole group")
}

/// The `N` samples from `start` on.
#[inline(always)]
fn group_mut<T, const N: usize>(samples: &mut [T], start: usize) -> &mut [T; N] {
    samples[start..].first_chunk_mut().expect("a whole group")
}
