//! `cargo xtask ablation`: the rows of the paper's Tables 3 and 4 on procedural data.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use serde_json::{Value, json};

use crate::process::{FeClip, execute};
use crate::results::{self, METRICS, Source};

/// A row of the table.
struct Row {
    title: &'static str,
    /// What stands in `[model]`.
    model: &'static str,
    /// Whether it has the sentences that all rows share; else those of its method.
    shared_prompts: bool,
}

impl Row {
    const fn new(title: &'static str, model: &'static str) -> Self {
        Self { title, model, shared_prompts: true }
    }

    /// Plain CLIP scores as it is; all else learns.
    fn learns(&self) -> bool {
        self.model != CLIP
    }
}

const CLIP: &str = "method = \"clip\"\n";
/// Plain CLIP with FE-CLIP's sentences, and FE-CLIP itself: what the adapters add.
const PLAIN: &str = "CLIP";
const WHOLE: &str = "FE-CLIP (FFE + LFS)";
const ROWS: [Row; 7] = [
    Row::new(PLAIN, CLIP),
    Row { title: "CLIP, category named", model: CLIP, shared_prompts: false },
    Row::new("CLIP + Conv adapter", "ffe = false\nlfs = false\nconv_adapter = { kernel = 3 }\n"),
    Row::new("CLIP + FFE", "lfs = false\n"),
    Row::new("CLIP + LFS", "ffe = false\n"),
    Row::new(WHOLE, ""),
    Row::new("FE-CLIP with FFT", "transform = \"fft\"\n"),
];
/// The sentences of every row but the named one.
pub(crate) const PROMPTS: &str = "[prompts]\nnormal = [\"A photo of a normal object\"]\nanomalous = [\"A photo of a damaged object\"]\n";

/// Train and evaluate each ablation of the paper's Tables 3 and 4 on procedural data: adapters
/// learn on the training categories and are measured on the held-out ones. What is finished is
/// not done again, so a run that was stopped goes on.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask ablation --seeds 5 --results docs/results\n  \
    cargo xtask ablation --out target/trial --training wood --held-out knit --epochs 1")]
pub(crate) struct Args {
    /// Folder of the data, the runs and the table.
    #[arg(long, value_name = "DIR", default_value = "target/ablation")]
    out: PathBuf,
    /// Folder that gets a copy of the table, `ablation.md` and `ablation.json`.
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// The program; built if not given.
    #[arg(long, value_name = "FILE")]
    fe_clip: Option<PathBuf>,
    /// Training runs of each row, with seeds 0, 1, 2, ...
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Passes over the training images.
    #[arg(long, default_value_t = 9)]
    epochs: usize,
    /// Side of the images in pixels.
    #[arg(long, default_value_t = 256)]
    size: u32,
    /// Categories that adapters learn on, as `fe-clip synth` names them.
    #[arg(long, value_name = "NAMES", default_value = "training")]
    training: String,
    /// Categories that they are measured on.
    #[arg(long, value_name = "NAMES", default_value = "held-out")]
    held_out: String,
    /// Normal images a category.
    #[arg(long, default_value_t = 10)]
    test_normal: usize,
    /// Anomalous images a category and kind of defect.
    #[arg(long, default_value_t = 2)]
    test_per_defect: usize,
    /// Learning rate of the patch projection. The default of `run.toml` suits the paper's
    /// backbone, whose epochs have a hundred steps.
    #[arg(long, value_name = "RATE")]
    projection_learning_rate: Option<f64>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let source = Source::here();
    let program = FeClip::get(args.fe_clip.as_deref(), &[])?;
    fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let study = Study { args, program, out: &args.out };
    study.synth("training", &args.training, 0)?;
    study.synth("held-out", &args.held_out, 1)?;
    let mut rows = Vec::new();
    for row in &ROWS {
        let seeds = if row.learns() { args.seeds } else { 1 };
        let runs: anyhow::Result<Vec<Run>> = (0..seeds).map(|seed| study.row(row, seed)).collect();
        rows.push((row.title, runs?));
    }
    let table = markdown(&rows);
    print!("{table}");
    let (page, document) = (page(args, &source, &table, &rows), document(&source, args, &rows));
    for folder in [Some(&args.out), args.results.as_ref()].into_iter().flatten() {
        results::write(folder, "ablation", &page, &document)?;
    }
    Ok(())
}

/// Metrics of a row with one seed, before and after training; nothing learns in plain CLIP.
struct Run {
    untrained: Metrics,
    trained: Option<Metrics>,
}

impl Run {
    /// What it can do in the end.
    fn last(&self) -> &Metrics {
        self.trained.as_ref().unwrap_or(&self.untrained)
    }
}

/// In the order of [`METRICS`], fractions.
type Metrics = [f64; METRICS.len()];

struct Study<'a> {
    args: &'a Args,
    program: FeClip,
    out: &'a Path,
}

impl Study<'_> {
    fn synth(&self, name: &str, categories: &str, seed: u64) -> anyhow::Result<()> {
        let args = self.args;
        let numbers = [
            ("--seed", seed),
            ("--size", args.size.into()),
            ("--train-normal", 1),
            ("--test-normal", args.test_normal as u64),
            ("--test-per-defect", args.test_per_defect as u64),
        ];
        let mut command = self.program.command("synth");
        command.args(["--categories", categories, "--out"]).arg(self.out.join(name));
        for (flag, number) in numbers {
            command.args([flag, &number.to_string()]);
        }
        execute(command.stdout(Stdio::null()))
    }

    fn row(&self, row: &Row, seed: u64) -> anyhow::Result<Run> {
        let untrained = self.measure(row, seed, 0)?;
        let trained = row.learns().then(|| self.measure(row, seed, self.args.epochs));
        Ok(Run { untrained, trained: trained.transpose()? })
    }

    /// Trains for so many epochs and evaluates, unless that was done before by the same program.
    fn measure(&self, row: &Row, seed: u64, epochs: usize) -> anyhow::Result<Metrics> {
        let folder: String = row
            .title
            .to_lowercase()
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join("-");
        let folder = self.out.join(folder).join(format!("seed-{seed}-epochs-{epochs}"));
        fs::create_dir_all(&folder)?;
        let (run, metrics) = (folder.join("settings.toml"), folder.join("metrics.json"));
        let settings = self.settings(row, seed, epochs)?;
        let known = fs::read_to_string(&run).is_ok_and(|text| text == settings);
        if !(known && metrics.exists()) {
            eprintln!("{}, seed {seed}, {epochs} epochs", row.title);
            if !known {
                fs::remove_dir_all(&folder)?;
                fs::create_dir_all(&folder)?;
                fs::write(&run, settings)?;
            }
            let command = |name: &str| {
                let mut command = self.program.command(name);
                command.arg("--config").arg(&run).arg("--out").arg(&folder);
                command
            };
            let mut eval = command("eval");
            if row.learns() {
                let cache = self.out.join("activations");
                let mut train = command("train");
                train.args(["--resume", "--cache"]).arg(cache);
                execute(train.stdout(Stdio::null()))?;
                eval.arg("--adapters").arg(folder.join("adapters.safetensors"));
            }
            execute(eval.stdout(Stdio::null()))?;
        }
        let text = fs::read_to_string(&metrics).with_context(|| metrics.display().to_string())?;
        read_metrics(&serde_json::from_str(&text)?)
            .with_context(|| format!("{}: a metric is undefined", metrics.display()))
    }

    /// The row's `run.toml`; its first line tells other programs' results apart.
    fn settings(&self, row: &Row, seed: u64, epochs: usize) -> anyhow::Result<String> {
        let root = fs::canonicalize(self.out)?;
        let source = |name: &str| {
            let root = root.join(name).display().to_string();
            format!("datasets = [{{ name = \"mvtec-ad\", root = {root:?} }}]")
        };
        let mut text = format!("# {}\n[model]\n{}", self.program.code, row.model);
        if row.shared_prompts {
            text.push_str(PROMPTS);
        }
        writeln!(text, "[train]\nepochs = {epochs}\nseed = {seed}\n{}", source("training"))?;
        if let Some(rate) = self.args.projection_learning_rate {
            writeln!(text, "projection_learning_rate = {rate:e}")?;
        }
        writeln!(text, "[eval]\n{}", source("held-out"))?;
        Ok(text)
    }
}

/// Means over categories, in the order of [`METRICS`]; none where one is undefined somewhere.
fn read_metrics(document: &Value) -> Option<Metrics> {
    let categories = document["datasets"]["mvtec-ad"]["categories"].as_object()?;
    let mean = |level: &str, metric: &str| -> Option<f64> {
        let values: Option<Vec<f64>> =
            categories.values().map(|found| found[level][metric].as_f64()).collect();
        values.map(|values| mean_and_deviation(&values).0)
    };
    let values: Option<Vec<f64>> =
        METRICS.iter().map(|(level, metric, _)| mean(level, metric)).collect();
    values?.try_into().ok()
}

/// Mean and, of several, standard deviation of a metric, over seeds or categories.
fn mean_and_deviation(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (values.len() > 1).then(|| variance.sqrt()))
}

fn markdown(rows: &[(&str, Vec<Run>)]) -> String {
    let mut table = String::from(
        "| method | image AUROC | image AP | pixel AUROC | AUPRO |\n| --- | --- | --- | --- | --- |\n",
    );
    let mut line = |name: &str, runs: &[&Metrics]| {
        let cells: Vec<String> = (0..METRICS.len())
            .map(|i| {
                let values: Vec<f64> = runs.iter().map(|run| 100.0 * run[i]).collect();
                match mean_and_deviation(&values) {
                    (mean, None) => format!("{mean:.1}"),
                    (mean, Some(deviation)) => format!("{mean:.1} ± {deviation:.1}"),
                }
            })
            .collect();
        let _ = writeln!(table, "| {name} | {} |", cells.join(" | "));
    };
    for (name, runs) in rows {
        let untrained: Vec<&Metrics> = runs.iter().map(|run| &run.untrained).collect();
        let trained: Vec<&Metrics> = runs.iter().filter_map(|run| run.trained.as_ref()).collect();
        if trained.is_empty() {
            line(name, &untrained);
        } else {
            line(&format!("{name}, untrained"), &untrained);
            line(name, &trained);
        }
    }
    table
}

fn page(args: &Args, source: &Source, table: &str, rows: &[(&str, Vec<Run>)]) -> String {
    format!(
        "# Ablation on procedural data\n\n{source}\n\
         `ablation.json` beside this page has every run.\n\n\
         `tiny`, adapters trained on the procedural categories \"{}\" and measured on \"{}\": {} \
         epochs, {} pixels, {} normal images a category and {} of each kind of \
         defect, {} seed(s). Percent, means over all measured categories{}; AUPRO up to a false-\
         positive rate of 30 %. Rows as in Tables 3 and 4 of the paper.\n\
         All rows share prompts, smoothing and the image score of the class token; only \"category \
         named\" has plain CLIP's usual sentences, which tell it what is looked at. CLIP is its \
         last layer; the others put four stages together.\n\n{}\n\n{table}",
        args.training,
        args.held_out,
        args.epochs,
        args.size,
        args.test_normal,
        args.test_per_defect,
        args.seeds,
        if args.seeds > 1 { ", ± standard deviation over seeds" } else { "" },
        verdict(rows),
    )
}

/// What the adapters add to plain CLIP with the same sentences, in words.
fn verdict(rows: &[(&str, Vec<Run>)]) -> String {
    let means = |runs: &[Run]| -> Metrics {
        std::array::from_fn(|i| {
            let values: Vec<f64> = runs.iter().map(|run| run.last()[i]).collect();
            mean_and_deviation(&values).0
        })
    };
    let rows: Vec<(&str, Metrics)> =
        rows.iter().map(|(title, runs)| (*title, means(runs))).collect();
    let of = |wanted: &str| rows.iter().find(|(title, _)| *title == wanted).map(|(_, means)| means);
    let difference = of(WHOLE).zip(of(PLAIN)).map(|(ours, plain)| results::difference(ours, plain));
    let best = METRICS.iter().enumerate().map(|(i, (.., title))| {
        let best = rows.iter().max_by(|a, b| a.1[i].total_cmp(&b.1[i]));
        format!("{title} {}", best.map_or("-", |row| row.0))
    });
    let best: Vec<String> = best.collect();
    format!("{} Best rows: {}.", difference.unwrap_or_default(), best.join(", "))
}

fn document(source: &Source, args: &Args, rows: &[(&str, Vec<Run>)]) -> Value {
    let named = |metrics: &Metrics| -> BTreeMap<String, f64> {
        let names = METRICS.iter().map(|(level, metric, _)| format!("{level}_{metric}"));
        names.zip(metrics.iter().copied()).collect()
    };
    let runs = |runs: &[Run]| -> Vec<Value> {
        let each = runs.iter().enumerate();
        each.map(|(seed, run)| {
            let trained = run.trained.as_ref().map(named);
            json!({ "seed": seed, "untrained": named(&run.untrained), "trained": trained })
        })
        .collect()
    };
    let rows: Vec<Value> =
        rows.iter().map(|(name, row)| json!({ "method": name, "runs": runs(row) })).collect();
    json!({
        "source": source,
        "settings": {
            "training": args.training, "held_out": args.held_out, "epochs": args.epochs, "size": args.size, "test_normal": args.test_normal,
            "test_per_defect": args.test_per_defect, "seeds": args.seeds,
            "projection_learning_rate": args.projection_learning_rate, "prompts": PROMPTS,
        },
        "rows": rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_means_with_their_deviation_mean_and_deviation() {
        let run = |untrained, trained| Run {
            untrained: [untrained; METRICS.len()],
            trained: Some([trained; METRICS.len()]),
        };
        let clip = Run { untrained: [0.25; METRICS.len()], trained: None };
        let rows = [("CLIP", vec![clip]), ("FE-CLIP", vec![run(0.5, 0.7), run(0.5, 0.8)])];
        let lines: Vec<String> = markdown(&rows).lines().skip(2).map(str::to_string).collect();
        assert_eq!(lines[0], "| CLIP | 25.0 | 25.0 | 25.0 | 25.0 |");
        assert!(lines[1].starts_with("| FE-CLIP, untrained | 50.0 ± 0.0 |"), "{}", lines[1]);
        assert!(lines[2].starts_with("| FE-CLIP | 75.0 ± 7.1 |"), "{}", lines[2]);
    }
}
