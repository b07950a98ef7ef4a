//! Loops over plain arrays, compiled for the widest registers that the machine has.

use pulp::{Arch, Simd, WithSimd};

struct Wide<F>(F);

impl<F: FnMut()> WithSimd for Wide<F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        // As FnMut: called as FnOnce, a closure goes through a function that is not inlined.
        (self.0)();
    }
}

/// Runs a closure, which must be `#[inline(always)]`, as must be what it calls in its loops.
///
/// Wider registers change no pixel: sums and products are not fused.
pub(crate) fn wide(work: impl FnMut()) {
    Arch::new().dispatch(Wide(work));
}
