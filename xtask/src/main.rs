//! Development tasks: `cargo xtask TASK`; one file a task.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod ablation;
mod arrows;
mod backends;
mod bench;
mod damaged_photographs;
mod dist;
mod distil_curve;
mod download;
mod evaluate_tiny;
mod libtorch;
mod make_tiny;
mod parity;
mod photographs;
mod process;
mod published;
mod reproduce;
mod results;
mod teacher;

use clap::Parser;

/// Development tasks: `cargo xtask TASK`.
#[derive(Parser)]
enum Task {
    Ablation(ablation::Args),
    Arrows(arrows::Args),
    Backends(backends::Args),
    Bench(bench::Args),
    DamagedPhotographs(damaged_photographs::Args),
    Dist(dist::Args),
    /// Distil the image tower of `tiny` from the teacher.
    Distil(make_tiny::Args),
    DistilCurve(distil_curve::Args),
    Download(download::Args),
    EvaluateTiny(evaluate_tiny::Args),
    Libtorch(libtorch::Args),
    Parity(parity::Parity),
    Photographs(photographs::Args),
    /// Pre-train a small CLIP on procedural images and captions.
    PretrainTiny(make_tiny::Args),
    Published(published::Args),
    Reproduce(reproduce::Args),
    Teacher(teacher::Args),
    /// Fit heads to the image tower of `tiny` that predict the teacher's features.
    TokenHeads(make_tiny::Args),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Ablation(args) => ablation::run(&args),
        Task::Arrows(args) => arrows::run(&args),
        Task::Backends(args) => backends::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::DamagedPhotographs(args) => damaged_photographs::run(&args),
        Task::Dist(args) => dist::run(&args),
        Task::Distil(args) => make_tiny::run("distil", &args),
        Task::DistilCurve(args) => distil_curve::run(&args),
        Task::Download(args) => download::run(&args),
        Task::EvaluateTiny(args) => evaluate_tiny::run(&args),
        Task::Libtorch(args) => libtorch::run(&args),
        Task::Parity(args) => parity::run(&args),
        Task::Photographs(args) => photographs::run(&args),
        Task::PretrainTiny(args) => make_tiny::run("pretrain", &args),
        Task::Published(args) => published::run(&args),
        Task::Reproduce(args) => reproduce::run(&args),
        Task::Teacher(args) => teacher::run(&args),
        Task::TokenHeads(args) => make_tiny::run("heads", &args),
    }
}
