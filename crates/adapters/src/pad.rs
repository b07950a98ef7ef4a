//! Padding of token grids.

use burn::tensor::Tensor;

/// Repeats the border tokens.
///
/// # Shapes
/// - tokens: `[batch, height, width, channels]`
/// - output: `[batch, top + height + bottom, left + width + right, channels]`
pub(crate) fn replicate(
    tokens: Tensor<4>,
    (top, bottom): (usize, usize),
    (left, right): (usize, usize),
) -> Tensor<4> {
    replicate_axis(replicate_axis(tokens, 1, top, bottom), 2, left, right)
}

fn replicate_axis(x: Tensor<4>, axis: usize, before: usize, after: usize) -> Tensor<4> {
    if before + after == 0 {
        return x;
    }
    let n = x.dims()[axis];
    let first = x.clone().narrow(axis, 0, 1);
    let last = x.clone().narrow(axis, n - 1, 1);
    let mut parts = vec![first; before];
    parts.push(x);
    parts.extend(std::iter::repeat_n(last, after));
    Tensor::cat(parts, axis)
}

/// Surrounds the grid with zeros.
pub(crate) fn zeros(tokens: Tensor<4>, border: usize) -> Tensor<4> {
    if border == 0 {
        return tokens;
    }
    let [b, h, _, d] = tokens.dims();
    let device = tokens.device();
    let column = Tensor::zeros([b, h, border, d], &device);
    let x = Tensor::cat(vec![column.clone(), tokens, column], 2);
    let row = Tensor::zeros([b, border, x.dims()[2], d], &device);
    Tensor::cat(vec![row.clone(), x, row], 1)
}
