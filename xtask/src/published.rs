//! `cargo xtask published`: checkpoints of other authors, and their numbers beside ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::process::{FeClip, sha256};
use crate::results::{self, Source};

/// Evaluate a checkpoint that its authors published, and print their numbers beside ours.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask published\n  \
    cargo xtask published anomalyclip mvtec-ad --checkpoint epoch_15.pth --data datasets\n  \
    cargo xtask published inctrl visa --shots 2 --checkpoint 2.pth --backbone vit_b_16_plus_240.pt")]
pub(crate) struct Args {
    /// Method, as `[model] method` names it; lists all checkpoints where not given
    method: Option<String>,
    /// Data set that the checkpoint was not trained on
    #[arg(requires = "method")]
    dataset: Option<String>,
    /// The file that the authors published
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// CLIP's weights, as `[model] backbone` names them
    #[arg(long, value_name = "MODEL", default_value = "vit-l-14-336")]
    backbone: String,
    /// The folder that holds one folder a data set, by name
    #[arg(long, value_name = "DIR", default_value = "datasets")]
    data: PathBuf,
    /// Normal images beside each image, for methods that compare with some
    #[arg(long, default_value_t = 0)]
    shots: usize,
    /// Other pixels a side than the authors', for trials
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<usize>,
    /// Backend, as `fe-clip --device` takes it
    #[arg(long)]
    device: Option<String>,
    /// Backends to build in beside `flex` (docs/backends.md): tch, wgpu, cuda
    #[arg(long, value_delimiter = ',', conflicts_with = "fe_clip")]
    features: Vec<String>,
    /// Folder for settings, metrics and the page
    #[arg(long, value_name = "DIR", default_value = "target/published")]
    out: PathBuf,
    /// The program to run; built first where not given
    #[arg(long, value_name = "FILE")]
    fe_clip: Option<PathBuf>,
}

/// An entry of `datasets/published.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    method: String,
    dataset: String,
    #[serde(default)]
    shots: usize,
    file: String,
    licence: String,
    /// Where the numbers stand.
    source: String,
    /// Lines of `[model]`.
    model: String,
    /// Level and name in `metrics.json`, with a point between.
    metrics: Vec<String>,
    /// Percent, in the order of `metrics`.
    mean: Vec<f64>,
    /// The same of every category, where the authors tell it.
    #[serde(default)]
    categories: BTreeMap<String, Vec<f64>>,
}

impl Published {
    fn name(&self) -> String {
        let shots = if self.shots > 0 { format!(" --shots {}", self.shots) } else { String::new() };
        format!("{} {}{shots}", self.method, self.dataset)
    }
}

fn known() -> Result<Vec<Published>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        checkpoint: Vec<Published>,
    }
    let file: File = toml::from_str(include_str!("../../datasets/published.toml"))
        .context("datasets/published.toml")?;
    Ok(file.checkpoint)
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let source = Source::here();
    let all = known()?;
    let (Some(method), Some(dataset)) = (&args.method, &args.dataset) else {
        all.iter().filter(|p| args.method.as_ref().is_none_or(|m| *m == p.method)).for_each(told);
        return Ok(());
    };
    let fits =
        |p: &&Published| p.method == *method && p.dataset == *dataset && p.shots == args.shots;
    let Some(published) = all.iter().find(fits) else {
        let names: Vec<String> = all.iter().map(Published::name).collect();
        bail!("no published checkpoint of that; there are: {}", names.join(", "));
    };
    let Some(checkpoint) = &args.checkpoint else {
        told(published);
        bail!("--checkpoint: give this file");
    };
    let root = args.data.join(dataset);
    ensure!(root.is_dir(), "{} is not there: cargo xtask download {dataset}", root.display());
    let out = args.out.join(published.name().replace(" --", "-").replace(' ', "-"));
    std::fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    let config = out.join("run.toml");
    results::replace(&config, settings(args, published, &std::path::absolute(&root)?)?)?;
    let program = FeClip::get(args.fe_clip.as_deref(), &args.features)?;
    let mut eval = program.command("eval");
    eval.arg("--config").arg(&config).arg("--adapters").arg(checkpoint).arg("--out").arg(&out);
    if let Some(device) = &args.device {
        eval.args(["--device", device]);
    }
    let status = eval.status().context("starting fe-clip eval")?;
    // Exit code 1: files that were left out are named.
    ensure!(matches!(status.code(), Some(0 | 1)), "fe-clip eval ended with {status}");
    let path = out.join("metrics.json");
    let read = || anyhow::Ok(serde_json::from_slice(&std::fs::read(&path)?)?);
    let metrics: Value = read().with_context(|| format!("reading {}", path.display()))?;
    let rows = rows(published, &metrics);
    ensure!(!rows.is_empty(), "{}: no mean of {dataset}", path.display());
    let page = page(&source, args, published, &rows);
    println!("{page}");
    let document = json!({
        "source": source, "code": program.code, "method": method, "dataset": dataset,
        "shots": args.shots, "backbone": args.backbone, "checkpoint_sha256": sha256(checkpoint)?,
        "numbers_from": published.source, "metrics": published.metrics, "rows": rows,
    });
    results::write(&out, "published", &page, &document)
}

/// What there is to get.
fn told(published: &Published) {
    let Published { file, licence, source, metrics, mean, .. } = published;
    println!("{}\n  file     {file}\n  licence  {licence}", published.name());
    let numbers = metrics.iter().zip(mean).map(|(metric, value)| format!("{metric} {value:.1}"));
    println!("  gives    {} ({source})", numbers.collect::<Vec<_>>().join(", "));
}

fn settings(args: &Args, published: &Published, root: &Path) -> Result<String> {
    let Published { method, dataset, shots, model, .. } = published;
    let mut own: toml::Table = toml::from_str(model).context("datasets/published.toml: model")?;
    own.insert("method".into(), method.as_str().into());
    own.insert("backbone".into(), args.backbone.as_str().into());
    if let Some(size) = args.image_size {
        own.insert("image_size".into(), i64::try_from(size)?.into());
    }
    let root = root.to_str().with_context(|| format!("{}: not UTF-8", root.display()))?;
    let eval = json!({ "datasets": [{ "name": dataset, "root": root }], "shots": shots });
    Ok(toml::to_string(&json!({ "model": own, "eval": eval }))?)
}

/// A category, or the mean over all.
#[derive(Debug, serde::Serialize)]
struct Row {
    name: String,
    /// Percent, in the order of the metrics.
    ours: Vec<Option<f64>>,
    theirs: Vec<Option<f64>>,
}

fn rows(published: &Published, metrics: &Value) -> Vec<Row> {
    let of_dataset = &metrics["datasets"][published.dataset.as_str()];
    let row = |name: &str, values: &Value, theirs: Option<&Vec<f64>>| {
        let value = |metric: &String| {
            let found = values.pointer(&format!("/{}", metric.replace('.', "/")));
            found.and_then(Value::as_f64).map(|fraction| 100.0 * fraction)
        };
        let ours = published.metrics.iter().map(value).collect();
        let known = |i| theirs.and_then(|values| values.get(i)).copied();
        let theirs = (0..published.metrics.len()).map(known).collect();
        Row { name: name.into(), ours, theirs }
    };
    let categories = of_dataset["categories"].as_object().into_iter().flatten();
    let mut rows: Vec<Row> = categories
        .map(|(name, values)| row(name, values, published.categories.get(name)))
        .collect();
    if of_dataset["mean"].is_object() {
        rows.push(row("mean", &of_dataset["mean"], Some(&published.mean)));
    }
    rows
}

fn page(source: &Source, args: &Args, published: &Published, rows: &[Row]) -> String {
    let mut text = format!(
        "# {}\n\n{source}\nThe checkpoint is {}; licence: {}. Theirs are from {}.\n\
         Percent: ours / theirs (difference); PRO by the peers' routine.\n",
        published.name(),
        published.file,
        published.licence,
        published.source,
    );
    if let Some(size) = args.image_size {
        text += &format!("This is a trial at {size} pixels: the numbers are not to be compared.\n");
    }
    let expected = published.categories.keys();
    let missing: Vec<&str> = expected
        .filter(|name| rows.iter().all(|row| row.name != **name))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        text +=
            &format!("Not in the data, so that the mean is another one: {}.\n", missing.join(", "));
    }
    text += &format!("\n| category | {} |\n", published.metrics.join(" | "));
    text += &format!("| --- |{}\n", " --- |".repeat(published.metrics.len()));
    for Row { name, ours, theirs } in rows {
        let cells = ours.iter().zip(theirs).map(|(ours, theirs)| cell(*ours, *theirs));
        text += &format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
    }
    text
}

fn cell(ours: Option<f64>, theirs: Option<f64>) -> String {
    let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.1}"));
    let difference = ours
        .zip(theirs)
        .map_or(String::new(), |(ours, theirs)| format!(" ({:+.1})", ours - theirs));
    format!("{} / {}{difference}", number(ours), number(theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_checkpoint_has_its_numbers_and_the_mean_is_that_of_the_categories() {
        let all = known().unwrap();
        assert_eq!(all.len(), 12);
        for published in &all {
            let name = published.name();
            assert_eq!(published.metrics.len(), published.mean.len(), "{name}");
            for (i, mean) in published.mean.iter().enumerate() {
                let each: Vec<f64> =
                    published.categories.values().map(|values| values[i]).collect();
                let own = each.iter().sum::<f64>() / each.len() as f64;
                // Both were rounded.
                assert!(each.is_empty() || (own - mean).abs() < 0.1, "{name}: {own} is {mean}");
            }
            let same = all.iter().filter(|other| other.name() == name).count();
            assert_eq!(same, 1, "{name}");
            assert!(published.dataset.parse::<data::Layout>().is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_a_dash_without_a_difference() {
        assert_eq!(cell(Some(50.04), Some(49.9)), "50.0 / 49.9 (+0.1)");
        assert_eq!(cell(None, Some(49.9)), "- / 49.9");
        assert_eq!(cell(Some(1.0), None), "1.0 / -");
    }
}
