//! `metrics.json`: what an evaluation of something else has left there is kept.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use fe_clip::files::{write_atomic, write_new};
use serde_json::Value;

use crate::talk;

/// What metrics are of: where these are equal, the later ones replace the earlier.
const OF: [&str; 2] = ["config", "adapters"];

/// Writes metrics. Those of other settings or adapters that stand there are kept under another
/// name, also where runs end at the same time.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write(path: &Path, metrics: &Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(metrics).context("encoding the metrics")?;
    while !write_new(path, text.as_bytes())? {
        let is_no_file = path.metadata().is_ok_and(|found| !found.is_file());
        if is_no_file || is_of_the_same(path, metrics) {
            return Ok(write_atomic(path, text.as_bytes())?);
        }
        let aside = free_name(path)?;
        match std::fs::rename(path, &aside) {
            Ok(()) => talk::note(format_args!(
                "{}: the metrics of other settings or adapters that were in {}",
                aside.display(),
                path.display()
            )),
            // Another run has kept them.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                std::fs::remove_file(&aside).with_context(|| aside.display().to_string())?;
            }
            Err(error) => return Err(error).with_context(|| aside.display().to_string()),
        }
    }
    Ok(())
}

fn is_of_the_same(path: &Path, metrics: &Value) -> bool {
    let earlier = std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    earlier.is_some_and(|earlier: Value| OF.iter().all(|key| earlier[key] == metrics[key]))
}

/// The first free one of `metrics-1.json` and on, made and empty, so that it is no one else's.
fn free_name(path: &Path) -> anyhow::Result<PathBuf> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut names = (1..).map(|n| path.with_file_name(format!("{stem}-{n}.json")));
    loop {
        let name = names.next().context("no free name")?;
        if write_new(&name, b"")? {
            return Ok(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metrics_of_other_settings_are_kept_and_those_of_the_same_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.json");
        let of = |config: &str, adapters: Option<&str>, value: f64| json!({ "config": { "a": config }, "adapters": adapters, "auroc": value });
        let read = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(folder.path().join(name)).unwrap()).unwrap()
        };
        let count = || std::fs::read_dir(folder.path()).unwrap().count();
        write(&path, &of("x", None, 0.1)).unwrap();
        write(&path, &of("x", None, 0.2)).unwrap();
        assert_eq!((count(), read("metrics.json")), (1, of("x", None, 0.2)));
        write(&path, &of("y", None, 0.3)).unwrap();
        write(&path, &of("y", Some("a.safetensors"), 0.4)).unwrap();
        assert_eq!(count(), 3);
        assert_eq!(read("metrics.json"), of("y", Some("a.safetensors"), 0.4));
        assert_eq!(read("metrics-1.json"), of("x", None, 0.2));
        assert_eq!(read("metrics-2.json"), of("y", None, 0.3));
    }

    #[test]
    fn of_runs_that_end_at_once_all_metrics_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = &folder.path().join("metrics.json");
        std::thread::scope(|scope| {
            for n in 0..6 {
                scope
                    .spawn(move || write(path, &json!({ "config": n, "adapters": null })).unwrap());
            }
        });
        let mut found: Vec<u64> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| {
                let bytes = std::fs::read(entry.unwrap().path()).unwrap();
                serde_json::from_slice::<Value>(&bytes).unwrap()["config"].as_u64().unwrap()
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2, 3, 4, 5]);
    }
}
