//! What the autoscaler is told: once a second what that second came to, and ten times a second what
//! it will come to at least, so that a step in load need not wait for its end. And once a second
//! idle connections are closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serving::autoscale::Stat;
use serving::route::RevisionKey;
use serving::throttle::RequestReport;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::revision::RevisionState;
use crate::table::Table;
use crate::worker::ACTIVATOR;

/// Between two looks at the counters.
const LOOK: Duration = Duration::from_millis(100);
/// Looks in Knative's reporting period, a second.
const LOOKS: u32 = 10;

/// Whom reports are about, and where they go.
pub(crate) struct Reporter {
    pub(crate) table: Arc<Table>,
    pub(crate) stats: mpsc::Sender<Stat>,
    /// Whether Pods are reported as well as the activator.
    pub(crate) pods: bool,
}

impl Reporter {
    /// Reports until the gateway stops. `busy` says whether requests are in flight.
    pub(crate) async fn run(self, busy: impl Fn() -> bool) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = 0;
        loop {
            tick.tick().await;
            if looks == 0 {
                self.report(Instant::now());
            } else if busy() {
                self.report_so_far(Instant::now());
            }
            looks = (looks + 1) % LOOKS;
        }
    }

    /// The second that is over.
    fn report(&self, now: Instant) {
        let mut removed = Vec::new();
        for revision in self.table.revisions() {
            let facts = revision.facts.load_full();
            if facts.is_none() {
                removed.push(revision.key.clone());
            }
            let report = revision.gate.report(now);
            let in_path = facts.as_ref().is_some_and(|facts| facts.activator_in_path);
            if in_path && !report.is_idle() {
                self.send(&revision.key, ACTIVATOR, not_proxied(report));
            }
            for pod in revision.pods().iter() {
                pod.sweep_idle(now);
                if self.pods && pod.facts.load().ready {
                    let name = Arc::clone(&pod.facts.load().name);
                    self.send(&revision.key, &name, pod.report(now));
                }
            }
        }
        self.table.sweep(&removed);
    }

    /// The second that is not over, of each revision with requests, all its reporters in one.
    fn report_so_far(&self, now: Instant) {
        for revision in self.table.revisions() {
            let Some(facts) = revision.facts.load_full() else {
                continue;
            };
            let mut total = RequestReport::default();
            if facts.activator_in_path {
                total = not_proxied(self.of_activator(&revision, now));
            }
            for pod in revision.pods().iter().filter(|_| self.pods) {
                let report = pod.so_far(now);
                total.average_concurrency += report.average_concurrency;
                total.average_proxied_concurrency += report.average_proxied_concurrency;
                total.request_count += report.request_count;
                total.proxied_count += report.proxied_count;
            }
            if !total.is_idle() {
                let so_far = true;
                let stat = stat(&revision.key, ACTIVATOR, total);
                let _ = self.stats.try_send(Stat { so_far, ..stat });
            }
        }
    }

    fn of_activator(&self, revision: &RevisionState, now: Instant) -> RequestReport {
        let report = revision.gate.so_far(now);
        if revision.has_pods() {
            return report;
        }
        RequestReport {
            average_concurrency: revision.gate.concurrency().into(),
            ..report
        }
    }

    fn send(&self, key: &RevisionKey, reporter: &str, report: RequestReport) {
        // A full channel loses one second of one reporter; the next second follows.
        let _ = self.stats.try_send(stat(key, reporter, report));
    }
}

/// What the activator reports is its own; nothing of it came through another.
fn not_proxied(report: RequestReport) -> RequestReport {
    RequestReport {
        average_proxied_concurrency: 0.0,
        proxied_count: 0.0,
        ..report
    }
}

fn stat(key: &RevisionKey, reporter: &str, report: RequestReport) -> Stat {
    Stat {
        revision: key.clone(),
        reporter: reporter.into(),
        average_concurrent_requests: report.average_concurrency,
        average_proxied_concurrent_requests: report.average_proxied_concurrency,
        request_count: report.request_count,
        proxied_request_count: report.proxied_count,
        so_far: false,
    }
}
