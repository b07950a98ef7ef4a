//! Seeded choices and the few elementary functions of the drawing code.
//!
//! Only `+ - * /`, `sqrt` and integer operations are used, all of them exact in IEEE 754, so that a
//! seed draws the same pixels on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Mixes two words into one (the finaliser of SplitMix64).
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_add(0x632b_e59b_d9b4_e019);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Hash of a lattice point.
#[inline]
pub(crate) fn lattice(x: i32, y: i32, seed: u32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x8da6_b343)
        ^ (y as u32).wrapping_mul(0xd816_3841)
        ^ seed.wrapping_mul(0xcb1a_b31f);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    h ^ (h >> 15)
}

/// The unit interval from 16 bits of a hash, starting at bit `shift`.
#[inline]
pub(crate) fn unit(hash: u32, shift: u32) -> f32 {
    ((hash >> shift) & 0xffff) as f32 / 65536.0
}

/// A stream of random choices.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn word(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f32 {
        (self.word() >> 8) as f32 / 16_777_216.0
    }

    pub(crate) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Between `low` and `high`, small values preferred (density falls with the value).
    pub(crate) fn skewed(&mut self, low: f32, high: f32) -> f32 {
        let t = self.unit();
        low + (high - low) * t * t
    }

    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// An index below `count`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((u64::from(self.word()) * count as u64) >> 32) as usize
    }

    /// An integer from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// -1 or 1.
    pub(crate) fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    /// About normal, zero mean, unit variance, within ±3.5.
    pub(crate) fn normal(&mut self) -> f32 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        (sum - 2.0) * 1.732
    }

    /// A colour of any hue, from nearly grey to vivid.
    pub(crate) fn color(&mut self) -> [f32; 3] {
        let saturation =
            if self.chance(0.35) { self.range(0.0, 0.12) } else { self.range(0.1, 0.85) };
        hsv(self.unit(), saturation, self.range(0.2, 0.92))
    }

    /// A colour within the given ranges of hue, saturation and value.
    pub(crate) fn tint(
        &mut self,
        hue: (f32, f32),
        saturation: (f32, f32),
        value: (f32, f32),
    ) -> [f32; 3] {
        hsv(
            self.range(hue.0, hue.1),
            self.range(saturation.0, saturation.1),
            self.range(value.0, value.1),
        )
    }

    pub(crate) fn grey(&mut self, low: f32, high: f32) -> [f32; 3] {
        let value = self.range(low, high);
        let warm = self.range(-0.02, 0.02);
        [value + warm, value, value - warm]
    }
}

/// Hue, saturation and value in [0, 1] (hue wraps) to red, green, blue.
pub(crate) fn hsv(hue: f32, saturation: f32, value: f32) -> [f32; 3] {
    let channel = |shift: f32| {
        let t = fract(hue + shift) * 6.0;
        let ramp = t.min(4.0 - t).clamp(0.0, 1.0);
        value * (1.0 - saturation * (1.0 - ramp))
    };
    [channel(1.0 / 3.0), channel(0.0), channel(2.0 / 3.0)]
}

/// Added to a number below 2^22, it leaves no bits for a fraction.
const ROUND: f32 = 12_582_912.0;

/// Largest integer not above `x`, whose magnitude is below 2^22.
#[inline(always)]
pub(crate) fn floor(x: f32) -> f32 {
    debug_assert!(x.abs() < 4_194_304.0, "floor: {x}");
    let near = (x + ROUND) - ROUND;
    if near > x { near - 1.0 } else { near }
}

/// `x` less its floor, in [0, 1).
#[inline]
pub(crate) fn fract(x: f32) -> f32 {
    x - floor(x)
}

/// [`fract`], and the floor, whose low bits alone mean something.
#[inline(always)]
pub(crate) fn split(x: f32) -> (f32, usize) {
    let whole = floor(x);
    // The sum's last bits are the integer, in two's complement.
    (x - whole, (whole + ROUND).to_bits() as usize)
}

#[inline]
pub(crate) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

#[inline]
pub(crate) fn blend(a: [f32; 3], b: [f32; 3], t: f32) -> [f32; 3] {
    [lerp(a[0], b[0], t), lerp(a[1], b[1], t), lerp(a[2], b[2], t)]
}

#[inline]
pub(crate) fn times(color: [f32; 3], factor: f32) -> [f32; 3] {
    [color[0] * factor, color[1] * factor, color[2] * factor]
}

/// Cubic step from 0 at `low` to 1 at `high`; falls where `high < low`.
#[inline]
pub(crate) fn smoothstep(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Cosine of an angle in turns, error below 2e-3.
#[inline]
pub(crate) fn cos_turn(turns: f32) -> f32 {
    let t = fract(turns + 0.25) * 2.0 - 1.0;
    let parabola = 4.0 * t * (1.0 - t.abs());
    -(0.775 * parabola + 0.225 * parabola * parabola.abs())
}

/// Sine of an angle in turns.
#[inline]
pub(crate) fn sin_turn(turns: f32) -> f32 {
    cos_turn(turns - 0.25)
}

/// Angle of (x, y) in turns, in [-0.5, 0.5], error below 1e-3.
#[inline]
pub(crate) fn angle_turns(x: f32, y: f32) -> f32 {
    let (ax, ay) = (x.abs(), y.abs());
    let ratio = ax.min(ay) / ax.max(ay).max(1e-12);
    let octant = ratio * (0.159_155 - ratio * ratio * (0.051_0 - 0.016_9 * ratio * ratio));
    let quadrant = if ay > ax { 0.25 - octant } else { octant };
    let half = if x < 0.0 { 0.5 - quadrant } else { quadrant };
    if y < 0.0 { -half } else { half }
}

#[inline]
pub(crate) fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}
