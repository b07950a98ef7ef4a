//! Long transforms through a complex FFT, one file an algorithm.

mod even;
mod first;
mod fourth;
mod odd;

use rustfft::num_complex::Complex;

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
