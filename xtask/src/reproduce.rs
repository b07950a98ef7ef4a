//! `cargo xtask reproduce`: the paper's tables from an empty machine.

mod estimate;
mod execute;
mod job;
mod method;
mod paper;
mod plan;
mod profile;
mod results;
mod tables;
mod time;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use execute::Program;
use job::Setting;
use method::BEYOND;
use plan::{Plan, Presence, State};
use profile::{DataSet, Profile, QUICK_TARGET, QUICK_TRAINING};

use crate::process::{FeClip, execute, sha256};
use crate::results::Source;

/// Reproduce the paper's tables: plan, train, evaluate, and set the numbers beside the paper's.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask reproduce --profile quick\n  \
    cargo xtask reproduce --profile paper --dry-run\n  \
    cargo xtask reproduce --table 3 --table 4 --datasets mvtec-ad,visa --seeds 1\n  \
    cargo xtask reproduce --profile paper --features cuda --device cuda\n  \
    cargo xtask reproduce --profile paper --shard 2/8 --out results/shard2\n  \
    cargo xtask reproduce --profile paper --merge results/shard1 --merge results/shard2 --out results/all")]
pub(crate) struct Args {
    /// Tables to make: 1 to 5, `beyond` (methods that the paper has not) or `time`; all where none
    /// is named
    #[arg(long = "table", value_name = "1..5|beyond|time", value_parser = table)]
    tables: Vec<u8>,
    /// Only these target data sets
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    datasets: Vec<String>,
    /// Backbone, size, epochs and seeds
    #[arg(long, value_enum, default_value = "paper")]
    profile: Profile,
    /// Runs of a trained or few-shot method; the profile's number where not given
    #[arg(long)]
    seeds: Option<u64>,
    /// Backend, as `fe-clip --device` takes it
    #[arg(long)]
    device: Option<String>,
    /// Backends to build in beside `flex` (docs/backends.md): tch, wgpu, cuda
    #[arg(long, value_delimiter = ',', conflicts_with = "fe_clip")]
    features: Vec<String>,
    /// Other weights than the profile's, for trials
    #[arg(long, value_name = "MODEL")]
    backbone: Option<String>,
    /// Stop every training after so many steps, for trials
    #[arg(long)]
    max_steps: Option<usize>,
    /// The folder that holds one folder a data set, by name; `datasets` where not given, and for
    /// `quick`, which draws its own, `target/reproduce-quick`
    #[arg(long)]
    data: Option<PathBuf>,
    /// Where results go; `docs/results/PROFILE` where not given
    #[arg(long)]
    out: Option<PathBuf>,
    /// Run a part of the jobs alone: the first of eight is 1/8
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<(usize, usize)>,
    /// Take over the results of another --out folder first; may be repeated
    #[arg(long, value_name = "DIR")]
    merge: Vec<PathBuf>,
    /// Print the plan and stop
    #[arg(long)]
    dry_run: bool,
    /// The program to run; built first where not given
    #[arg(long, value_name = "FILE")]
    fe_clip: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let source = Source::here();
    let program = Program {
        fe_clip: FeClip::get(args.fe_clip.as_deref(), &args.features)?,
        device: args.device.clone(),
    };
    let out =
        args.out.clone().unwrap_or_else(|| Path::new("docs/results").join(args.profile.name()));
    std::fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    let _lock = lock(&out)?;
    let backbone = args.backbone.clone().unwrap_or_else(|| args.profile.backbone().into());
    let data = args.data.clone().unwrap_or_else(|| args.profile.data().into());
    let data = absolute(&data)?;
    if args.profile == Profile::Quick {
        draw_quick_data(&program, &data)?;
    }
    let setting = Setting {
        profile: args.profile,
        backbone_identity: identity(&backbone)?,
        trial: trial(args),
        backbone,
        code: program.fe_clip.code.clone(),
        max_steps: args.max_steps,
        data,
        out: absolute(&out)?,
    };
    for folder in &args.merge {
        take_over(folder, &setting.out)?;
    }
    let tables =
        if args.tables.is_empty() { vec![1, 2, 3, 4, 5, BEYOND, 0] } else { args.tables.clone() };
    let targets = targets(args)?;
    let seeds = args.seeds.unwrap_or_else(|| args.profile.seeds());
    let mut plan = Plan::new(&setting, &tables, &targets, seeds);
    print_plan(&setting, &plan, args.shard);
    let weights = estimate::print(&program, &setting, &plan, args.shard);
    if args.dry_run {
        return Ok(());
    }
    let failed = match weights {
        Ok(()) => run_ready(&program, &setting, &mut plan, args.shard),
        Err(error) => {
            eprintln!("nothing can run: {error:#}");
            0
        }
    };
    write_tables(&source, &setting, &plan, &tables)?;
    ensure!(failed == 0, "{failed} jobs failed; they are named above");
    Ok(())
}

/// Keeps a second run out of the folder until the returned file is dropped.
fn lock(out: &Path) -> Result<File> {
    let file = lock_file(out)?;
    if file.try_lock().is_err() {
        bail!("another run works in {}: wait for it, or give --out", out.display());
    }
    Ok(file)
}

fn lock_file(folder: &Path) -> Result<File> {
    let path = folder.join(".lock");
    File::create(&path).with_context(|| format!("creating {}", path.display()))
}

/// Runs what is ready; a failing job does not stop the others.
fn run_ready(
    program: &Program,
    setting: &Setting,
    plan: &mut Plan,
    shard: Option<(usize, usize)>,
) -> usize {
    let ready = |plan: &Plan, i: usize| {
        plan.jobs[i].state == State::Ready && plan.in_shard(&plan.jobs[i], shard)
    };
    let count = (0..plan.jobs.len()).filter(|&i| ready(plan, i)).count();
    let (mut failed, mut number) = (0, 0);
    for i in 0..plan.jobs.len() {
        if !ready(plan, i) {
            continue;
        }
        number += 1;
        println!("[{number}/{count}] {}", plan.jobs[i].job.name());
        match program.run(setting, plan, &plan.jobs[i]) {
            Ok(()) => plan.jobs[i].state = State::Done,
            Err(error) => {
                eprintln!("{}: {error:#}", plan.jobs[i].job.name());
                failed += 1;
            }
        }
    }
    failed
}

fn print_plan(setting: &Setting, plan: &Plan, shard: Option<(usize, usize)>) {
    let (done, ready) = (plan.count(&State::Done), plan.count(&State::Ready));
    println!(
        "{} profile, {}: {} jobs, {done} done, {ready} to run, {} without data",
        setting.profile.name(),
        setting.backbone,
        plan.jobs.len(),
        plan.jobs.len() - done - ready
    );
    for planned in &plan.jobs {
        let state = match &planned.state {
            State::Done => "done".into(),
            State::Ready if plan.in_shard(planned, shard) => "to run".into(),
            State::Ready => "in another shard".into(),
            State::NoData(dataset) => format!("needs {}", dataset.name()),
        };
        println!("  {:<48} {state}", planned.job.name());
    }
    for (dataset, presence) in &plan.datasets {
        if let Presence::Absent(reason) = presence {
            println!("missing: {} ({reason})", dataset.title());
            println!("  {}", how_to_get(*dataset));
        }
    }
}

fn how_to_get(dataset: DataSet) -> String {
    let known = data::datasets().into_iter().find(|d| d.layout.name() == dataset.name());
    match known {
        Some(known) if known.fetch.is_some() => format!("cargo xtask download {}", dataset.name()),
        Some(known) => known.get.unwrap_or(known.home),
        None => "drawn by fe-clip synth".into(),
    }
}

/// Why the numbers are not to be compared with the paper's, if they are of a trial.
fn trial(args: &Args) -> Option<String> {
    let backbone = args.backbone.as_ref().map(|_| "another backbone");
    let steps = args.max_steps.map(|_| "fewer steps");
    let quick = (args.profile == Profile::Quick).then_some("the quick profile");
    let why: Vec<&str> = [quick, backbone, steps].into_iter().flatten().collect();
    (!why.is_empty()).then(|| format!("a trial with {}", why.join(" and ")))
}

fn write_tables(source: &Source, setting: &Setting, plan: &Plan, tables: &[u8]) -> Result<()> {
    let compared = results::compare(setting, plan, tables)?;
    let grouped = tables::group(&compared);
    let times = results::times(setting, plan)?;
    let introduction = introduction(source, setting, &times);
    for (file, text) in [
        ("tables.csv", tables::csv(&compared)?),
        ("tables.html", tables::html(&grouped, &introduction)),
    ] {
        let path = setting.out.join(file);
        crate::results::replace(&path, text)?;
        println!("{}", path.display());
    }
    let times: Vec<Value> = times
        .iter()
        .map(|(method, seconds)| json!({ "method": method, "seconds_an_image": seconds }))
        .collect();
    let document = json!({
        "source": source, "profile": setting.profile.name(), "backbone": setting.backbone,
        "backbone_sha256": setting.backbone_identity, "code": setting.code,
        "trial": setting.trial, "cells": tables::json(&compared), "times": times,
    });
    let page = tables::markdown(&grouped, &introduction);
    crate::results::write(&setting.out, "tables", &page, &document)
}

fn introduction(source: &Source, setting: &Setting, times: &[(&str, f64)]) -> String {
    let mut text = format!(
        "{source}\nProfile {}, backbone {} ({}), {}.\nPercent. A cell is the paper's value, marked \"quoted\", then ours with the \
         standard deviation over seeds, then the difference.\n\
         A row of ours that is another method than the paper's says so and has no difference.\n\
         * marks a printed value that is doubted; tables.csv says why. PRO is exact; beside it \
         stands PRO as the peers' code computes it, which the paper's may be.\n",
        setting.profile.name(),
        setting.backbone,
        setting.backbone_identity,
        setting.code,
    );
    if let Some(trial) = &setting.trial {
        text += &format!("This is {trial}: no number is compared with the paper's.\n");
    }
    if setting.profile == Profile::Quick {
        text += "These numbers are of the embedded model on procedural images: they show that everything runs, and are not the paper's.\n";
    }
    for (method, seconds) in times {
        text += &format!(
            "Time of an image, one at a time, without decoding, {method}: {:.1} ms.\n",
            1000.0 * seconds
        );
    }
    text += "The paper's times on an RTX 3090, quoted: APRIL-GAN 105, AnomalyCLIP 120, FE-CLIP 125, VCP-CLIP 128, AdaCLIP 160 ms.\n";
    text
}

fn targets(args: &Args) -> Result<Vec<DataSet>> {
    let all = args.profile.targets();
    for name in &args.datasets {
        if !all.iter().any(|dataset| dataset.name() == name) {
            let known: Vec<&str> = all.iter().map(|d| d.name()).collect();
            bail!("no data set {name} in this profile; there are {}", known.join(", "));
        }
    }
    let wanted =
        |d: &DataSet| args.datasets.is_empty() || args.datasets.iter().any(|n| n == d.name());
    Ok(all.into_iter().filter(wanted).collect())
}

/// Copies the results of another folder that are not here yet.
fn take_over(from: &Path, to: &Path) -> Result<()> {
    let entries = std::fs::read_dir(from).with_context(|| format!("reading {}", from.display()))?;
    for entry in entries {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if !path.join("record.json").is_file() || target.exists() {
            continue;
        }
        let partial = to.join("partial-merge");
        let _ = std::fs::remove_dir_all(&partial);
        std::fs::create_dir_all(&partial)
            .with_context(|| format!("making {}", partial.display()))?;
        for file in std::fs::read_dir(&path)? {
            let file = file?.path();
            let copy = partial.join(file.file_name().unwrap_or_default());
            std::fs::copy(&file, copy).with_context(|| format!("copying {}", file.display()))?;
        }
        std::fs::rename(&partial, &target)
            .with_context(|| format!("renaming to {}", target.display()))?;
    }
    Ok(())
}

/// The procedural sets of `quick`, drawn where they are not there yet; shards that start together
/// wait for the first.
fn draw_quick_data(program: &Program, data: &Path) -> Result<()> {
    std::fs::create_dir_all(data).with_context(|| format!("making {}", data.display()))?;
    let lock = lock_file(data)?;
    lock.lock().with_context(|| format!("waiting for the lock of {}", data.display()))?;
    for (dataset, categories, normal, seed) in [
        (DataSet::ProceduralTraining, QUICK_TRAINING, "1", "11"),
        (DataSet::Procedural, QUICK_TARGET, "4", "12"),
    ] {
        let root = dataset.root(data);
        if root.is_dir() {
            continue;
        }
        let partial = data.join("partial");
        let _ = std::fs::remove_dir_all(&partial);
        let mut synth = program.fe_clip.command("synth");
        synth.args(["--size", "240", "--test-normal", "6", "--test-per-defect", "1"]);
        synth.args(["--categories", categories, "--train-normal", normal, "--seed", seed]);
        execute(synth.arg("--out").arg(&partial))?;
        std::fs::rename(&partial, &root).with_context(|| format!("making {}", root.display()))?;
    }
    Ok(())
}

/// SHA-256 of the weights where they are a file here, else the name.
fn identity(backbone: &str) -> Result<String> {
    let path = match backbone {
        "tiny" => PathBuf::from("crates/fe-clip/assets/tiny/model.safetensors"),
        name if Path::new(name).is_dir() => Path::new(name).join("model.safetensors"),
        name => PathBuf::from(name),
    };
    if !path.is_file() {
        return Ok(backbone.into());
    }
    sha256(&path)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| path.display().to_string())
}

fn table(text: &str) -> Result<u8, String> {
    match text {
        "time" => Ok(0),
        "beyond" => Ok(BEYOND),
        "1" | "2" | "3" | "4" | "5" => Ok(text.as_bytes()[0] - b'0'),
        _ => Err("expected 1 to 5, beyond or time".into()),
    }
}

fn shard(text: &str) -> Result<(usize, usize), String> {
    let parsed = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parsed {
        Some((i, n)) if (1..=n).contains(&i) => Ok((i, n)),
        _ => Err("expected I/N with I from 1 to N, as 2/8".into()),
    }
}
