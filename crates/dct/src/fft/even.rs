use std::f64::consts::FRAC_1_SQRT_2;
use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::Float;
use crate::definition::{DctType, Definition};
use crate::fft::{Factors, L, group, group_mut, join, mirrored, split, turned};
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
    factors: Factors<T, 2>,
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
        let factors = Factors::new(half / 2, |index| {
            let k = index + 1;
            [turned(scale, k, 2 * n), turned(scale, 5 * k + n, 2 * n)]
        });
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
        let (low, high) = row.split_at_mut(h);
        low[0] = (z[0].re + z[0].im) * plan.end;
        high[0] = (z[0].re - z[0].im) * plan.middle;
        // y[k], y[h-k], y[h+k], y[n-k] for k = 1, 2, ...; the two middle ones meet if h is even
        for (index, [alpha, beta]) in plan.factors.whole() {
            let (k, mirror) = (index + 1, h - index - L);
            let ([ar, ai], [br, bi]) = (split(group(z, k)), split(&mirrored(group(z, mirror))));
            let mut y = [[T::zero(); L]; 4];
            for l in 0..L {
                let [alpha, beta] = [alpha, beta].map(|[re, im]| Complex::new(re[l], im[l]));
                let (a, b) = (Complex::new(ar[l], ai[l]), Complex::new(br[l], bi[l]));
                let quad = untwist(a, b, alpha, beta);
                for (y, value) in y.iter_mut().zip(quad) {
                    y[l] = value;
                }
            }
            *group_mut(low, k) = y[0];
            *group_mut(high, mirror) = mirrored(&y[1]);
            *group_mut(low, mirror) = mirrored(&y[2]);
            *group_mut(high, k) = y[3];
        }
        for (index, [alpha, beta]) in plan.factors.rest() {
            let k = index + 1;
            let y = untwist(z[k], z[h - k], alpha, beta);
            (low[k], high[h - k], low[h - k], high[k]) = (y[0], y[1], y[2], y[3]);
        }
    }
}

/// `y[k], y[n-k], y[h-k], y[h+k]` from `Z[k]` and `Z[h-k]`.
#[inline(always)]
fn untwist<T: Float>(a: Complex<T>, b: Complex<T>, alpha: Complex<T>, beta: Complex<T>) -> [T; 4] {
    let eighth = T::of(FRAC_1_SQRT_2);
    let (p, q) = (alpha * (a + b.conj()), beta * (a - b.conj()));
    let (sum, difference) = (p + q, p - q);
    [
        sum.re,
        -sum.im,
        (difference.re - difference.im) * eighth,
        (difference.re + difference.im) * eighth,
    ]
}

/// `Z[k]` and `Z[h-k]` from `y[k], y[n-k], y[h-k], y[h+k]`.
#[inline(always)]
fn twist<T: Float>(y: [T; 4], alpha: Complex<T>, beta: Complex<T>) -> [Complex<T>; 2] {
    let eighth = T::of(FRAC_1_SQRT_2);
    let f = Complex::new(y[0], -y[1]);
    let g = Complex::new((y[2] + y[3]) * eighth, (y[3] - y[2]) * eighth);
    let (sum, difference) = (alpha.conj() * (f + g), beta.conj() * (f - g));
    [sum + difference, (sum - difference).conj()]
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
        let (low, high) = row.split_at(h);
        let (first, middle) = (low[0] * plan.end, high[0] * plan.middle);
        z[0] = Complex::new(first + middle, first - middle);
        for (index, [alpha, beta]) in plan.factors.whole() {
            let (k, mirror) = (index + 1, h - index - L);
            let (first, fourth) = (group(low, k), group(high, k));
            let (second, third) = (mirrored(group(high, mirror)), mirrored(group(low, mirror)));
            let (mut a, mut b) = ([[T::zero(); L]; 2], [[T::zero(); L]; 2]);
            for l in 0..L {
                let [alpha, beta] = [alpha, beta].map(|[re, im]| Complex::new(re[l], im[l]));
                let y = [first[l], second[l], third[l], fourth[l]];
                let [x, y] = twist(y, alpha, beta);
                (a[0][l], a[1][l]) = (x.re, x.im);
                (b[0][l], b[1][l]) = (y.re, y.im);
            }
            *group_mut(z, k) = join(a);
            *group_mut(z, mirror) = mirrored(&join(b));
        }
        for (index, [alpha, beta]) in plan.factors.rest() {
            let k = index + 1;
            [z[k], z[h - k]] = twist([low[k], high[h - k], low[h - k], high[k]], alpha, beta);
        }
    }
}
