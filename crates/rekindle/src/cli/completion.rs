//! `rekindle completion SHELL`: the script by which a shell completes this program's verbs and flags.

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::output;

/// Which shell.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// bash, zsh, fish, powershell or elvish.
    shell: Shell,
}

/// Prints the script for the verbs of `program`.
pub(crate) fn run(flags: &Flags, mut program: Command) -> Result<()> {
    let mut script = Vec::new();
    generate(flags.shell, &mut program, "rekindle", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
