//! What `detect` does as it is shipped: how often it cries wolf, and how its pictures look.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Set;
use crate::process::FeClip;

/// Normal images that `detect` labels anomalous at its default threshold, and all of them.
pub(super) fn alarms(fe_clip: &FeClip, set: &Set) -> Result<(usize, usize)> {
    let mut folders = Vec::new();
    for category in folders_of(&set.root)? {
        folders.extend(
            ["train/good", "test/good"]
                .map(|part| category.join(part))
                .into_iter()
                .filter(|f| f.is_dir()),
        );
    }
    let output = fe_clip
        .command("detect")
        .args(["--format", "jsonl"])
        .args(&folders)
        .output()
        .context("starting fe-clip detect")?;
    ensure!(output.status.success(), "fe-clip detect ended with {}", output.status);
    let text = String::from_utf8(output.stdout).context("reading the answers")?;
    let labels = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line)?;
        Ok(line["label"].as_str().map(str::to_string))
    });
    let labels = labels.collect::<Result<Vec<_>, serde_json::Error>>()?;
    let alarms = labels.iter().filter(|label| label.as_deref() == Some("anomalous")).count();
    Ok((alarms, labels.len()))
}

/// An overlay of the first anomalous image of every category, in a folder.
pub(super) fn overlays(fe_clip: &FeClip, set: &Set, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for category in folders_of(&set.root)? {
        let name = category.file_name().unwrap_or_default().to_os_string();
        let mut images = Vec::new();
        for kind in folders_of(&category.join("test"))?.iter().filter(|k| !k.ends_with("good")) {
            images.extend(
                fs::read_dir(kind)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?,
            );
        }
        images.sort();
        let Some(image) = images.first() else { continue };
        let scratch = tempfile::tempdir()?;
        let status = fe_clip
            .command("detect")
            .arg(image)
            .args(["--save", "overlay", "--format", "jsonl", "--out"])
            .arg(scratch.path())
            .stdout(std::process::Stdio::null())
            .status()
            .context("starting fe-clip detect")?;
        ensure!(status.success(), "fe-clip detect ended with {status}");
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let picture = folder.join(name).with_extension("png");
        let written = fs::read_dir(scratch.path())?.next().context("no overlay was written")??;
        fs::copy(written.path(), &picture)
            .with_context(|| format!("writing {}", picture.display()))?;
        pictures.push(picture);
    }
    Ok(pictures)
}

/// The folders in a folder, sorted.
fn folders_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}
