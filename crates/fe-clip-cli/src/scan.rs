//! `fe-clip scan`: what the program sees in a data set on disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use data::{Counts, Layout, Limits, Problem, Split};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Count a data set's images and masks and find what is wrong with them.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// mvtec-ad, visa, mpdd, btad, dagm, dtd-synthetic, cvc-clinicdb, kvasir, brain-mri, br35h, folder or meta-json
    #[arg(long)]
    dataset: Layout,
    /// The folder that holds it
    #[arg(long)]
    root: PathBuf,
}

#[derive(Serialize)]
struct Report<'a> {
    dataset: &'static str,
    categories: BTreeMap<&'a str, BTreeMap<Split, Counts>>,
    problems: &'a [Problem],
}

/// Prints the report; done well if there is no problem.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let scan = data::scan(args.dataset, &args.root)?;
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} images, {eta} left")
        .expect("a valid template");
    let bar = ProgressBar::new(scan.samples.len() as u64).with_style(style);
    let mut problems = data::inspect(&scan.samples, &Limits::default(), || bar.inc(1));
    bar.finish_and_clear();
    problems.extend_from_slice(&scan.problems);
    problems.sort();
    let report =
        Report { dataset: args.dataset.name(), categories: scan.counts(), problems: &problems };
    println!("{}", serde_json::to_string_pretty(&report)?);
    if !problems.is_empty() {
        eprintln!("{} problems in {} images", problems.len(), scan.samples.len());
    }
    Ok(problems.is_empty())
}
