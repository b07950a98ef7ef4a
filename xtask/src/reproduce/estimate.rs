//! How long the plan takes, measured on a few images.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::execute::Program;
use super::job::{Job, Kind, Setting};
use super::method::Method;
use super::plan::{Plan, State};
use super::time;

/// Images of WinCLIP's windows cost about this many of a plain pass (spec 5).
const WINDOWS: f64 = 12.0;
/// A training step costs about this many forward passes an image, a cached prefix left out.
const STEP: f64 = 3.0;

/// Checks that the weights can be loaded without fetching them, times a few images with plain
/// CLIP scoring, and prints what that means for the jobs to run.
///
/// # Errors
/// If the weights cannot be loaded here and now.
pub(super) fn print(
    program: &Program,
    setting: &Setting,
    plan: &Plan,
    shard: Option<(usize, usize)>,
) -> Result<()> {
    let ready = plan.jobs.iter().filter(|p| p.state == State::Ready && plan.in_shard(p, shard));
    let ready: Vec<Job> = ready.map(|planned| planned.job).collect();
    let Some(first) = ready.first() else { return Ok(()) };
    let folder = tempfile::tempdir().context("making a temporary folder")?;
    if let Err(error) = load(program, setting, folder.path()) {
        println!("missing: the weights {} ({error:#})", setting.backbone);
        println!(
            "  on a machine with a network: fe-clip embed --model {} --text x --out x.npy fetches them into the cache that Python shares; or give --backbone FILE",
            setting.backbone
        );
        return Err(error);
    }
    let probe = Job { kind: Kind::Time, method: Method::Clip, ..*first };
    let config = folder.path().join("run.toml");
    let root = |dataset: super::profile::DataSet| {
        dataset.root(&setting.data).to_string_lossy().into_owned()
    };
    std::fs::write(&config, setting.run_toml(&probe, root)).context("writing run.toml")?;
    match time::images(program, setting, &probe, &config, None) {
        Err(error) => println!("the time could not be measured: {error:#}"),
        Ok(seconds) => {
            let passes: f64 = ready.iter().map(|job| passes(setting, plan, job)).sum();
            println!("{:.3} s an image here; about {} in all", seconds, duration(passes * seconds));
        }
    }
    Ok(())
}

/// Forward passes that a job costs.
fn passes(setting: &Setting, plan: &Plan, job: &Job) -> f64 {
    let images = plan.images(job.dataset) as f64;
    let windows = match job.method {
        Method::WinClip => WINDOWS,
        // Without prompts, then with them; its many texts about each image are not counted.
        Method::AdaClip => 2.0,
        _ => 1.0,
    };
    match job.kind {
        Kind::Eval { .. } => images * windows,
        Kind::Time => 10.0 * windows,
        Kind::Train => {
            let epochs = setting.profile.epochs(job.method, job.dataset) as f64;
            let batch = if job.method == Method::AdaClip { 1.0 } else { 16.0 };
            let steps = setting.max_steps.map_or(images * epochs, |steps| batch * steps as f64);
            // Short texts, which are not counted, in place of image layers.
            let step = if job.method.keeps_answers() { 0.0 } else { STEP };
            images + steps.min(images * epochs) * step
        }
    }
}

fn load(program: &Program, setting: &Setting, folder: &Path) -> Result<()> {
    let output = program
        .command("embed")
        .args(["--model", &setting.backbone, "--text", "x", "--out"])
        .arg(folder.join("x.npy"))
        .env("HF_HUB_OFFLINE", "1")
        .stdin(Stdio::null())
        .output()
        .context("starting fe-clip")?;
    if !output.status.success() {
        let talk = String::from_utf8_lossy(&output.stderr);
        bail!("{}", talk.lines().last().unwrap_or("fe-clip embed failed"));
    }
    Ok(())
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}
