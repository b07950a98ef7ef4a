//! `fe-clip metrics`: the metrics of anomaly maps in `.npy` files.

mod npy;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

use ::metrics::{Connectivity, F1Max, PixelMetrics, PixelReport, Region, Score, Undefined};
use anyhow::{Context, Result, ensure};
use ndarray::{Array1, ArrayView1, ArrayView3};
use serde::Serialize;

use npy::{Element, Npy};

/// Measure anomaly maps from `.npy` files: AUROC, average precision, F1-max and AUPRO, exactly.
///
/// The files are memory-mapped and must not change meanwhile.
/// Prints one JSON object; a metric that is undefined is null, with the reason under `undefined`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Anomaly maps: float16, float32 or float64, [N, H, W].
    #[arg(long, value_name = "M.npy")]
    maps: PathBuf,
    /// Masks: bool or uint8, [N, H, W]; what is not 0 is anomalous.
    #[arg(long, value_name = "G.npy")]
    masks: PathBuf,
    /// Image scores, [N]; without them, the maximum of each map.
    #[arg(long, value_name = "S.npy", requires = "labels")]
    scores: Option<PathBuf>,
    /// Image labels: bool or uint8, [N]; without them, whether a mask has any anomalous pixel.
    #[arg(long, value_name = "L.npy", requires = "scores")]
    labels: Option<PathBuf>,
    /// Limit of AUPRO on the false-positive rate, in (0, 1].
    #[arg(long, default_value_t = 0.3, value_parser = rate)]
    max_fpr: f64,
    /// List every anomalous region with its own AUPRO: low values are missed defects.
    #[arg(long)]
    regions: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 1.0 => Ok(rate),
        _ => Err("not in (0, 1]".to_owned()),
    }
}

#[derive(Serialize)]
struct Output {
    image: Image,
    pixel: Pixel,
    #[serde(skip_serializing_if = "Option::is_none")]
    regions: Option<Vec<Defect>>,
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

impl From<Region> for Defect {
    fn from(region: Region) -> Self {
        let (row, column) = region.start;
        Self { image: region.image, row, column, area: region.area, aupro: region.aupro[0] }
    }
}

/// Metrics of the images as a whole.
struct ImageReport {
    auroc: Result<f64, Undefined>,
    average_precision: Result<f64, Undefined>,
    f1_max: Result<F1Max, Undefined>,
}

impl ImageReport {
    fn new<S: Score>(scores: ArrayView1<'_, S>, labels: ArrayView1<'_, bool>) -> Self {
        Self {
            auroc: ::metrics::auroc(scores, labels),
            average_precision: ::metrics::average_precision(scores, labels),
            f1_max: ::metrics::f1_max(scores, labels),
        }
    }

    fn undefined(undefined: Undefined) -> Self {
        Self {
            auroc: Err(undefined.clone()),
            average_precision: Err(undefined.clone()),
            f1_max: Err(undefined),
        }
    }
}

/// Runs the command; false if a NaN left metrics undefined.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let (maps, masks) = (Npy::open(&args.maps)?, Npy::open(&args.masks)?);
    let (pixel, mut image) = match maps.element {
        Element::Double => measure(&maps, &masks, Npy::doubles, args.max_fpr)?,
        _ => measure(&maps, &masks, Npy::singles, args.max_fpr)?,
    };
    if let (Some(scores), Some(labels)) = (&args.scores, &args.labels) {
        image = measure_images(&Npy::open(scores)?, &Npy::open(labels)?)?;
    }
    let complete = ![&pixel.auroc, &image.auroc]
        .into_iter()
        .any(|value| matches!(value, Err(Undefined::NotANumber { .. })));
    let output = Output::new(image, pixel, args.regions);
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut stdout, &output)?;
    writeln!(stdout)?;
    Ok(complete)
}

/// Measures the pixels, and the images by the maximum of each map.
fn measure<'a, S: Score + PartialOrd>(
    maps: &'a Npy,
    masks: &Npy,
    read: impl Fn(&'a Npy, Range<usize>) -> Cow<'a, [S]>,
    max_fpr: f64,
) -> Result<(PixelReport, ImageReport)>
where
    [S]: ToOwned<Owned = Vec<S>>,
{
    maps.require(true)?;
    masks.require(false)?;
    let [images, height, width] = maps.shape()?;
    ensure!(
        masks.shape()? == [images, height, width],
        "{}: maps of shape {:?} do not fit masks of shape {:?}",
        maps.path.display(),
        [images, height, width],
        masks.shape::<3>()?
    );
    let size = height * width;
    let mut pixels = PixelMetrics::new(Connectivity::Eight);
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    // One image for each thread at a time, so that memory does not grow with the images.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for first in (0..images).step_by(threads) {
        let count = threads.min(images - first);
        let range = first * size..(first + count) * size;
        let (map, mask) = (read(maps, range.clone()), masks.truths(range));
        let added = pixels.add_all(
            ArrayView3::from_shape((count, height, width), &map)?,
            ArrayView3::from_shape((count, height, width), &mask)?,
        );
        if let Err(undefined) = added {
            return Ok((
                PixelReport::undefined(undefined.clone(), 1),
                ImageReport::undefined(undefined),
            ));
        }
        for (map, mask) in map.chunks(size.max(1)).zip(mask.chunks(size.max(1))) {
            scores.extend(greatest(map));
            labels.push(mask.contains(&true));
        }
    }
    let image = ImageReport::new(ArrayView1::from(&scores), ArrayView1::from(&labels));
    let report = pixels.finish(&[max_fpr]).context("--max-fpr")?;
    Ok((report, image))
}

/// The greatest of some scores, in lanes that the processor compares at once.
fn greatest<S: Copy + PartialOrd>(scores: &[S]) -> Option<S> {
    let greater = |left: S, right: S| if right > left { right } else { left };
    let (chunks, rest) = scores.as_chunks::<16>();
    let mut lanes = [*scores.first()?; 16];
    for chunk in chunks {
        for (lane, &score) in lanes.iter_mut().zip(chunk) {
            *lane = greater(*lane, score);
        }
    }
    lanes.iter().chain(rest).copied().reduce(greater)
}

fn measure_images(scores: &Npy, labels: &Npy) -> Result<ImageReport> {
    scores.require(true)?;
    labels.require(false)?;
    let ([count], [labelled]) = (scores.shape()?, labels.shape()?);
    ensure!(
        count == labelled,
        "{}: {count} scores do not fit {labelled} labels",
        scores.path.display()
    );
    let labels = Array1::from(labels.truths(0..count));
    Ok(match scores.element {
        Element::Double => {
            ImageReport::new(ArrayView1::from(&*scores.doubles(0..count)), labels.view())
        }
        _ => ImageReport::new(ArrayView1::from(&*scores.singles(0..count)), labels.view()),
    })
}

impl Output {
    fn new(image: ImageReport, pixel: PixelReport, regions: bool) -> Self {
        let mut undefined = BTreeMap::new();
        let mut value = |name, result: Result<f64, Undefined>| match result {
            Ok(value) if value.is_finite() => Some(value),
            Ok(value) => {
                undefined.insert(name, format!("{value} is not a JSON number"));
                None
            }
            Err(reason) => {
                undefined.insert(name, reason.to_string());
                None
            }
        };
        let threshold = |best: &Result<F1Max, Undefined>| best.clone().map(|best| best.threshold);
        let f1 = |best: Result<F1Max, Undefined>| best.map(|best| best.value);
        Self {
            image: Image {
                auroc: value("image.auroc", image.auroc),
                ap: value("image.ap", image.average_precision),
                f1_max_threshold: value("image.f1_max_threshold", threshold(&image.f1_max)),
                f1_max: value("image.f1_max", f1(image.f1_max)),
            },
            pixel: Pixel {
                auroc: value("pixel.auroc", pixel.auroc),
                ap: value("pixel.ap", pixel.average_precision),
                f1_max_threshold: value("pixel.f1_max_threshold", threshold(&pixel.f1_max)),
                f1_max: value("pixel.f1_max", f1(pixel.f1_max)),
                aupro: value("pixel.aupro", pixel.aupro[0].clone()),
                aupro_peer: value("pixel.aupro_peer", pixel.aupro_peer),
            },
            regions: regions.then(|| pixel.regions.into_iter().map(Defect::from).collect()),
            undefined,
        }
    }
}
