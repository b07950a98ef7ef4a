//! `cargo xtask evaluate-tiny`: the embedded default measured, beside honest baselines.

mod default;
mod real;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Measure `tiny` on held-out procedural categories and on real images, beside baselines.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask evaluate-tiny --real ../shared/data/dev")]
pub(crate) struct Args {
    /// Samples of real data sets in their original layouts
    #[arg(long, default_value = "../shared/data/dev")]
    real: PathBuf,
    /// Backbone to measure in place of the embedded one
    #[arg(long, value_name = "MODEL")]
    backbone: Option<PathBuf>,
    /// Adapters to measure in place of the embedded ones
    #[arg(long, value_name = "FILE")]
    adapters: Option<PathBuf>,
    /// Working folder; results of runs stay there
    #[arg(long, default_value = "target/evaluate-tiny")]
    work: PathBuf,
    /// The report
    #[arg(long, default_value = "docs/results/tiny.md")]
    out: PathBuf,
    /// Folder for overlays of procedural images; the report shows them
    #[arg(long, default_value = "docs/images/tiny")]
    pictures: PathBuf,
    /// The program to run; built first where not given
    #[arg(long, value_name = "FILE")]
    fe_clip: Option<PathBuf>,
}

/// A method with its shots.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) title: &'static str,
    method: &'static str,
    pub(crate) shots: usize,
}

/// The rows of the report: the model first, then what it must beat.
const ROWS: [Row; 8] = [
    Row { title: "FE-CLIP", method: "fe-clip", shots: 0 },
    Row { title: "plain CLIP scoring", method: "clip", shots: 0 },
    Row { title: "spectral residual", method: "spectral-residual", shots: 0 },
    Row { title: "FE-CLIP, 1 normal", method: "fe-clip", shots: 1 },
    Row { title: "FE-CLIP, 2 normals", method: "fe-clip", shots: 2 },
    Row { title: "FE-CLIP, 4 normals", method: "fe-clip", shots: 4 },
    Row { title: "memory bank alone, 1 normal", method: "patchcore", shots: 1 },
    Row { title: "memory bank alone, 4 normals", method: "patchcore", shots: 4 },
];

/// A data set to measure on.
pub(crate) struct Set {
    pub(crate) title: &'static str,
    root: PathBuf,
    /// Categories with references for few-shot runs.
    with_references: Vec<String>,
}

/// What was measured on a set.
pub(crate) struct Measured {
    pub(crate) set: Set,
    pub(crate) rows: Vec<(Row, Found)>,
    /// Normal images that `detect` labels anomalous by default, and all of them; measured of the
    /// embedded model alone.
    pub(crate) alarms: Option<(usize, usize)>,
}

/// What a run found: `metrics.json`, or nothing where it failed.
pub(crate) type Found = Option<Value>;

pub(crate) fn run(args: &Args) -> Result<()> {
    let fe_clip = match &args.fe_clip {
        Some(path) => path.clone(),
        None => crate::reproduce::build()?,
    };
    fs::create_dir_all(&args.work).with_context(|| format!("making {}", args.work.display()))?;
    let work = std::path::absolute(&args.work)?;
    let mut sets = vec![procedural(&fe_clip, &work)?];
    if args.real.is_dir() {
        let root = work.join("real");
        let with_references = real::arrange(&args.real, &root)?;
        sets.push(Set { title: "Real images", root, with_references });
    } else {
        eprintln!(
            "NO REAL IMAGES: {} is not there; only procedural ones are measured",
            args.real.display()
        );
    }
    let embedded = args.backbone.is_none() && args.adapters.is_none();
    let mut pictures = Vec::new();
    if embedded {
        pictures = default::overlays(&fe_clip, &sets[0], &args.pictures)?;
    }
    let mut results = Vec::new();
    for set in sets {
        let mut rows = Vec::new();
        for row in ROWS {
            println!("{}: {}", set.title, row.title);
            rows.push((row, measure(args, &fe_clip, &work, &set, row)?));
        }
        let alarms = embedded.then(|| default::alarms(&fe_clip, &set)).transpose()?;
        results.push(Measured { set, rows, alarms });
    }
    let base = args.out.parent().unwrap_or(Path::new(""));
    let text = report::markdown(&results, &report::pictures(&pictures, base)?);
    fs::write(&args.out, text).with_context(|| format!("writing {}", args.out.display()))?;
    println!("{}", args.out.display());
    Ok(())
}

/// Categories that neither training saw, the set of the commands at the top of tiny's run.toml.
fn procedural(fe_clip: &Path, work: &Path) -> Result<Set> {
    let root = work.join("held-out");
    if !root.is_dir() {
        let partial = work.join("partial");
        let _ = fs::remove_dir_all(&partial);
        let status = Command::new(fe_clip)
            .args(["synth", "--categories", "held-out", "--size", "240", "--train-normal", "4"])
            .args(["--test-normal", "16", "--test-per-defect", "1", "--seed", "2", "--out"])
            .arg(&partial)
            .status()
            .context("starting fe-clip synth")?;
        ensure!(status.success(), "fe-clip synth ended with {status}");
        fs::rename(&partial, &root).with_context(|| format!("making {}", root.display()))?;
    }
    let scan = data::scan(data::Layout::MvtecAd, &root)?;
    let mut with_references: Vec<String> = scan.samples.into_iter().map(|s| s.category).collect();
    with_references.sort();
    with_references.dedup();
    Ok(Set { title: "Procedural images, held-out categories", root, with_references })
}

fn measure(args: &Args, fe_clip: &Path, work: &Path, set: &Set, row: Row) -> Result<Found> {
    let name = set.root.file_name().unwrap_or_default().to_string_lossy();
    let out = work.join(format!("{name}-{}-{}", row.method, row.shots));
    fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    let config = out.join("run.toml");
    fs::write(&config, run_toml(args, set, row)?).context("writing run.toml")?;
    let mut command = Command::new(fe_clip);
    command.arg("eval").arg("--config").arg(&config).arg("--out").arg(&out);
    if let (Some(adapters), "fe-clip") = (&args.adapters, row.method) {
        command.arg("--adapters").arg(adapters);
    }
    // Exit code 1: a mask that does not fit its image is left out and named (one is kept in the
    // samples on purpose).
    let status = command.stdout(Stdio::null()).status().context("starting fe-clip")?;
    if status.code() == Some(2) {
        eprintln!("{}: {} failed", set.title, row.title);
        return Ok(None);
    }
    let path = out.join("metrics.json");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Some(serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?))
}

/// tiny's own settings of the model, with the row's method, on this set.
fn run_toml(args: &Args, set: &Set, row: Row) -> Result<String> {
    let path = Path::new("crates/fe-clip/assets/tiny/run.toml");
    let own = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let model = own
        .split("\n[train]")
        .next()
        .and_then(|text| text.split_once("[model]"))
        .map(|(_, model)| model.trim())
        .with_context(|| format!("{}: expected [model] before [train]", path.display()))?;
    let mut text = String::from("[model]\n");
    if row.method != "fe-clip" {
        text += &format!("method = {:?}\n", row.method);
    }
    for line in model.lines() {
        match &args.backbone {
            Some(backbone) if line.starts_with("backbone") => {
                text += &format!("backbone = {:?}\n", std::path::absolute(backbone)?);
            }
            // The baselines obey these two alone.
            _ if row.method == "fe-clip" || line.starts_with("backbone") => {
                text += &format!("{line}\n");
            }
            _ if row.method == "clip" && line.starts_with("temperature") => {
                text += &format!("{line}\n");
            }
            _ => {}
        }
    }
    text += &format!("[eval]\nshots = {}\n", row.shots);
    let categories = match row.shots {
        0 => String::new(),
        _ => format!(", categories = {:?}", set.with_references),
    };
    text += &format!("datasets = [{{ name = \"mvtec-ad\", root = {:?}{categories} }}]\n", set.root);
    Ok(text)
}
