mod store;
mod without;

use ndarray::{ArrayView2, ArrayView3, Axis, Slice};
use rayon::prelude::*;

use crate::counts::Shared;
use crate::curve::{Coarse, Curve};
use crate::overlap::{MeanOverlap, Overlap, Peer, mean};
use crate::ranking::{Ranking, same_shape, slice};
use crate::regions::Regions;
use crate::score::{Range, Score, range, union};
use crate::sweep::Sweep;
use crate::{Connectivity, F1Max, Undefined};

/// Exact metrics of anomaly maps, fed image by image.
///
/// Normal pixels cost about two bytes each at most, and less the more there are of them; anomalous pixels cost eight.
/// `f64` scores cost eight bytes a normal and sixteen an anomalous pixel.
/// The result does not depend on the order of the images, on how they are spread over accumulators that are merged,
/// or on the number of threads.
///
/// # Example
/// ```
/// use anomaly_metrics::{Connectivity, PixelMetrics};
/// use ndarray::array;
///
/// let mut pixels = PixelMetrics::new(Connectivity::Eight);
/// pixels.add(array![[0.1f32, 0.2], [0.3, 0.9]].view(), array![[false, false], [false, true]].view())?;
/// pixels.add(array![[0.4f32, 0.2], [0.1, 0.2]].view(), array![[true, false], [false, false]].view())?;
/// let report = pixels.finish(&[0.3])?;
/// assert_eq!(report.auroc, Ok(1.0));
/// assert_eq!(report.aupro[0], Ok(1.0));
/// assert_eq!(report.regions.len(), 2);
/// # Ok::<(), anomaly_metrics::Undefined>(())
/// ```
pub struct PixelMetrics<S: Score> {
    connectivity: Connectivity,
    normal: Shared<S::Key>,
    /// Key and region of every anomalous pixel.
    anomalous: Vec<(S::Key, u32)>,
    regions: Vec<Placed>,
    images: usize,
    /// Lowest and highest score.
    range: Range<S::Key>,
}

/// A region before it is rated.
struct Placed {
    image: usize,
    /// First pixel in row order.
    start: (usize, usize),
    area: u64,
}

/// All pixel metrics of a set of images.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelReport {
    /// Area under the ROC curve, as [`auroc`](crate::auroc) of all pixels.
    pub auroc: Result<f64, Undefined>,
    /// Average precision, as [`average_precision`](crate::average_precision) of all pixels.
    pub average_precision: Result<f64, Undefined>,
    /// Largest F1, as [`f1_max`](crate::f1_max) of all pixels.
    pub f1_max: Result<F1Max, Undefined>,
    /// Area under the per-region overlap curve for each limit, as [`aupro`](crate::aupro).
    pub aupro: Vec<Result<f64, Undefined>>,
    /// The peers' variant, as [`aupro_peer`](crate::aupro_peer).
    pub aupro_peer: Result<f64, Undefined>,
    /// The PRO curve for plots: at most a few points every 1/512 of either axis, from (0, 0); empty
    /// where AUPRO is undefined. [`pro_curve`](crate::pro_curve) has every point.
    pub pro: Curve,
    /// Every anomalous region, by image and first pixel; empty where AUPRO is undefined.
    pub regions: Vec<Region>,
}

/// A connected anomalous region and how well it is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Number of its image, counted from 0 in the order of addition.
    pub image: usize,
    /// Row and column of its first pixel in row order.
    pub start: (usize, usize),
    /// Number of pixels.
    pub area: u64,
    /// For each limit, the area under the region's own overlap curve divided by the limit, in [0, 1].
    /// Their mean over all regions is AUPRO: 0 marks a defect that is missed entirely.
    pub aupro: Vec<f64>,
}

/// What some images add.
struct Part<K> {
    anomalous: Vec<(K, u32)>,
    regions: Vec<Placed>,
    range: Range<K>,
}

impl<S: Score> PixelMetrics<S> {
    /// Makes an empty accumulator.
    pub fn new(connectivity: Connectivity) -> Self {
        Self {
            connectivity,
            normal: Shared::default(),
            anomalous: Vec::new(),
            regions: Vec::new(),
            images: 0,
            range: None,
        }
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
    /// [`Undefined`] for NaN or different shapes; the image is then left out as a whole.
    pub fn add(
        &mut self,
        map: ArrayView2<'_, S>,
        mask: ArrayView2<'_, bool>,
    ) -> Result<(), Undefined> {
        same_shape(map.shape(), mask.shape())?;
        let (map, mask) = (map.insert_axis(Axis(0)), mask.insert_axis(Axis(0)));
        let part = self.split(self.images, map, mask)?;
        self.append(part);
        self.images += 1;
        Ok(())
    }

    /// Adds several images, in parallel.
    ///
    /// # Shapes
    /// - maps, masks: `[n, height, width]`; `true` marks an anomalous pixel
    ///
    /// # Errors
    /// [`Undefined`] for NaN or different shapes; with a NaN, some of the other images may have been counted.
    ///
    /// # Example
    /// ```
    /// use anomaly_metrics::{Connectivity, PixelMetrics};
    /// use ndarray::array;
    ///
    /// let maps = array![[[0.1f64, 0.9]], [[0.3, 0.2]]];
    /// let masks = array![[[false, true]], [[false, false]]];
    /// let mut pixels = PixelMetrics::new(Connectivity::Eight);
    /// pixels.add_all(maps.view(), masks.view())?;
    /// assert_eq!(pixels.finish(&[])?.f1_max?.threshold, 0.9);
    /// # Ok::<(), anomaly_metrics::Undefined>(())
    /// ```
    pub fn add_all(
        &mut self,
        maps: ArrayView3<'_, S>,
        masks: ArrayView3<'_, bool>,
    ) -> Result<(), Undefined> {
        /// Pixels that make a task worth its while: smaller images go together.
        const TASK: usize = 1 << 16;
        same_shape(maps.shape(), masks.shape())?;
        let (images, height, width) = maps.dim();
        let together = (TASK / (height * width).max(1)).max(1);
        let split = |first: usize| {
            let some = Slice::from(first..images.min(first + together));
            let (maps, masks) = (maps.slice_axis(Axis(0), some), masks.slice_axis(Axis(0), some));
            self.split(self.images + first, maps, masks)
        };
        let parts = if images <= together {
            vec![split(0)?]
        } else {
            let firsts = (0..images.div_ceil(together)).into_par_iter();
            firsts.map(|part| split(part * together)).collect::<Result<_, _>>()?
        };
        for part in parts {
            self.append(part);
        }
        self.images += images;
        Ok(())
    }

    /// Counts the normal pixels of images and lists the anomalous ones by region.
    fn split(
        &self,
        first: usize,
        maps: ArrayView3<'_, S>,
        masks: ArrayView3<'_, bool>,
    ) -> Result<Part<S::Key>, Undefined> {
        let (_, height, width) = maps.dim();
        let (maps, masks) = (maps.as_standard_layout(), masks.as_standard_layout());
        let scores = slice(&maps);
        let place = |row: usize| (first + row / height, row % height);
        let range = range(scores).map_err(|at| {
            let (image, row) = place(at / width);
            Undefined::NotANumber { index: vec![image, row, at % width] }
        })?;
        let found = Regions::of_images(slice(&masks), (height, width), self.connectivity);
        let mut regions: Vec<Placed> = Vec::with_capacity(found.count);
        let mut anomalous = Vec::new();
        self.normal.fill(|normal| {
            let mut position = 0;
            for run in &found.runs {
                let (start, end) = (run.row * width + run.start, run.row * width + run.end);
                normal.extend(scores[position..start].iter().map(|score| score.key()));
                position = end;
                if run.region == regions.len() {
                    let (image, row) = place(run.row);
                    regions.push(Placed { image, start: (row, run.start), area: 0 });
                }
                regions[run.region].area += (end - start) as u64;
                let region = run.region as u32;
                anomalous.extend(scores[start..end].iter().map(|score| (score.key(), region)));
            }
            normal.extend(scores[position..].iter().map(|score| score.key()));
        });
        Ok(Part { anomalous, regions, range })
    }

    fn append(&mut self, Part { anomalous, regions, range }: Part<S::Key>) {
        let first = self.regions.len() as u32;
        self.anomalous.extend(anomalous.into_iter().map(|(key, region)| (key, first + region)));
        self.regions.extend(regions);
        self.range = union::<S>(self.range, range);
    }

    /// Adds all images of another accumulator after those of this one.
    ///
    /// # Panics
    /// If the two differ in connectivity.
    ///
    /// # Example
    /// ```
    /// use anomaly_metrics::{Connectivity, PixelMetrics};
    /// use ndarray::array;
    ///
    /// let mut first = PixelMetrics::new(Connectivity::Eight);
    /// first.add(array![[0.1f64, 0.9]].view(), array![[false, true]].view())?;
    /// let mut second = PixelMetrics::new(Connectivity::Eight);
    /// second.add(array![[0.3, 0.2]].view(), array![[false, true]].view())?;
    /// first.merge(second);
    /// assert_eq!(first.finish(&[])?.auroc, Ok(0.75));
    /// # Ok::<(), anomaly_metrics::Undefined>(())
    /// ```
    pub fn merge(&mut self, mut other: Self) {
        assert_eq!(self.connectivity, other.connectivity, "merge: expected the same connectivity");
        other.regions.iter_mut().for_each(|region| region.image += self.images);
        let Self { anomalous, regions, range, normal, images, .. } = other;
        self.append(Part { anomalous, regions, range });
        self.normal.merge(normal);
        self.images += images;
    }

    /// Computes all metrics, AUPRO at each of the limits `max_fprs` on the false-positive rate.
    ///
    /// # Errors
    /// [`Undefined::Limit`] for a limit outside (0, 1].
    /// Metrics that the images leave undefined are errors inside the report.
    ///
    /// # Example
    /// ```
    /// use anomaly_metrics::{Connectivity, PixelMetrics, Undefined};
    /// use ndarray::array;
    ///
    /// let mut pixels = PixelMetrics::new(Connectivity::Eight);
    /// pixels.add(array![[0.1f64, 0.9]].view(), array![[false, false]].view())?;
    /// let report = pixels.finish(&[0.3, 1.0])?;
    /// assert_eq!(report.auroc, Err(Undefined::OnlyNormal));
    /// assert_eq!(report.aupro, [Err(Undefined::NoRegion), Err(Undefined::NoRegion)]);
    /// # Ok::<(), anomaly_metrics::Undefined>(())
    /// ```
    pub fn finish(mut self, max_fprs: &[f64]) -> Result<PixelReport, Undefined> {
        if let Some(&limit) = max_fprs.iter().find(|&&limit| !(limit > 0.0 && limit <= 1.0)) {
            return Err(Undefined::Limit(limit));
        }
        let regions = std::mem::take(&mut self.regions);
        let range = self.range;
        Ok(match self.into_ranking() {
            Ok(ranking) => Self::rate(ranking, regions, range, max_fprs),
            Err(undefined) => PixelReport::undefined(undefined, max_fprs.len()),
        })
    }

    fn into_ranking(self) -> Result<Ranking<S::Key, u32>, Undefined> {
        Ranking { normal: self.normal.into_tally(), anomalous: self.anomalous }.check()
    }

    pub(crate) fn into_curve(self) -> Result<Curve, Undefined> {
        let areas: Vec<u64> = self.regions.iter().map(|region| region.area).collect();
        let mut overlap = MeanOverlap::new(&areas);
        let ranking = self.into_ranking().map_err(without_region)?;
        Ok(Curve::over_fpr::<S, u32>(ranking, |tie| {
            overlap.visit(tie);
            overlap.value()
        }))
    }

    fn rate(
        ranking: Ranking<S::Key, u32>,
        regions: Vec<Placed>,
        range: Range<S::Key>,
        max_fprs: &[f64],
    ) -> PixelReport {
        let normal = ranking.normal.total();
        let areas: Vec<u64> = regions.iter().map(|region| region.area).collect();
        let range = range.map_or((0.0, 0.0), |(low, high)| (S::from_key(low), S::from_key(high)));
        let mut sweep = Sweep::new(normal, ranking.anomalous.len() as u64);
        let mut peer = Peer::new(normal, &areas);
        let mut overlap = Overlap::new(normal, areas, max_fprs);
        let (mut pro, mut reached, mut height) = (Coarse::default(), 0, 0.0);
        let fpr = |count: u64| count as f64 / normal as f64;
        pro.push(0.0, height, f64::INFINITY);
        ranking.descend(Peer::thresholds::<S>(range), |tie| {
            peer.visit(&tie);
            if tie.anomalous.is_empty() {
                return;
            }
            sweep.visit(&tie);
            overlap.visit(&tie);
            let threshold = S::from_key(tie.key);
            if tie.above > reached {
                pro.push(fpr(tie.above), height, threshold.next_up());
            }
            height = peer.overlap();
            reached = tie.above + tie.equal;
            pro.push(fpr(reached), height, threshold);
        });
        pro.push(1.0, height, f64::NEG_INFINITY);
        let shares = overlap.finish();
        let rated = |(index, region): (usize, Placed)| Region {
            image: region.image,
            start: region.start,
            area: region.area,
            aupro: shares.iter().map(|shares| shares[index]).collect(),
        };
        PixelReport {
            auroc: Ok(sweep.auroc()),
            average_precision: Ok(sweep.average_precision()),
            f1_max: Ok(sweep.f1_max::<S>()),
            aupro: shares.iter().map(|shares| Ok(mean(shares))).collect(),
            aupro_peer: peer.finish(),
            pro: pro.finish(),
            regions: regions.into_iter().enumerate().map(rated).collect(),
        }
    }
}

/// How well the regions of one image are found.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRegions {
    /// Number of the image, counted from 0 in the order of addition.
    pub image: usize,
    /// Number of its regions.
    pub regions: usize,
    /// For each limit, the mean over its regions of [`Region::aupro`], in [0, 1].
    /// AUPRO is the mean of these over the images, weighted by `regions`.
    pub aupro: Vec<f64>,
}

impl PixelReport {
    /// The regions summed up by image, for images that have any.
    ///
    /// # Example
    /// ```
    /// use anomaly_metrics::{Connectivity, PixelMetrics};
    /// use ndarray::array;
    ///
    /// let mut pixels = PixelMetrics::new(Connectivity::Eight);
    /// let mask = array![[true, false, false, true]];
    /// pixels.add(array![[0.9f32, 0.3, 0.4, 0.1]].view(), mask.view())?; // finds one of two
    /// let report = pixels.finish(&[1.0])?;
    /// assert_eq!(report.regions[1].aupro, [0.0]);
    /// assert_eq!(report.by_image()[0].aupro, [0.5]);
    /// # Ok::<(), anomaly_metrics::Undefined>(())
    /// ```
    pub fn by_image(&self) -> Vec<ImageRegions> {
        let images = self.regions.chunk_by(|left, right| left.image == right.image);
        let sum_up = |regions: &[Region]| {
            let limits = 0..regions[0].aupro.len();
            let share =
                |limit| mean(&regions.iter().map(|region| region.aupro[limit]).collect::<Vec<_>>());
            let aupro = limits.map(share).collect();
            ImageRegions { image: regions[0].image, regions: regions.len(), aupro }
        };
        images.map(sum_up).collect()
    }

    /// A report without a number, for `limits` limits of AUPRO.
    pub fn undefined(undefined: Undefined, limits: usize) -> Self {
        let overlap = without_region(undefined.clone());
        Self {
            auroc: Err(undefined.clone()),
            average_precision: Err(undefined.clone()),
            f1_max: Err(undefined),
            aupro: vec![Err(overlap.clone()); limits],
            aupro_peer: Err(overlap),
            pro: Curve::default(),
            regions: Vec::new(),
        }
    }
}

/// Says what a metric of regions lacks.
pub(crate) fn without_region(undefined: Undefined) -> Undefined {
    match undefined {
        Undefined::OnlyNormal => Undefined::NoRegion,
        other => other,
    }
}
