//! `cargo xtask backends`: the same work on every backend, with its differences from the CPU's and its times.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::process::{built, cargo, execute};
use crate::results::{self, Source};

/// Run the same images on every backend: differences from `flex` and times (docs/backends.md).
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask backends --features tch,wgpu\n  \
    cargo xtask backends --features cuda,wgpu --model target/parity/model --side 336 --batch 16")]
pub(crate) struct Args {
    /// Backends to compile in beside `flex`: tch, wgpu, cuda.
    #[arg(long, value_delimiter = ',')]
    features: Vec<String>,
    /// Also time the image tower of this model, a folder in Hugging Face layout (`cargo xtask parity` makes one).
    #[arg(long)]
    model: Option<PathBuf>,
    /// Side of the images for --model in pixels.
    #[arg(long, default_value_t = 336)]
    side: u32,
    /// Images of a pass for --model.
    #[arg(long, default_value_t = 1)]
    batch: u32,
    /// Where backends.md and backends.json go.
    #[arg(long, default_value = "docs/results")]
    out: PathBuf,
}

const DEVICES: [&str; 5] = ["flex", "tch", "tch-cuda", "wgpu", "cuda"];
/// Largest difference from `flex`: of scores, maps and normalised embeddings, and of a loss relative to its value.
const TOLERANCE: f64 = 1e-3;

/// What a device made of the inputs.
struct Outcome {
    embeddings: Vec<f32>,
    scores: Vec<f32>,
    maps: Vec<f32>,
    losses: Vec<f32>,
    seconds_an_image: f64,
    seconds_a_step: f64,
    seconds_a_pass: Option<f64>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let source = Source::here();
    let features: Vec<String> = args.features.iter().map(|f| format!("fe-clip-cli/{f}")).collect();
    let mut build = cargo();
    build.args(["build", "--release", "--workspace", "--bin", "fe-clip", "--example", "forward"]);
    if !features.is_empty() {
        build.arg("--features").arg(features.join(","));
    }
    execute(&mut build)?;
    let folder = tempfile::tempdir()?;
    let images = folder.path().join("images");
    let size =
        ["--size", "240", "--train-normal", "2", "--test-normal", "2", "--test-per-defect", "1"];
    let mut synth = Command::new(built("fe-clip"));
    execute(synth.args(["synth", "--categories", "gear"]).args(size).arg("--out").arg(&images))?;

    let reference = outcome(args, "flex", folder.path(), &images)?;
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    // A device whose backend is not in the program is left out rather than shown to fail.
    let asked = |device: &&str| {
        let feature = device.split('-').next().unwrap_or_default();
        *device == "flex" || args.features.iter().any(|f| f == feature)
    };
    for device in DEVICES.into_iter().filter(asked) {
        let found = if device == "flex" {
            None
        } else {
            Some(outcome(args, device, folder.path(), &images))
        };
        let found = match &found {
            None => &reference,
            Some(Ok(found)) => found,
            Some(Err(reason)) => {
                rows.push(json!({ "device": device, "failed": format!("{reason:#}") }));
                continue;
            }
        };
        let differences = [
            largest_difference(&found.embeddings, &reference.embeddings),
            largest_difference(&found.scores, &reference.scores),
            largest_difference(&found.maps, &reference.maps),
            relative(&found.losses, &reference.losses),
        ];
        if !differences.iter().all(|d| *d <= TOLERANCE) {
            wrong.push(device);
        }
        let [embeddings, scores, maps, losses] = differences;
        rows.push(json!({
            "device": device, "embeddings": embeddings, "scores": scores, "maps": maps,
            "losses": losses, "seconds_an_image": found.seconds_an_image,
            "seconds_a_step": found.seconds_a_step, "seconds_a_pass": found.seconds_a_pass,
        }));
    }
    let page = page(&source, args, &rows);
    results::write(&args.out, "backends", &page, &json!({ "source": source, "rows": rows }))?;
    ensure!(wrong.is_empty(), "more than {TOLERANCE} away from flex: {}", wrong.join(", "));
    Ok(())
}

fn page(source: &Source, args: &Args, rows: &[Value]) -> String {
    let mut page = format!(
        "# Backends, measured\n\n{source}\n`backends.json` beside this page has the figures.\n\n\
         Largest differences from `flex` of `embed`, `detect` and the losses of training steps with \
         `tiny`; median seconds. The machine was shared: read the differences, and of the times \
         their order.\n"
    );
    if let Some(model) = &args.model {
        let (model, side, batch) = (model.display(), args.side, args.batch);
        page += &format!("A pass is one of {batch} images of {side} pixels through {model}.\n");
    }
    page += "\n| device | embeddings | scores | maps | losses | s an image | s a training step | s a pass |\n";
    page += "| --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for row in rows {
        let device = row["device"].as_str().unwrap_or_default();
        if let Some(reason) = row["failed"].as_str() {
            page += &format!("| {device} | {reason} | | | | | | |\n");
            continue;
        }
        let small = ["embeddings", "scores", "maps", "losses"]
            .map(|key| row[key].as_f64().map_or("-".into(), |d| format!("{d:.1e}")));
        let seconds = ["seconds_an_image", "seconds_a_step", "seconds_a_pass"]
            .map(|key| row[key].as_f64().map_or(String::new(), |s| format!("{s:.3}")));
        page += &format!("| {device} | {} | {} |\n", small.join(" | "), seconds.join(" | "));
    }
    page
}

fn outcome(args: &Args, device: &str, folder: &Path, images: &Path) -> Result<Outcome> {
    let test = images.join("gear/test");
    let photo = images.join("gear/test/good/000.png");
    let npy = folder.join("embeddings.npy");
    let texts = ["--text", "A photo of a normal object", "--text", "A photo of a damaged object"];
    fe_clip(device, |c| {
        c.arg("embed").args(texts).arg("--image").arg(&photo).arg("--out").arg(&npy)
    })?;

    let maps = folder.join(device);
    let detect = |paths: &[&Path]| -> Result<(f64, String)> {
        let start = Instant::now();
        let saving = ["--save", "map", "--format", "jsonl", "--out"];
        let lines = fe_clip(device, |c| c.arg("detect").args(paths).args(saving).arg(&maps))?;
        Ok((start.elapsed().as_secs_f64(), lines))
    };
    let (first, _) = detect(&[&photo])?;
    let (all, lines) = detect(&[&photo, &test])?;
    let found: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let scores = found.iter().map(|line| Ok(line["score"].as_f64().context("no score")? as f32));
    let mut values = Vec::new();
    for line in &found {
        values.extend(read_npy(Path::new(line["map"].as_str().context("no map")?))?);
    }

    let out = folder.join(format!("train-{device}"));
    let start = folder.join("start/state");
    if !start.exists() {
        train("flex", folder, images, &folder.join("start"), 1)?;
    }
    fs::create_dir_all(out.join("state"))?;
    for file in fs::read_dir(&start).context("reading the state of training")? {
        let file = file?;
        fs::copy(file.path(), out.join("state").join(file.file_name()))?;
    }
    train(device, folder, images, &out, 2)?;
    let log = fs::read_to_string(out.join("train.jsonl")).context("reading train.jsonl")?;
    let steps: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let column = |name: &str| -> Result<Vec<f64>> {
        steps.iter().map(|step| step[name].as_f64().context("reading train.jsonl")).collect()
    };
    let (seconds, losses) = (sorted(column("seconds")?), column("loss")?);

    Ok(Outcome {
        embeddings: read_npy(&npy)?,
        scores: scores.collect::<Result<_>>()?,
        maps: values,
        losses: losses.into_iter().map(|loss| loss as f32).collect(),
        seconds_an_image: (all - first) / (found.len() - 1) as f64,
        seconds_a_step: seconds[seconds.len() / 2],
        seconds_a_pass: args
            .model
            .as_ref()
            .map(|model| pass(args, model, device))
            .transpose()?
            .flatten(),
    })
}

/// Trains until `epochs`, from the state in `out` if there is one: the same on every device.
fn train(device: &str, folder: &Path, images: &Path, out: &Path, epochs: u32) -> Result<()> {
    let settings = folder.join("run.toml");
    let root = serde_json::to_string(images)?;
    let text = format!(
        "[train]\ndatasets = [{{ name = \"mvtec-ad\", root = {root} }}]\nepochs = {epochs}\n"
    );
    fs::write(&settings, text)?;
    fe_clip(device, |c| {
        c.args(["train", "--resume", "--config"]).arg(&settings).arg("--out").arg(out)
    })?;
    Ok(())
}

/// Runs `fe-clip … --device DEVICE` and returns its output.
fn fe_clip(device: &str, arguments: impl Fn(&mut Command) -> &mut Command) -> Result<String> {
    let mut command = Command::new(built("fe-clip"));
    let output =
        arguments(&mut command).args(["--device", device]).output().context("starting fe-clip")?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{}", errors.lines().last().unwrap_or("failed").trim_start_matches("error: "));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Seconds of the third pass: the first two build and choose kernels. The program knows no `tch-cuda`.
fn pass(args: &Args, model: &Path, device: &str) -> Result<Option<f64>> {
    if device == "tch-cuda" {
        return Ok(None);
    }
    let mut program = Command::new(built("examples/forward"))
        .arg(model)
        .args(["--time", &args.side.to_string(), &args.batch.to_string()])
        .env("BURN_DEVICE", device)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting forward")?;
    let mut questions = program.stdin.take().context("no standard input")?;
    std::io::Write::write_all(&mut questions, b"forward\nforward\nforward\n")?;
    drop(questions);
    let output = program.wait_with_output()?;
    ensure!(output.status.success(), "forward ended with {}", output.status);
    let answers = String::from_utf8(output.stdout)?;
    Ok(Some(answers.lines().last().context("no answer")?.parse()?))
}

/// The values of a float32 file, without its header.
fn read_npy(path: &Path) -> Result<Vec<f32>> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let end = bytes.iter().position(|byte| *byte == b'\n').context("no header")? + 1;
    let values = bytes[end..].chunks_exact(4);
    Ok(values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// Infinite where the two cannot be compared.
fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() || a.is_empty() {
        return f64::INFINITY;
    }
    let differences = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    differences.fold(0.0, |most, d| if d > most || d.is_nan() { d } else { most })
}

fn relative(a: &[f32], b: &[f32]) -> f64 {
    let scale = b.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    largest_difference(a, b) / f64::from(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_compared_is_far_away() {
        assert_eq!(largest_difference(&[1.0, 2.0], &[1.0, 2.5]), 0.5);
        assert_eq!(largest_difference(&[1.0], &[1.0, 2.5]), f64::INFINITY);
        assert_eq!(largest_difference(&[], &[]), f64::INFINITY);
        assert!(largest_difference(&[f32::NAN, 1.0], &[0.0, 1.0]).is_nan());
        assert_eq!(relative(&[5.0, 1.0], &[10.0, 1.0]), 0.5);
    }
}
