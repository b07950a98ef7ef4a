//! GELU.

use burn::tensor::{DType, Device, Tensor, activation};

/// GELU, `x (1 + erf(x / sqrt(2))) / 2`.
///
/// On the CPU backend, without differentiation, in a loop that the compiler vectorises: Burn's calls the error function
/// of the C library's kind for every number, which was a twelfth of all that scoring an image with a small model took.
pub(crate) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let device = x.device();
    if device.is_autodiff() || device != Device::flex() || x.dtype() != DType::F32 {
        return activation::gelu(x);
    }
    let mut data = x.into_data();
    for x in data.as_mut_slice::<f32>().expect("the tensor holds f32") {
        *x *= 0.5 * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
    }
    Tensor::from_data(data, &device)
}

/// The error function, to 5e-7. NaN stays NaN.
///
/// Source: Eigen `generic_fast_erf_float`: a rational function on [-4, 4], beyond which it is 1 in single precision.
#[inline]
fn erf(x: f32) -> f32 {
    let x = if x < -4.0 { -4.0 } else { x };
    let x = if x > 4.0 { 4.0 } else { x };
    let y = x * x;
    let polynomial = |coefficients: &[f32]| coefficients.iter().fold(0.0, |p, c| p * y + c);
    let numerator = polynomial(&[
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_5e-5,
        -7.349_906e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ]);
    let denominator = polynomial(&[
        -1.456_607_2e-5,
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329e-3,
        -1.426_473_9e-2,
    ]);
    x * numerator / denominator
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    #[test]
    fn numbers_are_those_of_the_error_function_of_burn() {
        let device = Device::flex();
        let values: Vec<f32> = (-6000..=6000).map(|i| i as f32 * 1e-3).collect();
        let x = Tensor::<1>::from_data(TensorData::from(values.as_slice()), &device);
        let floats = |x: Tensor<1>| x.into_data().try_to_vec::<f32>().unwrap();
        let (expected, found) = (floats(activation::gelu(x.clone())), floats(gelu(x)));
        for ((x, found), expected) in values.iter().zip(&found).zip(&expected) {
            assert!((found - expected).abs() < 2e-6, "gelu({x}): {found}, {expected}");
        }
        let ends = floats(gelu(Tensor::from_floats([f32::NAN, 1e30, -1e30], &device)));
        assert!(ends[0].is_nan());
        // The error function is 1 to the last bit.
        assert!((ends[1] - 1e30).abs() < 1e23 && ends[2].abs() < 1e23, "{ends:?}");
    }
}
