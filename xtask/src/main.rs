//! Development tasks: `cargo xtask TASK`; one file a task.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod arrows;
mod download;
mod parity;
mod pretrain_tiny;

use clap::Parser;

/// Development tasks: `cargo xtask TASK`.
#[derive(Parser)]
enum Task {
    Arrows(arrows::Args),
    Download(download::Args),
    Parity(parity::Parity),
    PretrainTiny(pretrain_tiny::Args),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Arrows(args) => arrows::run(&args),
        Task::Download(args) => download::run(&args),
        Task::Parity(args) => parity::run(&args),
        Task::PretrainTiny(args) => pretrain_tiny::run(&args),
    }
}
