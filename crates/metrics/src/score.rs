use crate::counts::Key;
use crate::format::Kind;

/// A score: `f32` or `f64`, higher means more anomalous.
///
/// Infinities are ordered as any score, -0 equals +0, NaN is refused.
/// The trait is sealed; convert `f16` and integers to one of the two, which changes no metric.
pub trait Score: sealed::Ordered {}

impl Score for f32 {}
impl Score for f64 {}

pub(crate) mod sealed {
    use super::{Key, Kind};

    /// Map between floats and unsigned integers that preserves the order.
    pub trait Ordered: Copy + Send + Sync + 'static {
        type Key: Key;
        const KIND: Kind;
        fn is_nan(self) -> bool;
        fn key(self) -> Self::Key;
        fn to_f64(self) -> f64;
        fn from_key(key: Self::Key) -> f64;
        /// Keys of the infinities.
        fn infinities() -> (Self::Key, Self::Key);
        /// Key of the largest score that is not above `threshold`, which must not lie below all scores.
        fn floor_key(threshold: f64) -> Self::Key;
    }

    impl Ordered for f32 {
        type Key = u32;
        const KIND: Kind = Kind::Single;

        #[inline]
        fn is_nan(self) -> bool {
            f32::is_nan(self)
        }

        #[inline]
        fn key(self) -> u32 {
            let bits = (self + 0.0).to_bits(); // -0 + 0 = +0
            bits ^ (((bits as i32) >> 31) as u32 | 1 << 31)
        }

        #[inline]
        fn to_f64(self) -> f64 {
            f64::from(self)
        }

        fn infinities() -> (u32, u32) {
            (f32::NEG_INFINITY.key(), f32::INFINITY.key())
        }

        #[inline]
        fn from_key(key: u32) -> f64 {
            f64::from(f32::from_bits(if key >> 31 == 1 { key ^ 1 << 31 } else { !key }))
        }

        #[inline]
        fn floor_key(threshold: f64) -> u32 {
            let nearest = threshold as f32;
            nearest.key() - u32::from(f64::from(nearest) > threshold)
        }
    }

    impl Ordered for f64 {
        type Key = u64;
        const KIND: Kind = Kind::Double;

        #[inline]
        fn is_nan(self) -> bool {
            f64::is_nan(self)
        }

        #[inline]
        fn key(self) -> u64 {
            let bits = (self + 0.0).to_bits(); // -0 + 0 = +0
            bits ^ (((bits as i64) >> 63) as u64 | 1 << 63)
        }

        #[inline]
        fn to_f64(self) -> f64 {
            self
        }

        fn infinities() -> (u64, u64) {
            (f64::NEG_INFINITY.key(), f64::INFINITY.key())
        }

        fn from_key(key: u64) -> f64 {
            f64::from_bits(if key >> 63 == 1 { key ^ 1 << 63 } else { !key })
        }

        fn floor_key(threshold: f64) -> u64 {
            threshold.key()
        }
    }
}

/// The least and the greatest key of some scores; none of no scores.
pub(crate) type Range<K> = Option<(K, K)>;

/// The range of two sets of scores together.
pub(crate) fn union<S: Score>(own: Range<S::Key>, other: Range<S::Key>) -> Range<S::Key> {
    match (own, other) {
        (Some(own), Some(other)) => Some((own.0.min(other.0), own.1.max(other.1))),
        (own, other) => own.or(other),
    }
}

/// The range of `scores`, or else the place of the first NaN.
pub(crate) fn range<S: Score>(scores: &[S]) -> Result<Range<S::Key>, usize> {
    let Some(first) = scores.first() else { return Ok(None) };
    // NaN lies beyond the infinities, so that one pass without a branch finds it too.
    let start = (first.key(), first.key());
    let (least, greatest) = scores.iter().fold(start, |(least, greatest), score| {
        let key = score.key();
        (least.min(key), greatest.max(key))
    });
    let (lowest, highest) = S::infinities();
    if least < lowest || greatest > highest {
        return Err(scores.iter().take_while(|score| !score.is_nan()).count());
    }
    Ok(Some((least, greatest)))
}

#[cfg(test)]
mod tests {
    use super::{range, sealed::Ordered};

    #[test]
    fn keys_preserve_order_and_round_trip() {
        let scores = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.0,
            -f32::MIN_POSITIVE,
            -1e-45,
            0.0,
            1e-45,
            f32::MIN_POSITIVE,
            0.5,
            1.0,
            f32::MAX,
            f32::INFINITY,
        ];
        for pair in scores.windows(2) {
            assert!(pair[0].key() < pair[1].key(), "{pair:?}");
            assert!(f64::from(pair[0]).key() < f64::from(pair[1]).key(), "{pair:?}");
        }
        for score in scores {
            assert_eq!(f32::from_key(score.key()), f64::from(score));
            assert_eq!(f64::from_key(f64::from(score).key()), f64::from(score));
        }
        assert_eq!((-0.0f32).key(), 0.0f32.key());
        assert_eq!((-0.0f64).key(), 0.0f64.key());
    }

    #[test]
    fn floor_key_keeps_strict_comparisons() {
        for threshold in [0.1f64, 0.3, -0.1, 1.0, 1.0 / 3.0, 0.0] {
            for steps in -2i32..=2 {
                let nearest = (threshold as f32).key() as i64 + i64::from(steps);
                let score = f32::from_key(nearest as u32);
                assert_eq!(
                    score > threshold,
                    nearest as u32 > f32::floor_key(threshold),
                    "{score} {threshold}"
                );
            }
        }
    }

    #[test]
    fn range_finds_the_ends_and_the_first_nan() {
        let mut scores = vec![0.5f32; 700];
        scores[300] = f32::NEG_INFINITY;
        scores[301] = f32::INFINITY;
        assert_eq!(range(&scores), Ok(Some((f32::NEG_INFINITY.key(), f32::INFINITY.key()))));
        scores[699] = f32::NAN;
        scores[513] = -f32::NAN;
        assert_eq!(range(&scores), Err(513));
        assert_eq!(range::<f64>(&[]), Ok(None));
    }
}
