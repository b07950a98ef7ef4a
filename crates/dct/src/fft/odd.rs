use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::Float;
use crate::definition::{DctType, Definition};
use crate::fft::{Factors, L, group, group_mut, join, mirrored, split, turned};
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
    factors: Factors<T, 1>,
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
        let factors = Factors::new(n / 2, |index| [turned(factor, index + 1, 2 * n)]);
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
        let half = plan.factors.count;
        let (low, high) = row[1..].split_at_mut(half);
        for (index, [[re, im]]) in plan.factors.whole() {
            let [x, y] = split(group(z, index + 1));
            let (mut a, mut b) = ([T::zero(); L], [T::zero(); L]);
            for l in 0..L {
                a[l] = x[l] * re[l] - y[l] * im[l];
                b[l] = -(x[l] * im[l] + y[l] * re[l]);
            }
            *group_mut(low, index) = a;
            *group_mut(high, half - index - L) = mirrored(&b);
        }
        for (index, [factor]) in plan.factors.rest() {
            let y = z[index + 1] * factor;
            (low[index], high[half - 1 - index]) = (y.re, -y.im);
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
        let half = plan.factors.count;
        let (low, high) = row[1..].split_at(half);
        let (left, right) = z[1..].split_at_mut(half);
        for (index, [[re, im]]) in plan.factors.whole() {
            let mirror = half - index - L;
            let (x, y) = (group(low, index), mirrored(group(high, mirror)));
            let (mut a, mut b) = ([T::zero(); L], [T::zero(); L]);
            for l in 0..L {
                // conj(factor) (x - i y)
                a[l] = re[l] * x[l] - im[l] * y[l];
                b[l] = -(re[l] * y[l] + im[l] * x[l]);
            }
            *group_mut(left, index) = join([a, b]);
            *group_mut(right, mirror) = mirrored(&join([a, b.map(|b| -b)]));
        }
        for (index, [factor]) in plan.factors.rest() {
            let mirror = half - 1 - index;
            let v = factor.conj() * Complex::new(low[index], -high[mirror]);
            (left[index], right[mirror]) = (v, v.conj());
        }
    }
}
