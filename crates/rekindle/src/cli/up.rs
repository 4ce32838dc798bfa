//! `rekindle up`: everything in one process, in the foreground.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

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

pub(crate) fn run(_flags: Flags) -> Result<()> {
    anyhow::bail!("not built yet")
}
