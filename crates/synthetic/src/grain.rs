//! The grain of a sensor.

/// About normal random numbers: sums of the bytes of a hashed linear congruential generator, of
/// which eight states run in parallel.
pub(crate) struct Grain([u32; Self::LANES]);

impl Grain {
    const LANES: usize = 8;
    const FACTOR: u32 = 0x915f_77f5;
    const STEP: u32 = 0x1234_5679;
    /// Factor and step of `LANES` steps at once.
    const LEAP: (u32, u32) = {
        let (mut factor, mut step, mut lane) = (1u32, 0u32, 0);
        while lane < Self::LANES {
            factor = factor.wrapping_mul(Self::FACTOR);
            step = step.wrapping_mul(Self::FACTOR).wrapping_add(Self::STEP);
            lane += 1;
        }
        (factor, step)
    };

    pub(crate) fn new(seed: u32) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_mul(Self::FACTOR).wrapping_add(Self::STEP);
            state
        }))
    }

    /// The next numbers; all calls but the last ask for a multiple of eight.
    #[inline(always)]
    pub(crate) fn fill(&mut self, values: &mut [f32]) {
        for values in values.chunks_mut(Self::LANES) {
            let normal: [f32; Self::LANES] = std::array::from_fn(|lane| {
                let state = self.0[lane];
                let mut h = state ^ (state >> 15);
                h = h.wrapping_mul(0x2c1b_3c6d);
                h ^= h >> 13;
                let sum = (h & 255) + (h >> 8 & 255) + (h >> 16 & 255) + (h >> 24);
                (sum as i32 - 510) as f32 * (1.0 / 147.8)
            });
            values.copy_from_slice(&normal[..values.len()]);
            for state in &mut self.0 {
                *state = state.wrapping_mul(Self::LEAP.0).wrapping_add(Self::LEAP.1);
            }
        }
    }
}
