//! Padding of token grids.

use burn::tensor::Tensor;
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

/// Surrounds the grid.
///
/// # Shapes
/// - tokens: `[batch, height, width, channels]`
/// - output: `[batch, top + height + bottom, left + width + right, channels]`
pub(crate) fn pad(
    tokens: Tensor<4>,
    rows: (usize, usize),
    columns: (usize, usize),
    padding: Padding,
) -> Tensor<4> {
    pad_axis(pad_axis(tokens, 1, rows, padding), 2, columns, padding)
}

fn pad_axis(
    x: Tensor<4>,
    axis: usize,
    (before, after): (usize, usize),
    padding: Padding,
) -> Tensor<4> {
    if before + after == 0 {
        return x;
    }
    let n = x.dims()[axis];
    let beyond = |at: isize| match source(at, n as isize, padding) {
        Some(at) => x.clone().narrow(axis, at, 1),
        None => x.clone().narrow(axis, 0, 1).zeros_like(),
    };
    let mut parts: Vec<Tensor<4>> =
        (0..before).map(|i| beyond(i as isize - before as isize)).collect();
    parts.push(x.clone());
    parts.extend((0..after).map(|i| beyond((n + i) as isize)));
    Tensor::cat(parts, axis)
}

/// The place inside the grid that a place beyond it repeats.
fn source(at: isize, n: isize, padding: Padding) -> Option<usize> {
    match padding {
        Padding::Zero => None,
        Padding::Reflect if n > 1 => {
            let at = at.rem_euclid(2 * (n - 1));
            Some(at.min(2 * (n - 1) - at) as usize)
        }
        Padding::Reflect | Padding::Replicate => Some(at.clamp(0, n - 1) as usize),
    }
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
