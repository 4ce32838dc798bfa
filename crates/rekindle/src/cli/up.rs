//! `rekindle up`: everything, or the parts that are asked for, in one process, in the foreground.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::output;
use crate::memory;
use crate::roles::Roles;
use crate::wire;

/// After the ready line: what only the start runs has run.
const START_IS_OVER: Duration = Duration::from_secs(3);

/// Where to listen and where to keep things. Port 0 takes any free port.
#[derive(Args, Clone, Debug)]
pub(crate) struct Flags {
    /// Holds the store, images, logs, certificates and the kubeconfig.
    #[arg(long, env = "REKINDLE_DATA_DIR", default_value_os_t = default_data_dir())]
    pub(crate) data_dir: PathBuf,
    /// The Kubernetes API (TLS).
    #[arg(long, env = "REKINDLE_API_LISTEN", default_value = "127.0.0.1:6443")]
    pub(crate) api_listen: SocketAddr,
    /// The gateway's HTTP port: what users of the services talk to.
    #[arg(long, env = "REKINDLE_HTTP_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) http_listen: SocketAddr,
    /// The gateway's HTTPS port.
    #[arg(long, env = "REKINDLE_HTTPS_LISTEN", default_value = "127.0.0.1:8443")]
    pub(crate) https_listen: SocketAddr,
    /// Metrics, and later the console.
    #[arg(
        long,
        env = "REKINDLE_CONSOLE_LISTEN",
        default_value = "127.0.0.1:8090"
    )]
    pub(crate) console_listen: SocketAddr,
    /// Addresses of Pods.
    #[arg(long, env = "REKINDLE_POD_CIDR", default_value = "10.42.0.0/16")]
    pub(crate) pod_cidr: String,
    /// Addresses of Kubernetes Services.
    #[arg(long, env = "REKINDLE_SERVICE_CIDR", default_value = "10.43.0.0/16")]
    pub(crate) service_cidr: String,
    /// The network bridge Pods hang on.
    #[arg(long, env = "REKINDLE_BRIDGE", default_value = "rekindle0")]
    pub(crate) bridge: String,
    /// When ready, this file appears with the addresses as a JSON object.
    #[arg(long, env = "REKINDLE_READY_FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// On exit, leave Pods running for the next start (an upgrade) instead of stopping them.
    #[arg(long, env = "REKINDLE_KEEP_PODS")]
    pub(crate) keep_pods: bool,
    /// The parts this process runs, of `api`, `node`, `gateway` and `controller`.
    #[arg(long, env = "REKINDLE_ONLY", value_name = "PARTS", default_value_t = Roles::all())]
    pub(crate) only: Roles,
    /// What to log: a level, or directives such as `info,controller=debug`.
    #[arg(long, env = "REKINDLE_LOG", default_value = "warn")]
    pub(crate) log: String,
}

/// `/var/lib/rekindle` for root, below `$XDG_DATA_HOME` for others.
pub(crate) fn default_data_dir() -> PathBuf {
    let home = || {
        std::env::var_os("HOME")
            .map(PathBuf::from)
            .unwrap_or_default()
    };
    let is_root = std::fs::metadata("/proc/self")
        .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    if is_root {
        PathBuf::from("/var/lib/rekindle")
    } else {
        let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
        data.unwrap_or_else(|| home().join(".local/share"))
            .join("rekindle")
    }
}

pub(crate) fn run(flags: Flags) -> Result<()> {
    daemon(&flags.log)?.block_on(serve(&flags))
}

/// What a process that stays needs: its log on standard error, its cryptography, its threads.
pub(super) fn daemon(log: &str) -> Result<tokio::runtime::Runtime> {
    let filter =
        tracing_subscriber::EnvFilter::try_new(log).with_context(|| format!("--log {log:?}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.spawn(memory::give_back_free());
    Ok(runtime)
}

/// Returns when the process is asked to end.
pub(crate) fn asked_to_end() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("handle SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn serve(flags: &Flags) -> Result<()> {
    let end = asked_to_end()?;
    let instance = wire::start(flags).await?;
    announce(flags, &instance.ready)?;
    tokio::spawn(async {
        tokio::time::sleep(START_IS_OVER).await;
        if let Err(error) = memory::give_back_program() {
            tracing::debug!(%error, "the program's pages stay in memory");
        }
    });
    end.await;
    instance.stop(flags.keep_pods).await;
    Ok(())
}

/// The one line on standard output, and the ready file.
fn announce(flags: &Flags, ready: &Value) -> Result<()> {
    let text = |key: &str| ready[key].as_str().unwrap_or_default();
    output::print(&format!(
        "ready: api https://{} http://{} console http://{} export KUBECONFIG={}\n",
        text("api"),
        text("http"),
        text("console"),
        text("kubeconfig"),
    ))?;
    write_ready(flags.ready_file.as_deref(), ready)
}

/// The ready file, if one is asked for.
pub(super) fn write_ready(path: Option<&Path>, ready: &Value) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    let partial = path.with_extension("partial");
    std::fs::write(&partial, ready.to_string())
        .and_then(|()| std::fs::rename(&partial, path))
        .with_context(|| format!("--ready-file {}", path.display()))
}
