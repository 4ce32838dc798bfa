//! The official CloudEvents SDKs, installed from their registries into the user's cache directory,
//! and the programs in `apps/sdk` that use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::debian::{cache, succeed};

/// One SDK.
#[derive(Clone, Copy, Debug)]
pub enum Sdk {
    /// `cloudevents` of PyPI.
    Python,
    /// `cloudevents` of npm.
    JavaScript,
}

/// What is installed; part of the cache's name.
const PYTHON: &str = "cloudevents==1.12.0";
const JAVASCRIPT: &str = "cloudevents@10.0.0";

impl Sdk {
    /// How to run its program in `command`, which is given its interpreter by [`Self::program`]:
    /// sets the environment and the script, arguments follow.
    pub fn prepare(self, command: &mut Command) -> Result<()> {
        let installed = self.install()?;
        let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("apps/sdk");
        match self {
            Self::Python => command
                .env("PYTHONPATH", installed)
                .arg(apps.join("sdk.py")),
            Self::JavaScript => command
                .env("NODE_PATH", installed.join("node_modules"))
                .arg(apps.join("sdk.js")),
        };
        Ok(())
    }

    /// The interpreter.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Python => "python3",
            Self::JavaScript => "node",
        }
    }

    fn install(self) -> Result<PathBuf> {
        static INSTALLING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = INSTALLING
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let package = match self {
            Self::Python => PYTHON,
            Self::JavaScript => JAVASCRIPT,
        };
        let kept = cache()?.join(format!("{}-{package}", self.program()));
        if kept.exists() {
            return Ok(kept);
        }
        let partial = kept.with_extension("partial");
        let _ = fs::remove_dir_all(&partial);
        match self {
            Self::Python => succeed(
                Command::new("python3")
                    .args(["-m", "pip", "install", "-q", "--target"])
                    .arg(&partial)
                    .arg(package),
            ),
            Self::JavaScript => succeed(
                Command::new("npm")
                    .args(["install", "--no-audit", "--no-fund", "--prefix"])
                    .arg(&partial)
                    .arg(package),
            ),
        }?;
        fs::rename(&partial, &kept).context("keep the SDK")?;
        Ok(kept)
    }
}
