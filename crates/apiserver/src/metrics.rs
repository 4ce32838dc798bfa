//! Counters of requests, and the text format Prometheus reads.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::store::Store;

#[derive(Default, Clone, Copy)]
struct Series {
    count: u64,
    seconds: f64,
}

/// What has been served so far.
#[derive(Default)]
pub(crate) struct Metrics(Mutex<BTreeMap<(&'static str, String, u16), Series>>);

impl Metrics {
    /// Counts one request. Watches count when they begin.
    pub(crate) fn record(&self, verb: &'static str, resource: &str, code: u16, took: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let series = all.entry((verb, resource.to_owned(), code)).or_default();
        series.count += 1;
        series.seconds += took.as_secs_f64();
    }

    /// Everything as text.
    pub(crate) fn render(&self, store: &Store) -> String {
        let all = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut out = String::new();
        let mut family = |name: &str, kind: &str, help: &str, lines: &[String]| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            lines.iter().for_each(|line| out.push_str(line));
        };
        let line = |name: &str, (verb, resource, code): &(&str, String, u16), value: &str| {
            format!("{name}{{verb=\"{verb}\",resource=\"{resource}\",code=\"{code}\"}} {value}\n")
        };
        let counts: Vec<_> = all
            .iter()
            .map(|(key, s)| line("apiserver_request_total", key, &s.count.to_string()))
            .collect();
        family(
            "apiserver_request_total",
            "counter",
            "Requests answered.",
            &counts,
        );
        let name = "apiserver_request_duration_seconds_sum";
        let sums: Vec<_> = all
            .iter()
            .map(|(key, s)| line(name, key, &s.seconds.to_string()))
            .collect();
        family(
            name,
            "counter",
            "Time until the head of the answer, summed.",
            &sums,
        );
        let objects: Vec<_> = store
            .counts()
            .into_iter()
            .map(|(resource, count)| {
                let resource = resource.trim_start_matches('/');
                format!("apiserver_storage_objects{{resource=\"{resource}\"}} {count}\n")
            })
            .collect();
        family(
            "apiserver_storage_objects",
            "gauge",
            "Stored objects.",
            &objects,
        );
        let revision = format!("rekindle_store_revision {}\n", store.revision());
        family(
            "rekindle_store_revision",
            "counter",
            "Changes so far.",
            &[revision],
        );
        out
    }
}
