//! The `fe-clip` program: flags and glue around the crates; one file a command.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod datasets;
mod metrics;
mod scan;

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
    Metrics(metrics::Args),
    Scan(scan::Args),
    Datasets(datasets::Args),
}

/// Exit codes: 0 all done, 1 some inputs failed (each one named), 2 nothing could be done.
fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let done: anyhow::Result<bool> = match cli.command {
        Command::Metrics(args) => metrics::run(&args),
        Command::Scan(args) => scan::run(&args),
        Command::Datasets(args) => datasets::run(&args),
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
