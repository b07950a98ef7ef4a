//! `cargo xtask evaluate-tiny`: the embedded default measured, beside honest baselines.

mod default;
mod real;
mod report;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use toml::Table;

use crate::ablation::PROMPTS;
use crate::process::{FeClip, execute};
use crate::results::{self, Source};

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
    /// Folder for the report, tiny.md and tiny.json
    #[arg(long, default_value = "docs/results")]
    out: PathBuf,
    /// The model card, whose section "Measured" is written anew for the embedded default
    #[arg(long, default_value = "crates/fe-clip/assets/tiny/MODEL_CARD.md")]
    card: PathBuf,
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
    pub(crate) method: &'static str,
    pub(crate) shots: usize,
    /// Whether the images of a category are scored against each other.
    group: bool,
    /// Whether it has tiny's own sentences; else those of its method, if it has any.
    own_prompts: bool,
}

const FE_CLIP: Row =
    Row { title: "FE-CLIP", method: "fe-clip", shots: 0, group: false, own_prompts: true };
/// FE-CLIP without its adapters: the same words, smoothing and image score.
const PLAIN: Row = Row { title: "plain CLIP", method: "clip", ..FE_CLIP };
const BANK: Row = Row { title: "", method: "memory-bank", own_prompts: false, ..FE_CLIP };
/// The rows of the report: the model first, then what it must beat.
const ROWS: [Row; 12] = [
    FE_CLIP,
    PLAIN,
    Row { title: "plain CLIP, category named", own_prompts: false, ..PLAIN },
    Row { title: "spectral residual", method: "spectral-residual", ..BANK },
    Row { title: "FE-CLIP, group", group: true, ..FE_CLIP },
    Row { title: "MuSc, group", method: "musc", group: true, ..BANK },
    Row { title: "FE-CLIP, 1 normal", shots: 1, ..FE_CLIP },
    Row { title: "FE-CLIP, 2 normals", shots: 2, ..FE_CLIP },
    Row { title: "FE-CLIP, 4 normals", shots: 4, ..FE_CLIP },
    Row { title: "memory bank alone, 1 normal", shots: 1, ..BANK },
    Row { title: "memory bank alone, 4 normals", shots: 4, ..BANK },
    Row { title: "PCA residual, 4 normals", method: "pca-residual", shots: 4, ..BANK },
];

/// A data set to measure on.
pub(crate) struct Set {
    pub(crate) title: &'static str,
    root: PathBuf,
    /// Categories with references for few-shot runs.
    with_references: Vec<String>,
    /// Categories with images enough to be scored against each other.
    with_groups: Vec<String>,
}

/// Fewest images of a group.
const GROUP: usize = 5;

/// Categories with a group of test images.
fn groups(root: &Path) -> Result<Vec<String>> {
    let mut images: BTreeMap<String, usize> = BTreeMap::new();
    for sample in data::scan(data::Layout::MvtecAd, root)?.samples {
        if sample.split == data::Split::Test {
            *images.entry(sample.category).or_default() += 1;
        }
    }
    Ok(images.into_iter().filter(|(_, count)| *count >= GROUP).map(|(name, _)| name).collect())
}

/// What was measured on a set.
pub(crate) struct Measured {
    pub(crate) title: &'static str,
    /// Rows with their `metrics.json`.
    pub(crate) rows: Vec<(Row, Value)>,
    /// Normal images that `detect` labels anomalous by default, and all of them; measured of the
    /// embedded model alone.
    pub(crate) alarms: Option<(usize, usize)>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let source = Source::here();
    let fe_clip = FeClip::get(args.fe_clip.as_deref(), &[])?;
    fs::create_dir_all(&args.work).with_context(|| format!("making {}", args.work.display()))?;
    let work = std::path::absolute(&args.work)?;
    let mut sets = vec![procedural(&fe_clip, &work)?];
    if args.real.is_dir() {
        let root = work.join("real");
        let with_references = real::arrange(&args.real, &root)?;
        let with_groups = groups(&root)?;
        sets.push(Set { title: "Real images", root, with_references, with_groups });
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
    let mut measured = Vec::new();
    for set in sets {
        let mut rows = Vec::new();
        for row in ROWS {
            println!("{}: {}", set.title, row.title);
            rows.push((row, measure(args, &fe_clip, &work, &set, row)?));
        }
        let alarms = embedded.then(|| default::alarms(&fe_clip, &set)).transpose()?;
        measured.push(Measured { title: set.title, rows, alarms });
    }
    let page = report::markdown(&source, &measured) + &report::pictures(&pictures, &args.out)?;
    results::write(&args.out, "tiny", &page, &report::document(&source, &measured))?;
    if embedded {
        let card = fs::read_to_string(&args.card)
            .with_context(|| format!("reading {}", args.card.display()))?;
        results::replace(&args.card, report::card(&card, &source, &measured)?)?;
    }
    Ok(())
}

/// Categories that neither training saw, the set of the commands at the top of tiny's run.toml.
fn procedural(fe_clip: &FeClip, work: &Path) -> Result<Set> {
    let root = work.join("held-out");
    if !root.is_dir() {
        let partial = work.join("partial");
        let _ = fs::remove_dir_all(&partial);
        let mut synth = fe_clip.command("synth");
        synth.args(["--categories", "held-out", "--size", "240", "--train-normal", "4"]);
        synth.args(["--test-normal", "16", "--test-per-defect", "1", "--seed", "2", "--out"]);
        execute(synth.arg(&partial))?;
        fs::rename(&partial, &root).with_context(|| format!("making {}", root.display()))?;
    }
    let scan = data::scan(data::Layout::MvtecAd, &root)?;
    let mut with_references: Vec<String> = scan.samples.into_iter().map(|s| s.category).collect();
    with_references.sort();
    with_references.dedup();
    let with_groups = groups(&root)?;
    Ok(Set { title: "Procedural images, held-out categories", root, with_references, with_groups })
}

/// The row's `metrics.json` on a set.
fn measure(args: &Args, fe_clip: &FeClip, work: &Path, set: &Set, row: Row) -> Result<Value> {
    let name = set.root.file_name().unwrap_or_default().to_string_lossy();
    let words = if row.own_prompts { "" } else { "-own-words" };
    let group = if row.group { "-group" } else { "" };
    let out = work.join(format!("{name}-{}-{}{group}{words}", row.method, row.shots));
    fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    let config = out.join("run.toml");
    fs::write(&config, run_toml(args, set, row)?).context("writing run.toml")?;
    let mut command = fe_clip.command("eval");
    command.arg("--config").arg(&config).arg("--out").arg(&out);
    if let (Some(adapters), "fe-clip") = (&args.adapters, row.method) {
        command.arg("--adapters").arg(adapters);
    }
    // Exit code 1: a mask that does not fit its image is left out and named (one is kept in the
    // samples on purpose).
    let status = command.stdout(Stdio::null()).status().context("starting fe-clip")?;
    ensure!(matches!(status.code(), Some(0 | 1)), "{}: eval ended with {status}", row.title);
    let path = out.join("metrics.json");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

/// Keys of `[model]` that FE-CLIP alone has, or that are chosen for its features.
const ADAPTERS: [&str; 16] = [
    "lambda",
    "transform",
    "patch_ln_post",
    "shared_projection",
    "projection_init",
    "adapter_init",
    "class_ln_post",
    "aggregate",
    "score_stages",
    "few_feature",
    "few_neighbourhood",
    "few_weight",
    "ffe",
    "lfs",
    "conv_adapter",
    "group",
];
/// Those that the memory bank has, too.
const STAGES: [&str; 4] = ["stage_ends", "few_rotate", "few_score", "few_stages"];
/// Those that plain CLIP has, too.
const SCORES: [&str; 2] = ["temperature", "image_score"];

/// Whether a method has a key of FE-CLIP. A key that is not known here goes on to the program,
/// which refuses what a method lacks: nothing that two methods share is left out in silence.
fn has(method: &str, key: &str) -> bool {
    match method {
        "fe-clip" => true,
        "clip" => !ADAPTERS.contains(&key) && !STAGES.contains(&key),
        "memory-bank" => !ADAPTERS.contains(&key) && !SCORES.contains(&key),
        "pca-residual" => key == "few_neighbourhood" || has("memory-bank", key),
        "musc" => ["backbone", "image_size", "resize", "stage_ends"].contains(&key),
        _ => ["image_size", "resize"].contains(&key),
    }
}

/// tiny's own settings, as far as the row's method has them, on this set.
fn run_toml(args: &Args, set: &Set, row: Row) -> Result<String> {
    let path = Path::new("crates/fe-clip/assets/tiny/run.toml");
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    settings(&text, args.backbone.as_deref(), set, row)
        .with_context(|| format!("making settings of {}", path.display()))
}

fn settings(own: &str, backbone: Option<&Path>, set: &Set, row: Row) -> Result<String> {
    let own: Table = own.parse()?;
    let table = |key: &str| own.get(key).and_then(toml::Value::as_table).cloned();
    let mut model = table("model").context("expected [model]")?;
    if let Some(backbone) = backbone {
        let path = std::path::absolute(backbone)?.to_string_lossy().into_owned();
        model.insert("backbone".into(), path.into());
    }
    if row.method != "fe-clip" {
        model.retain(|key, _| has(row.method, key));
        model.insert("method".into(), row.method.into());
    }
    let mut run = Table::new();
    run.insert("model".into(), model.into());
    if row.own_prompts {
        let default: Table = PROMPTS.parse()?;
        let prompts = table("prompts").map(toml::Value::from).or(default.get("prompts").cloned());
        run.extend(prompts.map(|prompts| ("prompts".to_string(), prompts)));
    }
    let mut source = Table::new();
    source.insert("name".into(), "mvtec-ad".into());
    source.insert("root".into(), set.root.to_string_lossy().into_owned().into());
    if row.shots > 0 {
        source.insert("categories".into(), set.with_references.clone().into());
    } else if row.group {
        source.insert("categories".into(), set.with_groups.clone().into());
    }
    let mut eval = Table::new();
    eval.insert("shots".into(), i64::try_from(row.shots)?.into());
    if row.group {
        eval.insert("group".into(), true.into());
    }
    eval.insert("datasets".into(), vec![toml::Value::from(source)].into());
    run.insert("eval".into(), eval.into());
    Ok(run.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_clip_differs_from_fe_clip_in_its_adapters_alone() {
        let own = "[model]\nbackbone = \"tiny\"\ntemperature = \"clip\"\nscore_stages = [4]\n\
                   smoothing_sigma = 4.0\nimage_score = \"class_token_and_map\"\n[model.lfs]\nkernel = 1\n\
                   [train]\nepochs = 3\n";
        let set = Set {
            title: "",
            root: "set".into(),
            with_references: vec!["a".into()],
            with_groups: Vec::new(),
        };
        let of = |row: Row| -> Table { settings(own, None, &set, row).unwrap().parse().unwrap() };
        let (ours, plain, named) = (of(ROWS[0]), of(ROWS[1]), of(ROWS[2]));
        assert_eq!(ours["model"]["lfs"]["kernel"].as_integer(), Some(1));
        assert_eq!(ours["prompts"], plain["prompts"]);
        let mut expected: Table = ours["model"].as_table().unwrap().clone();
        expected.remove("lfs");
        expected.remove("score_stages"); // there is one stage
        expected.insert("method".into(), "clip".into());
        assert_eq!(plain["model"].as_table(), Some(&expected));
        assert_eq!(named["model"], plain["model"]);
        assert!(!named.contains_key("prompts"));
        let few = of(ROWS[6]);
        assert_eq!(few["eval"]["datasets"][0]["categories"][0].as_str(), Some("a"));
        assert!(!of(ROWS[3])["model"].as_table().unwrap().contains_key("smoothing_sigma"));
    }
}
