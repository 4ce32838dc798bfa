//! A Debian root file system with Python and Flask, made by debootstrap from the machine's own
//! package mirror and kept in the user's cache directory between runs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};

/// Packages beside Debian's minimal base.
const PACKAGES: &str = "python3-flask";
/// Not needed to run the application; halves the image.
const LEFT_OUT: [&str; 5] = [
    "var/cache",
    "var/lib/apt",
    "usr/share/doc",
    "usr/share/locale",
    "dev",
];

/// The root file system as a tar file.
pub(crate) fn flask_layer() -> Result<PathBuf> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache")
    });
    let layer = cache.join("rekindle/debian-flask.tar");
    if layer.exists() {
        return Ok(layer);
    }
    fs::create_dir_all(cache.join("rekindle"))?;
    let scratch = tempfile::tempdir()?;
    let root = scratch.path().join("root");
    let include = format!("--include={PACKAGES}");
    succeed(
        Command::new("debootstrap")
            .args(["--variant=minbase", &include, "stable"])
            .arg(&root),
    )?;
    for dir in LEFT_OUT {
        fs::remove_dir_all(root.join(dir)).with_context(|| format!("leave out {dir}"))?;
    }
    let partial = layer.with_extension("partial");
    succeed(
        Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&partial)
            .arg("."),
    )?;
    fs::rename(&partial, &layer).context("keep the layer")?;
    Ok(layer)
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{command:?} failed:\n{said}");
    Ok(())
}
