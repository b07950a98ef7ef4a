//! `fe-clip calibrate`: thresholds from normal images alone.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Context, bail};
use fe_clip::{
    Calibration, Calibrations, Error, Failed, NormalImage, Scores, ZoneThresholds, Zones,
    images_needed,
};

use crate::model::ModelArgs;
use crate::protect::Protected;
use crate::scope::ScopeArgs;
use crate::talk::{self, Progress};
use crate::{normals, stdout};

/// Set thresholds at a wanted false-alarm rate from normal images alone.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip calibrate --normals good-parts/ --out calibration.json\n  \
    fe-clip detect parts/ --calibration calibration.json --out results\n  \
    fe-clip calibrate --add calibration.json --normals more/ --out calibration.json\n  \
    fe-clip calibrate --normals good-gears/ --category gear --out line-3.json\n  \
    fe-clip detect gears/ --calibration line-3.json --category gear\n  \
    fe-clip calibrate --normals good-parts/ --zones zones.json --out calibration.json\n  \
    fe-clip calibrate --normals good-parts/ --shots 4 --out calibration.json\n  \
    fe-clip detect parts/ --normals good-parts/ --calibration calibration.json")]
pub(crate) struct Args {
    /// Folder of normal images like those that will be inspected.
    #[arg(long, value_name = "DIR")]
    normals: PathBuf,
    /// The calibration to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The kind of thing on the normal images: --out holds its thresholds under this name, beside
    /// those of others that are in the file already.
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// Share of normal images that may be called anomalous, between 0 and 1. Default: 0.05, or
    /// that of --add.
    #[arg(long, value_name = "RATE")]
    false_alarm_rate: Option<f64>,
    /// A calibration of the same model: its images count beside the new ones, and need not be
    /// there.
    #[arg(long, value_name = "FILE", conflicts_with = "shots")]
    add: Option<PathBuf>,
    /// Folder of normal images for the memory bank, as `detect --normals` takes; those that are
    /// among the normals are not calibrated on.
    #[arg(long, value_name = "DIR", conflicts_with = "shots")]
    references: Option<PathBuf>,
    /// Put so many of the normals into the memory bank and calibrate on the rest; `detect`
    /// finds them again in the folder it is given by --normals.
    #[arg(long, value_name = "K", default_value_t = 0)]
    shots: usize,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Parts of the images that get a threshold each for their pixels: JSON
    /// `{"zones": [{"name": "rim", "polygons": [[[x, y], ...], ...]}, {"name": "label", "mask":
    /// "label.png"}]}`; `detect` takes the same file.
    #[arg(long, value_name = "FILE")]
    zones: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
}

pub(crate) fn run(args: Args) -> anyhow::Result<bool> {
    let category = args.category.as_deref();
    let earlier = args.add.as_deref().map(|file| Calibration::read_of(file, category));
    let earlier = earlier.transpose().context("--add")?;
    let others = || Calibrations::read_or_empty(&args.out).context("--out");
    if category.is_some() {
        others()?; // before the work: it may be a file that holds no categories
    }
    let usual = earlier.as_ref().map_or(0.05, |earlier| earlier.false_alarm_rate);
    let rate = args.false_alarm_rate.unwrap_or(usual);
    if !(rate > 0.0 && rate < 1.0) {
        bail!("--false-alarm-rate: expected a number between 0 and 1, got {rate}");
    }
    let mut failed = 0;
    let mut normals = normals::list(&args.normals, "--normals", &mut failed)?;
    let references = match &args.references {
        Some(folder) => normals::list(folder, "--references", &mut failed)?,
        None if args.shots >= normals.len() && args.shots > 0 => bail!(
            "--shots {}: there are {} images, and some must be left to calibrate on",
            args.shots,
            normals.len()
        ),
        // Their order is that of their hashes: as good as random, and the same on every machine.
        None => normals[..args.shots].to_vec(),
    };
    let remembered: HashSet<&str> = references.iter().map(|r| r.sha256.as_str()).collect();
    let before = normals.len();
    normals.retain(|image| !remembered.contains(image.sha256.as_str()));
    if args.references.is_some() && normals.len() < before {
        let both = before - normals.len();
        talk::note(format_args!("{both} of the normals are references: calibrating on the others"));
    }
    let check_count = |given: usize| {
        let needed = images_needed(rate);
        if given < needed { Err(Error::TooFewNormals { rate, needed, given }) } else { Ok(()) }
    };
    let named = || format!("--normals {}", args.normals.display());
    let kept = earlier.as_ref().map_or(0, |earlier| earlier.data.images);
    check_count(normals.len() + kept).with_context(named)?;

    let scope = args.scope.scope()?;
    let zones = args.zones.as_deref().map(Zones::read).transpose().context("--zones")?;
    let (mut inspector, _, mut model) = args.model.identified_inspector()?;
    inspector.detector().check_group(false)?;
    if references.is_empty() {
        inspector.detector().check_normals(0)?;
    } else {
        inspector.remember(references.iter().map(|r| &r.path))?;
        model.references = references.iter().map(|r| r.sha256.clone()).collect();
        model.references.sort();
    }
    model.scope = scope.as_ref().map(|scope| scope.sha256().to_owned());
    model.zones = zones.as_ref().map(Zones::identity);
    inspector.look(scope);
    inspector.divide(zones);
    if let (Some(earlier), Some(path)) = (&earlier, &args.add) {
        earlier.check(&model, path).context("--add")?;
    }
    let progress = Progress::new(normals.len(), "normal images");
    let files = normals.iter().chain(&references).map(|file| file.path.as_path());
    let files = files.chain(args.model.files()).chain(args.scope.files());
    let files = files.chain(args.zones.as_deref());
    Protected::new(files).check(&args.out).context("--out")?;
    let mut scored = Vec::new();
    let found = inspector.inspect(normals.iter().map(|file| &file.path));
    for (file, found) in normals.iter().zip(found) {
        progress.advance();
        match found {
            Ok(verdict) => {
                let Scores { image, pixel } = verdict.scores();
                let (sha256, zones) = (file.sha256.clone(), verdict.zone_scores());
                scored.push(NormalImage { sha256, image, pixel, zones });
            }
            // A model that has no numbers for one image is not calibrated on the others.
            Err(found @ Failed { error: Error::NoNumber { .. }, .. }) => return Err(found.into()),
            Err(found) => {
                failed += 1;
                progress.suspend(|| talk::error(&found));
            }
        }
    }
    progress.finish();
    let calibration = match (&earlier, &args.add) {
        (Some(earlier), Some(path)) => earlier.with(scored, rate, path),
        _ => Calibration::new(scored, rate, model),
    };
    let calibration = calibration.with_context(named)?;
    match category {
        Some(category) => {
            // Anew: another run may have put in its own meanwhile.
            let mut all = others()?;
            all.set(category, calibration.clone());
            all.write(&args.out)?;
        }
        None => calibration.write(&args.out)?,
    }
    let scale = inspector.judge().scale;
    talk::note(format_args!(
        "from {} normal images: anomalous is a score above {:.4}, a pixel above {:.4}; each \
         gives a false alarm on at most {:.3} of normal images",
        calibration.data.images,
        scale.score(calibration.image.threshold),
        calibration.pixel.threshold,
        rate
    ));
    if let Some(ZoneThresholds { elsewhere, named }) = &calibration.zones {
        let named = named.iter().map(|zone| format!("{} {:.4}", zone.name, zone.threshold));
        let levels: Vec<String> =
            named.chain([format!("elsewhere {:.4}", elsewhere.threshold)]).collect();
        talk::note(format_args!("with --zones, a pixel above: {}", levels.join(", ")));
    }
    stdout::print_path(&args.out)?;
    Ok(failed == 0)
}
