//! What can be measured inside one process: how soon a waiting request goes on once there is a
//! Pod, and what ten thousand Services in the table cost.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use gateway::Gateway;
use serving::autoscale::Stat;
use serving::route::{Change, Revision, RevisionKey};
use tokio::sync::mpsc;

use crate::roles::{HOST, host, revision, start};

const COLD_STARTS: usize = 300;
const SERVICES: usize = 10_000;

/// Measures and prints both.
pub(crate) fn measure(upstream: SocketAddr) -> Result<()> {
    let (gateway, mut stats) = start(2)?;
    let mut waits = cold_starts(&gateway, &mut stats, upstream)?;
    waits.sort();
    let at = |share: f64| waits[(waits.len() as f64 * share) as usize].as_micros();
    let before = resident_kib()?;
    let started = Instant::now();
    for at in 0..SERVICES {
        let key = RevisionKey::new("default", &format!("service-{at}-00001"));
        gateway.apply(stated(Revision {
            pods: vec![],
            ..revision(key.clone(), upstream)
        }));
        let name = format!("service-{at}.default.example.com");
        gateway.apply(Change::Host(name, Some(Arc::new(host(key)))));
    }
    let each = started.elapsed() / (2 * SERVICES as u32);
    let kib = resident_kib()?.saturating_sub(before);
    let mut out = io::stdout();
    writeln!(
        out,
        "\na waiting request: {} µs (p99 {} µs) from the change that brings a Pod to its answer\n\
         {SERVICES} Services at zero: {each:?} for each change, {:.1} MiB in all",
        at(0.5),
        at(0.99),
        kib as f64 / 1024.0
    )?;
    Ok(())
}

fn stated(revision: Revision) -> Change {
    Change::Revision(revision.key.clone(), Some(Arc::new(revision)))
}

/// From the change that brings a ready Pod to the whole answer, for a request that waits.
fn cold_starts(
    gateway: &Gateway,
    stats: &mut mpsc::Receiver<Stat>,
    upstream: SocketAddr,
) -> Result<Vec<Duration>> {
    let key = RevisionKey::new("default", "cold-00001");
    let ready = revision(key.clone(), upstream);
    let zero = Revision {
        pods: vec![],
        ..ready.clone()
    };
    gateway.apply(Change::Host(HOST.into(), Some(Arc::new(host(key)))));
    let address = gateway.local_addr().context("the listener's address")?;
    let mut waits = Vec::with_capacity(COLD_STARTS);
    for _ in 0..COLD_STARTS {
        gateway.apply(stated(zero.clone()));
        while stats.try_recv().is_ok() {}
        let mut client = TcpStream::connect(address)?;
        write!(client, "GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")?;
        stats.blocking_recv().context("the call for a Pod")?;
        let change = stated(ready.clone());
        let started = Instant::now();
        gateway.apply(change);
        let count = client.read(&mut [0; 1024])?;
        waits.push(started.elapsed());
        anyhow::ensure!(count > 0, "no answer");
    }
    Ok(waits)
}

fn resident_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("VmRSS")?;
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .context("VmRSS in kB")
}
