//! The time of an image: one at a time through a server, which tells its forward passes apart
//! from decoding and from the way there and back.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::execute::Program;
use super::job::{Job, Setting};

/// Images that are timed, after one that is not.
const IMAGES: usize = 8;

/// Mean seconds of a forward pass with scoring, one image at a time, without decoding.
///
/// # Errors
/// If there are too few images, or the program cannot serve with these settings.
pub(super) fn images(
    program: &Program,
    setting: &Setting,
    job: &Job,
    config: &Path,
    adapters: Option<&Path>,
) -> Result<f64> {
    let scan = data::scan(job.dataset.layout(), &job.dataset.root(&setting.data))?;
    let images: Vec<PathBuf> =
        scan.samples.into_iter().map(|sample| sample.image).take(1 + IMAGES).collect();
    ensure!(images.len() >= 2, "{}: expected at least two images", job.dataset.name());
    let mut command = program.command("serve");
    command.args(["--addr", "127.0.0.1:0", "--timeout", "3600", "--config"]).arg(config);
    if let Some(adapters) = adapters {
        command.arg("--adapters").arg(adapters);
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting fe-clip serve")?;
    let server = Server::ready(child)?;
    server.detect(&images[0])?; // the first pass prepares
    let (before, _) = server.passes()?;
    images[1..].iter().try_for_each(|image| server.detect(image))?;
    let (after, count) = server.passes()?;
    ensure!(count == images.len() as f64, "expected one image a pass, got {count} passes");
    Ok((after - before) / (images.len() - 1) as f64)
}

/// A running server; it ends with this value.
struct Server {
    child: Child,
    address: String,
    /// Open, so that the server can go on talking.
    talk: BufReader<ChildStderr>,
}

impl Server {
    fn ready(mut child: Child) -> Result<Self> {
        let talk = child.stderr.take().context("no standard error")?;
        let mut server = Self { child, address: String::new(), talk: BufReader::new(talk) };
        let (mut line, mut said) = (String::new(), String::new());
        while server.talk.read_line(&mut line).context("reading what the server says")? > 0 {
            if let Some((_, address)) = line.split_once("listening on ") {
                server.address = address.trim().into();
            }
            if line.trim() == "ready" && !server.address.is_empty() {
                return Ok(server);
            }
            said = std::mem::take(&mut line);
        }
        bail!("fe-clip serve: {}", said.trim())
    }

    fn detect(&self, image: &Path) -> Result<()> {
        let bytes = std::fs::read(image).with_context(|| format!("reading {}", image.display()))?;
        let kind = match image.extension().and_then(|e| e.to_str()).map(str::to_lowercase) {
            Some(e) if e == "png" || e == "bmp" => format!("image/{e}"),
            Some(e) if e.starts_with("tif") => "image/tiff".into(),
            _ => "image/jpeg".into(),
        };
        let request = ureq::post(format!("{}/v1/detect", self.address)).content_type(kind);
        request.send(&bytes[..]).with_context(|| format!("sending {}", image.display()))?;
        Ok(())
    }

    /// Seconds of all forward passes so far, and their number.
    fn passes(&self) -> Result<(f64, f64)> {
        let mut answer = ureq::get(format!("{}/metrics", self.address)).call()?;
        let text = answer.body_mut().read_to_string().context("reading /metrics")?;
        let number = |name: &str| {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let mut pairs = lines.filter_map(|line| line.split_once(' '));
            let found = pairs.find(|(key, _)| key.ends_with(name));
            found.and_then(|(_, value)| value.trim().parse().ok()).context("reading /metrics")
        };
        Ok((number("batch_seconds_sum")?, number("batch_seconds_count")?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
