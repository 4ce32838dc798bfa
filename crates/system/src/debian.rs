//! What images take from Debian: a root file system with Python and Flask, made by debootstrap,
//! and a static busybox. Both come from the machine's own package mirror and are kept in the
//! user's cache directory between runs.

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
    let layer = cache()?.join("debian-flask.tar");
    if layer.exists() {
        return Ok(layer);
    }
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

/// The program of Debian's package `busybox-static`.
pub(crate) fn busybox() -> Result<PathBuf> {
    program("busybox-static", "busybox")
}

/// Debian's own kubectl, some years old.
pub(crate) fn kubectl() -> Result<PathBuf> {
    program("kubernetes-client", "kubectl")
}

/// A program of a package that is not installed for it.
fn program(package: &str, name: &str) -> Result<PathBuf> {
    static FETCHING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = FETCHING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let kept = cache()?.join(name);
    if kept.exists() {
        return Ok(kept);
    }
    let scratch = tempfile::tempdir()?;
    let mut fetch = Command::new("apt-get");
    succeed(
        fetch
            .args(["download", package])
            .current_dir(scratch.path()),
    )?;
    let mut files = fs::read_dir(scratch.path())?.flatten();
    let file = files.next().context("apt-get has downloaded nothing")?;
    let mut unpack = Command::new("dpkg");
    succeed(
        unpack
            .arg("-x")
            .arg(file.path())
            .arg(scratch.path().join("root")),
    )?;
    let places = ["bin", "usr/bin"].map(|bin| scratch.path().join("root").join(bin).join(name));
    let found = places.iter().find(|place| place.exists());
    let found = found.with_context(|| format!("{package} holds no bin/{name}"))?;
    let partial = kept.with_extension("partial");
    fs::copy(found, &partial).with_context(|| format!("copy {name}"))?;
    fs::rename(&partial, &kept).with_context(|| format!("keep {name}"))?;
    Ok(kept)
}

/// A program of the machine and what `ldd` says it loads.
pub(crate) fn linked(program: &str) -> Result<Vec<PathBuf>> {
    let program = PathBuf::from(program);
    let output = Command::new("ldd")
        .arg(&program)
        .output()
        .context("start ldd")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "ldd {}: {said}", program.display());
    let libraries = said.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(std::iter::once(program)
        .chain(libraries.map(PathBuf::from))
        .collect())
}

pub(crate) fn cache() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache")
    });
    let cache = cache.join("rekindle");
    fs::create_dir_all(&cache)?;
    Ok(cache)
}

pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{command:?} failed:\n{said}");
    Ok(())
}
