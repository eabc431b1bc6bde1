//! Completion scripts, made from the command line itself.

use clap::CommandFactory;

use super::output::say;
use crate::cli::Cli;

/// Prints the script for a shell.
pub(super) fn print(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ordermesh", &mut script);
    say(String::from_utf8_lossy(&script).trim_end());
}
