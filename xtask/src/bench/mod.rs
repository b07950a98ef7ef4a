//! `cargo xtask bench`: every speed claim of the project, measured beside its peer in one run.

mod report;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{built, cargo, execute, python};
use report::{Report, Row};

/// Measure every speed claim beside its peer (2 GB of Python packages, 5 GB for ViT-L/14@336).
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask bench\n  \
    cargo xtask bench --quick --only metrics,startup --out target/bench")]
pub(crate) struct Args {
    /// Few rounds and small inputs: whether it runs, not how fast.
    #[arg(long)]
    quick: bool,
    /// Only these; of the others, what --out has stays.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Section>,
    /// Where bench.md and bench.json go.
    #[arg(long, default_value = "docs/results")]
    out: PathBuf,
    /// A Python that has the peers; by default one is set up under target/.
    #[arg(long)]
    python: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Section {
    /// The image tower of ViT-L/14@336 beside PyTorch and ONNX Runtime.
    Model,
    /// Metrics beside scikit-learn, torchmetrics, anomalib and adeval.
    Metrics,
    /// Cosine transforms beside scipy, torch and rustdct.
    Dct,
    /// Decoding and resizing beside Pillow.
    Images,
    /// A training epoch of tiny with and without the cached prefix.
    Training,
    /// The adapters beside the forward pass of ViT-L/14@336.
    Adapters,
    /// A training epoch of a deep tower with and without the cached prefix.
    Epoch,
    /// The search of the memory bank beside faiss.
    Bank,
    /// Peak memory of training tiny and on ViT-L/14@336.
    Memory,
    /// Start-up beside importing the Python packages.
    Startup,
    /// Folders of JPEG files through tiny, beside decoding them alone.
    Folders,
}

const REQUIREMENTS: [&str; 3] = [
    "crates/clip-vit/tests/golden/requirements.txt",
    "crates/metrics/benches/requirements.txt",
    "xtask/src/bench/requirements.txt",
];
const PARITY: &str = "crates/clip-vit/tests/parity/parity.py";
const PROGRAM: &str = "xtask/src/bench/program.py";
/// Side in pixels and batch.
const SHAPES: [(u32, u32); 5] = [(336, 1), (336, 2), (336, 4), (336, 8), (518, 1)];

pub(crate) fn run(args: &Args) -> Result<()> {
    let python = match &args.python {
        Some(python) => python.clone(),
        None => python(Path::new("target/bench-python"), &REQUIREMENTS)?,
    };
    let examples = ["forward", "throughput", "bank_search"].map(|name| ["--example", name]);
    execute(
        cargo()
            .args(["build", "--release", "--workspace", "--bin", "fe-clip"])
            .args(examples.as_flattened()),
    )?;
    let bench = Bench { quick: args.quick, python, folder: PathBuf::from("target/bench") };
    std::fs::create_dir_all(&bench.folder)?;
    let mut report = Report::open(&args.out, args.quick);
    let all = <Section as clap::ValueEnum>::value_variants();
    let mut failed = Vec::new();
    for section in all.iter().filter(|s| args.only.is_empty() || args.only.contains(s)) {
        if let Err(error) = report.measure(section.title(), || bench.measure(*section)) {
            failed.push(format!("{}: {error:#}", section.title()));
        }
        report.write(&args.out)?;
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    println!("{}", args.out.join("bench.md").display());
    Ok(())
}

impl Section {
    fn title(self) -> &'static str {
        match self {
            Self::Model => "Forward pass",
            Self::Metrics => "Metrics",
            Self::Dct => "Cosine transforms",
            Self::Images => "Reading images",
            Self::Training => "Training",
            Self::Adapters => "Adapters beside the forward pass",
            Self::Epoch => "Training with the prefix kept",
            Self::Bank => "Search of the memory bank",
            Self::Memory => "Memory of training",
            Self::Startup => "Start-up",
            Self::Folders => "Folders of photographs with tiny",
        }
    }
}

struct Bench {
    quick: bool,
    python: PathBuf,
    folder: PathBuf,
}

impl Bench {
    fn measure(&self, section: Section) -> Result<Vec<Row>> {
        let program = &built("fe-clip");
        let rounds = |whole: u32| if self.quick { 1 } else { whole }.to_string();
        let json = self.folder.join("rows.json");
        match section {
            Section::Model => self.forward(if self.quick { 1 } else { 6 }, &json),
            Section::Metrics => {
                let (images, side) = if self.quick { ("8", "256") } else { ("80", "1024") };
                let script = "crates/metrics/benches/peers.py";
                let size = ["--images", images, "--side", side, "--rounds", &rounds(3)];
                self.rows(
                    self.script(script).arg(program).args(size).arg("--json").arg(&json),
                    &json,
                )
            }
            Section::Dct => {
                let script = "crates/dct/benches/peers.py";
                let arrays =
                    self.rows(self.script(script).arg("--json").arg(&json).arg("arrays"), &json)?;
                let lengths = ["lengths", "3", "8", "9", "16", "32", "64", "128", "518", "1024"];
                let lengths =
                    self.rows(self.script(script).arg("--json").arg(&json).args(lengths), &json)?;
                Ok(arrays.into_iter().chain(lengths).collect())
            }
            Section::Images => {
                let images = self.procedural("images", "1024", &["--train-normal", "4"])?;
                let mut script = self.script("crates/data/benches/pillow.py");
                script.arg(built("examples/throughput")).arg(images).arg(rounds(9));
                self.rows(script.arg(&json), &json)
            }
            Section::Training => {
                let images = self.procedural("training", "240", &["--train-normal", "1"])?;
                let mut script = self.script(PROGRAM);
                self.rows(
                    script.arg("training").arg(program).arg(images).arg(rounds(3)).arg(&json),
                    &json,
                )
            }
            Section::Adapters => self.training(&["adapters"], &json),
            Section::Epoch => self.training(&["epoch"], &json),
            Section::Bank => {
                let mut script = self.script("crates/fe-clip/benches/bank_search.py");
                script.arg(built("examples/bank_search")).arg(rounds(15));
                self.rows(script.arg(&json), &json)
            }
            Section::Memory if self.quick => self.training(&["memory-tiny"], &json),
            Section::Memory => self.training(&["memory-tiny", "memory-large"], &json),
            Section::Startup | Section::Folders => {
                let what = if section == Section::Startup { "startup" } else { "folders" };
                let images = self.procedural("images", "1024", &["--train-normal", "4"])?;
                let mut script = self.script(PROGRAM);
                self.rows(
                    script.arg(what).arg(program).arg(images).arg(rounds(5)).arg(&json),
                    &json,
                )
            }
        }
    }

    /// Measurements of crates/fe-clip/benches/training.rs, each in a process of its own.
    fn training(&self, measurements: &[&str], json: &Path) -> Result<Vec<Row>> {
        let file = std::path::absolute(json)?; // benches run in their package's folder
        let mut rows = Vec::new();
        for measurement in measurements {
            let mut bench = cargo();
            bench.args(["bench", "--workspace", "--bench", "training", "--", measurement]);
            rows.extend(self.rows(bench.arg(&file), &file)?);
        }
        Ok(rows)
    }

    /// Longer passes are steadier and get fewer rounds.
    fn forward(&self, rounds: u32, json: &Path) -> Result<Vec<Row>> {
        let folder = Path::new("target/parity");
        if !folder.join("expected.safetensors").is_file() {
            std::fs::create_dir_all(folder)?;
            execute(self.script(PARITY).arg("make").arg(folder))?;
        }
        let mut rows = Vec::new();
        for (side, batch) in SHAPES.into_iter().take(if self.quick { 1 } else { SHAPES.len() }) {
            let mut script = self.script(PARITY);
            script.arg("time").arg(folder).arg(built("examples/forward"));
            let longer = batch * side.pow(2) / 336u32.pow(2);
            let rounds = (rounds / longer).max(2);
            let numbers = [side, batch, rounds].map(|n| n.to_string());
            rows.extend(self.rows(script.args(numbers).arg(json), json)?);
        }
        Ok(rows)
    }

    /// A procedural data set, drawn once.
    fn procedural(&self, name: &str, size: &str, more: &[&str]) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        if !folder.exists() {
            let mut synth = Command::new(built("fe-clip"));
            synth.args(["synth", "--categories", "gear,hex_nut", "--size", size]).args(more);
            execute(
                synth.args(["--test-normal", "4", "--test-per-defect", "1", "--out"]).arg(&folder),
            )?;
        }
        Ok(folder)
    }

    fn script(&self, path: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(path);
        command
    }

    /// What a script measured and wrote.
    fn rows(&self, script: &mut Command, json: &Path) -> Result<Vec<Row>> {
        execute(script)?;
        let text = std::fs::read(json).with_context(|| format!("reading {}", json.display()))?;
        std::fs::remove_file(json).with_context(|| format!("removing {}", json.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("reading {}", json.display()))
    }
}
