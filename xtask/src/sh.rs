//! Running commands, with what runs printed first and a failure that names the command.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Prints one text to standard output.
pub(crate) fn say(text: &str) -> Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")
}

/// Runs `program` with `args` in the repository's root and fails when it fails.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<()> {
    say(&format!("$ {program} {}\n", args.join(" ")))?;
    let status = Command::new(program)
        .args(args)
        .current_dir(root())
        .status()
        .with_context(|| format!("start {program}"))?;
    ensure!(
        status.success(),
        "{program} {} failed: {status}",
        args.join(" ")
    );
    Ok(())
}

/// Whether `program` is found on the PATH.
pub(crate) fn has(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    // Where cargo runs this, not where it was built: checkouts may share their build cache.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest
        .parent()
        .map_or_else(|| manifest.clone(), PathBuf::from)
}
