//! Metrics in Prometheus' text format, with Knative Eventing's names (its OpenTelemetry names with
//! dots turned to underscores).

use std::fmt::{Display, Write as _};

use crate::broker::Broker;
use crate::stats::{BOUNDS_S, ByStatus};
use crate::status::{IngressStatus, SubscriberStatus};

const DURATION: &str = "kn_eventing_dispatch_duration_seconds";

/// One kind of number.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&SubscriberStatus) -> u64,
}

const FAMILIES: [Family; 5] = [
    Family {
        name: "rekindle_eventing_delivered_total",
        kind: "counter",
        help: "Events that subscribers took.",
        value: |one| one.counts.delivered,
    },
    Family {
        name: "rekindle_eventing_dead_lettered_total",
        kind: "counter",
        help: "Events that a dead letter sink took.",
        value: |one| one.counts.dead_lettered,
    },
    Family {
        name: "rekindle_eventing_given_up_total",
        kind: "counter",
        help: "Events that nobody took.",
        value: |one| one.counts.given_up,
    },
    Family {
        name: "rekindle_eventing_retried_total",
        kind: "counter",
        help: "Attempts beyond the first.",
        value: |one| one.counts.retried,
    },
    Family {
        name: "rekindle_eventing_lag_events",
        kind: "gauge",
        help: "Events a subscriber has not passed yet.",
        value: |one| one.lag,
    },
];

type Labels = Vec<(&'static str, String)>;

impl Broker {
    /// The text of everything that is counted.
    pub fn metrics(&self) -> String {
        let status = self.status();
        let mut text = String::new();
        if status.is_empty() {
            return text;
        }
        header(
            &mut text,
            DURATION,
            "histogram",
            "How long it took to answer producers and to be answered by subscribers.",
        );
        for ingress in &status {
            histograms(&mut text, &labels(ingress), &ingress.received);
            for subscriber in &ingress.subscribers {
                histograms(
                    &mut text,
                    &of_subscriber(ingress, subscriber),
                    &subscriber.attempts,
                );
            }
        }
        for family in &FAMILIES {
            header(&mut text, family.name, family.kind, family.help);
            for ingress in &status {
                for subscriber in &ingress.subscribers {
                    let labels = of_subscriber(ingress, subscriber);
                    line(&mut text, family.name, &labels, (family.value)(subscriber));
                }
            }
        }
        text
    }
}

fn labels(ingress: &IngressStatus) -> Labels {
    let (name, namespace) = match ingress.key.kind.kind {
        "Broker" => ("kn_broker_name", "kn_broker_namespace"),
        _ => ("kn_channel_name", "kn_channel_namespace"),
    };
    vec![
        (name, ingress.key.name.to_string()),
        (namespace, ingress.key.namespace.to_string()),
    ]
}

fn of_subscriber(ingress: &IngressStatus, subscriber: &SubscriberStatus) -> Labels {
    let mut labels = labels(ingress);
    labels.push(("kn_trigger_name", subscriber.key.name.to_string()));
    labels.push(("kn_trigger_namespace", subscriber.key.namespace.to_string()));
    labels
}

fn header(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn histograms(text: &mut String, labels: &Labels, by_status: &ByStatus) {
    for (status, histogram) in by_status {
        let mut labels = labels.clone();
        labels.push(("http_response_status_code", status.to_string()));
        let mut sum = 0;
        for (at, count) in histogram.counts.iter().enumerate() {
            sum += count;
            let bound = BOUNDS_S
                .get(at)
                .map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            labels.push(("le", bound));
            line(text, &format!("{DURATION}_bucket"), &labels, sum);
            labels.pop();
        }
        line(text, &format!("{DURATION}_sum"), &labels, histogram.sum_s);
        line(text, &format!("{DURATION}_count"), &labels, sum);
    }
}

/// Kubernetes' names need no escaping.
fn line(text: &mut String, name: &str, labels: &Labels, value: impl Display) {
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
}
