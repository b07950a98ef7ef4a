use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::Float;
use crate::definition::Definition;
use crate::fft::turned;
use crate::simd::Vectorize;

/// Type I of length `n = h + 1`: the real FFT of the even extension, `2h` long, as one complex FFT
/// of length `h`.
///
/// ```text
/// e = x[0], ..., x[h-1], x[h], x[h-1], ..., x[1],   Z = FFT(e[2j] + i e[2j+1])
/// 2 y[k], 2 y[h-k] = Re((Z[k] + conj Z[h-k]) -+ i exp(-i pi k / h) (Z[k] - conj Z[h-k]))
/// ```
pub(crate) struct First<T> {
    /// Factor on the end samples before the sum.
    input_end: T,
    /// Factor on the end coefficients after the sum, scale included.
    output_end: T,
    /// `scale / 2` and `-i scale exp(-i pi k / h) / 2`, for `0 < k <= h/2`.
    scale: T,
    factors: Vec<Complex<T>>,
    fft: Arc<dyn Fft<T>>,
}

impl<T: Float> First<T> {
    pub(crate) fn new(definition: &Definition, planner: &mut FftPlanner<T>) -> Self {
        let (h, scale) = (definition.len - 1, definition.scale / 2.0);
        Self {
            input_end: T::of(definition.input_weight(0)),
            output_end: T::of(definition.output_weight(0)),
            scale: T::of(scale),
            factors: (1..=h / 2).map(|k| turned(scale, 2 * k + h, 2 * h)).collect(),
            fft: planner.plan_fft_forward(h),
        }
    }

    pub(crate) fn scratch_len(&self) -> usize {
        self.fft.len() + self.fft.get_inplace_scratch_len()
    }

    pub(crate) fn process(&self, rows: &mut [T], scratch: &mut [Complex<T>]) {
        let half = self.fft.len();
        let (z, scratch) = scratch.split_at_mut(half);
        for row in rows.chunks_exact_mut(half + 1) {
            row[0] *= self.input_end;
            row[half] *= self.input_end;
            for (j, z) in z.iter_mut().enumerate() {
                let at = |i: usize| if i <= half { row[i] } else { row[2 * half - i] };
                *z = Complex::new(at(2 * j), at(2 * j + 1));
            }
            self.fft.process_with_scratch(z, scratch);
            Untwist { plan: self, row, z }.dispatch();
        }
    }
}

struct Untwist<'a, T> {
    plan: &'a First<T>,
    row: &'a mut [T],
    z: &'a [Complex<T>],
}

impl<T: Float> Vectorize for Untwist<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { plan, row, z } = self;
        let h = z.len();
        row[0] = (z[0].re + z[0].im) * plan.output_end;
        row[h] = (z[0].re - z[0].im) * plan.output_end;
        for (k, factor) in (1..).zip(&plan.factors) {
            let (a, b) = (z[k], z[h - k]);
            let sum = (a.re + b.re) * plan.scale;
            let turned = (a.re - b.re) * factor.re - (a.im + b.im) * factor.im;
            row[k] = sum + turned;
            row[h - k] = sum - turned;
        }
    }
}
