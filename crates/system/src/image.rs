//! Images for tests: single-file Rust programs built as static binaries, packed as `docker save`
//! would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::debian;

/// A program to put into an image.
#[derive(Clone, Copy, Debug)]
pub enum App {
    /// `Hello $TARGET!` on `$PORT`: what the tutorials call helloworld-go.
    Hello,
    /// `http-echo -text=… -listen=:5678`.
    Echo,
    /// Looks at its surroundings and misbehaves on demand; see `apps/probe.rs`.
    Probe,
    /// Prints the events it gets and answers them as its environment says; see `apps/consumer.rs`.
    Consumer,
}

impl App {
    const fn source(self) -> &'static str {
        match self {
            Self::Hello => concat!(env!("CARGO_MANIFEST_DIR"), "/../rekindle/demo/hello.rs"),
            Self::Echo => concat!(env!("CARGO_MANIFEST_DIR"), "/apps/echo.rs"),
            Self::Probe => concat!(env!("CARGO_MANIFEST_DIR"), "/apps/probe.rs"),
            Self::Consumer => concat!(env!("CARGO_MANIFEST_DIR"), "/apps/consumer.rs"),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Echo => "echo",
            Self::Probe => "probe",
            Self::Consumer => "consumer",
        }
    }

    /// The static binary, built once per test run.
    pub fn build(self) -> Result<PathBuf> {
        static BUILDING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = BUILDING
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let dir = std::env::temp_dir().join("rekindle-test-apps");
        fs::create_dir_all(&dir)?;
        // By content: other versions of the source are tested on the same machine.
        let source = fs::read(self.source()).context(self.source())?;
        let digest = hex::encode(Sha256::digest(source));
        let binary = dir.join(format!("{}-{}", self.name(), &digest[..16]));
        if binary.exists() {
            return Ok(binary);
        }
        let partial = binary.with_extension(std::process::id().to_string());
        let status = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args([
                "--edition",
                "2024",
                "-O",
                self.source(),
                "-C",
                "target-feature=+crt-static",
            ])
            .args([
                "-C",
                "panic=abort",
                "-C",
                "strip=symbols",
                "--crate-name",
                self.name(),
            ])
            .arg("-o")
            .arg(&partial)
            .status()
            .context("start rustc")?;
        ensure!(status.success(), "rustc could not build {}", self.source());
        fs::rename(&partial, &binary).context("keep the binary")?;
        Ok(binary)
    }
}

/// An image to be written as an archive.
#[derive(Clone, Debug)]
pub struct Image {
    /// What it is called in manifests.
    pub reference: String,
    /// The `Entrypoint` of its configuration.
    pub entrypoint: Vec<String>,
    /// The `User` of its configuration.
    pub user: String,
    /// A tar file to lie below the files, if any.
    pub base: Option<PathBuf>,
    /// Path in the image, mode, content.
    pub files: Vec<(String, u32, Vec<u8>)>,
}

impl Image {
    /// An image that runs `app` and holds nothing else but an empty `/tmp`.
    pub fn of(app: App, reference: &str) -> Result<Self> {
        let path = format!("app/{}", app.name());
        Ok(Self {
            reference: reference.to_owned(),
            entrypoint: vec![format!("/{path}")],
            user: String::new(),
            base: None,
            files: vec![(path, 0o755, fs::read(app.build()?)?)],
        })
    }

    /// A Debian root file system with Flask that runs `app_py` as `python3 /app/app.py`.
    pub fn flask(app_py: &str, reference: &str) -> Result<Self> {
        Ok(Self {
            reference: reference.to_owned(),
            entrypoint: vec!["python3".to_owned(), "/app/app.py".to_owned()],
            user: String::new(),
            base: Some(debian::flask_layer()?),
            files: vec![("app/app.py".to_owned(), 0o644, app_py.as_bytes().to_vec())],
        })
    }

    /// The Debian root file system with Python and Flask alone, to stand on.
    pub fn debian(reference: &str) -> Result<Self> {
        Ok(Self {
            entrypoint: Vec::new(),
            files: Vec::new(),
            ..Self::flask("", reference)?
        })
    }

    /// The machine's own Node with the libraries it is linked with, beside a shell.
    pub fn node(reference: &str) -> Result<Self> {
        Self::busybox(reference)?.with_program("/usr/bin/node")
    }

    /// The same with one of the machine's own programs and the libraries it is linked with.
    pub fn with_program(mut self, program: &str) -> Result<Self> {
        for path in debian::linked(program)? {
            let content = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let inside = path.to_string_lossy().trim_start_matches('/').to_owned();
            self.files.push((inside, 0o755, content));
        }
        Ok(self)
    }

    /// A shell and the few programs beside it that kubectl's own commands and the tests call.
    pub fn busybox(reference: &str) -> Result<Self> {
        let program = fs::read(debian::busybox()?)?;
        let applets = [
            "sh", "cat", "tar", "sleep", "httpd", "mkdir", "cp", "chmod", "rm", "ln", "id", "wget",
            "hostname", "nslookup",
        ];
        let files = applets.map(|name| (format!("bin/{name}"), 0o755, program.clone()));
        Ok(Self {
            reference: reference.to_owned(),
            entrypoint: vec!["/bin/sh".to_owned()],
            user: String::new(),
            base: None,
            files: files.into(),
        })
    }

    /// A shell and curl, as `radial/busyboxplus:curl` is: the machine's own curl with the libraries
    /// it is linked with.
    pub fn curl(reference: &str) -> Result<Self> {
        Self::busybox(reference)?.with_program("/usr/bin/curl")
    }

    /// Writes the archive `docker save` would make of it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut layers = vec![self.layer()?];
        if let Some(base) = &self.base {
            layers.insert(0, fs::read(base)?);
        }
        let digests: Vec<String> = layers
            .iter()
            .map(|l| hex::encode(Sha256::digest(l)))
            .collect();
        let diff_ids: Vec<String> = digests.iter().map(|d| format!("sha256:{d}")).collect();
        let names: Vec<String> = digests.iter().map(|d| format!("{d}/layer.tar")).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "User": self.user, "Env": ["PATH=/usr/bin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            // One line for each layer, or buildah refuses to build on it.
            "history": vec![json!({"created_by": "test"}); diff_ids.len()],
        })
        .to_string();
        let config_name = format!("{}.json", hex::encode(Sha256::digest(&config)));
        let manifest = json!([{
            "Config": config_name, "RepoTags": [self.reference], "Layers": names,
        }])
        .to_string();
        let mut archive = tar::Builder::new(fs::File::create(path)?);
        append(&mut archive, &config_name, 0o644, config.as_bytes())?;
        for (name, layer) in names.iter().zip(&layers) {
            append(&mut archive, name, 0o644, layer)?;
        }
        append(&mut archive, "manifest.json", 0o644, manifest.as_bytes())?;
        archive.finish().context("finish the archive")
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = tar::Builder::new(Vec::new());
        let mut tmp = header(0o1777);
        tmp.set_entry_type(tar::EntryType::Directory);
        tmp.set_size(0);
        layer.append_data(&mut tmp, "tmp/", std::io::empty())?;
        for (path, mode, content) in &self.files {
            append(&mut layer, path, *mode, content)?;
        }
        layer.into_inner().context("finish the layer")
    }
}

/// A header that belongs to root and has no time.
fn header(mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn append<W: std::io::Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    content: &[u8],
) -> Result<()> {
    let mut header = header(mode);
    header.set_size(content.len() as u64);
    archive
        .append_data(&mut header, path, content)
        .with_context(|| format!("pack {path}"))
}
