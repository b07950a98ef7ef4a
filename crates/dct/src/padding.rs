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
    /// The index of the sample that stands at `position`, or `None` for a zero.
    pub(crate) fn source(self, position: isize, len: usize) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use super::Padding;

    #[test]
    fn sources_around_three_samples() {
        let at = |padding: Padding| (-5..8).map(|i| padding.source(i, 3)).collect::<Vec<_>>();
        let some = |indices: [usize; 13]| indices.map(Some).to_vec();
        assert_eq!(at(Padding::Replicate), some([0, 0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2]));
        assert_eq!(at(Padding::Reflect), some([1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]));
        assert_eq!(at(Padding::Zero)[4..9], [None, Some(0), Some(1), Some(2), None]);
        assert_eq!(Padding::Reflect.source(-3, 1), Some(0));
    }
}
