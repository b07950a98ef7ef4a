//! Instructions for sums of products of small numbers, which the compiler does not find by itself.
//!
//! This file alone of the kernels is unsafe: functions that are compiled for instructions which not every machine has.
//! Each is called through a value that exists only where the machine has them.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::instructions::{Level, allowed};
use super::product::{PackedProduct, ROWS, Tile};
use crate::panels::{COLUMNS, Words};

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
        #[cfg(target_arch = "x86_64")]
        if allowed(Level::Products)
            && pulp::x86::V4::try_new().is_some()
            && is_x86_feature_detected!("avx512bf16")
        {
            return Some(Self(()));
        }
        None
    }
}

impl PackedProduct for PairProducts {
    fn product<const P: usize>(self, tile: &[[u32; ROWS]], panels: [&[Words]; P]) -> [Tile; P] {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value proves that the machine has the instructions.
        #[allow(unsafe_code)]
        unsafe {
            pair_products(tile, panels)
        }
        #[cfg(not(target_arch = "x86_64"))]
        match self.0 {}
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

#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code)]
fn floats(vector: __m512) -> [f32; COLUMNS] {
    // SAFETY: both types are 64 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute(vector) }
}
