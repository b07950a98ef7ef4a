//! `cargo xtask arrows`: dependencies between the crates point one way, and so do those between
//! the files of some.

mod files;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// What each crate may depend on inside the workspace; docs/ARCHITECTURE.md draws it.
const ALLOWED: [(&str, &[&str]); 11] = [
    ("dct", &[]),
    ("anomaly-metrics", &[]),
    ("data", &[]),
    ("synthetic", &[]),
    ("clip-vit", &[]),
    ("adapters", &["dct"]),
    ("fe-clip", &["adapters", "clip-vit", "data", "anomaly-metrics"]),
    ("fe-clip-cli", &["data", "dct", "fe-clip", "anomaly-metrics", "synthetic"]),
    ("fe-clip-py", &["data", "dct", "fe-clip", "anomaly-metrics"]),
    ("tiny", &["clip-vit", "data", "dct", "fe-clip", "anomaly-metrics", "synthetic"]),
    ("xtask", &["data", "synthetic"]),
];
/// Crates that never see a tensor library.
const WITHOUT_BURN: [&str; 5] = ["dct", "anomaly-metrics", "data", "synthetic", "xtask"];

/// Crates whose files use each other in no circle.
const WITHOUT_CIRCLES: [&str; 1] = ["fe-clip"];

/// Check that dependencies between the crates point one way, and those between files of some.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> anyhow::Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .context("running cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("reading its output")?;
    let packages = metadata["packages"].as_array().context("no packages in its output")?;
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_string();
    let members: BTreeSet<String> = packages.iter().map(name).collect();
    let mut wrong = Vec::new();
    for package in packages {
        let from = name(package);
        let allowed = ALLOWED.iter().find(|(crate_name, _)| *crate_name == from);
        let Some((_, allowed)) = allowed else {
            wrong.push(format!("{from} is not in the table of xtask/src/arrows.rs"));
            continue;
        };
        // Tests may look sideways; what is shipped may not.
        let shipped = |d: &&Value| d["kind"].as_str() != Some("dev");
        for dependency in package["dependencies"].as_array().into_iter().flatten().filter(shipped) {
            let to = name(dependency);
            if members.contains(&to) && !allowed.contains(&to.as_str()) {
                wrong.push(format!("{from} must not depend on {to}"));
            }
            if to == "burn" && WITHOUT_BURN.contains(&from.as_str()) {
                wrong.push(format!("{from} must not depend on burn"));
            }
        }
    }
    for name in WITHOUT_CIRCLES {
        for circle in files::circles(&Path::new("crates").join(name).join("src"))? {
            let names: Vec<&str> = circle.iter().map(String::as_str).collect();
            wrong.push(format!("{name}: {} use each other in a circle", names.join(", ")));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    println!("{} crates, all arrows as drawn", members.len());
    Ok(())
}
