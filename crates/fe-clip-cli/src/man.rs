//! `fe-clip man`: manual pages.

use std::path::PathBuf;

use anyhow::Context;
use clap_mangen::Man;
use fe_clip::files::write_atomic;

use crate::stdout;

/// Write manual pages to a folder: one of the program and one of every command.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  fe-clip man ~/.local/share/man/man1 && man fe-clip-detect")]
pub(crate) struct Args {
    /// The folder, which is made if it is not there.
    #[arg(value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args, command: clap::Command) -> anyhow::Result<bool> {
    let named = || format!("making {}", args.out.display());
    std::fs::create_dir_all(&args.out).with_context(named)?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let pages = [command.clone()].into_iter().chain(command.get_subcommands().cloned());
    for page in pages {
        let mut text = Vec::new();
        let man = Man::new(page);
        man.render(&mut text).context("writing a manual page")?;
        let path = args.out.join(man.get_filename());
        write_atomic(&path, &text)?;
        stdout::print_path(&path)?;
    }
    Ok(true)
}
