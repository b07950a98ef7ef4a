//! Rows and columns in numbers of eight bits.
//!
//! Numbers that are summed are taken in groups of 128 (what is left over in smaller ones), and each group of a row or a
//! column has a scale of its own. A single large number in a group would leave few steps for the others, and trained
//! models have channels that are many times as large as the rest. Therefore a group is rotated first: an orthogonal
//! matrix, the same on both sides, changes no product and spreads every number over the whole group.
//!
//! Sources: Dettmers et al., LLM.int8(), 2022, for the large channels; Ashkboos et al., QuaRot, 2024, for the rotation.

/// Numbers of a whole group.
const GROUP: usize = 128;
/// Numbers of the smallest, in which depths are counted.
const SMALLEST: usize = 16;
/// Largest number of a group in steps of its scale; -128 is left out, so that signs can be exchanged.
const STEPS: f32 = 127.0;
/// One sign a number: without them a group of equal numbers would become a single large one. Digits of pi.
const SIGNS: u128 = 0x243f_6a88_85a3_08d3_1319_8a2e_0370_7344;

/// Lengths of the groups of so many numbers, a multiple of 16: 128 each, then powers of two.
pub(crate) fn groups(depth: usize) -> impl Iterator<Item = usize> {
    let whole = std::iter::repeat_n(GROUP, depth / GROUP);
    let parts = [64, 32, SMALLEST].into_iter();
    whole.chain(parts.filter(move |part| depth & part != 0))
}

/// Words of so many numbers, four in each, with a number of words before every group.
pub(crate) fn words(depth: usize, head: usize) -> usize {
    depth / 4 + head * groups(depth).count()
}

/// Packs numbers group by group, each after `head` words that `head_of` is given to fill from scale and sum of the
/// group's steps. `flip` is exchanged in the bits of every word.
#[inline(always)]
pub(crate) fn pack<const HEAD: usize>(
    mut numbers: &[f32],
    mut words: &mut [u32],
    flip: u32,
    head_of: impl Fn(f32, i32) -> [u32; HEAD],
) {
    for length in groups(numbers.len()) {
        let (group, others) = numbers.split_at(length);
        let (packed, rest) = words.split_at_mut(HEAD + length / 4);
        let (head, packed) = packed.split_at_mut(HEAD);
        let (scale, sum) = match length {
            GROUP => pack_group::<8>(group, packed, flip),
            64 => pack_group::<4>(group, packed, flip),
            32 => pack_group::<2>(group, packed, flip),
            _ => pack_group::<1>(group, packed, flip),
        };
        head.copy_from_slice(&head_of(scale, sum));
        (numbers, words) = (others, rest);
    }
}

/// The numbers that [`pack`] has packed without flipped bits, but for rounding; `scale_of` finds a group's scale in its
/// head.
pub(crate) fn unpack<const HEAD: usize>(
    mut words: &[u32],
    mut numbers: &mut [f32],
    scale_of: impl Fn(&[u32]) -> f32,
) {
    for length in groups(numbers.len()) {
        let (group, others) = numbers.split_at_mut(length);
        let (packed, rest) = words.split_at(HEAD + length / 4);
        let (head, packed) = packed.split_at(HEAD);
        let scale = scale_of(head);
        for (part, group) in group.chunks_exact_mut(length / 4).enumerate() {
            for (number, word) in group.iter_mut().zip(packed) {
                *number = scale * f32::from(word.to_le_bytes()[part].cast_signed());
            }
        }
        match length {
            GROUP => turn_back::<8>(group),
            64 => turn_back::<4>(group),
            32 => turn_back::<2>(group),
            _ => turn_back::<1>(group),
        }
        (numbers, words) = (others, rest);
    }
}

/// Packs `16 C` numbers; returns their scale and the sum of their steps.
#[inline(always)]
fn pack_group<const C: usize>(numbers: &[f32], words: &mut [u32], flip: u32) -> (f32, i32) {
    let turned = turn::<C>(numbers);
    let numbers = turned.as_flattened();
    // As whole numbers the bits of infinity and NaN are the largest: the scale, and with it every sum, becomes NaN.
    let largest = numbers.iter().fold(0, |largest, x| largest.max(x.abs().to_bits()));
    let largest = f32::from_bits(largest);
    let inverse = if largest > 0.0 { STEPS / largest } else { 0.0 };
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let mut steps = [[0u32; SMALLEST]; C];
    for (step, x) in steps.as_flattened_mut().iter_mut().zip(numbers) {
        *step = (x * inverse + ROUND).to_bits();
    }
    let steps = steps.as_flattened();
    // Four numbers of a word stand a quarter of the group apart.
    let quarter = words.len();
    let [first, second, third, fourth] = std::array::from_fn(|i| &steps[i * quarter..][..quarter]);
    for (((word, a), b), (c, d)) in
        words.iter_mut().zip(first).zip(second).zip(third.iter().zip(fourth))
    {
        *word = ((a & 0xff) | (b & 0xff) << 8 | (c & 0xff) << 16 | d << 24) ^ flip;
    }
    let sum =
        steps.iter().map(|step| step.cast_signed().wrapping_sub(ROUND.to_bits().cast_signed()));
    (largest / STEPS, sum.fold(0, i32::wrapping_add))
}

/// A group after the rotation: signs, and Hadamard's matrix over `16 C` numbers, in an order that needs no exchange of
/// numbers within a vector.
#[inline(always)]
fn turn<const C: usize>(numbers: &[f32]) -> [[f32; C]; SMALLEST] {
    let mut rows = [[0f32; SMALLEST]; C];
    for (i, (to, x)) in rows.as_flattened_mut().iter_mut().zip(numbers).enumerate() {
        *to = f32::from_bits(x.to_bits() ^ SIGN_BITS[i]);
    }
    butterflies(&mut rows);
    let scale = (((SMALLEST * C) as f32).sqrt()).recip();
    let mut turned = [[0f32; C]; SMALLEST];
    for (i, turned) in turned.iter_mut().enumerate() {
        *turned = std::array::from_fn(|r| rows[r][i] * scale);
    }
    butterflies(&mut turned);
    turned
}

/// The inverse.
fn turn_back<const C: usize>(numbers: &mut [f32]) {
    let mut turned = [[0f32; C]; SMALLEST];
    turned.as_flattened_mut().copy_from_slice(numbers);
    butterflies(&mut turned);
    let mut rows = [[0f32; SMALLEST]; C];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = std::array::from_fn(|i| turned[i][r]);
    }
    butterflies(&mut rows);
    let scale = (((SMALLEST * C) as f32).sqrt()).recip();
    for (i, (x, turned)) in numbers.iter_mut().zip(rows.as_flattened()).enumerate() {
        *x = scale * f32::from_bits(turned.to_bits() ^ SIGN_BITS[i]);
    }
}

/// [`SIGNS`] as the highest bits of floats.
const SIGN_BITS: [u32; GROUP] = {
    let mut bits = [0; GROUP];
    let mut i = 0;
    while i < GROUP {
        bits[i] = ((SIGNS >> i) as u32 & 1) << 31;
        i += 1;
    }
    bits
};

/// Hadamard's matrix, without its scale, over a number of rows that is a power of two.
#[inline(always)]
fn butterflies<const L: usize, const N: usize>(rows: &mut [[f32; L]; N]) {
    let mut half = 1;
    while half < N {
        let mut i = 0;
        while i < N {
            if i & half == 0 {
                let (a, b) = (rows[i], rows[i + half]);
                rows[i] = std::array::from_fn(|l| a[l] + b[l]);
                rows[i + half] = std::array::from_fn(|l| a[l] - b[l]);
            }
            i += 1;
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    #[test]
    fn groups_are_the_depth() {
        assert_eq!(
            groups(1024 + 112).collect::<Vec<_>>(),
            [[128; 8].as_slice(), &[64, 32, 16]].concat()
        );
        for depth in (16..2000).step_by(16) {
            assert_eq!(groups(depth).sum::<usize>(), depth);
        }
    }

    #[test]
    fn packing_is_off_by_half_a_step_in_the_rotated_numbers() {
        for depth in [16, 32, 48, 64, 112, 128, 192, 1056] {
            for outlier in [1.0, 30.0] {
                let mut numbers = values(depth);
                numbers[5] *= outlier;
                let mut packed = vec![0; words(depth, 1)];
                pack(&numbers, &mut packed, 0, |scale, _| [scale.to_bits()]);
                let mut found = vec![0.0; depth];
                unpack::<1>(&packed, &mut found, |head| f32::from_bits(head[0]));
                let (mut numbers, mut found, mut packed) = (&*numbers, &*found, &*packed);
                for length in groups(depth) {
                    let squares =
                        numbers.iter().zip(found).take(length).map(|(a, b)| (a - b).powi(2));
                    let error = squares.sum::<f32>().sqrt();
                    let half = f32::from_bits(packed[0]) / 2.0;
                    // A rotation keeps lengths.
                    assert!(error <= 1.0001 * half * (length as f32).sqrt(), "{depth}: {error}");
                    let largest = numbers[..length].iter().fold(0f32, |m, x| m.max(x.abs()));
                    let spread = 2.0 * half * STEPS;
                    assert!(length < 128 || outlier == 1.0 || spread < 0.3 * largest.max(14.0));
                    (numbers, found) = (&numbers[length..], &found[length..]);
                    packed = &packed[1 + length / 4..];
                }
            }
        }
    }

    #[test]
    fn nothing_is_nothing_and_what_is_no_number_is_not_lost() {
        let packed = |numbers: &[f32]| {
            let mut words = vec![0; words(numbers.len(), 1)];
            pack(numbers, &mut words, 0, |scale, _| [scale.to_bits()]);
            words
        };
        assert!(packed(&[0.0; 128]).iter().all(|word| *word == 0));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut numbers = values(128);
            numbers[77] = bad;
            assert!(!f32::from_bits(packed(&numbers)[0]).is_finite());
        }
    }
}
