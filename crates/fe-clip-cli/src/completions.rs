//! `fe-clip completions`: scripts that let a shell complete commands and flags.

use clap_complete::Shell;

use crate::stdout;

/// Print a script that completes the program's commands and flags in a shell.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip completions bash > ~/.local/share/bash-completion/completions/fe-clip\n  \
    fe-clip completions zsh > ~/.zfunc/_fe-clip\n  \
    fe-clip completions fish > ~/.config/fish/completions/fe-clip.fish")]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args, mut command: clap::Command) -> anyhow::Result<bool> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "fe-clip", &mut script);
    stdout::print(script)?;
    Ok(true)
}
