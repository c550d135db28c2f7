//! `bellwether completions`: a script for a shell, made of the same tree that reads the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::CommandLine;
use crate::failure::Failure;
use crate::output;

/// `bellwether completions`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bellwether completions bash > ~/.local/share/bash-completion/completions/bellwether
  bellwether completions zsh > \"${fpath[1]}/_bellwether\"
  bellwether completions fish > ~/.config/fish/completions/bellwether.fish")]
pub(crate) struct Arguments {
    /// Which shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut CommandLine::command(), "bellwether", &mut script);
    Ok(output::print(&String::from_utf8_lossy(&script))?)
}
