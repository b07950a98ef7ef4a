//! Per-region overlap against the false-positive rate, in integers until the last division.

use crate::Undefined;
use crate::ranking::Tie;
use crate::score::Score;
use crate::sum::Sum;

/// Integrates the overlap of every region up to several limits, in one walk from the top.
///
/// A region's share is the mean over its pixels of `max(0, limit - FPR)`: its curve rises by 1 / area at the score of
/// each pixel, and along a diagonal where normal scores tie with it.
pub(crate) struct Overlap {
    normal: u64,
    /// Pixels of each region.
    areas: Vec<u64>,
    /// Limits in normal pixels, ascending, and their place in the caller's order.
    limits: Vec<(f64, usize)>,
    /// Limits passed.
    passed: usize,
    gathered: Vec<Gathered>,
    /// For each limit of the caller, each region's area under its curve divided by the limit.
    shares: Vec<Vec<f64>>,
}

/// Pixels of a region from the top of the scores.
#[derive(Debug, Default, Clone, Copy)]
struct Gathered {
    pixels: u64,
    /// Twice the normal pixels above each, a tie adding one.
    above: u128,
}

impl Overlap {
    pub(crate) fn new(normal: u64, areas: Vec<u64>, max_fprs: &[f64]) -> Self {
        let limits = max_fprs.iter().map(|limit| limit * normal as f64);
        let mut limits: Vec<(f64, usize)> = limits.zip(0..).collect();
        limits.sort_by(|left, right| left.0.total_cmp(&right.0));
        Self {
            normal,
            gathered: vec![Gathered::default(); areas.len()],
            shares: vec![Vec::new(); limits.len()],
            areas,
            limits,
            passed: 0,
        }
    }

    pub(crate) fn visit<K>(&mut self, tie: &Tie<'_, K, u32>) {
        while let Some(&(limit, _)) = self.limits.get(self.passed)
            && (tie.above + tie.equal) as f64 > limit
        {
            self.pass(limit, Some(tie));
        }
        for &(_, region) in tie.anomalous {
            let gathered = &mut self.gathered[region as usize];
            gathered.pixels += 1;
            gathered.above += u128::from(2 * tie.above + tie.equal);
        }
    }

    /// Closes the curves at a limit that lies before the end of `tie`.
    fn pass<K>(&mut self, limit: f64, tie: Option<&Tie<'_, K, u32>>) {
        let mut shares: Vec<f64> = self
            .gathered
            .iter()
            .map(|gathered| gathered.pixels as f64 * limit - gathered.above as f64 / 2.0)
            .collect();
        if let Some(tie) = tie.filter(|tie| (tie.above as f64) < limit) {
            // The diagonal is cut at the limit.
            let reached = limit - tie.above as f64;
            let triangle = reached * reached / (2 * tie.equal) as f64;
            for &(_, region) in tie.anomalous {
                shares[region as usize] += triangle;
            }
        }
        for (share, &area) in shares.iter_mut().zip(&self.areas) {
            *share /= area as f64 * limit;
        }
        let (_, place) = self.limits[self.passed];
        self.shares[place] = shares;
        self.passed += 1;
    }

    /// For each limit, each region's area under its curve divided by the limit, in [0, 1].
    pub(crate) fn finish(mut self) -> Vec<Vec<f64>> {
        debug_assert!(self.limits.iter().all(|&(limit, _)| limit <= self.normal as f64));
        while let Some(&(limit, _)) = self.limits.get(self.passed) {
            self.pass::<()>(limit, None);
        }
        self.shares
    }
}

/// Mean that does not depend on the order of the values.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let mut sum = Sum::default();
    values.iter().for_each(|&value| sum.add(value));
    sum.value() / values.len() as f64
}

/// Mean overlap of the regions at a threshold, in fixed point: integer sums do not depend on the order of regions.
pub(crate) struct MeanOverlap {
    /// Overlap that one pixel of each region adds.
    weights: Vec<u128>,
    sum: u128,
}

impl MeanOverlap {
    const ONE: u128 = 1 << 96;

    pub(crate) fn new(areas: &[u64]) -> Self {
        Self { weights: areas.iter().map(|&area| Self::ONE / u128::from(area)).collect(), sum: 0 }
    }

    pub(crate) fn visit<K>(&mut self, tie: &Tie<'_, K, u32>) {
        for &(_, region) in tie.anomalous {
            self.sum += self.weights[region as usize];
        }
    }

    pub(crate) fn value(&self) -> f64 {
        self.sum as f64 / (Self::ONE as f64 * self.weights.len() as f64)
    }
}

/// What the peers' thresholds find: the extra keys of a descent.
pub(crate) struct Peer {
    normal: u64,
    overlap: MeanOverlap,
    /// False-positive rate and mean overlap, from the highest threshold down.
    curve: Vec<(f64, f64)>,
}

impl Peer {
    const THRESHOLDS: u32 = 200;
    const MAX_FPR: f64 = 0.3;

    pub(crate) fn new(normal: u64, areas: &[u64]) -> Self {
        let curve = Vec::with_capacity(Self::THRESHOLDS as usize);
        Self { normal, overlap: MeanOverlap::new(areas), curve }
    }

    /// The largest score not above each threshold, ascending. `lowest` and `highest` are the ends of the
    /// range of all scores.
    pub(crate) fn thresholds<S: Score>((lowest, highest): (f64, f64)) -> Vec<S::Key> {
        let step = (highest - lowest) / f64::from(Self::THRESHOLDS);
        // Constant or infinite scores leave no thresholds.
        let count = if step > 0.0 && step.is_finite() { Self::THRESHOLDS } else { 0 };
        (0..count).map(|k| S::floor_key(lowest + f64::from(k) * step)).collect()
    }

    pub(crate) fn visit<K>(&mut self, tie: &Tie<'_, K, u32>) {
        if tie.extra {
            // Strictly above the threshold: before the tie is counted.
            self.curve.push((tie.above as f64 / self.normal as f64, self.overlap.value()));
        }
        self.overlap.visit(tie);
    }

    /// Mean overlap of the regions at the last tie visited.
    pub(crate) fn overlap(&self) -> f64 {
        self.overlap.value()
    }

    pub(crate) fn finish(mut self) -> Result<f64, Undefined> {
        self.curve.retain(|&(fpr, _)| fpr < Self::MAX_FPR);
        let (Some(&(first, _)), Some(&(last, _))) = (self.curve.first(), self.curve.last()) else {
            return Err(Undefined::NoPeerCurve);
        };
        if first == last {
            return Err(Undefined::NoPeerCurve);
        }
        let mut area = Sum::default();
        for pair in self.curve.windows(2) {
            area.add((pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) / 2.0);
        }
        Ok(area.value() / (last - first))
    }
}
