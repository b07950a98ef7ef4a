use ndarray::{ArrayBase, Axis, Data, Dimension, Ix2, Ix3, Ix4};

/// The shapes that block and sliding transforms take: `[H, W]`, `[H, W, C]` and `[B, H, W, C]`.
///
/// Sealed: implemented for `Ix2`, `Ix3` and `Ix4`.
pub trait ImageDim: Dimension + private::Sealed {
    /// The same array as `[B, H, W, C]`.
    #[doc(hidden)]
    fn into_batch<S: Data>(array: ArrayBase<S, Self>) -> ArrayBase<S, Ix4>;

    /// Undoes `into_batch`.
    #[doc(hidden)]
    fn from_batch<S: Data>(array: ArrayBase<S, Ix4>) -> ArrayBase<S, Self>;
}

impl ImageDim for Ix2 {
    fn into_batch<S: Data>(array: ArrayBase<S, Self>) -> ArrayBase<S, Ix4> {
        array.insert_axis(Axis(0)).insert_axis(Axis(3))
    }

    fn from_batch<S: Data>(array: ArrayBase<S, Ix4>) -> ArrayBase<S, Self> {
        array.index_axis_move(Axis(3), 0).index_axis_move(Axis(0), 0)
    }
}

impl ImageDim for Ix3 {
    fn into_batch<S: Data>(array: ArrayBase<S, Self>) -> ArrayBase<S, Ix4> {
        array.insert_axis(Axis(0))
    }

    fn from_batch<S: Data>(array: ArrayBase<S, Ix4>) -> ArrayBase<S, Self> {
        array.index_axis_move(Axis(0), 0)
    }
}

impl ImageDim for Ix4 {
    fn into_batch<S: Data>(array: ArrayBase<S, Self>) -> ArrayBase<S, Ix4> {
        array
    }

    fn from_batch<S: Data>(array: ArrayBase<S, Ix4>) -> ArrayBase<S, Self> {
        array
    }
}

mod private {
    pub trait Sealed {}
    impl Sealed for super::Ix2 {}
    impl Sealed for super::Ix3 {}
    impl Sealed for super::Ix4 {}
}
