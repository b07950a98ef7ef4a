//! Running a job with the `fe-clip` program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::job::{Job, Kind, Setting};
use super::plan::{Plan, Planned, Presence};

/// The program, and what is said to it beside a job's `run.toml`.
pub(super) struct Program {
    pub(super) fe_clip: PathBuf,
    pub(super) device: Option<String>,
}

impl Program {
    pub(super) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.fe_clip);
        command.arg(subcommand);
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
        let partial = setting.out.join("partial").join(job.name());
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
                // A state of other settings cannot be resumed: start again.
                if self.train(&config, &partial).is_err() {
                    let _ = fs::remove_dir_all(partial.join("state"));
                    self.train(&config, &partial)?;
                }
                let _ = fs::remove_dir_all(partial.join("state"));
            }
            Kind::Eval { .. } => {
                let mut command = self.command("eval");
                command.arg("--config").arg(&config).arg("--out").arg(&partial);
                adapters.iter().for_each(|path| {
                    command.arg("--adapters").arg(path);
                });
                finish(command.stdout(Stdio::null()))?;
            }
            Kind::Time => {
                let seconds = self.seconds_an_image(setting, job, &config, adapters.as_deref())?;
                let text = json!({ "seconds_an_image": seconds }).to_string();
                fs::write(partial.join("metrics.json"), text).context("writing metrics.json")?;
            }
        }
        let record = record(setting, plan, job, adapters.as_deref(), start)?;
        fs::write(partial.join("record.json"), serde_json::to_string_pretty(&record)?)
            .context("writing record.json")?;
        let _ = fs::remove_dir_all(&target);
        fs::rename(&partial, &target).with_context(|| format!("renaming to {}", target.display()))
    }

    fn train(&self, config: &Path, out: &Path) -> Result<()> {
        let mut command = self.command("train");
        command.arg("--config").arg(config).arg("--out").arg(out).arg("--resume");
        finish(command.stdout(Stdio::null()))
    }

    /// Time of a single image, start-up left out: the difference of a run over several images
    /// and a run over one.
    pub(super) fn seconds_an_image(
        &self,
        setting: &Setting,
        job: &Job,
        config: &Path,
        adapters: Option<&Path>,
    ) -> Result<f64> {
        const MORE: usize = 8;
        let scan = data::scan(job.dataset.layout(), &job.dataset.root(&setting.data))?;
        let images: Vec<&PathBuf> = scan.samples.iter().map(|s| &s.image).take(1 + MORE).collect();
        if images.len() < 2 {
            bail!("{}: expected at least two images", job.dataset.name());
        }
        let seconds = |images: &[&PathBuf]| -> Result<f64> {
            let mut command = self.command("detect");
            command.arg("--config").arg(config).args(images);
            adapters.iter().for_each(|path| {
                command.arg("--adapters").arg(path);
            });
            let start = Instant::now();
            finish(command.stdout(Stdio::null()))?;
            Ok(start.elapsed().as_secs_f64())
        };
        let one = seconds(&images[..1])?;
        Ok((seconds(&images)? - one) / (images.len() - 1) as f64)
    }
}

fn finish(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().context("starting fe-clip")?;
    if !status.success() {
        bail!("fe-clip ended with {status}");
    }
    Ok(())
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
        "code": revision(),
        "seconds": start.elapsed().as_secs_f64(),
    }))
}

/// The commit of the working tree, marked where it has changes.
fn revision() -> String {
    let git = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=40"]).output();
    match git {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_string()
        }
        _ => format!("version {}", env!("CARGO_PKG_VERSION")),
    }
}
