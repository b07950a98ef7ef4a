//! Development tasks: `cargo xtask TASK`; one file a task.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod download;
mod parity;

use clap::Parser;

/// Development tasks: `cargo xtask TASK`.
#[derive(Parser)]
enum Task {
    Download(download::Args),
    Parity(parity::Parity),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Download(args) => download::run(&args),
        Task::Parity(arguments) => parity::run(&arguments),
    }
}
