//! Running a job with the `fe-clip` program.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::job::{Job, Kind, Setting};
use super::plan::{Plan, Planned, Presence};
use super::time;
use crate::process::{FeClip, execute};
use crate::results::Source;

/// The program, and what is said to it beside a job's `run.toml`.
pub(super) struct Program {
    pub(super) fe_clip: FeClip,
    pub(super) device: Option<String>,
}

impl Program {
    pub(super) fn command(&self, subcommand: &str) -> Command {
        let mut command = self.fe_clip.command(subcommand);
        if let Some(device) = &self.device {
            command.arg("--device").arg(device);
        }
        command
    }

    /// Runs the job in a folder beside its final one and renames that when all is written.
    ///
    /// # Errors
    /// If the program cannot be started or fails, or the folder cannot be written.
    pub(super) fn run(&self, setting: &Setting, plan: &Plan, planned: &Planned) -> Result<()> {
        let Planned { job, hash, .. } = planned;
        let target = setting.folder(job, hash);
        let partial = setting.partial(job, hash);
        fs::create_dir_all(&partial).with_context(|| format!("making {}", partial.display()))?;
        let config = partial.join("run.toml");
        let root = |dataset: super::profile::DataSet| {
            dataset.root(&setting.data).to_string_lossy().into_owned()
        };
        fs::write(&config, setting.run_toml(job, root))
            .with_context(|| format!("writing {}", config.display()))?;
        let adapters = job.needs().map(|training| {
            let hash = plan.jobs.iter().find(|p| p.job == training).map(|p| p.hash.as_str());
            setting.folder(&training, hash.unwrap_or_default()).join("adapters.safetensors")
        });
        if let Some(path) = &adapters
            && !path.is_file()
        {
            bail!("{} is not there: its training failed", path.display());
        }
        let start = Instant::now();
        match job.kind {
            Kind::Train => {
                // A state here is of the same settings, code and data: what failed goes on.
                let mut train = self.command("train");
                train.arg("--config").arg(&config).arg("--out").arg(&partial).arg("--resume");
                execute(train.stdin(Stdio::null()).stdout(Stdio::null()))?;
                let _ = fs::remove_dir_all(partial.join("state"));
            }
            Kind::Eval { .. } => {
                let mut command = self.command("eval");
                command.arg("--config").arg(&config).arg("--out").arg(&partial);
                adapters.iter().for_each(|path| {
                    command.arg("--adapters").arg(path);
                });
                execute(command.stdin(Stdio::null()).stdout(Stdio::null()))?;
            }
            Kind::Time => {
                let times = time::images(self, setting, job, &config, adapters.as_deref())?;
                let text = json!({ "seconds_an_image": times }).to_string();
                fs::write(partial.join("metrics.json"), text).context("writing metrics.json")?;
            }
        }
        let record = record(setting, plan, job, adapters.as_deref(), start)?;
        fs::write(partial.join("record.json"), serde_json::to_string_pretty(&record)?)
            .context("writing record.json")?;
        let _ = fs::remove_dir_all(&target);
        fs::rename(&partial, &target).with_context(|| format!("renaming to {}", target.display()))
    }
}

/// Where a result comes from.
fn record(
    setting: &Setting,
    plan: &Plan,
    job: &Job,
    adapters: Option<&Path>,
    start: Instant,
) -> Result<Value> {
    let digest = |dataset| match plan.datasets.get(&dataset) {
        Some(Presence::Present { digest, .. }) => json!(digest),
        _ => Value::Null,
    };
    let adapters = match adapters {
        Some(path) => {
            let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            json!(format!("{:x}", Sha256::digest(bytes)))
        }
        None => Value::Null,
    };
    let mut data = json!({ job.dataset.name(): digest(job.dataset) });
    if let Some(training) = job.needs() {
        data[training.dataset.name()] = digest(training.dataset);
    }
    Ok(json!({
        "profile": setting.profile.name(),
        "job": job.name(),
        "method": job.method.name(),
        "dataset": job.dataset.name(),
        "seed": job.seed,
        "shots": match job.kind { Kind::Eval { shots } => shots, _ => 0 },
        "backbone": { "name": setting.backbone, "sha256": setting.backbone_identity },
        "adapters_sha256": adapters,
        "data_sha256": data,
        "code": setting.code,
        "source": Source::here(),
        "seconds": start.elapsed().as_secs_f64(),
    }))
}
