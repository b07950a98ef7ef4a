//! `fe-clip calibrate`: thresholds from normal images alone.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Context, bail};
use data::{Limits, prefetch, preprocess, read_image};
use fe_clip::files::sha256_of_lines;
use fe_clip::{Calibration, DataIdentity, Error, Scores, images_needed};

use crate::model::ModelArgs;
use crate::normals::ImageFile;
use crate::protect::Protected;
use crate::talk::{self, Progress};
use crate::{stdout, threads};

/// Set thresholds at a wanted false-alarm rate from normal images alone.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip calibrate --normals good-parts/ --out calibration.json\n  \
    fe-clip detect parts/ --calibration calibration.json --out results\n  \
    fe-clip calibrate --normals good-parts/ --shots 4 --out calibration.json\n  \
    fe-clip detect parts/ --normals good-parts/ --calibration calibration.json")]
pub(crate) struct Args {
    /// Folder of normal images like those that will be inspected.
    #[arg(long, value_name = "DIR")]
    normals: PathBuf,
    /// The calibration to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Share of normal images that may be called anomalous, between 0 and 1.
    #[arg(long, value_name = "RATE", default_value_t = 0.05)]
    false_alarm_rate: f64,
    /// Folder of normal images for the memory bank, as `detect --normals` takes; those that are
    /// among the normals are not calibrated on.
    #[arg(long, value_name = "DIR", conflicts_with = "shots")]
    references: Option<PathBuf>,
    /// Put so many of the normals into the memory bank and calibrate on the rest; `detect`
    /// finds them again in the folder it is given by --normals.
    #[arg(long, value_name = "K", default_value_t = 0)]
    shots: usize,
    #[command(flatten)]
    model: ModelArgs,
}

/// Images of a forward pass.
const BATCH: usize = 4;
/// Images decoded ahead of the model.
const AHEAD: usize = 8;

pub(crate) fn run(args: Args) -> anyhow::Result<bool> {
    let rate = args.false_alarm_rate;
    if !(rate > 0.0 && rate < 1.0) {
        bail!("--false-alarm-rate: expected a number between 0 and 1, got {rate}");
    }
    let mut failed = 0;
    let mut normals = ImageFile::list(&args.normals, "--normals", &mut failed)?;
    let references = match &args.references {
        Some(folder) => ImageFile::list(folder, "--references", &mut failed)?,
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
    check_count(normals.len()).with_context(named)?;

    let (mut detector, _, mut model) = args.model.identified_detector()?;
    detector.check_normals(references.len())?;
    detector.check_group(false)?;
    if !references.is_empty() {
        detector.remember(&ImageFile::read_all(&references, detector.preprocess())?);
        model.references = references.iter().map(|r| r.sha256.clone()).collect();
        model.references.sort();
    }
    let progress = Progress::new(normals.len(), "normal images");
    let files = normals.iter().chain(&references).map(|file| file.path.as_path());
    Protected::new(files.chain(args.model.files())).check(&args.out).context("--out")?;
    let preprocessing = detector.preprocess().clone();
    let mut read = prefetch(normals, threads::count(), AHEAD, move |file: &ImageFile| {
        let image = read_image(&file.path, &Limits::default())?;
        Ok::<_, data::Error>((file.clone(), preprocess(&image, &preprocessing)))
    });
    let (mut scores, mut hashes) = (Vec::new(), Vec::new());
    loop {
        let chunk: Vec<_> = read.by_ref().take(BATCH).collect();
        if chunk.is_empty() {
            break;
        }
        chunk.iter().for_each(|_| progress.advance());
        let (mut files, mut images) = (Vec::new(), Vec::new());
        for item in chunk {
            match item {
                Ok((file, image)) => {
                    files.push(file);
                    images.push(image);
                }
                Err(error) => {
                    failed += 1;
                    progress.suspend(|| talk::error(&error));
                }
            }
        }
        for (file, prediction) in files.into_iter().zip(detector.detect(&images)) {
            prediction.require_finite().with_context(|| file.path.display().to_string())?;
            hashes.push(file.sha256);
            scores.push(Scores::from(&prediction));
        }
    }
    progress.finish();
    hashes.sort();
    let data = DataIdentity { images: scores.len(), sha256: sha256_of_lines(&hashes) };
    let calibration = Calibration::new(&scores, rate, model, data).with_context(named)?;
    calibration.write(&args.out)?;
    let scale = detector.score_scale(!references.is_empty());
    talk::note(format_args!(
        "from {} normal images: anomalous is a score above {:.4}, a pixel above {:.4}; each \
         gives a false alarm on at most {:.3} of normal images",
        calibration.data.images,
        scale.score(calibration.image.threshold),
        calibration.pixel.threshold,
        rate
    ));
    stdout::print_path(&args.out)?;
    Ok(failed == 0)
}
