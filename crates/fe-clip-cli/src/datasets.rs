//! `fe-clip datasets`: the published data sets and which of them are here.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Result;
use data::{Dataset, Split};
use serde_json::json;

use crate::{stdout, talk};

/// List the published data sets, their licences and which of them are present.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip datasets\n  \
    fe-clip datasets --root ~/datasets --format jsonl")]
pub(crate) struct Args {
    /// The folder that holds one folder a data set, by name
    #[arg(long, default_value = "datasets")]
    root: PathBuf,
    /// Default: table on a terminal, else jsonl
    #[arg(long)]
    format: Option<Format>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Table,
    Jsonl,
}

/// Prints the list.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let terminal = std::io::stdout().is_terminal();
    match args.format.unwrap_or(if terminal { Format::Table } else { Format::Jsonl }) {
        Format::Table => data::datasets().iter().try_for_each(|set| table(set, &args.root))?,
        Format::Jsonl => data::datasets().iter().try_for_each(|set| jsonl(set, &args.root))?,
    }
    Ok(true)
}

/// What is in the folder of a data set.
enum Presence {
    Absent,
    Unusable(String),
    Present { normal: usize, anomalous: usize },
}

fn presence(dataset: &Dataset, root: &Path) -> Presence {
    let folder = root.join(dataset.layout.name());
    if !folder.is_dir() {
        return Presence::Absent;
    }
    match data::scan(dataset.layout, &folder) {
        Err(e) => Presence::Unusable(e.to_string()),
        Ok(scan) => {
            let test = scan.samples.iter().filter(|s| s.split == Split::Test);
            let (normal, anomalous): (Vec<_>, Vec<_>) = test.partition(|s| s.defect.is_none());
            Presence::Present { normal: normal.len(), anomalous: anomalous.len() }
        }
    }
}

fn table(dataset: &Dataset, root: &Path) -> Result<()> {
    let (name, test) = (dataset.layout.name(), dataset.test);
    let state = match presence(dataset, root) {
        Presence::Absent => "absent".to_owned(),
        Presence::Unusable(reason) => format!("unusable: {reason}"),
        Presence::Present { normal, anomalous } => format!(
            "present, {normal} of {} normal and {anomalous} of {} anomalous test images",
            test.normal, test.anomalous
        ),
    };
    let Dataset { title, licence, home, .. } = dataset;
    let state = talk::visible(&state, &[]);
    stdout::print(format!("{name:14} {title} ({licence})\n{:14} {state}\n{:14} {home}\n", "", ""))
}

fn jsonl(dataset: &Dataset, root: &Path) -> Result<()> {
    let mut line = json!({
        "name": dataset.layout.name(),
        "title": dataset.title,
        "authors": dataset.authors,
        "citation": dataset.citation,
        "licence": dataset.licence,
        "allows": dataset.allows,
        "home": dataset.home,
        "test": { "normal": dataset.test.normal, "anomalous": dataset.test.anomalous },
        "present": null,
    });
    match presence(dataset, root) {
        Presence::Absent => {}
        Presence::Unusable(reason) => line["error"] = json!(reason),
        Presence::Present { normal, anomalous } => {
            line["present"] = json!({ "normal": normal, "anomalous": anomalous });
        }
    }
    stdout::print(format!("{line}\n"))
}
