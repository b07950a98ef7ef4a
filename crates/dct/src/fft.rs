//! Long transforms through a complex FFT, one file an algorithm.

mod composite;
mod delegated;
mod even;
mod first;
mod fourth;
mod odd;

use rustfft::num_complex::Complex;

pub(crate) use composite::Composite;
pub(crate) use delegated::Delegated;
pub(crate) use even::Even;
pub(crate) use first::First;
pub(crate) use fourth::Fourth;
pub(crate) use odd::Odd;

use crate::Float;
use crate::definition::{cos_pi_ratio, sin_pi_ratio};

/// `factor * exp(-i pi numerator / denominator)`.
fn turned<T: Float>(factor: f64, numerator: usize, denominator: usize) -> Complex<T> {
    let (cos, sin) = (cos_pi_ratio(numerator, denominator), sin_pi_ratio(numerator, denominator));
    Complex::new(T::of(factor * cos), T::of(-factor * sin))
}

/// Frequencies multiplied by their twiddle factors together.
const L: usize = 8;

/// Complex factors in groups of [`L`], `N` factors a frequency: `[re, im]` of each.
/// The last group is filled up with zeros.
struct Factors<T, const N: usize> {
    count: usize,
    groups: Vec<[[[T; L]; 2]; N]>,
}

impl<T: Float, const N: usize> Factors<T, N> {
    fn new(count: usize, factor: impl Fn(usize) -> [Complex<T>; N]) -> Self {
        let mut groups = vec![[[[T::zero(); L]; 2]; N]; count.div_ceil(L)];
        for index in 0..count {
            let group = &mut groups[index / L];
            for (to, from) in group.iter_mut().zip(factor(index)) {
                to[0][index % L] = from.re;
                to[1][index % L] = from.im;
            }
        }
        Self { count, groups }
    }

    /// The full groups, each with the index of its first factors.
    #[inline(always)]
    fn whole(&self) -> impl Iterator<Item = (usize, &[[[T; L]; 2]; N])> {
        (0..).step_by(L).zip(&self.groups[..self.count / L])
    }

    /// The factors after the last full group, each with its index.
    #[inline(always)]
    fn rest(&self) -> impl Iterator<Item = (usize, [Complex<T>; N])> {
        (self.count / L * L..self.count).map(|index| {
            let group = &self.groups[index / L];
            (index, group.map(|[re, im]| Complex::new(re[index % L], im[index % L])))
        })
    }
}

/// `[re, im]` of `L` numbers.
#[inline(always)]
fn split<T: Float>(z: &[Complex<T>; L]) -> [[T; L]; 2] {
    [std::array::from_fn(|l| z[l].re), std::array::from_fn(|l| z[l].im)]
}

/// The inverse of [`split`].
#[inline(always)]
fn join<T: Float>([re, im]: [[T; L]; 2]) -> [Complex<T>; L] {
    std::array::from_fn(|l| Complex::new(re[l], im[l]))
}

/// The same in the opposite order.
#[inline(always)]
fn mirrored<V: Copy>(vector: &[V; L]) -> [V; L] {
    std::array::from_fn(|l| vector[L - 1 - l])
}

/// The `L` elements from `start` on.
#[inline(always)]
fn group<V>(values: &[V], start: usize) -> &[V; L] {
    values[start..].first_chunk().expect("a whole group")
}

/// The `L` elements from `start` on.
#[inline(always)]
fn group_mut<V>(values: &mut [V], start: usize) -> &mut [V; L] {
    values[start..].first_chunk_mut().expect("a whole group")
}
