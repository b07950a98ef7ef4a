//! `cargo xtask arrows`: dependencies between the crates point one way.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// What each crate may depend on inside the workspace; docs/ARCHITECTURE.md draws it.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("dct", &[]),
    ("anomaly-metrics", &[]),
    ("data", &[]),
    ("synthetic", &[]),
    ("clip-vit", &[]),
    ("adapters", &["dct"]),
    ("fe-clip", &["adapters", "clip-vit", "data", "anomaly-metrics"]),
    ("fe-clip-cli", &["data", "dct", "fe-clip", "anomaly-metrics", "synthetic"]),
    ("tiny", &["clip-vit", "data", "dct", "fe-clip", "anomaly-metrics", "synthetic"]),
    ("xtask", &["data", "synthetic"]),
];
/// Crates that never see a tensor library.
const WITHOUT_BURN: [&str; 5] = ["dct", "anomaly-metrics", "data", "synthetic", "xtask"];

/// Check that dependencies between the crates point one way.
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
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    println!("{} crates, all arrows as drawn", members.len());
    Ok(())
}
