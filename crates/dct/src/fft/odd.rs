use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::Float;
use crate::definition::{DctType, Definition};
use crate::fft::turned;
use crate::simd::Vectorize;

/// Types II and III of odd length `n`: one complex FFT of length `n`.
///
/// As for even lengths, the samples reordered as `v = x[0], x[2], ..., x[3], x[1]` have the FFT `V`
/// with `y[k] - i y[n-k] = 2 exp(-i pi k / 2n) V[k]`; type III runs the same steps backwards.
/// Two rows could share one FFT as real and imaginary part, but then the rounding errors and NaN
/// of one would leak into the other.
/// Source: J. Makhoul, "A fast cosine transform in one and two dimensions", 1980.
pub(crate) struct Odd<T> {
    inverse: bool,
    /// Factor of coefficient 0.
    end: T,
    /// `scale exp(-i pi k / 2n)` for `0 < k < n/2`; type II: twice that.
    factors: Vec<Complex<T>>,
    fft: Arc<dyn Fft<T>>,
}

impl<T: Float> Odd<T> {
    pub(crate) fn new(definition: &Definition, planner: &mut FftPlanner<T>) -> Self {
        let (n, scale) = (definition.len, definition.scale);
        let inverse = definition.kind == DctType::III;
        let (end, factor) = if inverse {
            (scale * definition.input_weight(0), scale)
        } else {
            (2.0 * definition.output_weight(0), 2.0 * scale)
        };
        let factors = (1..=n / 2).map(|k| turned(factor, k, 2 * n)).collect();
        let fft = if inverse { planner.plan_fft_inverse(n) } else { planner.plan_fft_forward(n) };
        Self { inverse, end: T::of(end), factors, fft }
    }

    pub(crate) fn scratch_len(&self) -> usize {
        self.fft.len() + self.fft.get_inplace_scratch_len()
    }

    pub(crate) fn process(&self, rows: &mut [T], scratch: &mut [Complex<T>]) {
        let (z, scratch) = scratch.split_at_mut(self.fft.len());
        for row in rows.chunks_exact_mut(self.fft.len()) {
            if self.inverse {
                Twist { plan: self, row, z }.dispatch();
                self.fft.process_with_scratch(z, scratch);
                Unpack { row, z }.dispatch();
            } else {
                Pack { row, z }.dispatch();
                self.fft.process_with_scratch(z, scratch);
                Untwist { plan: self, row, z }.dispatch();
            }
        }
    }
}

struct Pack<'a, T> {
    row: &'a [T],
    z: &'a mut [Complex<T>],
}

impl<T: Float> Vectorize for Pack<'_, T> {
    #[inline(always)]
    fn run(self) {
        let (pairs, last) = self.row.as_chunks::<2>();
        let (left, right) = self.z.split_at_mut(pairs.len());
        for (&[a, b], (x, y)) in pairs.iter().zip(left.iter_mut().zip(right.iter_mut().rev())) {
            *x = Complex::new(a, T::zero());
            *y = Complex::new(b, T::zero());
        }
        if let ([last], [middle, ..]) = (last, right) {
            *middle = Complex::new(*last, T::zero());
        }
    }
}

struct Unpack<'a, T> {
    row: &'a mut [T],
    z: &'a [Complex<T>],
}

impl<T: Float> Vectorize for Unpack<'_, T> {
    #[inline(always)]
    fn run(self) {
        let (pairs, last) = self.row.as_chunks_mut::<2>();
        let (left, right) = self.z.split_at(pairs.len());
        for (pair, (x, y)) in pairs.iter_mut().zip(left.iter().zip(right.iter().rev())) {
            *pair = [x.re, y.re];
        }
        if let ([last], [middle, ..]) = (last, right) {
            *last = middle.re;
        }
    }
}

struct Untwist<'a, T> {
    plan: &'a Odd<T>,
    row: &'a mut [T],
    z: &'a [Complex<T>],
}

impl<T: Float> Vectorize for Untwist<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { plan, row, z } = self;
        row[0] = z[0].re * plan.end;
        let (low, high) = row[1..].split_at_mut(plan.factors.len());
        let ends = low.iter_mut().zip(high.iter_mut().rev());
        for ((z, factor), (a, b)) in z[1..].iter().zip(&plan.factors).zip(ends) {
            let y = z * factor;
            (*a, *b) = (y.re, -y.im);
        }
    }
}

struct Twist<'a, T> {
    plan: &'a Odd<T>,
    row: &'a [T],
    z: &'a mut [Complex<T>],
}

impl<T: Float> Vectorize for Twist<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { plan, row, z } = self;
        z[0] = Complex::new(row[0] * plan.end, T::zero());
        let half = plan.factors.len();
        let (low, high) = row[1..].split_at(half);
        let (left, right) = z[1..].split_at_mut(half);
        let ends = left.iter_mut().zip(right.iter_mut().rev());
        let samples = low.iter().zip(high.iter().rev()).zip(&plan.factors);
        for (((&a, &b), factor), (first, last)) in samples.zip(ends) {
            let v = factor.conj() * Complex::new(a, -b);
            (*first, *last) = (v, v.conj());
        }
    }
}
