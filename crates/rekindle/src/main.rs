//! The `rekindle` binary: one verb per file of `cli`, everything joined in `wire`.

mod cli;
mod kubelet;
mod services;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
