use std::iter::Sum;

use ndarray::NdFloat;
use rustdct::DctNum;

/// The element types of the transforms: `f32` and `f64`.
///
/// Sealed: no other type implements it.
pub trait Float: NdFloat + DctNum + Sum + private::Sealed {
    /// Rounds a double-precision value to this type.
    fn of(value: f64) -> Self;

    /// Absolute value.
    fn magnitude(self) -> Self;
}

impl Float for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }
}

impl Float for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }
}

mod private {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}
