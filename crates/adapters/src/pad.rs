//! Tokens by their places, inside a grid and beyond its border.

use burn::tensor::{Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// What lies beyond the border of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The border token again.
    Replicate,
    /// The grid mirrored at its border tokens, which are not repeated.
    Reflect,
    /// Zeros.
    Zero,
}

impl Padding {
    /// The position inside a row of `len` tokens whose token stands at `position`; `None` for zeros.
    pub(crate) fn source(self, position: isize, len: usize) -> Option<usize> {
        let padding = match self {
            Self::Replicate => dct::Padding::Replicate,
            Self::Reflect => dct::Padding::Reflect,
            Self::Zero => dct::Padding::Zero,
        };
        padding.source(position, len)
    }
}

/// Tokens in another order, at several places or at none, with zeros where a place is `None`.
///
/// # Shapes
/// - tokens: `[batch, tokens, channels]`
/// - output: `[batch, places, channels]`
pub(crate) fn gather(tokens: Tensor<3>, places: &[Option<usize>]) -> Tensor<3> {
    let device = tokens.device();
    let [b, n, d] = tokens.dims();
    let mut rows = tokens.reshape([b * n, d]);
    if places.contains(&None) {
        let zeros = rows.clone().narrow(0, 0, 1).zeros_like();
        rows = Tensor::cat(vec![rows, zeros], 0);
    }
    let row = |image: usize, place: &Option<usize>| place.map_or(b * n, |at| image * n + at) as i64;
    let indices: Vec<i64> =
        (0..b).flat_map(|image| places.iter().map(move |place| row(image, place))).collect();
    let indices = TensorData::new(indices, [b * places.len()]);
    rows.select(0, Tensor::<1, Int>::from_data(indices, &device)).reshape([b, places.len(), d])
}

/// [`gather`] of a grid `[batch, height, width, channels]`; the places are rows and columns, which may lie
/// beyond the grid.
pub(crate) fn gather_grid(
    tokens: Tensor<4>,
    padding: Padding,
    places: impl Iterator<Item = (isize, isize)>,
) -> Tensor<3> {
    let [b, h, w, d] = tokens.dims();
    let places: Vec<Option<usize>> =
        places.map(|(y, x)| Some(padding.source(y, h)? * w + padding.source(x, w)?)).collect();
    gather(tokens.reshape([b, h * w, d]), &places)
}

/// Surrounds the grid.
///
/// # Shapes
/// - tokens: `[batch, height, width, channels]`
/// - output: `[batch, top + height + bottom, left + width + right, channels]`
pub(crate) fn pad(
    tokens: Tensor<4>,
    (top, bottom): (usize, usize),
    (left, right): (usize, usize),
    padding: Padding,
) -> Tensor<4> {
    let [b, h, w, d] = tokens.dims();
    let (height, width) = (top + h + bottom, left + w + right);
    let places = (0..height).flat_map(|y| {
        (0..width).map(move |x| (y as isize - top as isize, x as isize - left as isize))
    });
    gather_grid(tokens, padding, places).reshape([b, height, width, d])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn each_padding_of_a_row_is_the_known_one() {
        let device = Device::flex();
        let row = TensorData::new(vec![1f32, 2.0, 3.0], [3]);
        let row = Tensor::<1>::from_data(row, &device).reshape([1, 1, 3, 1]);
        for (padding, expected) in [
            (Padding::Replicate, [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]),
            (Padding::Reflect, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]),
            (Padding::Zero, [0.0, 0.0, 1.0, 2.0, 3.0, 0.0]),
        ] {
            let padded = pad(row.clone(), (0, 0), (2, 1), padding);
            let padded: Vec<f32> = padded.into_data().try_to_vec().expect("float32");
            assert_eq!(padded, expected, "{padding:?}");
        }
        // Farther than the grid is wide: there and back again.
        let far = pad(row, (1, 0), (0, 5), Padding::Reflect);
        assert_eq!(far.dims(), [1, 2, 8, 1]);
        let far: Vec<f32> = far.into_data().try_to_vec().expect("float32");
        assert_eq!(far[..8], [1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    }
}
