//! What the autoscaler sees and decides, for people: Knative's metrics of its autoscaler
//! (`pkg/autoscaler/scaling/metrics.go`, `pkg/reconciler/autoscaling/kpa/metrics.go`). The shell
//! writes, [`crate::Report`] reads; a revision's numbers are those of the moment of asking.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serving::autoscale::{Decision, Metric, Observed};

use super::{Entries, Entry, machine_time};

/// The revisions of the process that decides; a cheap handle.
#[derive(Clone, Default)]
pub(crate) struct Scaling(Arc<Mutex<Revisions>>);

#[derive(Default)]
pub(super) struct Revisions {
    /// Where the deciders' time line begins; `None` while nobody decides here.
    start: Option<std::time::Instant>,
    pub(super) of: Entries,
}

/// One revision at one moment.
struct Shown<'e> {
    entry: &'e Entry,
    decision: Decision,
    observed: Option<Observed>,
}

impl Shown<'_> {
    /// `value` of what is measured, if that is `metric`.
    fn of(&self, metric: Metric, value: impl FnOnce(&Self) -> Option<f64>) -> Option<f64> {
        let is_measured = self.entry.decider.spec().metric == metric;
        is_measured.then(|| value(self)).flatten()
    }

    fn stable(&self) -> Option<f64> {
        self.observed.map(|observed| observed.stable)
    }

    fn panic(&self) -> Option<f64> {
        self.observed.map(|observed| observed.panic)
    }

    fn target(&self) -> Option<f64> {
        Some(self.entry.decider.spec().target)
    }
}

struct Family {
    name: &'static str,
    help: &'static str,
    /// `None` leaves the revision out: its value is not known, or it has none.
    value: fn(&Shown<'_>) -> Option<f64>,
}

const FAMILIES: [Family; 14] = [
    Family {
        name: "kn_revision_pods_desired",
        help: "Number of pods the autoscaler wants to allocate",
        value: |shown| Some(f64::from(shown.decision.desired)).filter(|pods| *pods >= 0.0),
    },
    Family {
        name: "kn_revision_capacity_excess",
        help: "Excess burst capacity observed over the stable window",
        value: |shown| Some(f64::from(shown.decision.excess_burst_capacity)),
    },
    Family {
        name: "kn_revision_panic_mode",
        help: "1 while the autoscaler is in panic mode",
        value: |shown| Some(f64::from(u8::from(shown.decision.panicking))),
    },
    Family {
        name: "kn_revision_concurrency_stable",
        help: "Requests in flight, averaged over the stable window",
        value: |shown| shown.of(Metric::Concurrency, Shown::stable),
    },
    Family {
        name: "kn_revision_concurrency_panic",
        help: "Requests in flight, averaged over the panic window",
        value: |shown| shown.of(Metric::Concurrency, Shown::panic),
    },
    Family {
        name: "kn_revision_concurrency_target",
        help: "The desired concurrent requests for each pod",
        value: |shown| shown.of(Metric::Concurrency, Shown::target),
    },
    Family {
        name: "kn_revision_rps_stable",
        help: "Requests per second, averaged over the stable window",
        value: |shown| shown.of(Metric::Rps, Shown::stable),
    },
    Family {
        name: "kn_revision_rps_panic",
        help: "Requests per second, averaged over the panic window",
        value: |shown| shown.of(Metric::Rps, Shown::panic),
    },
    Family {
        name: "kn_revision_rps_target",
        help: "The desired requests per second for each pod",
        value: |shown| shown.of(Metric::Rps, Shown::target),
    },
    Family {
        name: "kn_revision_pods_requested",
        help: "Number of pods autoscaler requested from Kubernetes",
        value: |shown| shown.entry.facts.requested.map(|pods| pods as f64),
    },
    Family {
        name: "kn_revision_pods_count",
        help: "Number of pods that are ready currently",
        value: |shown| Some(f64::from(shown.entry.facts.pods.ready)),
    },
    Family {
        name: "kn_revision_pods_not_ready_count",
        help: "Number of pods that are not ready currently",
        value: |shown| Some(f64::from(shown.entry.facts.pods.not_ready)),
    },
    Family {
        name: "kn_revision_pods_pending_count",
        help: "Number of pods that are pending currently",
        value: |shown| Some(f64::from(shown.entry.facts.pods.pending)),
    },
    Family {
        name: "kn_revision_pods_terminating_count",
        help: "Number of pods that are terminating currently",
        value: |shown| Some(f64::from(shown.entry.facts.pods.terminating)),
    },
];

impl Scaling {
    /// A shell begins to decide: what another one knew is forgotten.
    pub(super) fn begin(&self, start: std::time::Instant) {
        *self.lock() = Revisions {
            start: Some(start),
            of: Entries::new(),
        };
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Revisions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the Prometheus text of all revisions.
    pub(crate) fn write(&self, out: &mut String) {
        let revisions = self.lock();
        let Some(start) = revisions.start else {
            return;
        };
        let now = machine_time(start);
        let mut all: Vec<_> = revisions.of.iter().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        let all: Vec<(String, Shown<'_>)> = all
            .into_iter()
            .map(|(key, entry)| {
                let labels = format!(
                    "k8s_namespace_name=\"{}\",kn_service_name=\"{}\",\
                     kn_configuration_name=\"{}\",kn_revision_name=\"{}\"",
                    key.namespace, entry.facts.service, entry.facts.configuration, key.name
                );
                let shown = Shown {
                    entry,
                    decision: entry.decider.latest(),
                    observed: entry.decider.observed(now),
                };
                (labels, shown)
            })
            .collect();
        for family in &FAMILIES {
            let name = family.name;
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP {name} {}.\n# TYPE {name} gauge", family.help);
            for (labels, shown) in &all {
                if let Some(value) = (family.value)(shown) {
                    let _ = writeln!(out, "{name}{{{labels}}} {value}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use api::config::Autoscaler;
    use api::route::RevisionKey;
    use serde_json::json;
    use serving::autoscale::{Decider, DeciderSpec, Input, Stat};
    use serving::plan::autoscaler::PodCounts;
    use stdx::{Instant, Machine as _};

    use super::super::{Facts, Seen};
    use super::*;

    /// An entry that measures `metric` and was told of 30 requests a second ago.
    fn entry(now: Instant, metric: &str) -> Entry {
        let pa = json!({"metadata": {"annotations": {"autoscaling.knative.dev/metric": metric}}});
        let facts = Facts {
            service: "hello".into(),
            configuration: "hello".into(),
            pods: PodCounts {
                ready: 1,
                not_ready: 2,
                pending: 1,
                terminating: 1,
            },
            requested: Some(3),
        };
        let spec = DeciderSpec::new(&pa, &Autoscaler::default());
        let seen = Seen {
            spec,
            ready: 1,
            facts,
        };
        let mut entry = Entry::new(now, &seen);
        let stat = Stat {
            revision: RevisionKey::new("default", "hello-00001"),
            reporter: "activator".to_owned(),
            average_concurrent_requests: 300.0,
            average_proxied_concurrent_requests: 0.0,
            request_count: 30.0,
            proxied_request_count: 0.0,
            so_far: false,
        };
        Decider::handle(&mut entry.decider, now, Input::Stat(stat));
        entry
    }

    /// What is said of a revision that measures `metric`, without its labels.
    fn shown(metric: &str) -> String {
        let start = std::time::Instant::now();
        let scaling = Scaling::default();
        scaling.begin(start);
        let key = RevisionKey::new("default", "hello-00001");
        let entry = entry(machine_time(start), metric);
        scaling.lock().of.insert(key, entry);
        let mut text = String::new();
        scaling.write(&mut text);
        let labels = "{k8s_namespace_name=\"default\",kn_service_name=\"hello\",\
                      kn_configuration_name=\"hello\",kn_revision_name=\"hello-00001\"}";
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.replace(labels, "") + "\n")
            .collect()
    }

    #[test]
    fn nobody_decides_and_nothing_is_said() {
        let mut text = String::new();
        Scaling::default().write(&mut text);
        assert_eq!(text, "");
    }

    #[test]
    fn a_revision_shows_what_it_measures_alone() {
        // 300 requests at once with one Pod: panic, and five Pods for a target of 70.
        expect_test::expect![[r#"
            kn_revision_pods_desired 5
            kn_revision_capacity_excess -411
            kn_revision_panic_mode 1
            kn_revision_concurrency_stable 300
            kn_revision_concurrency_panic 300
            kn_revision_concurrency_target 70
            kn_revision_pods_requested 3
            kn_revision_pods_count 1
            kn_revision_pods_not_ready_count 2
            kn_revision_pods_pending_count 1
            kn_revision_pods_terminating_count 1
        "#]]
        .assert_eq(&shown("concurrency"));
        let of_rps = shown("rps");
        for line in [
            "kn_revision_rps_stable 30\n",
            "kn_revision_rps_target 140\n",
        ] {
            assert!(of_rps.contains(line), "{of_rps}");
        }
        assert!(!of_rps.contains("kn_revision_concurrency"), "{of_rps}");
    }
}
