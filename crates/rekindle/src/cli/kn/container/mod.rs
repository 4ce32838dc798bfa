//! `rekindle container add`, and the flags by which kn describes one container: `service create`
//! and its siblings have the same ones. What they make of a Pod's spec is in `shape`, the grammars
//! of `--mount` in `volume` and of `--probe-…` in `probe`.

mod probe;
pub(super) mod shape;
mod volume;

use std::os::unix::fs::FileTypeExt;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::super::output;
use shape::{add_containers, apply};

#[derive(Args, Debug)]
pub(crate) struct Flags {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Print a container for `service create --containers -`. Those of a pipe are printed after it.
    Add {
        /// The container's name.
        name: String,
        #[command(flatten)]
        container: Box<Container>,
    },
}

/// The flags of one container, and those of its Pod that kn has beside them.
#[derive(Args, Debug, Default)]
pub(super) struct Container {
    /// The image to run.
    #[arg(long)]
    pub(super) image: Option<String>,
    /// NAME=VALUE in the environment; NAME- takes one away. May be repeated.
    #[arg(long, short)]
    env: Vec<String>,
    /// A file with NAME=VALUE lines for the environment.
    #[arg(long)]
    env_file: Option<String>,
    /// The environment from `config-map:NAME` or `secret:NAME`; NAME- takes it away. May be
    /// repeated.
    #[arg(long)]
    env_from: Vec<String>,
    /// NAME=`config-map:MAP:KEY` or NAME=`secret:SECRET:KEY`; NAME- takes it away. May be repeated.
    #[arg(long)]
    env_value_from: Vec<String>,
    /// The program instead of the image's. May be repeated, a word each.
    #[arg(long)]
    cmd: Vec<String>,
    /// Its arguments. May be repeated.
    #[arg(long, allow_hyphen_values = true)]
    arg: Vec<String>,
    /// The container's port, or NAME:PORT (`h2c:8080`).
    #[arg(long, short)]
    port: Option<String>,
    /// `cpu=100m,memory=1Gi` and the like, asked for; `cpu-` takes one away. May be repeated.
    #[arg(long, value_delimiter = ',')]
    request: Vec<String>,
    /// The same, at most. May be repeated.
    #[arg(long, value_delimiter = ',')]
    limit: Vec<String>,
    /// DIRECTORY=`config-map:NAME`, `secret:NAME`, `emptyDir:NAME`, `pvc:NAME` or the name of a
    /// volume, with `/SUBPATH` or `:readOnly=true` behind it; DIRECTORY- takes it away. May be
    /// repeated.
    #[arg(long)]
    mount: Vec<String>,
    /// `http:HOST:PORT:PATH`, `https:…`, `tcp:HOST:PORT` or `exec:WORD,WORD`: is it alive?
    #[arg(long)]
    probe_liveness: Option<String>,
    /// `PeriodSeconds=3,FailureThreshold=2` and the like.
    #[arg(long)]
    probe_liveness_opts: Option<String>,
    /// `http:HOST:PORT:PATH`, `https:…`, `tcp:HOST:PORT` or `exec:WORD,WORD`: is it ready?
    #[arg(long)]
    probe_readiness: Option<String>,
    /// `PeriodSeconds=3,FailureThreshold=2` and the like.
    #[arg(long)]
    probe_readiness_opts: Option<String>,
    /// Always, Never or IfNotPresent.
    #[arg(long)]
    pull_policy: Option<String>,
    /// The Secret to pull its image with; empty for none.
    #[arg(long)]
    pull_secret: Option<String>,
    /// The ServiceAccount it runs as; empty for the default one.
    #[arg(long)]
    service_account: Option<String>,
    /// The number of the user it runs as.
    #[arg(long)]
    user: Option<i64>,
    /// A file with more containers, as `container add` prints them; `-` reads standard input.
    #[arg(long, alias = "extra-containers")]
    containers: Option<String>,
}

impl Container {
    /// `--user`.
    pub(super) const fn user(&self) -> Option<i64> {
        self.user
    }
}

pub(crate) fn run(flags: Flags) -> Result<()> {
    let Verb::Add {
        name,
        mut container,
    } = flags.verb;
    if container.image.is_none() {
        bail!("'container add' requires the image to run: --image IMAGE");
    }
    if container.containers.is_none() && comes_by_pipe() {
        container.containers = Some("-".to_owned());
    }
    let mut pod = json!({"containers": [{"name": name}]});
    apply(&mut pod, &container, &[])?;
    add_containers(&mut pod, &container)?;
    output::print(&serde_saphyr::to_string(&pod)?)
}

/// Whether standard input is neither a terminal nor `/dev/null`.
fn comes_by_pipe() -> bool {
    std::fs::metadata("/dev/stdin").is_ok_and(|input| !input.file_type().is_char_device())
}
