//! `fe-clip metrics`: the metrics of anomaly maps in `.npy` files.

mod measure;
mod npy;
mod output;
mod shard;

use std::path::PathBuf;

use anyhow::Result;

use crate::protect::Protected;
use crate::stdout;
use measure::measure;
use output::Output;
use shard::Shard;

/// Measure anomaly maps from `.npy` files: AUROC, average precision, F1-max and AUPRO, exactly.
///
/// The files are memory-mapped and must not change meanwhile.
/// Prints one JSON object; a metric that is undefined is null, with the reason under `undefined`.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    fe-clip metrics --maps maps.npy --masks masks.npy --scores scores.npy --labels labels.npy")]
pub(crate) struct Args {
    /// Anomaly maps: float16, float32 or float64, [N, H, W].
    #[arg(long, value_name = "M.npy", required_unless_present = "merge", requires = "masks")]
    maps: Option<PathBuf>,
    /// Masks: bool or integers, [N, H, W]; what is not 0 is anomalous.
    #[arg(long, value_name = "G.npy", requires = "maps")]
    masks: Option<PathBuf>,
    /// Image scores, [N]; without them, the maximum of each map.
    #[arg(long, value_name = "S.npy", requires = "labels")]
    scores: Option<PathBuf>,
    /// Image labels: bool or integers, [N]; without them, whether a mask has any anomalous pixel.
    #[arg(long, value_name = "L.npy", requires = "scores")]
    labels: Option<PathBuf>,
    /// Limit of AUPRO on the false-positive rate, in (0, 1].
    #[arg(long, default_value_t = 0.3, value_parser = rate)]
    max_fpr: f64,
    /// List every anomalous region with its own AUPRO, and their mean in each image: low values are missed defects.
    #[arg(long, conflicts_with = "histogram")]
    regions: bool,
    /// Count the pixels in 786432 bins from LOW to HIGH, by default the lowest and highest score: 19 MB for any number of pixels.
    /// The exact value of each metric lies within what is printed for it under `bounds`.
    #[arg(
        long,
        value_name = "LOW,HIGH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        value_parser = bins,
        allow_hyphen_values = true
    )]
    histogram: Option<Bins>,
    /// Also save the counts, so that they can be merged with those of other images.
    #[arg(long, value_name = "FILE")]
    partial: Option<PathBuf>,
    /// Instead of arrays, take what was saved with `--partial`, the images in the order of the files.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 1..,
        conflicts_with_all = ["maps", "masks", "scores", "labels", "histogram"]
    )]
    merge: Vec<PathBuf>,
}

/// The range of a histogram.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Bins {
    /// From the lowest to the highest score.
    Found,
    Given(f64, f64),
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 1.0 => Ok(rate),
        _ => Err("not in (0, 1]".to_owned()),
    }
}

fn bins(text: &str) -> Result<Bins, String> {
    if text.is_empty() {
        return Ok(Bins::Found);
    }
    let ends = text.split_once(',').and_then(|(low, high)| {
        let ends: (f64, f64) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        (ends.0 < ends.1 && (ends.1 - ends.0).is_normal()).then_some(ends)
    });
    ends.map(|(low, high)| Bins::Given(low, high))
        .ok_or_else(|| "expected two numbers, the lower first, as in 0,1".to_owned())
}

/// Runs the command; false if a NaN left metrics undefined.
pub(crate) fn run(args: &Args) -> Result<bool> {
    if let Some(path) = &args.partial {
        let arrays = [&args.maps, &args.masks, &args.scores, &args.labels].into_iter().flatten();
        Protected::new(arrays.chain(&args.merge).map(PathBuf::as_path)).check(path)?;
    }
    let shard = match (&args.maps, &args.masks) {
        (Some(maps), Some(masks)) => measure(args, maps, masks)?,
        _ => Shard::merge(&args.merge)?,
    };
    let shard = match &args.partial {
        Some(path) => shard.save(path)?,
        None => shard,
    };
    let complete = !shard.has_nan();
    let output = Output::new(shard, args)?;
    stdout::print(serde_json::to_string_pretty(&output)? + "\n")?;
    Ok(complete)
}
