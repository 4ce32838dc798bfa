//! Producers, and what they measured.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::try_join_all;
use std::cell::Cell;
use std::rc::Rc;

use crate::link::Link;
use crate::server::{Running, Server};

/// Connections of a paced load.
const PACED_LINKS: usize = 128;

/// How fast.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// So many events in flight at any time.
    InFlight(usize),
    /// The same, of so many kinds in turn.
    Kinds(usize, usize),
    /// So many a second.
    PerSecond(u32),
}

/// How long.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    Time(Duration),
    Count(u64),
}

/// What a load measured.
pub(crate) struct Load {
    /// From sending to acknowledgement.
    pub(crate) latency: Latency,
    took: Duration,
    count: u64,
}

impl Load {
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// Events a second.
    pub(crate) fn rate(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }
}

/// Sends events to `running`.
pub(crate) async fn run(
    server: &dyn Server,
    running: &Running,
    pace: Pace,
    until: Until,
) -> Result<Load> {
    let (links, depth, kinds) = match pace {
        Pace::InFlight(n) => (n / server.depth(), server.depth(), 1),
        Pace::Kinds(n, kinds) => (n / server.depth().min(n), server.depth().min(n), kinds),
        Pace::PerSecond(_) => (PACED_LINKS, 1, 1),
    };
    let gap = match pace {
        Pace::PerSecond(rate) => Some(Duration::from_secs(1) * links as u32 / rate),
        _ => None,
    };
    let links = try_join_all((0..links).map(|_| server.connect(running.address))).await?;
    let sent = Rc::new(Cell::new(0));
    let begun = Instant::now();
    let producers = links.into_iter().enumerate().map(|(n, link)| Producer {
        link,
        depth,
        kinds,
        kind: n,
        // Spread over the gap.
        schedule: gap.map(|gap| (begun + gap * n as u32 / PACED_LINKS as u32, gap)),
        sent: sent.clone(),
    });
    let all = try_join_all(producers.map(|producer| producer.run(begun, until))).await?;
    let mut latency = Latency::default();
    let mut count = 0;
    for (times, acknowledged) in all {
        latency.0.extend(times);
        count += acknowledged;
    }
    latency.0.sort_unstable();
    Ok(Load {
        latency,
        took: begun.elapsed(),
        count,
    })
}

struct Producer {
    link: Box<dyn Link>,
    depth: usize,
    kinds: usize,
    kind: usize,
    /// When the next is due, and how long after it another.
    schedule: Option<(Instant, Duration)>,
    sent: Rc<Cell<u64>>,
}

impl Producer {
    async fn run(mut self, begun: Instant, until: Until) -> Result<(Vec<Duration>, u64)> {
        let mut times = Vec::new();
        let mut count = 0;
        while self.goes_on(begun, until) {
            self.sent.set(self.sent.get() + self.depth as u64);
            let start = self.due().await;
            self.kind += 1;
            self.link.send(self.kind % self.kinds, self.depth).await?;
            times.push(start.elapsed());
            count += self.depth as u64;
        }
        Ok((times, count))
    }

    fn goes_on(&self, begun: Instant, until: Until) -> bool {
        match until {
            Until::Time(time) => begun.elapsed() < time,
            Until::Count(count) => self.sent.get() < count,
        }
    }

    /// Waits for the next event's time; where its latency counts from: a timer that fires late is
    /// not the server's fault, an event that had to wait for the one before it is.
    async fn due(&mut self) -> Instant {
        let Some((due, gap)) = self.schedule else {
            return Instant::now();
        };
        self.schedule = Some((due + gap, gap));
        if due < Instant::now() {
            return due;
        }
        tokio::time::sleep_until(due.into()).await;
        Instant::now()
    }
}

/// Sorted times.
#[derive(Default)]
pub(crate) struct Latency(pub(crate) Vec<Duration>);

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |q: f64| {
            let at = (self.0.len().saturating_sub(1) as f64 * q).round() as usize;
            self.0
                .get(at)
                .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
        };
        write!(
            f,
            "p50 {:.2} p99 {:.2} max {:.1} ms",
            at(0.5),
            at(0.99),
            at(1.0)
        )
    }
}
