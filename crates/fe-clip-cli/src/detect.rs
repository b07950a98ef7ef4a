//! `fe-clip detect`: images in, scores and heat maps out.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use fe_clip::{Calibration, Inspector, ModelIdentity, RunConfig, Thresholds, Zones};

use crate::camera::CameraArgs;
use crate::exchange::{Exchange, RunFile, Wanted};
use crate::inputs::{self, Input, images};
use crate::job::Job;
use crate::lines::Format;
use crate::model::ModelArgs;
use crate::monitor::MonitorArgs;
use crate::output::Save;
use crate::protect::Protected;
use crate::publish::{PublishArgs, Publishers};
use crate::regions::RegionArgs;
use crate::report::{MOST_PICTURES, Report};
use crate::scope::ScopeArgs;
use crate::shard::{self, Shard};
use crate::talk::Progress;
use crate::thresholds::{calibrated_inspector, shipped};
use crate::watch::Watch;
use crate::{group, interrupt, names, remote, talk, threads};

/// Score images and draw where they are anomalous.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip detect photo.jpg\n  \
    fe-clip detect parts/ --out results --threshold 0.5\n  \
    fe-clip detect parts/ --out results --report\n  \
    find . -name '*.png' | fe-clip detect - --format jsonl\n  \
    fe-clip detect parts/ --normals good-parts/ --out results --save overlay,map\n  \
    fe-clip detect --group parts/ --out results\n  \
    fe-clip detect --list paths.parquet --shard 3/16 --out results\n  \
    fe-clip detect s3://bucket/parts/ --out s3://bucket/results\n  \
    fe-clip detect --watch /mnt/camera --out results --threshold 0.5 >> results.jsonl\n  \
    fe-clip detect --camera rtsp://10.0.0.7/line-3 --rate 5 --threshold 0.5\n  \
    fe-clip detect --watch /mnt/camera --calibration calibration.json --monitor\n  \
    fe-clip detect --watch /mnt/camera --publish mqtt://broker/line-3/results")]
pub(crate) struct Args {
    /// Images, folders (searched recursively), addresses (s3://, gs://, az://, http://, https://;
    /// with / at the end a folder), or `-` for a list of paths on standard input.
    #[arg(required_unless_present_any = ["watch", "list", "source"], value_name = "PATHS")]
    paths: Vec<PathBuf>,
    /// Also the images and folders that a file names: a path a line, or the column `path` of .csv,
    /// .jsonl or Parquet.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["watch", "source"])]
    list: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Folder of a few normal images of the same kind: their distance is added.
    #[arg(long, value_name = "DIR")]
    normals: Option<PathBuf>,
    /// Score the images against each other: at least five pictures of one kind of thing.
    #[arg(long, conflicts_with_all = ["watch", "calibration"])]
    group: bool,
    /// Compare each image with N of the others, drawn by `[model.group] seed`; 0 = all. Default:
    /// what the settings say, else all up to 200 images, 32 of more.
    #[arg(long, value_name = "N", requires = "group")]
    group_references: Option<usize>,
    /// Images with at least this score, in [0, 1], are labelled anomalous, and pixels with this
    /// value. Default: for `tiny`
    /// without --normals and --group the one that it was shipped with, else none.
    #[arg(long, value_name = "X")]
    threshold: Option<f64>,
    /// Thresholds from `fe-clip calibrate`: one labels images, one makes the masks.
    #[arg(long, value_name = "FILE", conflicts_with = "threshold")]
    calibration: Option<PathBuf>,
    /// The kind of thing on the images, whose thresholds --calibration has among those of several.
    #[arg(long, value_name = "NAME", requires = "calibration")]
    category: Option<String>,
    /// Folder for pictures and maps, or an address (s3://, gs://, az://).
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to write to --out. Default: overlay, and mask with --calibration.
    #[arg(long, value_delimiter = ',', value_enum, requires = "out")]
    save: Vec<Wanted>,
    #[command(flatten)]
    regions: RegionArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// The zones that --calibration was made with: pixels count by the threshold of theirs, and
    /// regions name it.
    #[arg(long, value_name = "FILE", requires = "calibration")]
    zones: Option<PathBuf>,
    #[command(flatten)]
    camera: CameraArgs,
    #[command(flatten)]
    publish: PublishArgs,
    #[command(flatten)]
    monitor: MonitorArgs,
    /// Also write report.html, results.csv and results.parquet to --out.
    #[arg(long, requires = "out")]
    report: bool,
    /// Score part I of N of the images, I from 0, and write their results to --out as one Parquet
    /// file; a part that is there is not computed again. Nothing is drawn without --save.
    #[arg(
        long,
        value_name = "I/N",
        requires = "out",
        conflicts_with_all = ["watch", "group", "report"]
    )]
    shard: Option<Shard>,
    /// Score the images of a folder as they appear, each once, until Ctrl-C.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["paths", "report"])]
    watch: Option<PathBuf>,
    /// Where --watch keeps which images were scored. Default: .fe-clip-watch.json in --out, else
    /// in the watched folder.
    #[arg(long, value_name = "FILE", requires = "watch")]
    watch_state: Option<PathBuf>,
    /// Form of the results. Default: table on a terminal, else jsonl.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub(crate) fn run(mut args: Args) -> anyhow::Result<bool> {
    args.model.group_references = args.group_references;
    if let Some(x) = args.threshold
        && !(0.0..=1.0).contains(&x)
    {
        bail!("--threshold: expected a number in [0, 1], got {x}");
    }
    let thresholds = level(&args)?;
    let (save, run_files) = wanted(&args, thresholds)?;
    let mut inputs = inputs::list(&args.paths, args.list.as_deref(), args.out.as_deref())?;
    if args.shard.is_none() {
        inputs = inputs::without_own(inputs);
    }
    if let Some(out) = &args.out {
        names::prepare(out)?;
        let files: Vec<_> = inputs.iter().map(|i| (i.given.as_path(), i.path.as_path())).collect();
        let stems = names::assign(&files);
        inputs.iter_mut().zip(stems).for_each(|(input, stem)| input.stem = stem);
    }
    let files = || {
        let named = args.calibration.as_deref().into_iter().chain(args.list.as_deref());
        args.model.files().chain(named).chain(args.scope.files()).chain(args.zones.as_deref())
    };
    let read = || Protected::new(files());
    if let (Some(out), true) = (&args.out, args.report) {
        Report::check(out, &read())?;
    }
    let exchange = match &args.out {
        Some(out) if !run_files.is_empty() => Some(Exchange::new(&run_files, out, &read())?),
        _ => None,
    };
    let watch = match &args.watch {
        Some(folder) => {
            let state_file = args.watch_state.as_deref();
            Some(Watch::new(folder, args.out.as_deref(), state_file)?)
        }
        None => None,
    };
    let (inspector, run, identity) = load(&args, thresholds)?;
    let rule = args.regions.rule(inspector.judge().thresholds)?;
    let mut inspector = inspector.regions(rule).features(save.contains(&Save::Features));
    if inputs.iter().any(|input| remote::is_address(&input.path)) {
        inspector = inspector.threads(threads::count().max(remote::READERS));
    }
    let part = part(&args, &inputs, &inspector, identity)?;
    if let (Some(shard), Some(part)) = (args.shard, &part) {
        let is_there = match remote::is_address(part) {
            true => remote::exists(part)?,
            false => part.exists(),
        };
        if is_there {
            talk::note(format_args!("{}: finished before", part.display()));
            return Ok(true);
        }
        let range = shard.range(inputs.len());
        inputs = inputs::part_without_own(inputs.drain(range).collect());
    }
    let images = inputs.len();
    let publishers = args.publish.start(inspector.judge().thresholds.is_some())?;
    let monitor = args.monitor.start(args.calibration.as_deref(), args.category.as_deref())?;
    let mut job = Job {
        part,
        monitor,
        ..new_job(&args, save, (exchange, publishers), (&inspector, &run), images)
    };
    interrupt::catch()?;
    if let Some(mut camera) = args.camera.start()? {
        let whole = camera.run(&inspector, &mut job)?;
        return Ok(job.publishers.finish() & (whole && job.failed == 0));
    }
    if let Some(mut watch) = watch {
        watch.run(&inspector, &mut job)?;
        return Ok(job.publishers.finish() & (job.failed == 0));
    }
    let readable = inputs.iter().filter(|input| input.error.is_none());
    let found: Vec<_> = readable.map(|input| remote::input(&input.path)).collect();
    let mut verdicts: Box<dyn Iterator<Item = _>> = if args.group {
        let Some(group) = group::compare(&inspector, found)? else { return finish(job, images) };
        if job.out.is_some() {
            job.progress = Progress::new(images, "results");
        }
        Box::new(inspector.group_verdicts(group))
    } else {
        Box::new(inspector.inspect(found))
    };
    for input in inputs {
        if interrupt::asked() {
            break;
        }
        match input.error {
            Some(error) => job.failed(input.path, error)?,
            None => job.handle(&input.stem, verdicts.next().context("a verdict an image")?)?,
        };
    }
    finish(job, images)
}

/// From when on something is anomalous, without a calibration: as the flag says, else as shipped.
fn level(args: &Args) -> anyhow::Result<Option<Thresholds>> {
    match args.threshold {
        Some(level) => Ok(Some(Thresholds::both(level))),
        None if args.normals.is_none() && !args.group => shipped(&args.model),
        None => Ok(None), // normal images and groups move all scores
    }
}

/// The files to write of each image, and those of the run.
///
/// # Errors
/// If one cannot be made in such a run.
fn wanted(
    args: &Args,
    thresholds: Option<Thresholds>,
) -> anyhow::Result<(Vec<Save>, Vec<RunFile>)> {
    let name = |wanted: Wanted| wanted.to_possible_value().map(|value| value.get_name().to_owned());
    let has_threshold = thresholds.is_some() || args.calibration.is_some();
    let (mut of_images, mut of_run) = (Vec::new(), Vec::new());
    let remote_out = args.out.as_deref().is_some_and(remote::is_address);
    for (asked, flag) in [(args.report, "--report"), (args.watch.is_some(), "--watch")] {
        if asked && remote_out {
            bail!("{flag} needs an --out that is a folder of this machine");
        }
    }
    for &wanted in &args.save {
        let named = || format!("--save {}", name(wanted).unwrap_or_default());
        if wanted.needs_threshold() && !has_threshold {
            bail!("{} needs --threshold or --calibration", named());
        }
        match wanted {
            Wanted::Run(_) if args.watch.is_some() || args.camera.source.is_some() => {
                bail!(
                    "{}: it is written when the run ends, and --watch and --camera have no end",
                    named()
                )
            }
            Wanted::Run(_) if args.shard.is_some() => {
                bail!("{}: it is written of the whole run, and --shard scores a part", named())
            }
            Wanted::Run(_) if remote_out => {
                bail!("{}: it is written to a folder of this machine", named())
            }
            Wanted::Run(file) => of_run.push(file),
            Wanted::Image(save) => of_images.push(save),
        }
    }
    if args.save.is_empty() && args.out.is_some() && args.shard.is_none() {
        of_images.push(Save::Overlay);
        if args.calibration.is_some() {
            of_images.push(Save::Mask);
        }
    }
    Ok((of_images, of_run))
}

/// The inspector with what it remembers and its thresholds, the settings, and for a part of a list
/// what the model is.
fn load(
    args: &Args,
    thresholds: Option<Thresholds>,
) -> anyhow::Result<(Inspector, RunConfig, Option<ModelIdentity>)> {
    let scope = args.scope.scope()?;
    let zones = args.zones.as_deref().map(Zones::read).transpose().context("--zones")?;
    let loaded = args.model.load()?;
    let run = loaded.run.clone();
    let identity =
        args.shard.map(|_| loaded.identity(scope.as_ref(), zones.as_ref())).transpose()?;
    let inspector = match &args.calibration {
        Some(file) => {
            let of_file = (Calibration::read_of(file, args.category.as_deref())?, file.as_path());
            calibrated_inspector(loaded, args.normals.as_deref(), (scope, zones), of_file)?
        }
        None => {
            let mut inspector = Inspector::new(loaded.detector).threads(threads::count());
            match &args.normals {
                Some(folder) => inspector.remember(normals(folder)?)?,
                None => inspector.detector().check_normals(0)?,
            }
            inspector.look(scope);
            inspector.thresholds(thresholds)
        }
    };
    inspector.detector().check_group(args.group).with_context(|| match args.group {
        true => "--group",
        false => "without --group",
    })?;
    Ok((inspector, run, identity))
}

/// Where the results of a part of a list go; none of a whole list.
fn part(
    args: &Args,
    inputs: &[Input],
    inspector: &Inspector,
    identity: Option<ModelIdentity>,
) -> anyhow::Result<Option<PathBuf>> {
    let (Some(shard), Some(out), Some(identity)) = (args.shard, &args.out, identity) else {
        return Ok(None);
    };
    let normals = args.normals.as_deref().map(normals).transpose()?.unwrap_or_default();
    let written = format!("{:?} {:?}", args.save, args.regions);
    let run = shard::run(inputs, inspector, identity, normals, &written)?;
    Ok(Some(shard.file(out, &run)))
}

fn new_job(
    args: &Args,
    save: Vec<Save>,
    (exchange, publishers): (Option<Exchange>, Publishers),
    (inspector, run): (&Inspector, &RunConfig),
    images: usize,
) -> Job {
    let thresholds = inspector.judge().thresholds;
    let format = Format::or_usual(args.format);
    // A bar only helps where the results do not already show the progress; a group has its own.
    let shown = format == Format::Table && args.format.is_none();
    let progress = if images > 1 && !shown && !args.group {
        Progress::new(images, "images")
    } else {
        Progress::hidden()
    };
    let report = (args.report || args.shard.is_some()).then(|| {
        let side = inspector.detector().preprocess().height;
        let mut facts = vec![
            ("model", run.model.backbone.clone()),
            ("precision", run.model.precision.name().into()),
            ("input", format!("{side} x {side} pixels")),
            ("normal", run.prompts.normal.join(" | ")),
            ("anomalous", run.prompts.anomalous.join(" | ")),
        ];
        if let Some(folder) = &args.normals {
            facts.push(("normal images", folder.display().to_string()));
        }
        if args.group {
            facts.push(("scored", "as a group, against each other".into()));
        }
        let given = args.paths.iter().chain(&args.list).map(|path| path.display().to_string());
        let given: Vec<String> = given.collect();
        Report {
            title: given.join(" "),
            facts,
            threshold: thresholds.map(|t| t.image),
            rows: Vec::new(),
            categories: Vec::new(),
            pictures: if args.shard.is_some() { 0 } else { MOST_PICTURES },
        }
    });
    let (out, pixel_area) = (args.out.clone(), args.regions.pixel_area());
    let (part, done, scored, failed) = (None, 0, 0, 0);
    Job {
        thresholds,
        format,
        out,
        save,
        report,
        part,
        exchange,
        pixel_area,
        publishers,
        moment: None,
        monitor: None,
        progress,
        done,
        scored,
        failed,
    }
}

/// Writes the report and says how it went.
fn finish(job: Job, images: usize) -> anyhow::Result<bool> {
    job.progress.finish();
    let arrived = job.publishers.finish();
    if job.done < images {
        talk::note(format_args!(
            "stopped after {} of {images} images; their results are complete",
            job.done
        ));
    }
    if let Some(exchange) = &job.exchange {
        exchange.write()?;
    }
    if let (Some(report), Some(part)) = (&job.report, &job.part) {
        // A part that was interrupted is none.
        if job.done == images {
            report.write_rows(part)?;
            talk::note(format_args!("part: {}", part.display()));
        }
        return Ok(job.failed == 0 && job.done == images && arrived);
    }
    if let (Some(report), Some(out)) = (&job.report, &job.out) {
        report.write(out)?;
        talk::note(format_args!("report: {}", out.join("report.html").display()));
    }
    if job.scored == 0 {
        bail!("no image was scored");
    }
    Ok(job.failed == 0 && job.done == images && arrived)
}

fn normals(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let found = images(folder)?;
    if found.is_empty() {
        bail!("--normals {}: no image in this folder", folder.display());
    }
    Ok(found.into_iter().collect::<Result<_, _>>()?)
}
