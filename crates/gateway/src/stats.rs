//! Once a second: what the autoscaler is told, and idle connections are closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serving::autoscale::Stat;
use serving::route::RevisionKey;
use serving::throttle::RequestReport;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::table::Table;
use crate::worker::ACTIVATOR;

/// Knative's reporting period.
const PERIOD: Duration = Duration::from_secs(1);

/// Reports until the gateway stops.
pub(crate) async fn report(table: Arc<Table>, stats: mpsc::Sender<Stat>, report_pods: bool) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = Instant::now();
        let mut removed = Vec::new();
        for revision in table.revisions() {
            let facts = revision.facts.load_full();
            if facts.is_none() {
                removed.push(revision.key.clone());
            }
            let report = revision.gate.report(now);
            let in_path = facts.as_ref().is_some_and(|facts| facts.activator_in_path);
            if in_path && !report.is_idle() {
                // What the activator reports is its own; nothing of it came through another.
                let report = RequestReport {
                    average_proxied_concurrency: 0.0,
                    proxied_count: 0.0,
                    ..report
                };
                send(&stats, &revision.key, ACTIVATOR, report);
            }
            for pod in revision.pods().iter() {
                pod.sweep_idle(now);
                if report_pods && pod.facts.load().ready {
                    let name = Arc::clone(&pod.facts.load().name);
                    send(&stats, &revision.key, &name, pod.report(now));
                }
            }
        }
        table.sweep(&removed);
    }
}

fn send(stats: &mpsc::Sender<Stat>, key: &RevisionKey, reporter: &str, report: RequestReport) {
    // A full channel loses one second of one reporter; the next second follows.
    let _ = stats.try_send(Stat {
        revision: key.clone(),
        reporter: reporter.into(),
        average_concurrent_requests: report.average_concurrency,
        average_proxied_concurrent_requests: report.average_proxied_concurrency,
        request_count: report.request_count,
        proxied_request_count: report.proxied_count,
    });
}
