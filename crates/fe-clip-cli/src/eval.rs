//! `fe-clip eval`: metrics on data sets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use data::{Layout, Limits, Sample, preprocess, read_image};
use fe_clip::evaluate::{DatasetReport, Notes, evaluate_category, mean, references};
use fe_clip::files::write_atomic;
use fe_clip::{Detector, RunConfig, Source};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::model::ModelArgs;

/// Measure image and pixel metrics on data sets, category by category.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    fe-clip eval --config run.toml --adapters runs/mvtec/adapters.safetensors --out results")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Folder for metrics.json.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(args: Args) -> anyhow::Result<bool> {
    let Some(path) = args.model.config() else { bail!("eval needs --config") };
    let run = RunConfig::read(path)?;
    if run.eval.datasets.is_empty() {
        bail!("{}: eval.datasets names no data set", path.display());
    }
    std::fs::create_dir_all(&args.out).with_context(|| format!("--out {}", args.out.display()))?;
    let (mut detector, run) = args.model.detector()?;
    let mut datasets = BTreeMap::new();
    let (mut undefined, mut chosen) = (BTreeMap::new(), BTreeMap::new());
    let mut failures = 0;
    for source in &run.eval.datasets {
        let mut notes = Notes::default();
        let report = evaluate(&mut detector, &run, source, &mut notes)?;
        print_table(&source.name, &report);
        for (path, reason) in &notes.failed {
            eprintln!("{}: {reason}", path.display());
        }
        failures += notes.failed.len();
        let name = &source.name;
        undefined.extend(notes.undefined.into_iter().map(|(k, v)| (format!("{name}.{k}"), v)));
        chosen.insert(name.clone(), notes.references);
        datasets.insert(name.clone(), report);
    }
    let result = json!({
        "datasets": datasets,
        "config": run,
        "seeds": { "train": run.train.seed, "shots": run.eval.shot_seed },
        "versions": { "fe-clip": env!("CARGO_PKG_VERSION") },
        "references": chosen,
        "undefined": undefined,
    });
    let text = serde_json::to_string_pretty(&result).context("encoding the metrics")?;
    write_atomic(&args.out.join("metrics.json"), text.as_bytes())?;
    Ok(failures == 0)
}

fn evaluate(
    detector: &mut Detector,
    run: &RunConfig,
    source: &Source,
    notes: &mut Notes,
) -> anyhow::Result<DatasetReport> {
    let layout: Layout = source.name.parse()?;
    let scan = data::scan(layout, &source.root)?;
    for problem in &scan.problems {
        eprintln!("{}: {}", problem.path.display(), problem.problem);
    }
    let mut by_category: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in scan.samples.iter().filter(|s| source.uses(s)) {
        by_category.entry(&sample.category).or_default().push(sample);
    }
    if by_category.is_empty() {
        bail!("{} in {}: no {} image", source.name, source.root.display(), source.split);
    }
    let images: usize = by_category.values().map(Vec::len).sum();
    let style = "{bar:30} {pos}/{len} images, {per_sec}, {eta} left, {msg}";
    let style = ProgressStyle::with_template(style).expect("the template is right");
    let bar = ProgressBar::new(images as u64).with_style(style);
    let mut report = DatasetReport::default();
    detector.check_normals(run.eval.shots).context("eval.shots")?;
    for (category, samples) in by_category {
        bar.set_message(category.to_string());
        detector.describe(category);
        if run.eval.shots > 0 {
            let (shots, seed) = (run.eval.shots, run.eval.shot_seed);
            let paths = references(&scan.samples, &source.name, category, shots, seed)?;
            let mut normals = Vec::new();
            for path in &paths {
                let image = read_image(path, &Limits::default())?;
                normals.push(preprocess(&image, detector.preprocess()));
            }
            detector.remember(&normals);
            notes.references.insert(category.to_string(), paths);
        }
        let found = evaluate_category(detector, category, &samples, notes, || bar.inc(1));
        report.categories.insert(category.to_string(), found);
    }
    bar.finish_and_clear();
    report.mean = mean(&report.categories);
    Ok(report)
}

fn print_table(name: &str, report: &DatasetReport) {
    let cell = |value: Option<f64>| value.map_or("    -".into(), |v| format!("{:5.1}", 100.0 * v));
    println!("{name:<20} image: AUROC     AP  F1max  pixel: AUROC     AP  F1max  AUPRO");
    let rows = report.categories.iter().map(|(name, c)| (name.as_str(), &c.image, &c.pixel));
    for (name, image, pixel) in rows.chain([("mean", &report.mean.image, &report.mean.pixel)]) {
        println!(
            "{name:<20}        {}  {}  {}         {}  {}  {}  {}",
            cell(image.auroc),
            cell(image.ap),
            cell(image.f1_max),
            cell(pixel.auroc),
            cell(pixel.ap),
            cell(pixel.f1_max),
            cell(pixel.aupro)
        );
    }
}
