//! The scale-to-zero handshake, the bounds and the specs, as tables.

use std::time::Duration;

use api::config::Autoscaler;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::scaler::{Activity, Facts, activator_count, active, is_proxied, scale};
use super::super::*;

const PREFIX: &str = "autoscaling.knative.dev/";

fn pa(active: &str, annotations: &[(&str, &str)]) -> Value {
    let annotations: serde_json::Map<String, Value> = annotations
        .iter()
        .map(|(key, value)| (format!("{PREFIX}{key}"), json!(value)))
        .collect();
    json!({
        "metadata": {"name": "r", "namespace": "ns", "annotations": annotations},
        "spec": {"reachability": "Reachable"},
        "status": {"conditions": [
            {"type": "Active", "status": active, "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "ScaleTargetInitialized", "status": "True"},
        ]},
    })
}

/// What the verdict is `after` seconds in the state the PodAutoscaler is in.
fn verdict(pa: &Value, desired: i32, after: i64, change: impl Fn(&mut Facts<'_>)) -> String {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let now = start + jiff::SignedDuration::from_secs(after);
    let config = Autoscaler::default();
    let mut facts = Facts {
        pa,
        config: &config,
        progress_deadline: Duration::from_secs(600),
        desired,
        sks_is_proxy: false,
        proxied_since: None,
        activator_answers: Some(true),
        now,
    };
    change(&mut facts);
    let verdict = scale(&facts);
    let mut text = format!("want {}", verdict.want);
    for (word, holds) in [("apply", verdict.apply), ("probe", verdict.probe)] {
        if holds {
            text = format!("{text} {word}");
        }
    }
    match verdict.again_at {
        Some(at) => format!("{text} in {:.0}s", at.duration_since(now).as_secs_f64()),
        None => text,
    }
}

#[test]
fn handshake_to_zero() {
    let same = |_: &mut Facts<'_>| {};
    let cases: &[(&str, i32, i64, &str)] = &[
        ("True", 3, 0, "want 3 apply"),
        ("True", -1, 0, "want -1"),
        ("True", 0, 10, "want 1 apply in 50s"),
        ("True", 0, 60, "want 0"),
        ("False", 0, 10, "want 0 in 20s"),
        ("False", 0, 30, "want 0 apply"),
        ("False", 2, 0, "want 2 apply"),
        ("Unknown", 0, 100, "want -1 in 530s"),
        ("Unknown", 0, 631, "want 0 apply"),
    ];
    for (state, desired, after, expected) in cases {
        let got = verdict(&pa(state, &[]), *desired, *after, same);
        assert_eq!(got, *expected, "{state} {desired} {after}");
    }
}

#[test]
fn handshake_looks_at_the_activator() {
    let inactive = pa("False", &[]);
    let got = verdict(&inactive, 0, 40, |f| f.activator_answers = Some(false));
    assert_eq!(got, "want 0 probe in 1s");
    let got = verdict(&inactive, 0, 40, |f| f.activator_answers = None);
    assert_eq!(got, "want 0 probe in 1s");
    let always = pa("False", &[("target-burst-capacity", "-1")]);
    let got = verdict(&always, 0, 40, |f| f.activator_answers = None);
    assert_eq!(got, "want 0 apply");
    let got = verdict(&inactive, 0, 10, |f| {
        f.proxied_since = Some("2025-12-31T23:59:30Z".parse().unwrap());
    });
    assert_eq!(got, "want 0 apply");
    let got = verdict(&pa("True", &[]), 0, 61, |f| f.sks_is_proxy = true);
    assert_eq!(got, "want 0 in 3s");
}

#[test]
fn the_last_pod_is_retained() {
    let retained = pa("False", &[("scale-to-zero-pod-retention-period", "2m")]);
    let same = |_: &mut Facts<'_>| {};
    assert_eq!(verdict(&retained, 0, 50, same), "want 0 in 70s");
    assert_eq!(verdict(&retained, 0, 120, same), "want 0 apply");
    let mut unreachable = retained;
    unreachable["spec"]["reachability"] = json!("Unreachable");
    assert_eq!(verdict(&unreachable, 0, 50, same), "want 0 apply");
}

#[test]
fn bounds() {
    let same = |_: &mut Facts<'_>| {};
    let bounded = pa("True", &[("minScale", "2"), ("max-scale", "4")]);
    for (desired, expected) in [
        (0, "want 2 apply"),
        (3, "want 3 apply"),
        (9, "want 4 apply"),
    ] {
        assert_eq!(verdict(&bounded, desired, 0, same), expected);
    }
    let mut starting = pa("Unknown", &[("initial-scale", "3")]);
    starting["status"]["conditions"][1]["status"] = json!("Unknown");
    assert_eq!(verdict(&starting, -1, 0, same), "want 3 apply");
}

#[test]
fn conditions_follow_the_table() {
    let config = Autoscaler::default();
    let cases = [
        ("True", 0, 1, Some((Activity::Inactive, "NoTraffic"))),
        ("Unknown", 0, 0, Some((Activity::Inactive, "TimedOut"))),
        ("False", 1, 0, Some((Activity::Activating, "Queued"))),
        ("Unknown", 1, 1, Some((Activity::Active, ""))),
        ("False", -1, 1, None),
        ("False", -1, 0, Some((Activity::Inactive, "NoTraffic"))),
        ("True", -1, 0, Some((Activity::Activating, "Queued"))),
    ];
    for (state, want, ready, expected) in cases {
        let got = active(&pa(state, &[]), &config, want, ready).map(|(a, reason, _)| (a, reason));
        assert_eq!(got, expected, "{state} {want} {ready}");
    }
    assert!(is_proxied(&pa("True", &[]), 1, -1));
    assert!(is_proxied(&pa("False", &[]), -1, 5));
    assert!(!is_proxied(&pa("True", &[]), 1, 0));
}

#[test]
fn specs_come_from_config_and_annotations() {
    let config = Autoscaler::default();
    let plain = DeciderSpec::new(&pa("True", &[]), &config);
    assert_eq!((plain.target, plain.total), (70.0, 100.0));
    assert_eq!(plain.panic_window, Duration::from_secs(6));
    assert_eq!(activator_count(&plain, 3), 6);

    let annotations = [
        ("target", "50"),
        ("targetUtilizationPercentage", "90"),
        ("window", "10s"),
        ("panic-window-percentage", "1"),
        ("panic-threshold-percentage", "150"),
        ("metric-aggregation-algorithm", "weightedExponential"),
    ];
    let mut limited = pa("True", &annotations);
    limited["spec"]["containerConcurrency"] = json!(20);
    let spec = DeciderSpec::new(&limited, &config);
    assert_eq!((spec.target, spec.total), (18.0, 20.0));
    assert_eq!(spec.panic_window, Duration::from_secs(1));
    assert_eq!(spec.panic_threshold, 1.5);
    assert_eq!(spec.aggregation, Aggregation::WeightedExponential);

    let rps = DeciderSpec::new(&pa("True", &[("metric", "rps")]), &config);
    assert_eq!((rps.metric, rps.total), (Metric::Rps, 200.0));
}
