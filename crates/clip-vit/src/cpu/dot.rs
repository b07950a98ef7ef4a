//! Instructions for sums of products of small numbers, which the compiler does not find by itself.
//!
//! This file alone of the kernels is unsafe: functions that are compiled for instructions which not every machine has.
//! Each is called through a value that exists only where the machine has them.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::instructions::{Level, allowed};
use super::product::{PackedProduct, ROWS, Tile};
use crate::int8;
use crate::panels::{COLUMNS, HEAD, Words};

/// What there is of a proof on this architecture.
#[cfg(target_arch = "x86_64")]
type Proof = ();
#[cfg(not(target_arch = "x86_64"))]
type Proof = std::convert::Infallible;

/// Proof that the machine adds products of two pairs of bfloat16 to float32 in one instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PairProducts(Proof);

impl PairProducts {
    pub(crate) fn try_new() -> Option<Self> {
        if !allowed(Level::Products) {
            return None;
        }
        #[cfg(target_arch = "x86_64")]
        if pulp::x86::V4::try_new().is_some() && is_x86_feature_detected!("avx512bf16") {
            return Some(Self(()));
        }
        None
    }
}

impl PackedProduct for PairProducts {
    fn product<const P: usize>(
        self,
        _depth: usize,
        tile: &[[u32; ROWS]],
        panels: [&[Words]; P],
    ) -> [Tile; P] {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value proves that the machine has the instructions.
        #[allow(unsafe_code)]
        unsafe {
            pair_products(tile, panels)
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = (tile, panels);
            match self.0 {}
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
fn pair_products<const P: usize>(tile: &[[u32; ROWS]], panels: [&[Words]; P]) -> [Tile; P] {
    let panels = panels.map(|panel| &panel[..tile.len()]);
    let mut sums = [[_mm512_setzero_ps(); ROWS]; P];
    for (k, a) in tile.iter().enumerate() {
        for (sums, panel) in sums.iter_mut().zip(&panels) {
            // SAFETY: both types are 64 bytes, and any bits are a value of either.
            let b = unsafe { std::mem::transmute::<Words, __m512bh>(panel[k]) };
            for (sum, a) in sums.iter_mut().zip(a) {
                let a = _mm512_set1_epi32(a.cast_signed());
                // SAFETY: as above.
                let a = unsafe { std::mem::transmute::<__m512i, __m512bh>(a) };
                *sum = _mm512_dpbf16_ps(*sum, a, b);
            }
        }
    }
    sums.map(|sums| sums.map(floats))
}

/// How sums of products of eight-bit numbers are computed. They are whole numbers, and exact, so that every way gives
/// the same results bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteProducts(Way);

/// Each is only made where the machine has the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Four products a lane in one instruction, of positive and signed numbers.
    #[cfg(target_arch = "x86_64")]
    Vnni,
    /// The same in half the width, on processors without AVX-512.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// Two products a lane of 16 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl ByteProducts {
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if allowed(Level::Products)
                && pulp::x86::V4::try_new().is_some()
                && is_x86_feature_detected!("avx512vnni")
            {
                return Self(Way::Vnni);
            }
            if allowed(Level::AvxVnni) && has_avx_vnni() {
                return Self(Way::AvxVnni);
            }
            if allowed(Level::Avx2) && pulp::x86::V3::try_new().is_some() {
                return Self(Way::Avx2);
            }
        }
        Self(Way::Portable)
    }

    pub(crate) fn is_native(self) -> bool {
        self.0 != Way::Portable
    }

    /// What is exchanged in the bits of the first factor's words: here 128 is added to each step of it.
    pub(super) fn flip(self) -> u32 {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Way::Vnni | Way::AvxVnni => 0x8080_8080,
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => 0,
            Way::Portable => 0,
        }
    }
}

impl PackedProduct for ByteProducts {
    fn product<const P: usize>(
        self,
        depth: usize,
        tile: &[[u32; ROWS]],
        panels: [&[Words]; P],
    ) -> [Tile; P] {
        match self.0 {
            // SAFETY: this way is only made where the machine has the instructions.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Way::Vnni => unsafe { by_vnni(depth, tile, panels) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Way::AvxVnni => panels.map(|panel| unsafe { by_avx_vnni(depth, tile, panel) }),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Way::Avx2 => panels.map(|panel| unsafe { by_avx2(depth, tile, panel) }),
            Way::Portable => panels.map(|panel| by_bytes(depth, tile, panel)),
        }
    }
}

/// A group of a tile and of some panels.
struct Group<'a, const P: usize> {
    /// Scales of the rows.
    rows: [f32; ROWS],
    /// Four steps of each row a word.
    a: &'a [[u32; ROWS]],
    /// What is to be added to sums of steps where 128 was added to each of the rows'.
    offsets: [&'a Words; P],
    /// Scales of the columns.
    columns: [&'a Words; P],
    /// Four steps of each column a word; as many as of the rows.
    b: [&'a [Words]; P],
}

/// The groups of a tile and of some panels, of `depth` numbers a row.
#[inline(always)]
fn by_groups<'a, const P: usize>(
    depth: usize,
    mut tile: &'a [[u32; ROWS]],
    mut panels: [&'a [Words]; P],
    mut each: impl FnMut(Group<'a, P>),
) {
    for length in int8::groups(depth) {
        let words = length / 4;
        let (scales, rest) =
            tile.split_first().expect("a tile has as many words as its depth takes");
        let (a, rest) = rest.split_at(words);
        tile = rest;
        each(Group {
            rows: scales.map(f32::from_bits),
            a,
            offsets: panels.map(|panel| &panel[0]),
            columns: panels.map(|panel| &panel[1]),
            b: panels.map(|panel| &panel[HEAD..][..words]),
        });
        panels = panels.map(|panel| &panel[HEAD + words..]);
    }
}

/// Adds the sums of a group's steps, in its scales.
#[inline(always)]
fn add_scaled(
    sums: &mut Tile,
    steps: &[[i32; COLUMNS]; ROWS],
    rows: &[f32; ROWS],
    columns: &Words,
) {
    for ((sums, steps), row) in sums.iter_mut().zip(steps).zip(rows) {
        for ((sum, steps), column) in sums.iter_mut().zip(steps).zip(columns) {
            *sum = (*steps as f32).mul_add(row * f32::from_bits(*column), *sum);
        }
    }
}

/// The steps of a word.
#[inline(always)]
fn steps_of(word: u32) -> [i32; 4] {
    word.to_le_bytes().map(|byte| i32::from(byte.cast_signed()))
}

fn by_bytes(depth: usize, tile: &[[u32; ROWS]], panel: &[Words]) -> Tile {
    let mut sums = [[0f32; COLUMNS]; ROWS];
    by_groups(depth, tile, [panel], |Group { rows, a, columns, b, .. }| {
        let mut steps = [[0i32; COLUMNS]; ROWS];
        for (a, b) in a.iter().zip(b[0]) {
            let b = b.map(steps_of);
            for (steps, a) in steps.iter_mut().zip(a.map(steps_of)) {
                for (steps, b) in steps.iter_mut().zip(&b) {
                    *steps += a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
                }
            }
        }
        add_scaled(&mut sums, &steps, &rows, columns[0]);
    });
    sums
}

/// `vpmaddubsw` multiplies positive by signed numbers: the size of a row's step by the column's step, whose bits are
/// flipped where the row's is negative. `!b` is `-b - 1`, so that each such product lacks the row's step, a number that
/// all columns share. Sums of two are at most 2 * 127 * 128: nothing saturates.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[allow(unsafe_code)]
fn by_avx2(depth: usize, tile: &[[u32; ROWS]], panel: &[Words]) -> Tile {
    /// Rows whose sums are in registers at once.
    const AT_ONCE: usize = 3;
    let mut sums = [[0f32; COLUMNS]; ROWS];
    by_groups(depth, tile, [panel], |Group { rows, a, columns, b, .. }| {
        let ones = _mm256_set1_epi16(1);
        let mut steps = [[0i32; COLUMNS]; ROWS];
        for (part, steps) in steps.as_chunks_mut::<AT_ONCE>().0.iter_mut().enumerate() {
            let mut vectors = [[_mm256_setzero_si256(); 2]; AT_ONCE];
            for (a, b) in a.iter().zip(b[0]) {
                // SAFETY: both types are 64 bytes, and any bits are a value of either.
                let b = unsafe { std::mem::transmute::<Words, [__m256i; 2]>(*b) };
                for (r, vectors) in vectors.iter_mut().enumerate() {
                    let a = _mm256_set1_epi32(a[part * AT_ONCE + r].cast_signed());
                    let size = _mm256_abs_epi8(a);
                    let negative = _mm256_cmpgt_epi8(_mm256_setzero_si256(), a);
                    for (vector, b) in vectors.iter_mut().zip(b) {
                        let pairs = _mm256_maddubs_epi16(size, _mm256_xor_si256(b, negative));
                        *vector = _mm256_add_epi32(*vector, _mm256_madd_epi16(pairs, ones));
                    }
                }
            }
            // SAFETY: as above, with three of them.
            *steps = unsafe {
                std::mem::transmute::<[[__m256i; 2]; AT_ONCE], [[i32; COLUMNS]; AT_ONCE]>(vectors)
            };
        }
        let mut lacking = [0; ROWS];
        for a in a {
            for (lacking, a) in lacking.iter_mut().zip(a) {
                *lacking += steps_of(*a).map(|step| step.min(0)).iter().sum::<i32>();
            }
        }
        for (steps, lacking) in steps.iter_mut().zip(lacking) {
            steps.iter_mut().for_each(|steps| *steps -= lacking);
        }
        add_scaled(&mut sums, &steps, &rows, columns[0]);
    });
    sums
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avxvnni")]
#[allow(unsafe_code)]
fn by_avx_vnni(depth: usize, tile: &[[u32; ROWS]], panel: &[Words]) -> Tile {
    type Halves = [__m256i; 2];
    // SAFETY: both types are 64 bytes, and any bits are a value of either.
    let halves = |words: &Words| unsafe { std::mem::transmute::<Words, Halves>(*words) };
    let mut sums = [[0f32; COLUMNS]; ROWS];
    by_groups(depth, tile, [panel], |Group { rows, a, offsets, columns, b }| {
        let mut vectors = [halves(offsets[0]); ROWS];
        for (a, b) in a.iter().zip(b[0]) {
            let b = halves(b);
            for (vectors, a) in vectors.iter_mut().zip(a) {
                let a = _mm256_set1_epi32(a.cast_signed());
                for (vector, b) in vectors.iter_mut().zip(b) {
                    *vector = _mm256_dpbusd_avx_epi32(*vector, a, b);
                }
            }
        }
        // SAFETY: as above, with six of them.
        let steps =
            unsafe { std::mem::transmute::<[Halves; ROWS], [[i32; COLUMNS]; ROWS]>(vectors) };
        add_scaled(&mut sums, &steps, &rows, columns[0]);
    });
    sums
}

/// Whether the machine has `vpdpbusd` of 256 bits, as processors without AVX-512 may.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_avx_vnni() -> bool {
    pulp::x86::V3::try_new().is_some() && is_x86_feature_detected!("avxvnni")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni")]
fn by_vnni<const P: usize>(depth: usize, tile: &[[u32; ROWS]], panels: [&[Words]; P]) -> [Tile; P] {
    let mut sums = [[_mm512_setzero_ps(); ROWS]; P];
    by_groups(depth, tile, panels, |Group { rows, a, offsets, columns, b }| {
        let mut steps = offsets.map(|offsets| [integers(offsets); ROWS]);
        for (k, a) in a.iter().enumerate() {
            for (steps, b) in steps.iter_mut().zip(b) {
                let b = integers(&b[k]);
                for (steps, a) in steps.iter_mut().zip(a) {
                    *steps = _mm512_dpbusd_epi32(*steps, _mm512_set1_epi32(a.cast_signed()), b);
                }
            }
        }
        for ((sums, steps), columns) in sums.iter_mut().zip(&steps).zip(columns) {
            let columns = _mm512_castsi512_ps(integers(columns));
            for ((sum, steps), row) in sums.iter_mut().zip(steps).zip(rows) {
                let scale = _mm512_mul_ps(_mm512_set1_ps(row), columns);
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(*steps), scale, *sum);
            }
        }
    });
    sums.map(|sums| sums.map(floats))
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code)]
fn integers(words: &Words) -> __m512i {
    // SAFETY: both types are 64 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute(*words) }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code)]
fn floats(vector: __m512) -> [f32; COLUMNS] {
    // SAFETY: both types are 64 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute(vector) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panels::interleave;

    /// Every way that the machine has and the variable allows.
    fn ways() -> Vec<ByteProducts> {
        #[allow(unused_mut)]
        let mut ways = vec![ByteProducts::best(), ByteProducts(Way::Portable)];
        #[cfg(target_arch = "x86_64")]
        if ByteProducts::best().is_native() {
            ways.push(ByteProducts(Way::Avx2));
            if allowed(Level::AvxVnni) && has_avx_vnni() {
                ways.push(ByteProducts(Way::AvxVnni));
            }
        }
        ways
    }

    #[test]
    fn every_way_gives_the_same_bits() {
        for depth in [16, 48, 112, 128, 192, 336, 1056] {
            let number = |i: usize| ((i * 7919) % 2003) as f32 / 1001.0 - 1.0;
            // The largest steps of both signs are met, too.
            let row = |r: usize| -> Vec<f32> {
                (0..depth).map(|k| if r == 0 { 1.0 } else { number(r * depth + k) }).collect()
            };
            let mut words = Vec::new();
            for c in 0..COLUMNS {
                let mut column = vec![0; int8::words(depth, HEAD)];
                let head = |scale: f32, sum: i32| [(-128 * sum).cast_unsigned(), scale.to_bits()];
                int8::pack(&row(if c == 5 { 0 } else { c + 40 }), &mut column, 0, head);
                words.extend(column);
            }
            let mut panel = vec![[0; COLUMNS]; int8::words(depth, HEAD)];
            interleave(&words, &mut panel);
            let mut first: Option<Tile> = None;
            for way in ways() {
                let mut words = Vec::new();
                for r in 0..ROWS {
                    let mut packed = vec![0; int8::words(depth, 1)];
                    int8::pack(&row(r), &mut packed, way.flip(), |scale, _| [scale.to_bits()]);
                    words.extend(packed);
                }
                let mut tile = vec![[0; ROWS]; int8::words(depth, 1)];
                interleave(&words, &mut tile);
                let [alone] = way.product(depth, &tile, [&panel]);
                assert_eq!(way.product(depth, &tile, [&panel, &panel]), [alone; 2]);
                assert_eq!(*first.get_or_insert(alone), alone, "{way:?} at {depth}");
            }
        }
    }
}
