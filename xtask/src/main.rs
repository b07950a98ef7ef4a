//! Development tasks.

mod parity;

use clap::Parser;

/// Development tasks: `cargo xtask TASK`.
#[derive(Parser)]
enum Task {
    Parity(parity::Parity),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Parity(arguments) => parity::run(&arguments),
    }
}
