mod store;

use ndarray::{ArrayView2, ArrayView3, Axis};
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
/// use metrics::{Connectivity, PixelMetrics};
/// use ndarray::array;
///
/// let mut pixels = PixelMetrics::new(Connectivity::Eight);
/// pixels.add(array![[0.1f32, 0.2], [0.3, 0.9]].view(), array![[false, false], [false, true]].view())?;
/// pixels.add(array![[0.4f32, 0.2], [0.1, 0.2]].view(), array![[true, false], [false, false]].view())?;
/// let report = pixels.finish(&[0.3])?;
/// assert_eq!(report.auroc, Ok(1.0));
/// assert_eq!(report.aupro[0], Ok(1.0));
/// assert_eq!(report.regions.len(), 2);
/// # Ok::<(), metrics::Undefined>(())
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

/// What one image adds.
struct Image<K> {
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
        let image = self.split(self.images, map, mask)?;
        self.append(image.anomalous, image.regions, image.range);
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
    pub fn add_all(
        &mut self,
        maps: ArrayView3<'_, S>,
        masks: ArrayView3<'_, bool>,
    ) -> Result<(), Undefined> {
        same_shape(maps.shape(), masks.shape())?;
        if maps.len_of(Axis(0)) == 1 {
            return self.add(maps.index_axis(Axis(0), 0), masks.index_axis(Axis(0), 0));
        }
        /// Pixels that make a task worth its while.
        const TASK: usize = 1 << 16;
        let size = (maps.len_of(Axis(1)) * maps.len_of(Axis(2))).max(1);
        let images: Vec<Image<S::Key>> = (0..maps.len_of(Axis(0)))
            .into_par_iter()
            .with_min_len((TASK / size).max(1))
            .map(|image| {
                let (map, mask) =
                    (maps.index_axis(Axis(0), image), masks.index_axis(Axis(0), image));
                self.split(self.images + image, map, mask)
            })
            .collect::<Result<_, _>>()?;
        for image in images {
            self.append(image.anomalous, image.regions, image.range);
        }
        self.images += maps.len_of(Axis(0));
        Ok(())
    }

    /// Counts the normal pixels of an image and lists the anomalous ones by region.
    fn split(
        &self,
        image: usize,
        map: ArrayView2<'_, S>,
        mask: ArrayView2<'_, bool>,
    ) -> Result<Image<S::Key>, Undefined> {
        let width = map.ncols();
        let map = map.as_standard_layout();
        let scores = slice(&map);
        let nan = |at| Undefined::NotANumber { index: vec![image, at / width, at % width] };
        let range = range(scores).map_err(nan)?;
        let found = Regions::new(mask, self.connectivity);
        let mut regions: Vec<Placed> = Vec::with_capacity(found.count);
        let mut anomalous = Vec::new();
        self.normal.fill(|normal| {
            let mut position = 0;
            for run in &found.runs {
                let (start, end) = (run.row * width + run.start, run.row * width + run.end);
                normal.extend(scores[position..start].iter().map(|score| score.key()));
                position = end;
                if run.region == regions.len() {
                    regions.push(Placed { image, start: (run.row, run.start), area: 0 });
                }
                regions[run.region].area += (end - start) as u64;
                let region = run.region as u32;
                anomalous.extend(scores[start..end].iter().map(|score| (score.key(), region)));
            }
            normal.extend(scores[position..].iter().map(|score| score.key()));
        });
        Ok(Image { anomalous, regions, range })
    }

    fn append(
        &mut self,
        anomalous: Vec<(S::Key, u32)>,
        regions: Vec<Placed>,
        range: Range<S::Key>,
    ) {
        let first = self.regions.len() as u32;
        self.anomalous.extend(anomalous.into_iter().map(|(key, region)| (key, first + region)));
        self.regions.extend(regions);
        self.range = union::<S>(self.range, range);
    }

    /// Adds all images of another accumulator after those of this one.
    ///
    /// # Panics
    /// If the two differ in connectivity.
    pub fn merge(&mut self, mut other: Self) {
        assert_eq!(self.connectivity, other.connectivity, "merge: expected the same connectivity");
        other.regions.iter_mut().for_each(|region| region.image += self.images);
        self.append(other.anomalous, other.regions, other.range);
        self.normal.merge(other.normal);
        self.images += other.images;
    }

    /// Computes all metrics, AUPRO at each of the limits `max_fprs` on the false-positive rate.
    ///
    /// # Errors
    /// [`Undefined::Limit`] for a limit outside (0, 1].
    /// Metrics that the images leave undefined are errors inside the report.
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
        let mut peer = Peer::new::<S>(normal, &areas, range);
        let mut overlap = Overlap::new(normal, areas, max_fprs);
        let (mut pro, mut reached) = (Coarse::default(), 0);
        let fpr = |count: u64| count as f64 / normal as f64;
        pro.push(0.0, 0.0, f64::INFINITY);
        ranking.descend(peer.thresholds(), |tie| {
            sweep.visit(&tie);
            overlap.visit(&tie);
            if tie.above > reached {
                pro.push(fpr(tie.above), peer.overlap(), S::from_key(tie.key).next_up());
            }
            peer.visit(&tie);
            reached = tie.above + tie.equal;
            pro.push(fpr(reached), peer.overlap(), S::from_key(tie.key));
        });
        pro.push(1.0, peer.overlap(), f64::NEG_INFINITY);
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
