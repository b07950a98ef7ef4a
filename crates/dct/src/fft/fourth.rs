use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::Float;
use crate::definition::Definition;
use crate::fft::turned;
use crate::simd::Vectorize;

/// Type IV of even length `n`: one complex FFT of length `n/2`.
///
/// ```text
/// z[j] = exp(-i pi (4j+1) / 4n) (x[2j] + i x[n-1-2j]),  Z = FFT(z)
/// y[2k] - i y[n-1-2k] = 2 exp(-i pi k / n) Z[k]
/// ```
///
/// Source: R. Gluth, "Regular FFT-related transform kernels for DCT/DST-based polyphase filter
/// banks", 1991.
pub(crate) struct Fourth<T> {
    /// Those of `z[j]`, and of `Z[k]` with the scale.
    factors: Vec<[Complex<T>; 2]>,
    fft: Arc<dyn Fft<T>>,
}

impl<T: Float> Fourth<T> {
    pub(crate) fn new(definition: &Definition, planner: &mut FftPlanner<T>) -> Self {
        let n = definition.len;
        let factors = (0..n / 2)
            .map(|j| [turned(1.0, 4 * j + 1, 4 * n), turned(2.0 * definition.scale, j, n)])
            .collect();
        Self { factors, fft: planner.plan_fft_forward(n / 2) }
    }

    pub(crate) fn scratch_len(&self) -> usize {
        self.fft.len() + self.fft.get_inplace_scratch_len()
    }

    pub(crate) fn process(&self, rows: &mut [T], scratch: &mut [Complex<T>]) {
        let (z, scratch) = scratch.split_at_mut(self.fft.len());
        for row in rows.chunks_exact_mut(2 * self.fft.len()) {
            Twist { plan: self, row, z }.dispatch();
            self.fft.process_with_scratch(z, scratch);
            Untwist { plan: self, row, z }.dispatch();
        }
    }
}

struct Twist<'a, T> {
    plan: &'a Fourth<T>,
    row: &'a [T],
    z: &'a mut [Complex<T>],
}

impl<T: Float> Vectorize for Twist<'_, T> {
    #[inline(always)]
    fn run(self) {
        let (pairs, _) = self.row.as_chunks::<2>();
        let ends = pairs.iter().zip(pairs.iter().rev());
        for ((z, [factor, _]), (first, last)) in self.z.iter_mut().zip(&self.plan.factors).zip(ends)
        {
            *z = factor * Complex::new(first[0], last[1]);
        }
    }
}

struct Untwist<'a, T> {
    plan: &'a Fourth<T>,
    row: &'a mut [T],
    z: &'a [Complex<T>],
}

impl<T: Float> Vectorize for Untwist<'_, T> {
    #[inline(always)]
    fn run(self) {
        let (pairs, _) = self.row.as_chunks_mut::<2>();
        let products = self.z.iter().zip(&self.plan.factors);
        let mirrored = products.clone().rev();
        for (pair, ((z, [_, a]), (y, [_, b]))) in pairs.iter_mut().zip(products.zip(mirrored)) {
            *pair = [z.re * a.re - z.im * a.im, -(y.re * b.im + y.im * b.re)];
        }
    }
}
