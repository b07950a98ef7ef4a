//! The JSON object.

use std::collections::BTreeMap;

use ::metrics::{Bounded, F1Max, HistogramReport, ImageRegions, PixelReport, Region, Undefined};
use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::Args;
use super::shard::{Pixels, Shard};

#[derive(Serialize)]
pub(crate) struct Output {
    image: Image,
    pixel: Pixel,
    /// The bound on the error of a histogram's metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<BTreeMap<&'static str, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regions: Option<Vec<Defect>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regions_by_image: Option<Vec<Defects>>,
    undefined: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Image {
    auroc: Option<f64>,
    ap: Option<f64>,
    f1_max: Option<f64>,
    f1_max_threshold: Option<f64>,
}

#[derive(Serialize)]
struct Pixel {
    auroc: Option<f64>,
    ap: Option<f64>,
    f1_max: Option<f64>,
    f1_max_threshold: Option<f64>,
    aupro: Option<f64>,
    aupro_peer: Option<f64>,
}

/// A region for `--regions`.
#[derive(Serialize)]
struct Defect {
    image: usize,
    row: usize,
    column: usize,
    area: u64,
    aupro: f64,
}

impl From<&Region> for Defect {
    fn from(region: &Region) -> Self {
        let (row, column) = region.start;
        Self { image: region.image, row, column, area: region.area, aupro: region.aupro[0] }
    }
}

/// The regions of an image for `--regions`.
#[derive(Serialize)]
struct Defects {
    image: usize,
    regions: usize,
    aupro: f64,
}

impl From<ImageRegions> for Defects {
    fn from(regions: ImageRegions) -> Self {
        Self { image: regions.image, regions: regions.regions, aupro: regions.aupro[0] }
    }
}

/// Named values, and why some of them are missing.
#[derive(Default)]
struct Values {
    undefined: BTreeMap<&'static str, String>,
    bounds: BTreeMap<&'static str, f64>,
}

impl Values {
    fn exact(&mut self, name: &'static str, result: Result<f64, Undefined>) -> Option<f64> {
        let reason = match result {
            Ok(value) if value.is_finite() => return Some(value),
            Ok(value) => format!("{value} is not a JSON number"),
            Err(reason) => reason.to_string(),
        };
        self.undefined.insert(name, reason);
        None
    }

    fn bounded(&mut self, name: &'static str, result: Result<Bounded, Undefined>) -> Option<f64> {
        if let Ok(bounded) = &result {
            self.bounds.insert(name, bounded.error);
        }
        self.exact(name, result.map(|bounded| bounded.value))
    }
}

impl Output {
    pub(crate) fn new(shard: Shard, args: &Args) -> Result<Self> {
        let mut values = Values::default();
        let image = match shard.images {
            Ok(images) => images.finish(&[])?,
            Err(undefined) => PixelReport::undefined(undefined, 0),
        };
        let image = Image {
            auroc: values.exact("image.auroc", image.auroc),
            ap: values.exact("image.ap", image.average_precision),
            f1_max_threshold: values.exact("image.f1_max_threshold", threshold(&image.f1_max)),
            f1_max: values.exact("image.f1_max", image.f1_max.map(|best| best.value)),
        };
        let limits = [args.max_fpr];
        let report = match shard.pixels {
            Ok(Pixels::Single(pixels)) => pixels.finish(&limits),
            Ok(Pixels::Double(pixels)) => pixels.finish(&limits),
            Ok(Pixels::Histogram(pixels)) => {
                ensure!(!args.regions, "--regions: a histogram does not keep regions apart");
                let report = pixels.finish(&limits).context("--max-fpr")?;
                let pixel = Pixel::bounded(report, &mut values);
                let Values { undefined, bounds } = values;
                let bounds = Some(bounds);
                return Ok(Self {
                    image,
                    pixel,
                    bounds,
                    regions: None,
                    regions_by_image: None,
                    undefined,
                });
            }
            Err(undefined) => Ok(PixelReport::undefined(undefined, 1)),
        };
        let report = report.context("--max-fpr")?;
        let regions = args.regions.then(|| report.regions.iter().map(Defect::from).collect());
        let regions_by_image =
            args.regions.then(|| report.by_image().into_iter().map(Defects::from).collect());
        let pixel = Pixel::exact(report, &mut values);
        let undefined = values.undefined;
        Ok(Self { image, pixel, bounds: None, regions, regions_by_image, undefined })
    }
}

impl Pixel {
    fn exact(report: PixelReport, values: &mut Values) -> Self {
        Self {
            auroc: values.exact("pixel.auroc", report.auroc),
            ap: values.exact("pixel.ap", report.average_precision),
            f1_max_threshold: values.exact("pixel.f1_max_threshold", threshold(&report.f1_max)),
            f1_max: values.exact("pixel.f1_max", report.f1_max.map(|best| best.value)),
            aupro: values.exact("pixel.aupro", report.aupro[0].clone()),
            aupro_peer: values.exact("pixel.aupro_peer", report.aupro_peer),
        }
    }

    fn bounded(report: HistogramReport, values: &mut Values) -> Self {
        let reason = "its thresholds are not those of the histogram".to_owned();
        values.undefined.insert("pixel.aupro_peer", reason);
        Self {
            auroc: values.bounded("pixel.auroc", report.auroc),
            ap: values.bounded("pixel.ap", report.average_precision),
            f1_max: values.bounded("pixel.f1_max", report.f1_max),
            f1_max_threshold: values.exact("pixel.f1_max_threshold", report.f1_max_threshold),
            aupro: values.bounded("pixel.aupro", report.aupro[0].clone()),
            aupro_peer: None,
        }
    }
}

fn threshold(best: &Result<F1Max, Undefined>) -> Result<f64, Undefined> {
    best.clone().map(|best| best.threshold)
}
