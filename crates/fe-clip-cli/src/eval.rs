//! `fe-clip eval`: metrics on data sets.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context, bail};
use data::path_text::to_text;
use data::{Layout, Sample};
use fe_clip::evaluate::{
    DatasetReport, Evaluated, ImageMetrics, Notes, PixelMetricsReport, evaluate_category, mean,
    references,
};
use fe_clip::{Inspector, RunConfig, Scope, Source};
use serde_json::json;

use crate::model::ModelArgs;
use crate::protect::Protected;
use crate::report::{Category, MOST_PICTURES, Picture, Report, Row};
use crate::stdout;
use crate::talk::{self, Progress};
use crate::{interrupt, kept};

/// Measure image and pixel metrics on data sets, category by category.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip eval --config run.toml --adapters runs/mvtec/adapters.safetensors --out results\n  \
    fe-clip eval --config run.toml --out results --report")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Folder for metrics.json.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Also write report.html, results.csv and results.parquet to --out.
    #[arg(long)]
    report: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<bool> {
    let Some(path) = args.model.config() else { bail!("eval needs --config") };
    let run = RunConfig::read(path)?;
    if run.eval.datasets.is_empty() {
        bail!("{}: eval.datasets names no data set", path.display());
    }
    std::fs::create_dir_all(&args.out).with_context(|| format!("--out {}", args.out.display()))?;
    let metrics = args.out.join("metrics.json");
    let protected = Protected::new(args.model.files());
    protected.check(&metrics)?;
    if args.report {
        Report::check(&args.out, &protected)?;
    }
    let (mut inspector, run) = args.model.inspector()?;
    let mut datasets = BTreeMap::new();
    let (mut undefined, mut chosen) = (BTreeMap::new(), BTreeMap::new());
    let mut failures = 0;
    let mut pages = args.report.then(|| new_report(&inspector, &run));
    interrupt::catch()?;
    // What was measured is written, whether someone reads the table or not.
    let mut told = Ok(());
    for source in run.eval.datasets.iter().take_while(|_| !interrupt::asked()) {
        let mut notes = Notes::default();
        let name = &key(source, &run.eval.datasets);
        let report = evaluate(&mut inspector, &run, (source, name), &mut notes, pages.as_mut())?;
        told = told.and_then(|()| stdout::print(table(name, &report)));
        for (path, reason) in &notes.failed {
            talk::error(format_args!("{}: {reason}", path.display()));
        }
        failures += notes.failed.len();
        undefined.extend(notes.undefined.into_iter().map(|(k, v)| (format!("{name}.{k}"), v)));
        let texts = |paths: Vec<PathBuf>| -> Vec<String> {
            paths.iter().map(|path| to_text(path).into_owned()).collect()
        };
        let references = notes.references.into_iter().map(|(name, paths)| (name, texts(paths)));
        chosen.insert(name.clone(), references.collect::<BTreeMap<_, _>>());
        datasets.insert(name.clone(), report);
    }
    let result = json!({
        "datasets": datasets,
        "config": run,
        "adapters": args.model.adapters().map(|path| to_text(path).into_owned()),
        "seeds": { "train": run.train.seed, "shots": run.eval.shot_seed },
        "versions": { "fe-clip": env!("CARGO_PKG_VERSION") },
        "group": run.eval.group,
        "references": chosen,
        "undefined": undefined,
    });
    kept::write(&metrics, &result)?;
    if let Some(report) = pages {
        report.write(&args.out)?;
        talk::note(format_args!("report: {}", args.out.join("report.html").display()));
    }
    if interrupt::asked() {
        talk::note("stopped; what stands in metrics.json are the categories that were finished");
    }
    told.map(|()| failures == 0 && !interrupt::asked())
}

/// What a data set is called in the results: its layout, and its folder where several share that.
fn key(source: &Source, all: &[Source]) -> String {
    match all.iter().filter(|other| other.name == source.name).count() {
        1 => source.name.clone(),
        _ => format!("{} {}", source.name, source.root.display()),
    }
}

fn new_report(inspector: &Inspector, run: &RunConfig) -> Report {
    let side = inspector.detector().preprocess().height;
    let names: Vec<&str> = run.eval.datasets.iter().map(|source| source.name.as_str()).collect();
    Report {
        title: names.join(", "),
        facts: vec![
            ("model", run.model.backbone.clone()),
            ("precision", run.model.precision.name().into()),
            ("input", format!("{side} x {side} pixels")),
            ("normal", run.prompts.normal.join(" | ")),
            ("anomalous", run.prompts.anomalous.join(" | ")),
            ("shots", run.eval.shots.to_string()),
        ],
        threshold: None,
        rows: Vec::new(),
        categories: Vec::new(),
        pictures: MOST_PICTURES,
    }
}

fn evaluate(
    inspector: &mut Inspector,
    run: &RunConfig,
    (source, name): (&Source, &str),
    notes: &mut Notes,
    mut pages: Option<&mut Report>,
) -> anyhow::Result<DatasetReport> {
    let layout: Layout = source.name.parse()?;
    let scan = data::scan(layout, &source.root)?;
    for problem in &scan.problems {
        talk::warning(format_args!("{}: {}", problem.path.display(), problem.problem));
    }
    let mut by_category: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in scan.samples.iter().filter(|s| source.uses(s)) {
        by_category.entry(&sample.category).or_default().push(sample);
    }
    if by_category.is_empty() {
        bail!("{} in {}: no {} image", source.name, source.root.display(), source.split);
    }
    let images: usize = by_category.values().map(Vec::len).sum();
    let progress = Progress::new(images, "images");
    let mut report = DatasetReport::default();
    inspector.detector().check_normals(run.eval.shots).context("eval.shots")?;
    inspector.detector().check_group(run.eval.group).context("eval.group")?;
    for (category, samples) in by_category {
        progress.message(category.to_string());
        inspector.describe(category);
        let cut = inspector.detector().cut_texts(Some(category));
        cut.iter().for_each(|text| progress.suspend(|| talk::warning(text)));
        if run.eval.shots > 0 {
            let (shots, seed) = (run.eval.shots, run.eval.shot_seed);
            let paths = references(&scan.samples, &source.name, category, shots, seed)?;
            inspector.remember(&paths)?;
            notes.references.insert(category.to_string(), paths);
        }
        inspector.look(scope(run, category, &progress)?);
        let group = if run.eval.group {
            let go_on = |_| match interrupt::asked() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
            let group = inspector.inspect_group(samples.iter().map(|s| &s.image), go_on);
            let Some(group) = group.with_context(|| category.to_string())? else { break };
            Some(group)
        } else {
            None
        };
        let finished_rows = pages.as_ref().map_or(0, |pages| pages.rows.len());
        let found =
            evaluate_category(inspector, category, &samples, group, notes, |sample, seen| {
                progress.advance();
                if let (Some(pages), Some(seen)) = (pages.as_deref_mut(), &seen) {
                    let picture = pages.has_room();
                    pages.rows.push(row(name, sample, seen, picture));
                }
                if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        let Some(found) = found else {
            if let Some(pages) = pages {
                pages.rows.truncate(finished_rows);
            }
            break;
        };
        if let Some(pages) = pages.as_deref_mut() {
            pages.categories.push(Category {
                dataset: name.to_string(),
                name: category.to_string(),
                metrics: serde_json::to_value(&found).context("encoding the metrics")?,
                pro: found.pro.clone(),
            });
        }
        report.categories.insert(category.to_string(), found);
    }
    progress.finish();
    report.mean = mean(&report.categories);
    Ok(report)
}

/// Where to look on images of a category, if not everywhere.
fn scope(run: &RunConfig, category: &str, progress: &Progress) -> anyhow::Result<Option<Scope>> {
    let [roi, ignore] =
        [("roi", &run.eval.roi), ("ignore", &run.eval.ignore)].map(|(key, named)| {
            let Some(named) = named else { return Ok(None) };
            let file = Scope::file_of_category(named, category);
            let file = file.with_context(|| format!("eval.{key}"))?;
            if file.is_none() {
                let words =
                    format!("{}: nothing for {category}: all of it counts", named.display());
                progress.suspend(|| talk::warning(words));
            }
            anyhow::Ok(file)
        });
    let (roi, ignore) = (roi?, ignore?);
    if roi.is_none() && ignore.is_none() {
        return Ok(None);
    }
    let scope = Scope::new(roi.as_deref(), ignore.as_deref());
    scope.context("eval.roi and eval.ignore").map(Some)
}

/// An image of the report.
fn row(dataset: &str, sample: &Sample, seen: &Evaluated<'_>, picture: bool) -> Row {
    let Evaluated { verdict, mask } = *seen;
    // The mask of a normal image marks nothing.
    let mask = mask.filter(|_| sample.defect.is_some()).map(|mask| mask.view());
    let new = || Picture::new(&verdict.image, verdict.map.view(), mask, verdict.frame());
    Row {
        path: sample.image.clone(),
        dataset: Some(dataset.to_string()),
        category: Some(sample.category.clone()),
        truth: Some(sample.defect.is_some()),
        defect: sample.defect.as_ref().map(|defect| defect.kind.clone()),
        score: Some(verdict.score),
        raw_score: Some(verdict.raw_score),
        map_max: Some(verdict.map_max()),
        size: Some(verdict.size),
        picture: picture.then(new),
        ..Row::default()
    }
}

fn table(name: &str, report: &DatasetReport) -> String {
    let cell = |value: Option<f64>| value.map_or("    -".into(), |v| format!("{:5.1}", 100.0 * v));
    let row = |name: &str, image: &ImageMetrics, pixel: &PixelMetricsReport| {
        let name = talk::visible(name, &[]);
        format!(
            "{name:<20}        {}  {}  {}         {}  {}  {}  {}\n",
            cell(image.auroc),
            cell(image.ap),
            cell(image.f1_max),
            cell(pixel.auroc),
            cell(pixel.ap),
            cell(pixel.f1_max),
            cell(pixel.aupro)
        )
    };
    let head = format!(
        "{:<20} image: AUROC     AP  F1max  pixel: AUROC     AP  F1max  AUPRO\n",
        talk::visible(name, &[])
    );
    let rows = report.categories.iter().map(|(name, c)| row(name, &c.image, &c.pixel));
    let mean = row("mean", &report.mean.image, &report.mean.pixel);
    head + &rows.collect::<String>() + &mean
}
