//! What kube-controller-manager would do, as timelines: `second use ready -> replicas`.

use std::time::Duration;

use super::*;

/// One CPU-second per second is what each Pod requests.
struct Story {
    object: Value,
    machine: Horizontal,
    replicas: i32,
}

impl Story {
    fn new(spec: Value) -> Self {
        Self {
            object: json!({"metadata": {"name": "h", "generation": 1}, "spec": spec}),
            machine: Horizontal::default(),
            replicas: 1,
        }
    }

    /// At second `at`, with one entry for each Pod: its CPU in thousandths of a core, or what it
    /// lacks.
    fn at(&mut self, at: u64, pods: &[Pod]) -> (i32, Value) {
        let wall = Timestamp::from_second(1_000_000 + i64::try_from(at).unwrap()).unwrap();
        let objects: Vec<Value> = (0..).zip(pods).map(|(n, pod)| pod.object(n)).collect();
        let usage = (0..)
            .zip(pods)
            .filter_map(|(n, pod)| Some((format!("p{n}"), pod.usage()?)))
            .collect();
        let scale = json!({"spec": {"replicas": self.replicas},
            "status": {"replicas": pods.len()}});
        let seen = Seen {
            object: &self.object,
            scale: &scale,
            pods: &objects,
            usage: &usage,
        };
        let now = Instant::ZERO + Duration::from_secs(at);
        let outcome = self.machine.decide(now, wall, &seen);
        if let Some((replicas, _)) = &outcome.rescale {
            self.replicas = *replicas;
        }
        self.object["status"] = outcome.status.clone();
        (self.replicas, outcome.status)
    }
}

#[derive(Clone, Copy)]
enum Pod {
    Uses(u64),
    NotMeasured,
    Starting(u64),
    Pending,
}

impl Pod {
    fn object(self, n: usize) -> Value {
        let ready = !matches!(self, Self::Starting(_) | Self::Pending);
        json!({
            "metadata": {"name": format!("p{n}")},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {
                "phase": if matches!(self, Self::Pending) { "Pending" } else { "Running" },
                "startTime": Timestamp::from_second(1_000_000).unwrap().to_string(),
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            },
        })
    }

    fn usage(self) -> Option<Value> {
        let (Self::Uses(milli) | Self::Starting(milli)) = self else {
            return None;
        };
        let usage = json!({"cpu": format!("{milli}m"), "memory": "64Mi"});
        Some(json!({"containers": [{"name": "c", "usage": usage}]}))
    }
}

fn cpu(percent: u32) -> Value {
    json!([{"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": percent}}}])
}

fn reasons(status: &Value) -> String {
    let conditions = status["conditions"].as_array().unwrap();
    let reasons = conditions.iter().map(|c| c["reason"].as_str().unwrap());
    reasons.collect::<Vec<_>>().join(" ")
}

#[test]
fn follows_usage_up_at_once_and_down_after_the_window() {
    use Pod::Uses;
    let mut story = Story::new(json!({"maxReplicas": 10, "metrics": cpu(50)}));
    // 54 % is within the tolerance of 50 %.
    let (replicas, status) = story.at(10, &[Uses(540)]);
    assert_eq!(replicas, 1);
    assert_eq!(
        reasons(&status),
        "ReadyForNewScale ValidMetricFound DesiredWithinRange"
    );
    assert_eq!(
        status["currentMetrics"][0]["resource"]["current"],
        json!({"averageUtilization": 54, "averageValue": "540m"})
    );
    let (replicas, status) = story.at(25, &[Uses(1000)]);
    assert_eq!(replicas, 2);
    assert!(reasons(&status).starts_with("SucceededRescale"));
    assert_eq!(status["lastScaleTime"], "1970-01-12T13:47:05Z");
    let idle = [Uses(10), Uses(10)];
    let (replicas, status) = story.at(40, &idle);
    assert_eq!(replicas, 2);
    assert!(reasons(&status).starts_with("ScaleDownStabilized"));
    assert_eq!(story.at(320, &idle).0, 2);
    assert_eq!(story.at(325, &idle).0, 1);
}

#[test]
fn grows_by_four_pods_or_twofold_in_a_period() {
    let mut story = Story::new(json!({"maxReplicas": 100, "metrics": cpu(10)}));
    let (replicas, status) = story.at(10, &[Pod::Uses(2000)]);
    assert_eq!(replicas, 5);
    assert!(reasons(&status).ends_with("ScaleUpLimit"));
    let busy = |n| vec![Pod::Uses(2000); n];
    assert_eq!(story.at(15, &busy(5)).0, 5);
    assert_eq!(story.at(26, &busy(5)).0, 10);
    assert_eq!(story.at(42, &busy(10)).0, 20);
}

#[test]
fn its_own_policies_and_bounds_hold() {
    let behavior = json!({
        "scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]},
        "scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Disabled"},
    });
    let spec = json!({"maxReplicas": 3, "metrics": cpu(10), "behavior": behavior});
    let mut story = Story::new(spec);
    let busy = |n| vec![Pod::Uses(2000); n];
    assert_eq!(story.at(10, &busy(1)).0, 2);
    assert_eq!(story.at(30, &busy(2)).0, 2);
    assert_eq!(story.at(71, &busy(2)).0, 3);
    let (replicas, status) = story.at(140, &busy(3));
    assert_eq!(replicas, 3);
    assert!(reasons(&status).ends_with("TooManyReplicas"));
    assert_eq!(story.at(200, &[Pod::Uses(0); 3]).0, 3);
    story.object["spec"]["maxReplicas"] = json!(2);
    assert_eq!(story.at(210, &[Pod::Uses(0); 3]).0, 2);
    story.object["spec"]["minReplicas"] = json!(2);
    story.replicas = 1;
    assert_eq!(story.at(220, &[Pod::Uses(0)]).0, 2);
}

#[test]
fn pods_that_say_nothing_stand_in_the_way() {
    use Pod::{NotMeasured, Pending, Starting, Uses};
    let check = |pods: &[Pod], expected: i32| {
        let spec = json!({"minReplicas": 1, "maxReplicas": 50, "metrics": cpu(50),
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}});
        let mut story = Story::new(spec);
        story.replicas = i32::try_from(pods.len()).unwrap();
        assert_eq!(story.at(10, pods).0, expected, "{} Pods", pods.len());
    };
    // Missing Pods count as idle when growing: 100 % and 0 % make the 50 % that is wanted.
    check(&[Uses(1000), NotMeasured], 2);
    check(&[Uses(1000), Pending], 2);
    check(&[Uses(1000), Starting(1000)], 2);
    check(&[Uses(2000), NotMeasured], 4);
    // And as fully used when shrinking.
    check(&[Uses(0), NotMeasured], 2);
    check(&[Uses(0), Uses(0), NotMeasured], 2);
    // Starting Pods do not keep others from shrinking.
    check(&[Uses(0), Uses(0), Starting(1000)], 1);
}

#[test]
fn what_cannot_be_computed_is_said() {
    let check = |metrics: Value, pods: &[Pod], reason: &str, text: &str| {
        let mut story = Story::new(json!({"maxReplicas": 5, "metrics": metrics}));
        let (replicas, status) = story.at(10, pods);
        assert_eq!(replicas, 1);
        assert_eq!(status["conditions"][1]["status"], "False");
        assert_eq!(status["conditions"][1]["reason"], reason);
        let message = status["conditions"][1]["message"].as_str().unwrap();
        assert!(message.ends_with(text), "{message}");
    };
    let text = "failed to get cpu utilization: did not receive metrics for targeted pods (pods \
                might be unready)";
    check(cpu(50), &[Pod::Pending], "FailedGetResourceMetric", text);
    let gpu = json!([{"type": "Resource", "resource": {"name": "gpu",
        "target": {"averageUtilization": 5}}}]);
    let text = "missing request for gpu in container c of Pod p0";
    check(gpu, &[Pod::Uses(1)], "FailedGetResourceMetric", text);
    let custom = json!([{"type": "Pods", "pods": {}}]);
    let text = "use type \"Resource\"";
    check(custom, &[Pod::Uses(1)], "InvalidMetricSourceType", text);
}

#[test]
fn memory_is_held_to_a_value_per_pod() {
    let memory = json!([{"type": "Resource", "resource": {"name": "memory",
        "target": {"type": "AverageValue", "averageValue": "16Mi"}}}]);
    let mut story = Story::new(json!({"maxReplicas": 9, "metrics": memory}));
    let (replicas, status) = story.at(10, &[Pod::Uses(1)]);
    assert_eq!(replicas, 4);
    assert_eq!(
        status["currentMetrics"][0]["resource"]["current"],
        json!({"averageValue": "67108864"})
    );
}

#[test]
fn a_target_at_zero_is_left_alone() {
    let mut story = Story::new(json!({"maxReplicas": 9}));
    story.replicas = 0;
    let (replicas, status) = story.at(10, &[]);
    assert_eq!(replicas, 0);
    assert_eq!(status["conditions"][1]["reason"], "ScalingDisabled");
}

#[test]
fn a_target_that_is_not_there_is_said() {
    let object = json!({"metadata": {"generation": 2}, "spec": {}});
    let status = unable(&object, "gone", Timestamp::UNIX_EPOCH);
    assert_eq!(status["conditions"][0]["reason"], "FailedGetScale");
    assert_eq!(status["currentReplicas"], 0);
}
