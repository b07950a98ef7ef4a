//! The loops that the `rayon` feature runs on several threads.

use ndarray::{ArrayViewMut4, Axis};

use crate::Float;

/// Calls `work(state, index, chunk)` for each chunk of `size`, with one state per thread.
pub(crate) fn each_chunk<T: Float, S>(
    samples: &mut [T],
    size: usize,
    state: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, usize, &mut [T]) + Sync + Send,
) {
    #[cfg(feature = "rayon")]
    {
        use rayon::prelude::*;
        let chunks = samples.par_chunks_exact_mut(size).enumerate();
        chunks.for_each_init(state, |state, (index, chunk)| work(state, index, chunk));
    }
    #[cfg(not(feature = "rayon"))]
    {
        let mut state = state();
        for (index, chunk) in samples.chunks_exact_mut(size).enumerate() {
            work(&mut state, index, chunk);
        }
    }
}

/// A new array whose rows `work(state, index, row)` fills, with one state per thread.
pub(crate) fn collect_rows<T: Float, S>(
    count: usize,
    length: usize,
    state: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, usize, &mut [T]) + Sync + Send,
) -> Vec<T> {
    #[cfg(feature = "rayon")]
    {
        let mut rows = vec![T::zero(); count * length];
        each_chunk(&mut rows, length, state, work);
        rows
    }
    #[cfg(not(feature = "rayon"))]
    {
        let mut state = state();
        let mut rows = Vec::with_capacity(count * length);
        for index in 0..count {
            // zeroed row by row, while it stays in the cache
            rows.resize((index + 1) * length, T::zero());
            work(&mut state, index, &mut rows[index * length..]);
        }
        rows
    }
}

/// Calls `work(first_row, band)` for bands of rows of `[planes, rows, columns, channels]`: one band
/// per thread.
pub(crate) fn each_band<T: Float>(
    mut planes: ArrayViewMut4<'_, T>,
    work: impl Fn(usize, ArrayViewMut4<'_, T>) + Sync + Send,
) {
    #[cfg(feature = "rayon")]
    {
        use rayon::prelude::*;
        let rows = planes.dim().1.div_ceil(rayon::current_num_threads()).max(1);
        let bands = planes.axis_chunks_iter_mut(Axis(1), rows).into_par_iter().enumerate();
        bands.for_each(|(index, band)| work(index * rows, band));
    }
    #[cfg(not(feature = "rayon"))]
    {
        let rows = planes.dim().1.max(1);
        for (index, band) in planes.axis_chunks_iter_mut(Axis(1), rows).enumerate() {
            work(index * rows, band);
        }
    }
}
