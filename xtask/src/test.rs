//! `cargo xtask test`: the whole ladder, cheapest first.

use anyhow::Result;

use crate::{prepare, sh, tidy};

/// Runs all checks; `system` adds those that start the real binary and real containers.
pub(crate) fn run(system: bool) -> Result<()> {
    if system {
        prepare::run()?;
    }
    sh::run("cargo", &["fmt", "--all", "--check"])?;
    tidy::run()?;
    sh::run(
        "cargo",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    sh::run("cargo", &["test", "--workspace"])?;
    if system {
        sh::run("cargo", &["build", "--release", "--package", "rekindle"])?;
        sh::run(
            "cargo",
            &["test", "--package", "system", "--features", "run"],
        )?;
    }
    Ok(())
}
