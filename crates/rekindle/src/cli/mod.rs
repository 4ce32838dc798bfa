//! The command line: one verb, one file. This file only lists them.

mod up;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Knative in one binary: `rekindle up`, then kubectl and curl.
#[derive(Parser)]
#[command(name = "rekindle", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the API server, the node, the controllers and the gateway in this process.
    Up(up::Flags),
}

/// Parses the arguments, runs the verb, reports its failure on one line of standard error.
pub(crate) fn run() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Up(flags) => up::run(flags),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "rekindle: {error:#}");
            ExitCode::FAILURE
        }
    }
}
