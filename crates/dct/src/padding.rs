use ndarray::{ArrayView2, ArrayView3, Axis, s};

use crate::Float;

/// What lies outside an array.
///
/// | | values around `a b c d` |
/// | --- | --- |
/// | `None` | nothing: block transforms refuse sizes that do not divide, sliding ones keep whole windows only |
/// | `Zero` | `0 0 a b c d 0 0` |
/// | `Replicate` | `a a a b c d d d` (numpy's `edge`) |
/// | `Reflect` | `c b a b c d c b` (numpy's `reflect`), repeated as often as needed |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding {
    /// Nothing.
    None,
    /// Zeros.
    Zero,
    /// The nearest sample.
    Replicate,
    /// The mirror image about the first and last sample, which are not repeated.
    Reflect,
}

impl Padding {
    /// The index of the sample that is used at `position`, inside or outside an array of `len`
    /// samples; `None` where it is zero, or where there is no padding.
    ///
    /// ```
    /// use dct::Padding;
    /// assert_eq!(Padding::Reflect.source(-2, 4), Some(2));
    /// assert_eq!(Padding::Replicate.source(5, 4), Some(3));
    /// assert_eq!(Padding::Zero.source(5, 4), None);
    /// ```
    ///
    /// # Panics
    /// If `len == 0`, for [`Replicate`](Self::Replicate) and [`Reflect`](Self::Reflect).
    pub fn source(self, position: isize, len: usize) -> Option<usize> {
        if (0..len as isize).contains(&position) {
            return Some(position as usize);
        }
        match self {
            Self::None | Self::Zero => None,
            Self::Replicate => Some(position.clamp(0, len as isize - 1) as usize),
            Self::Reflect if len == 1 => Some(0),
            Self::Reflect => {
                let period = 2 * (len as isize - 1);
                let folded = position.rem_euclid(period);
                Some(folded.min(period - folded) as usize)
            }
        }
    }
}

/// Writes row `row` of an image `[H, W, C]` from column `first` on, as many columns as fit, padded.
#[inline]
pub(crate) fn fill_row<T: Float>(
    out: &mut [T],
    image: ArrayView3<'_, T>,
    (row, first): (isize, isize),
    padding: Padding,
) {
    if out.is_empty() {
        return;
    }
    let (height, width, channels) = image.dim();
    let Some(row) = padding.source(row, height) else { return out.fill(T::zero()) };
    let row = image.index_axis(Axis(0), row);
    let columns = out.len() / channels;
    let inside = (-first).clamp(0, columns as isize) as usize;
    let outside = (width as isize - first).clamp(inside as isize, columns as isize) as usize;
    for column in (0..inside).chain(outside..columns) {
        let to = &mut out[column * channels..][..channels];
        match padding.source(first + column as isize, width) {
            Some(from) => copy(to, row.slice(s![from..from + 1, ..])),
            None => to.fill(T::zero()),
        }
    }
    if inside < outside {
        let from = (first + inside as isize) as usize;
        let to = &mut out[inside * channels..outside * channels];
        copy(to, row.slice(s![from..from + (outside - inside), ..]));
    }
}

/// Copies columns `[n, C]`.
fn copy<T: Float>(to: &mut [T], from: ArrayView2<'_, T>) {
    if let Some(from) = from.as_slice() {
        return to.copy_from_slice(from);
    }
    let channels = from.dim().1;
    for (to, from) in to.chunks_exact_mut(channels).zip(from.outer_iter()) {
        match from.as_slice() {
            Some(from) => to.copy_from_slice(from),
            None => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
        }
    }
}
