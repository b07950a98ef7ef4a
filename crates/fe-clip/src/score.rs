//! From the raw score of a method, which ranks images, to one in [0, 1], which people read.

/// How the raw scores of a detector become scores in [0, 1]; one for all images, so that the order
/// stays and no two raw scores share a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreScale {
    /// Raw scores are in [0, 1] and stay what they are.
    Unit,
    /// Raw scores are at least 0 and may exceed 1: up to one half they stay what they are, above
    /// `s` becomes `1 - 1 / (4 s)`, which continues that without a kink.
    Open,
}

impl ScoreScale {
    /// The score in [0, 1] of a raw score.
    ///
    /// In double precision, and from the shortest decimal number that stands for the raw score:
    /// in single precision neighbours would fall together above one half, and this way the score
    /// follows from the printed raw score. NaN stays NaN.
    ///
    /// ```
    /// use fe_clip::ScoreScale;
    /// assert_eq!(ScoreScale::Unit.score(0.7), 0.7);
    /// assert_eq!(ScoreScale::Open.score(0.3), 0.3);
    /// assert_eq!(ScoreScale::Open.score(2.0), 0.875);
    /// ```
    pub fn score(self, raw: f32) -> f64 {
        let raw = raw.to_string().parse().unwrap_or(f64::from(raw));
        match self {
            Self::Open if raw > 0.5 => 1.0 - 0.25 / raw,
            // Rounding may put the raw score a little beside the interval.
            _ => raw.clamp(0.0, 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neighbours among the single-precision numbers are the hardest to keep apart.
    #[test]
    fn neighbours_keep_their_order_and_stay_apart() {
        for start in [0.0f32, 0.1, 0.499_999, 0.5, 0.75, 0.999_999, 1.0, 1.5, 2.999, 100.0, 5e4] {
            let mut raw = start;
            for _ in 0..1000 {
                let next = raw.next_up();
                let (low, high) = (ScoreScale::Open.score(raw), ScoreScale::Open.score(next));
                assert!(0.0 <= low && low < high && high < 1.0, "{raw}: {low}, {high}");
                if next <= 1.0 {
                    let (low, high) = (ScoreScale::Unit.score(raw), ScoreScale::Unit.score(next));
                    assert!(low < high && low as f32 == raw, "{raw}: {low}, {high}");
                }
                raw = next;
            }
        }
    }
}
