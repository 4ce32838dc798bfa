//! What one hop through the gateway costs, beside nginx as a plain proxy and beside no hop at all,
//! in the same run on the same machine.
//!
//! `cargo run --release -p bench-gateway [ROUNDS]` starts a tiny application, the gateway (with
//! host routing, a concurrency limit and statistics) and nginx (one worker) as processes of their
//! own, drives each in turn with wrk at 1 and at 64 keep-alive connections, and prints the medians;
//! then what a cold start and ten thousand Services cost the gateway alone.
//! Needs `wrk` and `nginx` (Debian packages of these names); without nginx its rows are left out.
//! Everything listens on the loopback and is ended with the run.

mod inside;
mod load;
mod roles;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

/// A process under measurement, ended with the value.
struct Process {
    child: Child,
    address: SocketAddr,
    /// Its files, removed with it.
    directory: Option<PathBuf>,
}

impl Process {
    /// Starts this program in another role; it prints its address.
    fn role(arguments: &[&str]) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("the child's output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line
            .trim()
            .parse()
            .with_context(|| format!("address of {arguments:?}"))?;
        Ok(Self {
            child,
            address,
            directory: None,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM, so that nginx's master ends its worker.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
        if let Some(directory) = &self.directory {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("app") => roles::app(),
        Some("gateway") => roles::gateway(arguments[1].parse()?, arguments[2].parse()?),
        Some(rounds) => bench(rounds.parse()?),
        None => bench(3),
    }
}

fn bench(rounds: usize) -> Result<()> {
    let app = Process::role(&["app"])?;
    let upstream = app.address.to_string();
    let one = Process::role(&["gateway", &upstream, "1"])?;
    let two = Process::role(&["gateway", &upstream, "2"])?;
    let nginx = roles::nginx(app.address)?;
    let mut targets = vec![
        ("no hop", app.address, app.child.id()),
        ("gateway, 1 worker", one.address, one.child.id()),
        ("gateway, 2 workers", two.address, two.child.id()),
    ];
    if let Some(nginx) = &nginx {
        targets.push(("nginx, 1 worker", nginx.address, nginx.child.id()));
    }
    let mut results: Vec<Vec<load::Sample>> = targets.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (samples, (_, address, pid)) in results.iter_mut().zip(&targets) {
            samples.push(load::sample(*address, *pid)?);
        }
    }
    let rows: Vec<_> = targets
        .iter()
        .map(|(name, ..)| *name)
        .zip(&results)
        .collect();
    load::print(&rows);
    inside::measure(app.address)
}
