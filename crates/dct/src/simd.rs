//! Loops compiled once more for AVX2, chosen when the program runs.

use pulp::{Arch, Simd, WithSimd};

use crate::Float;

/// A piece of work whose loops the compiler vectorises.
///
/// `run` and all it calls must be `#[inline(always)]`, else they keep the baseline instructions.
pub(crate) trait Vectorize: Sized {
    fn run(self);

    /// Runs with the widest vectors this processor has.
    ///
    /// No fused multiply-add is used, so results are the same on every processor.
    fn dispatch(self) {
        Arch::new().dispatch(Work(self));
    }
}

struct Work<W>(W);

impl<W: Vectorize> WithSimd for Work<W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.0.run();
    }
}

/// A vector of the first samples; zeros where there are fewer.
#[inline(always)]
pub(crate) fn load<T: Float, const L: usize>(samples: &[T]) -> [T; L] {
    match samples.first_chunk::<L>() {
        Some(whole) => *whole,
        None => {
            let mut vector = [T::zero(); L];
            vector[..samples.len()].copy_from_slice(samples);
            vector
        }
    }
}

/// Writes a vector to the first samples, or as much as they hold.
#[inline(always)]
pub(crate) fn store<T: Float, const L: usize>(vector: [T; L], samples: &mut [T]) {
    match samples.first_chunk_mut::<L>() {
        Some(whole) => *whole = vector,
        None => samples.copy_from_slice(&vector[..samples.len()]),
    }
}
