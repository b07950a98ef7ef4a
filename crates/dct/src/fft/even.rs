use std::f64::consts::FRAC_1_SQRT_2;
use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::Float;
use crate::definition::{DctType, Definition};
use crate::fft::turned;
use crate::simd::Vectorize;

/// Types II and III of even length `n`: one complex FFT of length `h = n/2`.
///
/// The samples reordered as `v = x[0], x[2], ..., x[3], x[1]` have the real FFT `V` with
/// `y[k] - i y[n-k] = 2 exp(-i pi k / 2n) V[k]`, and `V` follows from the FFT `Z` of
/// `z[j] = v[2j] + i v[2j+1]`.
/// Both steps together, with `w = exp(-i pi k / 2n)` and `t = w^4`:
///
/// ```text
/// P = w (Z[k] + conj Z[h-k]),  Q = -i w t (Z[k] - conj Z[h-k])
/// y[k] - i y[n-k] = P + Q,     y[h-k] - i y[h+k] = exp(-i pi/4) conj(P - Q)
/// ```
///
/// Type III runs the same steps backwards.
/// Source: J. Makhoul, "A fast cosine transform in one and two dimensions", 1980.
pub(crate) struct Even<T> {
    half: usize,
    inverse: bool,
    /// Factor of coefficient 0.
    end: T,
    /// Factor of coefficient `h`.
    middle: T,
    /// `scale w` and `-i scale w t` for `0 < k <= h/2`.
    factors: Vec<[Complex<T>; 2]>,
    fft: Arc<dyn Fft<T>>,
}

impl<T: Float> Even<T> {
    pub(crate) fn new(definition: &Definition, planner: &mut FftPlanner<T>) -> Self {
        let (n, scale) = (definition.len, definition.scale);
        let inverse = definition.kind == DctType::III;
        let (half, end) = if inverse {
            (n / 2, scale * definition.input_weight(0))
        } else {
            (n / 2, 2.0 * definition.output_weight(0))
        };
        let factors = (1..=half / 2)
            .map(|k| [turned(scale, k, 2 * n), turned(scale, 5 * k + n, 2 * n)])
            .collect();
        let fft =
            if inverse { planner.plan_fft_inverse(half) } else { planner.plan_fft_forward(half) };
        let middle = 2.0 * FRAC_1_SQRT_2 * scale;
        Self { half, inverse, end: T::of(end), middle: T::of(middle), factors, fft }
    }

    pub(crate) fn scratch_len(&self) -> usize {
        self.half + self.fft.get_inplace_scratch_len()
    }

    pub(crate) fn process(&self, rows: &mut [T], scratch: &mut [Complex<T>]) {
        let (z, scratch) = scratch.split_at_mut(self.half);
        for row in rows.chunks_exact_mut(2 * self.half) {
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
        let half = self.z.len();
        let (fours, rest) = self.row.as_chunks::<4>();
        let (left, right) = self.z.split_at_mut(half.div_ceil(2));
        let ends = left.iter_mut().zip(right.iter_mut().rev());
        for (&[a, b, c, d], (first, last)) in fours.iter().zip(ends) {
            *first = Complex::new(a, c);
            *last = Complex::new(d, b);
        }
        if let ([a, b], Some(middle)) = (rest, left.last_mut()) {
            *middle = Complex::new(*a, *b);
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
        let half = self.z.len();
        let (fours, rest) = self.row.as_chunks_mut::<4>();
        let (left, right) = self.z.split_at(half.div_ceil(2));
        let ends = left.iter().zip(right.iter().rev());
        for (four, (first, last)) in fours.iter_mut().zip(ends) {
            *four = [first.re, last.im, first.im, last.re];
        }
        if let ([a, b], Some(middle)) = (rest, left.last()) {
            (*a, *b) = (middle.re, middle.im);
        }
    }
}

struct Untwist<'a, T> {
    plan: &'a Even<T>,
    row: &'a mut [T],
    z: &'a [Complex<T>],
}

impl<T: Float> Vectorize for Untwist<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { plan, row, z } = self;
        let h = plan.half;
        let eighth = T::of(FRAC_1_SQRT_2);
        let (low, high) = row.split_at_mut(h);
        low[0] = (z[0].re + z[0].im) * plan.end;
        high[0] = (z[0].re - z[0].im) * plan.middle;
        let pairs = h / 2;
        // y[k], y[h-k], y[h+k], y[n-k] for k = 1, 2, ...; the two middle ones meet if h is even
        for k in 1..=pairs {
            let [alpha, beta] = plan.factors[k - 1];
            let (a, b) = (z[k], z[h - k].conj());
            let (p, q) = (alpha * (a + b), beta * (a - b));
            let (sum, difference) = (p + q, p - q);
            low[k] = sum.re;
            high[h - k] = -sum.im;
            low[h - k] = (difference.re - difference.im) * eighth;
            high[k] = (difference.re + difference.im) * eighth;
        }
    }
}

struct Twist<'a, T> {
    plan: &'a Even<T>,
    row: &'a [T],
    z: &'a mut [Complex<T>],
}

impl<T: Float> Vectorize for Twist<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { plan, row, z } = self;
        let h = plan.half;
        let eighth = T::of(FRAC_1_SQRT_2);
        let (low, high) = row.split_at(h);
        let (first, middle) = (low[0] * plan.end, high[0] * plan.middle);
        z[0] = Complex::new(first + middle, first - middle);
        for k in 1..=h / 2 {
            let [alpha, beta] = plan.factors[k - 1];
            let f = Complex::new(low[k], -high[h - k]);
            let (p, q) = (low[h - k], high[k]);
            let g = Complex::new((p + q) * eighth, (q - p) * eighth);
            let (s, d) = (alpha.conj() * (f + g), beta.conj() * (f - g));
            z[k] = s + d;
            z[h - k] = (s - d).conj();
        }
    }
}
