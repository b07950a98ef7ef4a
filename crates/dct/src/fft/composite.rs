use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::Float;
use crate::definition::{DctType, Definition, cos_pi_ratio, sin_pi_ratio};
use crate::fft::{L, group, group_mut, join, mirrored, split, turned};
use crate::simd::Vectorize;

/// Types II and III of odd length `n = p m`: the real FFT of length `n` through complex ones of
/// length `m`, half as many as there are factors to split off, and one.
///
/// The samples reordered as `v = x[0], x[2], ..., x[3], x[1]` have the FFT `V` with
/// `y[k] - i y[n-k] = 2 exp(-i pi k / 2n) V[k]`. With `h = (p-1)/2` and `A_r` the FFT of `v[p j + r]`:
///
/// ```text
/// V[k + m s] = sum_{-h <= r <= h} exp(-2 pi i r s / p) exp(-2 pi i r k / n) A_r[k]
/// ```
///
/// `A_q` and `A_{-q}` are those of real samples, so that both follow from one FFT, and `V[k]` and
/// `V[n-k]` are conjugates, so that `k < m/2` suffices. Type III runs the same steps backwards.
/// Source: J. Makhoul, "A fast cosine transform in one and two dimensions", 1980; the splitting is
/// one step of decimation in time.
pub(crate) struct Composite<T> {
    len: usize,
    inverse: bool,
    /// `p`
    factor: usize,
    /// Where the samples `v[p j]` stand in a row, then `v[p j + 1]` and `v[p j - 1]` by turns, ...
    order: Vec<u32>,
    /// Factor of coefficient 0.
    end: T,
    /// `cos(2 pi q s / p)` and `sin(2 pi q s / p)` for `0 < q, s <= h`.
    rotations: Vec<[T; 2]>,
    /// `exp(-2 pi i q k / n)` for groups of `k` and `0 < q <= h`; type II: half of that.
    twiddles: Vec<[[T; L]; 2]>,
    /// `scale exp(-i pi (k + m s) / 2n)` for groups of `k` and `0 <= s < p`; type II: twice that.
    factors: Vec<[[T; L]; 2]>,
    /// The same for `k = 0` and `0 < s <= h`.
    first: Vec<Complex<T>>,
    /// Of length `m`.
    fft: Arc<dyn Fft<T>>,
}

/// The largest `h`.
const PAIRS: usize = 15;

impl<T: Float> Composite<T> {
    /// The factor to split off an odd length, if one is worth it: one for which FFTs are slow, or else
    /// one that leaves whole groups. Measured, see docs/results/dct.md.
    pub(crate) fn factor(len: usize) -> Option<usize> {
        let leaves =
            |factor: usize, least: usize| len.is_multiple_of(factor) && len / factor >= least;
        let slow = [13, 17, 19, 23, 29, 31].into_iter().find(|&factor| leaves(factor, L + 1));
        slow.or_else(|| [7, 5, 11, 9, 3].into_iter().find(|&factor| leaves(factor, 2 * L - 1)))
    }

    pub(crate) fn new(definition: &Definition, factor: usize, planner: &mut FftPlanner<T>) -> Self {
        let (n, p, scale) = (definition.len, factor, definition.scale);
        let (m, h) = (n / p, p / 2);
        let inverse = definition.kind == DctType::III;
        let (end, scale, half) = if inverse {
            (scale * definition.input_weight(0), scale, 1.0)
        } else {
            (2.0 * definition.output_weight(0), 2.0 * scale, 0.5)
        };
        let place = |t: usize| (if 2 * t < n { 2 * t } else { 2 * (n - t) - 1 }) as u32;
        let mut order: Vec<u32> = (0..m).map(|j| place(p * j)).collect();
        for q in 1..=h {
            order.extend((0..m).flat_map(|j| [place(p * j + q), place((p * j + n - q) % n)]));
        }
        let rotation = |q: usize, s: usize| {
            [cos_pi_ratio(2 * q * s, p), sin_pi_ratio(2 * q * s, p)].map(T::of)
        };
        let vector = |of: &dyn Fn(usize) -> Complex<T>| split(&std::array::from_fn(of));
        let twiddles = Self::starts(m)
            .flat_map(|k| (1..=h).map(move |q| vector(&|l| turned(half, 2 * q * (k + l), n))));
        let factors = Self::starts(m)
            .flat_map(|k| (0..p).map(move |s| vector(&|l| turned(scale, k + l + m * s, 2 * n))));
        Self {
            len: n,
            inverse,
            factor,
            order,
            end: T::of(end),
            rotations: (1..=h).flat_map(|q| (1..=h).map(move |s| rotation(q, s))).collect(),
            twiddles: twiddles.collect(),
            factors: factors.collect(),
            first: (1..=h).map(|s| turned(scale, m * s, 2 * n)).collect(),
            fft: if inverse { planner.plan_fft_inverse(m) } else { planner.plan_fft_forward(m) },
        }
    }

    /// The first `k` of each group; the last group overlaps the one before, or goes beyond `m/2`,
    /// where the same holds.
    #[inline(always)]
    fn starts(m: usize) -> impl Iterator<Item = usize> {
        (1..=m / 2).step_by(L).map(move |k| k.min(m - L))
    }

    pub(crate) fn scratch_len(&self) -> usize {
        (self.factor / 2 + 1) * self.fft.len() + self.fft.get_inplace_scratch_len()
    }

    pub(crate) fn process(&self, rows: &mut [T], scratch: &mut [Complex<T>]) {
        let (z, scratch) = scratch.split_at_mut((self.factor / 2 + 1) * self.fft.len());
        for row in rows.chunks_exact_mut(self.len) {
            if self.inverse {
                Spread { plan: self, row, z }.dispatch();
                self.fft.process_with_scratch(z, scratch);
                self.unpack(row, z);
            } else {
                self.pack(row, z);
                self.fft.process_with_scratch(z, scratch);
                Gather { plan: self, row, z }.dispatch();
            }
        }
    }

    fn pack(&self, row: &[T], z: &mut [Complex<T>]) {
        let (single, pairs) = self.order.split_at(self.fft.len());
        let (real, complex) = z.split_at_mut(single.len());
        for (z, &at) in real.iter_mut().zip(single) {
            *z = Complex::new(row[at as usize], T::zero());
        }
        for (z, &[re, im]) in complex.iter_mut().zip(pairs.as_chunks().0) {
            *z = Complex::new(row[re as usize], row[im as usize]);
        }
    }

    fn unpack(&self, row: &mut [T], z: &[Complex<T>]) {
        let (single, pairs) = self.order.split_at(self.fft.len());
        let (real, complex) = z.split_at(single.len());
        for (z, &at) in real.iter().zip(single) {
            row[at as usize] = z.re;
        }
        for (z, &[re, im]) in complex.iter().zip(pairs.as_chunks().0) {
            (row[re as usize], row[im as usize]) = (z.re, z.im);
        }
    }
}

/// From the FFTs to coefficients.
struct Gather<'a, T> {
    plan: &'a Composite<T>,
    row: &'a mut [T],
    z: &'a [Complex<T>],
}

impl<T: Float> Vectorize for Gather<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { plan, row, z } = self;
        let (n, m, h) = (plan.len, plan.fft.len(), plan.factor / 2);

        // k = 0, where A_q and A_{-q} are real
        let (real, pairs) = (z[0].re, || z[m..].iter().step_by(m));
        row[0] = pairs().fold(real, |sum, z| sum + (z.re + z.im)) * plan.end;
        for s in 1..=h {
            let rotations = plan.rotations[s - 1..].iter().step_by(h);
            let mut v = Complex::new(real, T::zero());
            for (z, [cos, sin]) in pairs().zip(rotations) {
                v += Complex::new(*cos * (z.re + z.im), -*sin * (z.re - z.im));
            }
            let y = v * plan.first[s - 1];
            (row[m * s], row[n - m * s]) = (y.re, -y.im);
        }

        let (mut sums, mut differences) =
            ([[[T::zero(); L]; 2]; PAIRS], [[[T::zero(); L]; 2]; PAIRS]);
        let tables = plan.twiddles.chunks_exact(h).zip(plan.factors.chunks_exact(2 * h + 1));
        for (k, (twiddles, factors)) in Composite::<T>::starts(m).zip(tables) {
            let single = split(group(z, k));
            let mut total = single;
            for (q, twiddle) in twiddles.iter().enumerate() {
                let z = &z[(q + 1) * m..][..m];
                let (a, b) = (split(group(z, k)), split(&mirrored(group(z, m - k + 1 - L))));
                let (mut plus, mut minus) = ([[T::zero(); L]; 2], [[T::zero(); L]; 2]);
                for l in 0..L {
                    // twice A_q and A_{-q}
                    plus[0][l] = a[0][l] + b[0][l];
                    plus[1][l] = a[1][l] - b[1][l];
                    minus[0][l] = a[1][l] + b[1][l];
                    minus[1][l] = b[0][l] - a[0][l];
                }
                let (plus, minus) = (times(plus, *twiddle), times(minus, conjugate(*twiddle)));
                [sums[q], differences[q]] = sum_and_difference(plus, minus);
                for l in 0..L {
                    total[0][l] += sums[q][0][l];
                    total[1][l] += sums[q][1][l];
                }
            }
            put(row, k, times(total, factors[0]));
            for s in 1..=h {
                let rotations = &plan.rotations[(s - 1) * h..][..h];
                let [even, odd] = rotate(single, rotations, &sums, &differences);
                let [mirror, direct] = quarter_turns(even, odd);
                put(row, k + m * s, times(direct, factors[s]));
                put(row, k + m * (2 * h + 1 - s), times(mirror, factors[2 * h + 1 - s]));
            }
        }
    }
}

/// From coefficients to what the inverse FFTs take.
struct Spread<'a, T> {
    plan: &'a Composite<T>,
    row: &'a [T],
    z: &'a mut [Complex<T>],
}

impl<T: Float> Vectorize for Spread<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { plan, row, z } = self;
        let (n, m, h) = (plan.len, plan.fft.len(), plan.factor / 2);

        // k = 0, where A_q and A_{-q} are real
        let real = row[0] * plan.end;
        z[0] = Complex::new(real, T::zero());
        for s in 1..=h {
            let v = plan.first[s - 1].conj() * Complex::new(row[m * s], -row[n - m * s]);
            let twice = v + v;
            z[0].re += twice.re;
            sums_first(&mut z[m..], m, s == 1, real, twice, &plan.rotations[(s - 1) * h..][..h]);
        }

        let (mut sums, mut differences) =
            ([[[T::zero(); L]; 2]; PAIRS], [[[T::zero(); L]; 2]; PAIRS]);
        let tables = plan.twiddles.chunks_exact(h).zip(plan.factors.chunks_exact(2 * h + 1));
        for (k, (twiddles, factors)) in Composite::<T>::starts(m).zip(tables) {
            let single = get(row, k, factors[0]);
            let mut total = single;
            for s in 1..=h {
                let mirror = 2 * h + 1 - s;
                let v = get(row, k + m * s, factors[s]);
                let w = get(row, k + m * mirror, factors[mirror]);
                [sums[s - 1], differences[s - 1]] = sum_and_difference(v, w);
                for l in 0..L {
                    total[0][l] += sums[s - 1][0][l];
                    total[1][l] += sums[s - 1][1][l];
                }
            }
            *group_mut(z, k) = join(total);
            *group_mut(z, m - k + 1 - L) = mirrored(&join(conjugate(total)));
            for (q, twiddle) in (1..).zip(twiddles) {
                let rotations = &plan.rotations[(q - 1) * h..][..h];
                let [even, odd] = rotate(single, rotations, &sums, &differences);
                let [plus, minus] = quarter_turns(even, odd);
                let (plus, minus) = (times(plus, conjugate(*twiddle)), times(minus, *twiddle));
                // A_q + i A_{-q}, and the conjugate of A_q - i A_{-q}
                let [direct, mirror] = quarter_turns(plus, minus);
                let z = &mut z[q * m..][..m];
                *group_mut(z, k) = join(direct);
                *group_mut(z, m - k + 1 - L) = mirrored(&join(conjugate(mirror)));
            }
        }
    }
}

/// Adds what `V[m s]`, given twice, is in `A_q[0]` and `A_{-q}[0]`.
#[inline(always)]
fn sums_first<T: Float>(
    z: &mut [Complex<T>],
    m: usize,
    start: bool,
    real: T,
    twice: Complex<T>,
    rotations: &[[T; 2]],
) {
    for (z, [cos, sin]) in z.iter_mut().step_by(m).zip(rotations) {
        if start {
            *z = Complex::new(real, real);
        }
        let (even, odd) = (*cos * twice.re, *sin * twice.im);
        *z += Complex::new(even - odd, even + odd);
    }
}

/// Writes the coefficients `k` and, mirrored, `n - k`.
#[inline(always)]
fn put<T: Float>(row: &mut [T], k: usize, y: [[T; L]; 2]) {
    let mirror = row.len() - k + 1 - L;
    *group_mut(row, k) = y[0];
    *group_mut(row, mirror) = mirrored(&conjugate(y)[1]);
}

/// What [`put`] wrote, times the conjugate of a factor.
#[inline(always)]
fn get<T: Float>(row: &[T], k: usize, factor: [[T; L]; 2]) -> [[T; L]; 2] {
    let y: [T; L] = mirrored(group(row, row.len() - k + 1 - L));
    times(conjugate([*group(row, k), y]), conjugate(factor))
}

#[inline(always)]
fn times<T: Float>(a: [[T; L]; 2], b: [[T; L]; 2]) -> [[T; L]; 2] {
    let mut y = a;
    for l in 0..L {
        y[0][l] = a[0][l] * b[0][l] - a[1][l] * b[1][l];
        y[1][l] = a[0][l] * b[1][l] + a[1][l] * b[0][l];
    }
    y
}

#[inline(always)]
fn conjugate<T: Float>(mut a: [[T; L]; 2]) -> [[T; L]; 2] {
    for l in 0..L {
        a[1][l] = -a[1][l];
    }
    a
}

/// `a + b` and `a - b`
#[inline(always)]
fn sum_and_difference<T: Float>(a: [[T; L]; 2], b: [[T; L]; 2]) -> [[[T; L]; 2]; 2] {
    let (mut sum, mut difference) = (a, a);
    for l in 0..L {
        sum[0][l] += b[0][l];
        sum[1][l] += b[1][l];
        difference[0][l] -= b[0][l];
        difference[1][l] -= b[1][l];
    }
    [sum, difference]
}

/// `a + i b` and `a - i b`
#[inline(always)]
fn quarter_turns<T: Float>(a: [[T; L]; 2], b: [[T; L]; 2]) -> [[[T; L]; 2]; 2] {
    let (mut plus, mut minus) = (a, a);
    for l in 0..L {
        plus[0][l] -= b[1][l];
        plus[1][l] += b[0][l];
        minus[0][l] += b[1][l];
        minus[1][l] -= b[0][l];
    }
    [plus, minus]
}

/// `sum_q cos(2 pi q s / p) sums[q] + single` and `sum_q sin(2 pi q s / p) differences[q]`
#[inline(always)]
fn rotate<T: Float>(
    single: [[T; L]; 2],
    rotations: &[[T; 2]],
    sums: &[[[T; L]; 2]; PAIRS],
    differences: &[[[T; L]; 2]; PAIRS],
) -> [[[T; L]; 2]; 2] {
    let (mut even, mut odd) = (single, [[T::zero(); L]; 2]);
    for ((&[cos, sin], sum), difference) in rotations.iter().zip(sums).zip(differences) {
        for l in 0..L {
            even[0][l] += cos * sum[0][l];
            even[1][l] += cos * sum[1][l];
            odd[0][l] += sin * difference[0][l];
            odd[1][l] += sin * difference[1][l];
        }
    }
    [even, odd]
}
