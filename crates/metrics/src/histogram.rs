mod store;

use ndarray::ArrayView2;

use crate::pixel::without_region;
use crate::ranking::{same_shape, slice};
use crate::regions::Regions;
use crate::score::{Score, range};
use crate::sum::Sum;
use crate::{Connectivity, Undefined};

/// Metrics of anomaly maps in 19 MB, however many pixels there are, with a bound on their error.
///
/// Scores are counted in 786 432 bins of equal width.
/// The order of the scores inside a bin is unknown, so every metric comes with the distance to the furthest value
/// that some order would give: the exact value lies within [`Bounded::error`] of [`Bounded::value`].
/// The bound holds whatever the scores are; it is small where they spread over the range given to
/// [`new`](Self::new), and useless where they all fall into a few bins.
///
/// All counts are integers: the result does not depend on the order of images or on how they are spread over
/// histograms that are merged.
///
/// # Example
/// ```
/// use anomaly_metrics::{Connectivity, PixelHistogram};
/// use ndarray::array;
///
/// let mut pixels = PixelHistogram::new(Connectivity::Eight, 0.0, 1.0);
/// pixels.add(array![[0.1f32, 0.7], [0.3, 0.9]].view(), array![[false, true], [false, true]].view())?;
/// let report = pixels.finish(&[0.3])?;
/// assert_eq!(report.auroc?.value, 1.0);
/// assert!(report.aupro[0].clone()?.error < 1e-9);
/// # Ok::<(), anomaly_metrics::Undefined>(())
/// ```
#[derive(Debug, Clone)]
pub struct PixelHistogram {
    connectivity: Connectivity,
    /// Lower end of the lowest bin, upper end of the highest.
    range: (f64, f64),
    bins_per_unit: f64,
    /// Normal pixels of each bin, apart from the rest since most pixels touch nothing else.
    normal: Vec<u64>,
    anomalous: Vec<Anomalous>,
    regions: u64,
}

/// Anomalous pixels of a bin.
#[derive(Debug, Clone, Copy, Default)]
struct Anomalous {
    pixels: u64,
    /// Overlap of all regions that the bin adds, in units of `1 / PixelHistogram::ONE`.
    overlap: u64,
}

/// A number and how far the exact one may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounded {
    /// The value if the scores within a bin are all equal.
    pub value: f64,
    /// The exact value is at most this far from `value`.
    pub error: f64,
}

/// The metrics of a [`PixelHistogram`].
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramReport {
    /// As [`auroc`](crate::auroc) of all pixels.
    pub auroc: Result<Bounded, Undefined>,
    /// As [`average_precision`](crate::average_precision) of all pixels.
    pub average_precision: Result<Bounded, Undefined>,
    /// As [`f1_max`](crate::f1_max) of all pixels.
    pub f1_max: Result<Bounded, Undefined>,
    /// Lower end of the bin that reaches `f1_max`; minus infinity for the lowest bin.
    pub f1_max_threshold: Result<f64, Undefined>,
    /// As [`aupro`](crate::aupro), for each limit.
    pub aupro: Vec<Result<Bounded, Undefined>>,
}

impl PixelHistogram {
    const BINS: usize = 3 << 18;
    /// An overlap of 1. 2^32 regions in one bin fit into its counter.
    const ONE: u64 = 1 << 32;
    /// Bound on what rounding adds to an error.
    const ROUNDING: f64 = 1e-12;

    /// Makes an empty histogram for scores from `lowest` to `highest`.
    ///
    /// Scores outside are counted in the outermost bins, which the bounds take into account.
    ///
    /// # Panics
    /// Unless `lowest < highest`, both are finite, and they are far enough apart for a bin to have a width.
    pub fn new(connectivity: Connectivity, lowest: f64, highest: f64) -> Self {
        let range = (lowest, highest);
        let Some(bins_per_unit) = Self::bins_per_unit(range) else {
            panic!("new: expected a finite range, got {lowest} to {highest}");
        };
        Self {
            connectivity,
            range,
            bins_per_unit,
            normal: vec![0; Self::BINS],
            anomalous: vec![Anomalous::default(); Self::BINS],
            regions: 0,
        }
    }

    /// `None` unless the range is finite and not empty.
    fn bins_per_unit((lowest, highest): (f64, f64)) -> Option<f64> {
        let width = highest - lowest;
        let bins_per_unit = Self::BINS as f64 / width;
        (width > 0.0 && width.is_finite() && bins_per_unit.is_finite()).then_some(bins_per_unit)
    }

    /// The range given to [`new`](Self::new).
    pub fn range(&self) -> (f64, f64) {
        self.range
    }

    /// Which neighbours belong to one region.
    pub fn connectivity(&self) -> Connectivity {
        self.connectivity
    }

    /// Adds one image.
    ///
    /// # Shapes
    /// - map, mask: `[height, width]`; `true` marks an anomalous pixel; images may differ in size
    ///
    /// # Errors
    /// [`Undefined`] for NaN (named by row and column) or different shapes; the image is then left out.
    pub fn add<S: Score>(
        &mut self,
        map: ArrayView2<'_, S>,
        mask: ArrayView2<'_, bool>,
    ) -> Result<(), Undefined> {
        same_shape(map.shape(), mask.shape())?;
        let width = map.ncols();
        let map = map.as_standard_layout();
        let scores = slice(&map);
        range(scores)
            .map_err(|at| Undefined::NotANumber { index: vec![at / width, at % width] })?;

        let found = Regions::new(mask, self.connectivity);
        let mut regions = vec![Vec::new(); found.count];
        let mut position = 0;
        for run in &found.runs {
            let (start, end) = (run.row * width + run.start, run.row * width + run.end);
            self.count_normal(&scores[position..start]);
            position = end;
            regions[run.region].extend(scores[start..end].iter().map(|&score| self.bin(score)));
        }
        self.count_normal(&scores[position..]);
        for region in regions {
            self.count_region(region);
        }
        self.regions += found.count as u64;
        Ok(())
    }

    fn count_normal<S: Score>(&mut self, scores: &[S]) {
        for &score in scores {
            let bin = self.bin(score);
            self.normal[bin] += 1;
        }
    }

    /// Counts a region so that its overlap at every bin is its exact overlap, rounded down once.
    fn count_region(&mut self, mut bins: Vec<usize>) {
        bins.sort_unstable_by(|left, right| right.cmp(left));
        let area = bins.len() as u128;
        let overlap = |pixels: usize| (pixels as u128 * u128::from(Self::ONE) / area) as u64;
        for (before, &bin) in bins.iter().enumerate() {
            self.anomalous[bin].pixels += 1;
            self.anomalous[bin].overlap += overlap(before + 1) - overlap(before);
        }
    }

    /// The bin of a score, which never falls where the score rises: the conversion saturates.
    fn bin<S: Score>(&self, score: S) -> usize {
        let bin = ((score.to_f64() - self.range.0) * self.bins_per_unit) as u32;
        (bin as usize).min(Self::BINS - 1)
    }

    /// Adds the images of another histogram.
    ///
    /// # Panics
    /// If the two differ in range or connectivity.
    ///
    /// # Example
    /// ```
    /// use anomaly_metrics::{Connectivity, PixelHistogram};
    /// use ndarray::array;
    ///
    /// let mut whole = PixelHistogram::new(Connectivity::Eight, 0.0, 1.0);
    /// let mut shard = whole.clone();
    /// shard.add(array![[0.1f32, 0.9]].view(), array![[false, true]].view())?;
    /// whole.merge(&shard);
    /// assert_eq!(whole.finish(&[])?.auroc?.value, 1.0);
    /// # Ok::<(), anomaly_metrics::Undefined>(())
    /// ```
    pub fn merge(&mut self, other: &Self) {
        let settings = |histogram: &Self| (histogram.connectivity, histogram.range);
        assert_eq!(settings(self), settings(other), "merge: expected the same settings");
        for (own, other) in self.normal.iter_mut().zip(&other.normal) {
            *own += other;
        }
        for (own, other) in self.anomalous.iter_mut().zip(&other.anomalous) {
            own.pixels += other.pixels;
            own.overlap += other.overlap;
        }
        self.regions += other.regions;
    }

    /// Computes all metrics, AUPRO at each of the limits `max_fprs` on the false-positive rate.
    ///
    /// # Errors
    /// [`Undefined::Limit`] for a limit outside (0, 1].
    /// Metrics that the images leave undefined are errors inside the report.
    pub fn finish(&self, max_fprs: &[f64]) -> Result<HistogramReport, Undefined> {
        if let Some(&limit) = max_fprs.iter().find(|&&limit| !(limit > 0.0 && limit <= 1.0)) {
            return Err(Undefined::Limit(limit));
        }
        let normal = self.normal.iter().sum();
        let anomalous = self.anomalous.iter().map(|bin| bin.pixels).sum();
        let undefined = match (normal, anomalous) {
            (0, 0) => Undefined::Empty,
            (0, _) => Undefined::OnlyAnomalous,
            (_, 0) => Undefined::OnlyNormal,
            _ => {
                let (f1_max, threshold) = self.f1_max(anomalous);
                return Ok(HistogramReport {
                    auroc: Ok(self.auroc(normal, anomalous)),
                    average_precision: Ok(self.average_precision(anomalous)),
                    f1_max: Ok(f1_max),
                    f1_max_threshold: Ok(threshold),
                    aupro: max_fprs.iter().map(|&limit| Ok(self.aupro(normal, limit))).collect(),
                });
            }
        };
        Ok(HistogramReport {
            auroc: Err(undefined.clone()),
            average_precision: Err(undefined.clone()),
            f1_max: Err(undefined.clone()),
            f1_max_threshold: Err(undefined.clone()),
            aupro: vec![Err(without_region(undefined)); max_fprs.len()],
        })
    }

    /// A pair of scores within one bin counts one half; exactly it may count 0 or 1.
    fn auroc(&self, normal: u64, anomalous: u64) -> Bounded {
        let (mut pairs, mut tied) = (0u128, 0u128);
        self.descend(|above, bin| {
            let below = normal - above.normal - bin.normal;
            pairs += u128::from(bin.anomalous) * u128::from(2 * below + bin.normal);
            tied += u128::from(bin.anomalous) * u128::from(bin.normal);
        });
        let all = (2 * u128::from(normal) * u128::from(anomalous)) as f64;
        Bounded { value: pairs as f64 / all, error: tied as f64 / all + Self::ROUNDING }
    }

    fn average_precision(&self, anomalous: u64) -> Bounded {
        let (mut value, mut least, mut most) = (Sum::default(), Sum::default(), Sum::default());
        self.descend(|above, bin| {
            if bin.anomalous == 0 {
                return;
            }
            let (hits, added) = (above.anomalous as f64, bin.anomalous as f64);
            let (alarms, alarms_after) = (above.normal as f64, (above.normal + bin.normal) as f64);
            value.add(added * (hits + added) / (hits + added + alarms_after));
            // Best: all anomalous scores tie above the normal ones of the bin.
            most.add(added * (hits + added) / (hits + added + alarms));
            // Worst: one by one below them. The sum of (hits + i) / (hits + i + alarms_after) over i = 1..added is
            // bounded below by its integral.
            least.add(if alarms_after > 0.0 {
                added - alarms_after * (added / (hits + alarms_after)).ln_1p()
            } else {
                added
            });
        });
        let share = |sum: Sum| sum.value() / anomalous as f64;
        Self::within(share(least), share(value), share(most), 0.0)
    }

    fn f1_max(&self, anomalous: u64) -> (Bounded, f64) {
        let f1 = |hits: u64, alarms: u64| 2.0 * hits as f64 / (hits + alarms + anomalous) as f64;
        let (mut best, mut most, mut at, mut index) = (0.0, 0.0f64, 0, Self::BINS);
        self.descend(|above, bin| {
            index -= 1;
            let hits = above.anomalous + bin.anomalous;
            let value = f1(hits, above.normal + bin.normal);
            if value > best {
                (best, at) = (value, index);
            }
            most = most.max(f1(hits, above.normal));
        });
        let threshold =
            if at == 0 { f64::NEG_INFINITY } else { self.range.0 + at as f64 / self.bins_per_unit };
        (Self::within(best, best, most, 0.0), threshold)
    }

    /// Within a bin the curve runs from corner to corner of a rectangle; the diagonal is the value.
    fn aupro(&self, normal: u64, max_fpr: f64) -> Bounded {
        let (limit, one) = (max_fpr * normal as f64, Self::ONE as f64 * self.regions as f64);
        let (mut value, mut least, mut most) = (Sum::default(), Sum::default(), Sum::default());
        self.descend(|above, bin| {
            let width = (limit - above.normal as f64).min(bin.normal as f64);
            if width > 0.0 {
                let (low, rise) = (above.overlap as f64 / one, bin.overlap as f64 / one);
                least.add(low * width);
                most.add((low + rise) * width);
                value.add((low + rise * width / (2 * bin.normal) as f64) * width);
            }
        });
        let share = |sum: Sum| sum.value() / limit;
        Self::within(share(least), share(value), share(most), 1.0 / Self::ONE as f64)
    }

    /// Visits the bins from the top, with the sums over those above.
    fn descend(&self, mut visit: impl FnMut(&Counts, &Counts)) {
        let mut above = Counts::default();
        for (&normal, anomalous) in self.normal.iter().zip(&self.anomalous).rev() {
            let overlap = u128::from(anomalous.overlap);
            let bin = Counts { normal, anomalous: anomalous.pixels, overlap };
            visit(&above, &bin);
            above.normal += bin.normal;
            above.anomalous += bin.anomalous;
            above.overlap += bin.overlap;
        }
    }

    fn within(least: f64, value: f64, most: f64, fixed_point: f64) -> Bounded {
        Bounded { value, error: (most - value).max(value - least) + fixed_point + Self::ROUNDING }
    }
}

/// Counts of one bin, or of all bins above it.
#[derive(Default)]
struct Counts {
    normal: u64,
    anomalous: u64,
    overlap: u128,
}
