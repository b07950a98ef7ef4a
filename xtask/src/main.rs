//! Development tasks: `cargo xtask TASK`; one file a task.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod ablation;
mod arrows;
mod backends;
mod bench;
mod damaged_photographs;
mod download;
mod evaluate_tiny;
mod libtorch;
mod parity;
mod photographs;
mod pretrain_tiny;
mod process;
mod reproduce;
mod results;

use clap::Parser;

/// Development tasks: `cargo xtask TASK`.
#[derive(Parser)]
enum Task {
    Ablation(ablation::Args),
    Arrows(arrows::Args),
    Backends(backends::Args),
    Bench(bench::Args),
    DamagedPhotographs(damaged_photographs::Args),
    Download(download::Args),
    EvaluateTiny(evaluate_tiny::Args),
    Libtorch(libtorch::Args),
    Parity(parity::Parity),
    Photographs(photographs::Args),
    PretrainTiny(pretrain_tiny::Args),
    Reproduce(reproduce::Args),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Ablation(args) => ablation::run(&args),
        Task::Arrows(args) => arrows::run(&args),
        Task::Backends(args) => backends::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::DamagedPhotographs(args) => damaged_photographs::run(&args),
        Task::Download(args) => download::run(&args),
        Task::EvaluateTiny(args) => evaluate_tiny::run(&args),
        Task::Libtorch(args) => libtorch::run(&args),
        Task::Parity(args) => parity::run(&args),
        Task::Photographs(args) => photographs::run(&args),
        Task::PretrainTiny(args) => pretrain_tiny::run(&args),
        Task::Reproduce(args) => reproduce::run(&args),
    }
}
