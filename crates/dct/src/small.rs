//! Lengths up to 16: the product with the whole matrix, unrolled for each length.
//!
//! A row is transformed by adding up samples times columns of the matrix, so that SIMD vectors run
//! over the coefficients of one row: no transposition, no shuffle.

use crate::Float;
use crate::definition::Definition;
use crate::simd::{Vectorize, load, store};

pub(crate) const LONGEST: usize = 16;

/// The transposed matrix, rows padded with zeros to whole vectors.
pub(crate) struct Small<T> {
    len: usize,
    table: Vec<T>,
}

impl<T: Float> Small<T> {
    pub(crate) fn new(definition: &Definition) -> Self {
        let len = definition.len;
        let padded = if len <= 2 { len } else { len.next_power_of_two() };
        let mut table = vec![T::zero(); len * padded];
        for i in 0..len {
            for k in 0..len {
                table[i * padded + k] = T::of(definition.coefficient(k, i));
            }
        }
        Self { len, table }
    }

    /// Transforms contiguous rows in place.
    pub(crate) fn process(&self, rows: &mut [T]) {
        macro_rules! unrolled {
            ($($len:literal $padded:literal),*) => {
                match self.len {
                    // One short row takes less time than detecting the processor's wider vectors would.
                    $($len if $len <= 4 && rows.len() == $len => {
                        Rows::<T, $len, $padded> { table: &self.table, rows }.run()
                    })*
                    $($len => Rows::<T, $len, $padded> { table: &self.table, rows }.dispatch(),)*
                    len => unreachable!("length {len} has no unrolled transform"),
                }
            };
        }
        unrolled!(1 1, 2 2, 3 4, 4 4, 5 8, 6 8, 7 8, 8 8, 9 16, 10 16, 11 16, 12 16, 13 16, 14 16, 15 16, 16 16);
    }
}

impl<T: Float> Small<T> {
    /// Transforms along the first axis of each contiguous `[len, inner]` array in place.
    pub(crate) fn process_lanes(&self, arrays: &mut [T], inner: usize) {
        macro_rules! unrolled {
            ($($len:literal $padded:literal),*) => {
                match self.len {
                    $($len => {
                        Lanes::<T, $len, $padded> { table: &self.table, arrays, inner }.dispatch()
                    })*
                    len => unreachable!("length {len} has no unrolled transform of lanes"),
                }
            };
        }
        unrolled!(1 1, 2 2, 3 4, 4 4, 5 8, 6 8, 7 8, 8 8);
    }

    /// Whether [`process_lanes`](Self::process_lanes) has code for the length.
    pub(crate) fn takes_lanes(&self) -> bool {
        self.len <= 8
    }
}

struct Lanes<'a, T, const N: usize, const PADDED: usize> {
    table: &'a [T],
    arrays: &'a mut [T],
    inner: usize,
}

impl<T: Float, const N: usize, const PADDED: usize> Vectorize for Lanes<'_, T, N, PADDED> {
    #[inline(always)]
    fn run(self) {
        const L: usize = 8;
        let Self { table, arrays, inner } = self;
        let (table, _) = table.as_chunks::<PADDED>();
        for array in arrays.chunks_exact_mut(N * inner) {
            let mut start = 0;
            while start < inner {
                let count = L.min(inner - start);
                let x: [[T; L]; N] =
                    std::array::from_fn(|i| load(&array[i * inner + start..][..count]));
                for k in 0..N {
                    let mut sum = [T::zero(); L];
                    for i in 0..N {
                        for l in 0..L {
                            sum[l] += table[i][k] * x[i][l];
                        }
                    }
                    store(sum, &mut array[k * inner + start..][..count]);
                }
                start += count;
            }
        }
    }
}

struct Rows<'a, T, const N: usize, const PADDED: usize> {
    table: &'a [T],
    rows: &'a mut [T],
}

impl<T: Float, const N: usize, const PADDED: usize> Vectorize for Rows<'_, T, N, PADDED> {
    #[inline(always)]
    fn run(self) {
        let (table, _) = self.table.as_chunks::<PADDED>();
        let Ok(table): Result<&[[T; PADDED]; N], _> = table.try_into() else { return };
        let (rows, _) = self.rows.as_chunks_mut::<N>();
        let (fours, rest) = rows.as_chunks_mut::<4>();
        for four in fours {
            multiply(table, four);
        }
        for row in rest {
            multiply(table, std::array::from_mut(row));
        }
    }
}

#[inline(always)]
fn multiply<T: Float, const N: usize, const PADDED: usize, const R: usize>(
    table: &[[T; PADDED]; N],
    rows: &mut [[T; N]; R],
) {
    let mut sums = [[T::zero(); PADDED]; R];
    for i in 0..N {
        for r in 0..R {
            for k in 0..PADDED {
                sums[r][k] += rows[r][i] * table[i][k];
            }
        }
    }
    for r in 0..R {
        rows[r].copy_from_slice(&sums[r][..N]);
    }
}
