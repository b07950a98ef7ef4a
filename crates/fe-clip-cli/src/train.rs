//! `fe-clip train`: adapters from auxiliary data sets with masks.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use data::{Layout, Sample};
use fe_clip::files::write_atomic;
use fe_clip::{
    Backbone, Error, Origin, Precision, Prefixes, Preparation, RunConfig, Source, Storage,
    TrainingRun, model_to_train, save,
};
use indicatif::BinaryBytes;
use serde_json::json;

use crate::device::DeviceArgs;
use crate::protect::Protected;
use crate::talk::Progress;
use crate::{interrupt, stdout, talk};

/// Train adapters on data sets with masks.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip train --config run.toml --out runs/mvtec\n  \
    fe-clip train --config run.toml --out runs/mvtec --resume\n  \
    fe-clip train --config seed1.toml --out runs/seed1 --cache activations")]
pub(crate) struct Args {
    /// Settings.
    #[arg(long, value_name = "RUN.TOML")]
    config: PathBuf,
    /// Folder for adapters.safetensors, train.jsonl, state/ and the settings used.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on from the state saved in --out; starts afresh where there is none.
    #[arg(long)]
    resume: bool,
    /// Keep the activations before the first adapter in this folder, where later runs find them.
    /// Default: in memory, or in --out while training where they take more than 4 GiB.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Write the adapters in half precision: half the size.
    #[arg(long)]
    half: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Activations that are kept in memory, in bytes.
const MEMORY: u64 = 4 << 30;

pub(crate) fn run(args: Args) -> anyhow::Result<bool> {
    let device = args.device.open()?;
    let mut run = RunConfig::read(&args.config)?;
    if run.train.datasets.is_empty() {
        bail!("{}: train.datasets names no data set", args.config.display());
    }
    let method = run.model.method.clone();
    if !method.is_trained() {
        bail!(
            "{}: method {} has nothing to train: use it with eval and detect as it is",
            args.config.display(),
            method.name()
        );
    }
    run.model.check_training().with_context(|| args.config.display().to_string())?;
    if !args.resume && args.out.join("state").exists() {
        bail!(
            "{} holds the state of a run: go on with --resume, or choose another --out",
            args.out.display()
        );
    }
    std::fs::create_dir_all(&args.out).with_context(|| format!("--out {}", args.out.display()))?;
    let (samples, names) = samples_of(&run.train.datasets)?;
    let backbone = Backbone::load(&run.model.backbone, run.model.activation, &device)?;
    run.model.activation = backbone.activation;
    let sha256 = backbone.sha256()?;
    device.seed(run.train.seed);
    let head = method.new_head(&backbone.clip, &device)?;
    let (mut model, preprocessing) = model_to_train(&run, backbone.clip, head, &device)?;
    let categories: BTreeSet<&str> = samples.iter().map(|s| s.category.as_str()).collect();
    let cut = categories.iter().flat_map(|category| model.cut_texts(category));
    cut.for_each(talk::warning);

    let preparation = Preparation {
        model: &*model,
        preprocessing: &preprocessing,
        train: &run.train,
        storage: Storage::Memory,
        device: &device,
    };
    let prefixes = prepare(&args, preparation, &samples, &sha256)?;

    let stop = interrupt::catch()?;
    let training = TrainingRun { config: &run, out: &args.out, resume: args.resume, stop };
    let steps = training.steps(prefixes.len());
    let progress = Progress::new(steps, "steps");
    let trained = training.train(&mut *model, &prefixes, &device, |line| {
        progress.set(line.step);
        progress.message(format!("epoch {}, loss {:.4}", line.epoch, line.terms.loss));
    });
    let head = trained.map_err(|error| match error {
        Error::Interrupted { .. } => anyhow!("{error}, go on with --resume"),
        error => error.into(),
    })?;
    progress.finish();

    let origin = Origin {
        config: Some(run.model.clone()),
        backbone: Some(sha256),
        prompts: Some(run.prompts.clone()),
        training: Some(json!({
            "seed": run.train.seed,
            "datasets": names,
            "images": samples.len(),
            "epochs": run.train.epochs,
            "steps": steps,
            "revision": env!("CARGO_PKG_VERSION"),
        })),
    };
    let precision = if args.half { Precision::Half } else { Precision::Full };
    let path = args.out.join("adapters.safetensors");
    save(&path, &head, &origin, precision)?;
    let settings = args.out.join("run.toml");
    // Where these are the settings given, they stand there already, with their comments.
    if Protected::new([args.config.as_path()]).check(&settings).is_ok() {
        write_atomic(&settings, run.to_toml().as_bytes())?;
    }
    let own = own_cache(&args);
    if args.cache.is_none() && own.exists() {
        std::fs::remove_dir_all(&own).with_context(|| format!("removing {}", own.display()))?;
    }
    stdout::print_path(&path)?;
    Ok(true)
}

/// Reads the images and runs the frozen prefix on them, and says where its output is kept.
fn prepare(
    args: &Args,
    mut preparation: Preparation<'_>,
    samples: &[Sample],
    backbone: &str,
) -> anyhow::Result<Prefixes> {
    let bytes = preparation.bytes(samples.len());
    let folder = args.cache.clone().or_else(|| (bytes > MEMORY).then(|| own_cache(args)));
    let place = folder.as_ref().map_or("memory".into(), |folder| folder.display().to_string());
    let count = samples.len();
    talk::note(format_args!("activations of {count} images: {} in {place}", BinaryBytes(bytes)));
    if let Some(folder) = folder {
        preparation.storage = Storage::Disk { folder, backbone: backbone.to_string() };
    }
    let progress = Progress::new(count, "images prepared");
    let prefixes = preparation.run(samples, |done| progress.set(done))?;
    progress.finish();
    let (reused, damaged) = (prefixes.reused(), prefixes.damaged());
    if reused + damaged > 0 {
        talk::note(format_args!(
            "{reused} images found in the cache, {damaged} damaged or foreign entries computed \
             again"
        ));
    }
    Ok(prefixes)
}

/// Where activations go that are too many for memory, when no folder was named.
fn own_cache(args: &Args) -> PathBuf {
    args.out.join("prefixes")
}

/// Every sample of the data sets' chosen splits and categories, and the names of the sets.
fn samples_of(sources: &[Source]) -> anyhow::Result<(Vec<Sample>, Vec<String>)> {
    let mut samples = Vec::new();
    for source in sources {
        let layout: Layout = source.name.parse()?;
        let scan = data::scan(layout, &source.root)?;
        for problem in &scan.problems {
            talk::warning(format_args!("{}: {}", problem.path.display(), problem.problem));
        }
        let before = samples.len();
        samples.extend(scan.samples.into_iter().filter(|s| source.uses(s)));
        if samples.len() == before {
            bail!(
                "{} in {}: no {} image to train on",
                source.name,
                source.root.display(),
                source.split
            );
        }
    }
    Ok((samples, sources.iter().map(|s| s.name.clone()).collect()))
}
