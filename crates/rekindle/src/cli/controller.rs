//! `rekindle controller`: the controllers in a process of their own, in the foreground.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::up::{asked_to_end, daemon, default_data_dir, write_ready};
use crate::controllers;

/// Whose objects to look after.
#[derive(Args, Clone, Debug)]
pub(crate) struct Flags {
    /// How to reach the API server, and as whom.
    #[arg(long, env = "KUBECONFIG")]
    pub(crate) kubeconfig: PathBuf,
    /// Holds images loaded by hand and registries.yaml, for the digests of tags; the node's data
    /// directory where it runs on the same machine.
    #[arg(long, env = "REKINDLE_DATA_DIR", default_value_os_t = default_data_dir())]
    pub(crate) data_dir: PathBuf,
    /// Where gateways send their statistics. Port 0 takes any free port.
    #[arg(long, env = "REKINDLE_STATS_LISTEN", default_value = "127.0.0.1:0")]
    pub(crate) stats_listen: SocketAddr,
    /// This file appears, with the address for statistics, when the process leads.
    #[arg(long, env = "REKINDLE_READY_FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// What to log: a level, or directives such as `info,controller=debug`.
    #[arg(long, env = "REKINDLE_LOG", default_value = "warn")]
    pub(crate) log: String,
}

pub(crate) fn run(flags: Flags) -> Result<()> {
    daemon(&flags.log)?.block_on(async {
        let end = asked_to_end()?;
        let leading = |stats: SocketAddr| {
            let ready = json!({"stats": stats.to_string()});
            write_ready(flags.ready_file.as_deref(), &ready)
        };
        controllers::run(&flags, leading, end).await
    })
}
