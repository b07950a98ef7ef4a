use std::iter::Sum;

use ndarray::NdFloat;
use rustdct::DctNum;

use crate::kernels::Kernels;

/// The element types of the transforms: `f32` and `f64`.
///
/// Sealed: no other type implements it.
pub trait Float: NdFloat + DctNum + Sum + Kernels {
    /// Rounds a double-precision value to this type.
    fn of(value: f64) -> Self;
}

impl Float for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }
}

impl Float for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }
}
