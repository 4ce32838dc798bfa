//! What is measured: a server process on a processor of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::BoxFuture;

use crate::consumer::Consumer;
use crate::link::Link;
use crate::role::Setup;

/// One of the servers that are compared.
pub(crate) trait Server {
    fn name(&self) -> &'static str;

    /// Starts it on what is in `dir`; done when it takes events.
    fn start<'a>(&'a self, dir: &'a Path, setup: &'a Setup) -> BoxFuture<'a, Result<Running>>;

    /// A connection to send on.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, Result<Box<dyn Link>>>;

    /// Has `count` consumers, each of one of `kinds` kinds of events, deliver to `consumer`, where
    /// the start did not. Lives as long as the answer.
    fn subscribe<'a>(
        &'a self,
        running: &'a Running,
        consumer: &'a Consumer,
        count: usize,
        kinds: usize,
    ) -> BoxFuture<'a, Result<Option<tokio::task::JoinHandle<()>>>>;

    /// How many events one connection has in flight.
    fn depth(&self) -> usize;
}

/// A server process, killed with the value.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Running {
    /// Starts `program` on processor 0.
    pub(crate) fn spawn(program: &Path, arguments: &[&str], address: SocketAddr) -> Result<Self> {
        let child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start taskset (package util-linux)")?;
        Ok(Self { child, address })
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Fails when the process has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the server has ended: {ended:?}");
        Ok(())
    }

    pub(crate) fn processor_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split(' ')
            .collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok());
        let (user, system) = ticks(12).zip(ticks(13)).context("times in stat")?;
        Ok((user + system) / 100.0)
    }

    pub(crate) fn resident_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .context("VmRSS in status")?
            .parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A port that is free now.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?)
}

pub(crate) fn is_installed(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// Leaves processor 0 to the servers.
pub(crate) fn pin_this_process() -> Result<()> {
    let pid = std::process::id().to_string();
    let output = Command::new("taskset").args(["-cp", "1", &pid]).output()?;
    ensure!(
        output.status.success(),
        "taskset: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
