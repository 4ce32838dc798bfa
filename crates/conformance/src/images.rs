//! The applications of `conformance-images` as images: one archive as `docker save` writes it, with
//! one layer under many names.
//!
//! The shape is the one Knative's tests rely on: the program at `/ko-app/NAME`, user 65532 at home in
//! `/home/nonroot`, a `/tmp` for everybody.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The names the program answers to.
pub const NAMES: &[&str] = &[
    "autoscale",
    "emptydir",
    "envvars",
    "failing",
    "grpc-ping",
    "healthprobes",
    "hellohttp2",
    "hellovolume",
    "helloworld",
    "httpproxy",
    "pizzaplanetv1",
    "pizzaplanetv2",
    "readiness",
    "runtime",
    "servingcontainer",
    "sidecarcontainer",
    "singlethreaded",
    "timeout",
    "volumes",
    "workingdir",
    "wsserver",
    "wsserver-hostname",
];
/// Where the program itself lies; the names lead there.
const PROGRAM: &str = "ko-app/conformance-images";
const NONROOT: u64 = 65532;

/// Writes the archive to `path`; the images are called `PREFIX/NAME:latest`.
pub fn write(program: &Path, prefix: &str, path: &Path) -> Result<()> {
    let layer = layer(program)?;
    let digest = hex::encode(Sha256::digest(&layer));
    let layer_name = format!("{digest}/layer.tar");
    let mut archive = tar::Builder::new(fs::File::create(path)?);
    append(&mut archive, &layer_name, 0o644, &layer)?;
    let mut manifest = Vec::new();
    for name in NAMES {
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": [format!("/ko-app/{name}")],
                "User": format!("{NONROOT}:{NONROOT}"),
                "WorkingDir": "/home/nonroot",
                "Env": ["PATH=/usr/bin:/bin:/ko-app", "KO_DATA_PATH=/var/run/ko"],
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
            "history": [],
        });
        let config = config.to_string();
        let config_name = format!("{}.json", hex::encode(Sha256::digest(&config)));
        append(&mut archive, &config_name, 0o644, config.as_bytes())?;
        manifest.push(json!({
            "Config": config_name,
            "RepoTags": [format!("{prefix}/{name}:latest")],
            "Layers": [layer_name],
        }));
    }
    let manifest = json!(manifest).to_string();
    append(&mut archive, "manifest.json", 0o644, manifest.as_bytes())?;
    archive.finish().context("finish the archive")
}

fn layer(program: &Path) -> Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    directory(&mut layer, "tmp/", 0o1777, 0)?;
    directory(&mut layer, "home/nonroot/", 0o700, NONROOT)?;
    let content = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    append(&mut layer, PROGRAM, 0o755, &content)?;
    for library in libraries(program)? {
        let content = fs::read(&library).with_context(|| format!("read {}", library.display()))?;
        let inside = library.to_string_lossy();
        append(&mut layer, inside.trim_start_matches('/'), 0o755, &content)?;
    }
    for name in NAMES {
        let mut header = header(0o777, 0, 0);
        header.set_entry_type(tar::EntryType::Symlink);
        let link = format!("ko-app/{name}");
        layer.append_link(&mut header, link, "conformance-images")?;
    }
    layer.into_inner().context("finish the layer")
}

/// What `ldd` says the program loads; nothing for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output();
    let output = output.context("start ldd")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success() || said.contains("statically") || said.is_empty(),
        "ldd {}: {said}",
        program.display()
    );
    let words = said.split_whitespace();
    Ok(words
        .filter(|word| word.starts_with('/') && word.contains(".so"))
        .map(PathBuf::from)
        .collect())
}

fn header(mode: u32, size: u64, owner: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(size);
    header.set_mtime(0);
    header
}

fn directory<W: std::io::Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    owner: u64,
) -> Result<()> {
    let mut header = header(mode, 0, owner);
    header.set_entry_type(tar::EntryType::Directory);
    archive
        .append_data(&mut header, path, std::io::empty())
        .with_context(|| format!("pack {path}"))
}

fn append<W: std::io::Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    content: &[u8],
) -> Result<()> {
    let mut header = header(mode, content.len() as u64, 0);
    archive
        .append_data(&mut header, path, content)
        .with_context(|| format!("pack {path}"))
}
