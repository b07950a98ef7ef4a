//! The `fe-clip` program: flags and glue around the crates; one file a command.

mod boxes;
mod calibrate;
mod camera;
mod completions;
mod datasets;
mod detect;
mod device;
mod embed;
mod eval;
mod exchange;
mod export;
mod fault;
mod features;
mod group;
mod info;
mod inputs;
mod interrupt;
mod job;
mod kept;
mod lines;
mod list;
mod man;
mod metrics;
mod model;
mod monitor;
mod names;
mod normals;
mod npy;
mod output;
mod own;
mod panels;
mod protect;
mod publish;
mod regions;
mod remote;
mod report;
mod scan;
mod scope;
mod serve;
mod shard;
mod spectrum;
mod stdout;
mod synth;
mod talk;
mod threads;
mod thresholds;
mod train;
mod watch;

use clap::{CommandFactory, Parser, Subcommand};

/// Zero-shot anomaly detection: one image in, an anomaly score and a heat map out.
#[derive(Parser)]
#[command(
    name = "fe-clip",
    version,
    about,
    after_help = "Examples:\n  \
    fe-clip detect photo.jpg\n  \
    fe-clip detect parts/ --out results --threshold 0.5\n  \
    fe-clip info\n\n\
    Results go to standard output, talk to standard error. Exit code 0: all done; 1: some inputs\n\
    failed, each one named; 2: wrong usage, or nothing could be done; 141: the reader of standard\n\
    output went away.\n\
    NO_COLOR=1 turns colour off. `fe-clip COMMAND --help` shows examples of each command."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Threads that compute and decode. Default: one a processor core.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Also report what was loaded and how long things took.
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Report errors alone: no progress, no warnings.
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    Detect(Box<detect::Args>),
    Calibrate(calibrate::Args),
    Train(train::Args),
    Eval(eval::Args),
    Embed(embed::Args),
    Export(export::Args),
    Metrics(metrics::Args),
    Scan(scan::Args),
    Datasets(datasets::Args),
    Synth(synth::Args),
    Spectrum(spectrum::Args),
    Info(info::Args),
    Completions(completions::Args),
    Man(man::Args),
    Serve(serve::Args),
}

/// Exit codes: 0 all done, 1 some inputs failed (each one named), 2 nothing could be done, 141
/// standard output was closed.
fn main() -> std::process::ExitCode {
    fe_clip::keep_freed_memory();
    match Cli::try_parse() {
        Ok(cli) => fault::guard(|| run(cli)),
        Err(answer) => tell(&answer),
    }
}

/// Prints help, the version, or what is wrong with the flags.
fn tell(answer: &clap::Error) -> std::process::ExitCode {
    let code = u8::try_from(answer.exit_code()).unwrap_or(2);
    match answer.print() {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => stdout::CLOSED.into(),
        Err(_) => 2.into(),
        Ok(()) => code.into(),
    }
}

fn run(cli: Cli) -> std::process::ExitCode {
    talk::set(match (cli.quiet, cli.verbose) {
        (true, _) => talk::Level::Quiet,
        (_, true) => talk::Level::Verbose,
        _ => talk::Level::Usual,
    });
    let done = threads::limit(cli.threads).and_then(|()| match cli.command {
        Command::Detect(args) => detect::run(*args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Embed(args) => embed::run(args),
        Command::Export(args) => export::run(&args),
        Command::Metrics(args) => metrics::run(&args),
        Command::Scan(args) => scan::run(&args),
        Command::Datasets(args) => datasets::run(&args),
        Command::Synth(args) => synth::run(args),
        Command::Spectrum(args) => spectrum::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
        Command::Serve(args) => serve::run(args),
    });
    match done {
        Ok(true) => std::process::ExitCode::SUCCESS,
        Ok(false) => std::process::ExitCode::from(1),
        Err(error) if error.is::<stdout::Closed>() => stdout::CLOSED.into(),
        Err(error) => {
            talk::error(talk::reason(&error));
            std::process::ExitCode::from(2)
        }
    }
}
