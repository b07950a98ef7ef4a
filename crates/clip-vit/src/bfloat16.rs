//! Rounding to bfloat16, in a form that the compiler vectorises.

/// The bits of the nearest bfloat16 in the lower half, of two equally near the even one; NaN stays NaN.
#[inline(always)]
pub(crate) fn bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    let nan = bits | 0x0040_0000;
    (if x.is_nan() { nan } else { nearest }) >> 16
}

/// The nearest bfloat16.
#[inline(always)]
pub(crate) fn round(x: f32) -> f32 {
    f32::from_bits(bits(x) << 16)
}

/// Two of them in a word, the first in its lower half.
#[inline(always)]
pub(crate) fn pair(first: f32, second: f32) -> u32 {
    bits(first) | bits(second) << 16
}

/// The two numbers of a word.
#[inline(always)]
pub(crate) fn unpair(word: u32) -> [f32; 2] {
    [f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_half_crate() {
        // A prime step meets every exponent, both signs, ties, infinities and NaN.
        for x in (0..=u32::MAX).step_by(9973).chain((0..0x1_0000).map(|high| high << 16 | 0x8000)) {
            let x = f32::from_bits(x);
            let expected = half::bf16::from_f32(x);
            assert_eq!(bits(x), u32::from(expected.to_bits()), "{x}");
            let [first, second] = unpair(pair(x, 1.5));
            assert_eq!((first.to_bits(), second), (expected.to_f32().to_bits(), 1.5));
        }
    }
}
