//! `fe-clip scan`: what the program sees in a data set on disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use data::{Counts, Layout, Limits, Problem, Split};
use serde::Serialize;

use crate::stdout;
use crate::talk::{self, Progress};

/// Count a data set's images and masks and find what is wrong with them.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip scan --dataset mvtec-ad --root mvtec\n  \
    fe-clip scan --dataset folder --root my-parts")]
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

/// Prints the report; true if there is no problem.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let scan = data::scan(args.dataset, &args.root)?;
    let progress = Progress::new(scan.samples.len(), "images");
    let mut problems = data::inspect(&scan.samples, &Limits::default(), || progress.advance());
    progress.finish();
    problems.extend_from_slice(&scan.problems);
    problems.sort();
    let report =
        Report { dataset: args.dataset.name(), categories: scan.counts(), problems: &problems };
    stdout::print(serde_json::to_string_pretty(&report)? + "\n")?;
    if !problems.is_empty() {
        talk::note(format_args!("{} problems in {} images", problems.len(), scan.samples.len()));
    }
    Ok(problems.is_empty())
}
