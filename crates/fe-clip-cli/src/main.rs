//! The `fe-clip` program: flags and glue around the crates; one file a command.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod calibrate;
mod datasets;
mod detect;
mod device;
mod embed;
mod eval;
mod inputs;
mod metrics;
mod model;
mod normals;
mod npy;
mod output;
mod overlay;
mod scan;
mod synth;
mod thresholds;
mod train;

use clap::{Parser, Subcommand};

/// Zero-shot anomaly detection: one image in, an anomaly score and a heat map out.
#[derive(Parser)]
#[command(name = "fe-clip", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Detect(detect::Args),
    Calibrate(calibrate::Args),
    Train(train::Args),
    Eval(eval::Args),
    Embed(embed::Args),
    Metrics(metrics::Args),
    Scan(scan::Args),
    Datasets(datasets::Args),
    Synth(synth::Args),
}

/// Exit codes: 0 all done, 1 some inputs failed (each one named), 2 nothing could be done.
fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Detect(args) => detect::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Embed(args) => embed::run(args),
        Command::Metrics(args) => metrics::run(&args),
        Command::Scan(args) => scan::run(&args),
        Command::Datasets(args) => datasets::run(&args),
        Command::Synth(args) => synth::run(args),
    };
    match done {
        Ok(true) => std::process::ExitCode::SUCCESS,
        Ok(false) => std::process::ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::from(2)
        }
    }
}
