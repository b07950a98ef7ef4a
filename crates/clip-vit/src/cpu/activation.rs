//! Exponential, error function and CLIP's activations, in a form that the compiler vectorises.

use crate::config::Activation;

/// Applies the activation.
#[inline(always)]
pub(super) fn activate(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::QuickGelu => {
            for x in values {
                *x /= 1.0 + exp(-1.702 * *x);
            }
        }
        Activation::Gelu => {
            for x in values {
                *x *= 0.5 * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
            }
        }
    }
}

/// The exponential, to 2e-7 of its value; 0 below -87 and 1.7e38 above 88. NaN stays NaN.
///
/// Source: Cephes `expf`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Comparisons in this order let NaN through.
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let power = rounded - ROUND;
    // The logarithm of two in two parts, the first of which is exact in few bits.
    let r = power.mul_add(-355.0 / 512.0, x);
    let r = power.mul_add(2.121_944_4e-4, r);
    let coefficients = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let p = polynomial(1.987_569_2e-4, &coefficients, r);
    let p = p.mul_add(r * r, r) + 1.0;
    p * f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()))
}

/// The error function, to 5e-7.
///
/// Source: Eigen `generic_fast_erf_float`: a rational function on [-4, 4], beyond which it is 1 in single precision.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = if x < -4.0 { -4.0 } else { x };
    let x = if x > 4.0 { 4.0 } else { x };
    let y = x * x;
    let numerator = [
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_5e-5,
        -7.349_906e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    let p = polynomial(-2.726_142_3e-10, &numerator, y);
    let denominator = [-2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    let q = polynomial(-1.456_607_2e-5, &denominator, y);
    x * p / q
}

/// Horner's rule, the highest power first.
#[inline(always)]
fn polynomial(highest: f32, others: &[f32], x: f32) -> f32 {
    others.iter().fold(highest, |p, c| p.mul_add(x, *c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_close() {
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let expected = f64::from(x).exp();
            let relative = (f64::from(exp(x)) - expected) / expected;
            assert!(relative.abs() < 2e-7, "exp({x}) is off by {relative}");
        }
        assert!(exp(-1e30) < 2e-38 && exp(f32::NEG_INFINITY) < 2e-38);
        assert!(exp(1e30) > 1e38);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn error_function_is_close() {
        // The series of the error function in double precision.
        let series = |x: f64| {
            let mut term = x;
            let mut sum = x;
            for n in 1..200 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * std::f64::consts::FRAC_2_SQRT_PI
        };
        for i in -45_000..45_000 {
            let x = i as f32 * 1e-4;
            let error = f64::from(erf(x)) - series(f64::from(x));
            assert!(error.abs() < 5e-7, "erf({x}) is off by {error}");
        }
        assert!(erf(f32::NAN).is_nan());
    }
}
