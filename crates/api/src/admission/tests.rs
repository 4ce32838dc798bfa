//! Knative's own answers (`golden/admission.json`) against ours.

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::config::{Autoscaler, Data, Defaults, Features};

#[derive(Deserialize)]
struct Case {
    name: String,
    op: String,
    object: Value,
    old: Option<Value>,
    features: Data,
    defaults: Data,
    autoscaler: Data,
    user: String,
    defaulted: Value,
    error: String,
    warning: String,
}

impl Case {
    fn configs(&self) -> Configs {
        Configs {
            features: Features::parse(&self.features).unwrap(),
            defaults: Defaults::parse(&self.defaults).unwrap(),
            autoscaler: Autoscaler::parse(&self.autoscaler).unwrap(),
            ..Configs::default()
        }
    }

    /// The defaulted object, the error text and the warning text.
    fn answer(&self) -> (Value, String, String) {
        let configs = self.configs();
        let asked = Review {
            operation: if self.op == "create" {
                Operation::Create
            } else {
                Operation::Update
            },
            object: &self.object,
            old: self.old.as_ref(),
            user: &self.user,
        };
        let filled = fill(&asked, &configs).unwrap_or_else(Value::String);
        match review(&asked, &configs) {
            Ok(admitted) => {
                assert_eq!(
                    admitted.object, filled,
                    "{}: fill and review differ",
                    self.name
                );
                (filled, String::new(), admitted.warnings.join("\n"))
            }
            Err(denied) => (filled, denied.mistakes, denied.warnings.join("\n")),
        }
    }
}

#[test]
fn golden_admission() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
    let folder = std::env::var("REKINDLE_GOLDEN").unwrap_or_else(|_| default.to_owned());
    let path = std::path::Path::new(&folder).join("admission.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    let mut failures = Vec::new();
    for case in &cases {
        let (object, error, warning) = case.answer();
        let mut told = String::new();
        if object != case.defaulted {
            told = format!("{told}\n  object: {object}\n     not: {}", case.defaulted);
        }
        for (what, got, want) in [
            ("error", error, &case.error),
            ("warning", warning, &case.warning),
        ] {
            if got != *want {
                told = format!("{told}\n  {what}: {got:?}\n     not: {want:?}");
            }
        }
        if !told.is_empty() {
            failures.push(format!("{}:{told}", case.name));
        }
    }
    println!(
        "golden_admission: {} cases, {} failed",
        cases.len(),
        failures.len()
    );
    assert!(!cases.is_empty(), "no cases");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What the webhooks say to `object`, as a client reads it.
#[track_caller]
fn refused(object: &Value, old: Option<&Value>, text: &str) {
    let asked = Review {
        operation: if old.is_some() {
            Operation::Update
        } else {
            Operation::Create
        },
        object,
        old,
        user: "alice",
    };
    let denied = review(&asked, &Configs::default()).expect_err("admitted");
    assert_eq!(denied.text(), text);
}

fn service(template_spec: &Value) -> Value {
    json!({
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "svc", "namespace": "ns"},
        "spec": {"template": {"spec": template_spec}},
    })
}

#[test]
fn refusals_read_as_from_a_webhook() {
    let containers = json!([{"image": "helloworld"}]);
    refused(
        &service(&json!({"containers": containers, "serviceAccountName": "foo@bar.baz"})),
        None,
        "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: \
         validation failed: invalid value: foo@bar.baz: spec.template.spec.serviceAccountName\n\
         a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' \
         or '.', and must start and end with an alphanumeric character (e.g. 'example.com', \
         regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    );
    refused(
        &service(&json!({"containers": [{"image": "helloworld", "immage": "x"}]})),
        None,
        "admission webhook \"webhook.serving.knative.dev\" denied the request: mutation failed: \
         cannot decode incoming new object: json: unknown field \"immage\"",
    );
    let config = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "config-autoscaler", "namespace": "knative-serving"},
        "data": {"stable-window": "1s"},
    });
    refused(
        &config,
        None,
        "admission webhook \"config.webhook.serving.knative.dev\" denied the request: \
         validation failed: stable-window = 1s, must be in [6s; 1h0m0s] range",
    );
}

/// What is put at a path of a good Service, and what is said of it; nothing of what is taken.
type Row = (String, Value, String);

/// Rows of Knative's table of annotations.
fn scaled() -> Vec<Row> {
    const AT: &str = "/spec/template/metadata/annotations/autoscaling.knative.dev~1";
    const TOLD: &str = "spec.template.metadata.annotations.autoscaling.knative.dev/";
    let scaling = |key: &str, value: &str, text: &str| {
        let text = text.replace("KEY", &format!("{TOLD}{key}"));
        (format!("{AT}{key}"), json!(value), text)
    };
    vec![
        scaling("class", "mine.example.com", ""),
        scaling(
            "class",
            "mine.knative.dev",
            "invalid value: mine.knative.dev: KEY",
        ),
        scaling("min-scale", "-1", "expected 0 <= -1 <= 2147483647: KEY"),
        scaling(
            "initial-scale",
            "0",
            "invalid value: 0: KEY=0 not allowed by cluster",
        ),
        scaling(
            "activation-scale",
            "1",
            "activation-scale=1 must be greater than 1: KEY",
        ),
        scaling("scaleDownDelay", "2h", "expected 0s <= 2h <= 1h0m0s: KEY"),
        scaling("metric", "cpu", "invalid value: cpu: KEY"),
        scaling(
            "target",
            "0.001",
            "target 0.001 should be at least 0.01: KEY",
        ),
        scaling(
            "target-utilization-percentage",
            "0",
            "expected 1 <= 0 <= 100: KEY",
        ),
        scaling("target-burst-capacity", "-1", ""),
        scaling("target-burst-capacity", "-2", "invalid value: -2: KEY"),
        scaling("window", "1s", "expected 6s <= 1s <= 1h0m0s: KEY"),
        scaling(
            "panic-threshold-percentage",
            "100",
            "expected 110 <= 100 <= 1000: KEY",
        ),
        scaling("metric-aggregation-algorithm", "unchecked", ""),
    ]
}

#[test]
fn each_field_is_refused_in_knatives_words() {
    let at = |path: &str, value: Value, text: &str| (path.to_owned(), value, text.to_owned());
    let traffic = |targets: Value, text: &str| at("/spec/traffic", targets, text);
    let rows = [
        at(
            "/spec/template/spec/timeoutSeconds",
            json!(700),
            "expected 0 <= 700 <= 600: spec.template.spec.timeoutSeconds",
        ),
        at(
            "/spec/template/spec/containers",
            json!([]),
            "missing field(s): spec.template.spec.containers",
        ),
        at(
            "/spec/template/spec/automountServiceAccountToken",
            json!(false),
            "",
        ),
        at(
            "/spec/template/spec/nodeSelector",
            json!({"a": "b"}),
            "must not set the field(s): spec.template.spec.nodeSelector",
        ),
        traffic(
            json!([{"latestRevision": true, "percent": 50}]),
            "Traffic targets sum to 50, want 100: spec.traffic",
        ),
        traffic(
            json!([{"latestRevision": true, "percent": 101}]),
            "expected 0 <= 101 <= 100: spec.traffic[0].percent",
        ),
        traffic(
            json!([{"configurationName": "x", "percent": 100}]),
            "must not set the field(s): spec.traffic[0].configurationName",
        ),
    ];
    for (path, value, expected) in rows.into_iter().chain(scaled()) {
        let mut object = service(&json!({"containers": [{"image": "helloworld"}]}));
        let mut place = &mut object;
        for word in path.split('/').skip(1) {
            place = &mut place[word.replace("~1", "/")];
        }
        *place = value.clone();
        let asked = Review {
            operation: Operation::Create,
            object: &object,
            old: None,
            user: "alice",
        };
        let said = review(&asked, &Configs::default());
        let said = said
            .err()
            .map_or_else(String::new, |denied| denied.mistakes);
        let is_as_expected = match expected.as_str() {
            "" => said.is_empty(),
            text => said.lines().any(|line| line == text),
        };
        assert!(is_as_expected, "{path} {value}: {said:?}, not {expected:?}");
    }
}

#[test]
fn changes_are_told_by_path() {
    let spec = |env: Value, timeout: i64| {
        json!({
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Revision",
            "metadata": {"name": "r", "namespace": "ns"},
            "spec": {
                "timeoutSeconds": timeout,
                "containers": [{"name": "c", "image": "helloworld", "env": env}],
            },
        })
    };
    let old = spec(json!([{"name": "A", "value": "1"}]), 10);
    let new = spec(json!([{"name": "A", "value": "2"}, {"name": "B"}]), 20);
    refused(
        &new,
        Some(&old),
        "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: \
         validation failed: Immutable fields changed (-old +new): spec\n\
         {v1.RevisionSpec}.PodSpec.Containers[0].Env[0].Value:\n\t-: \"1\"\n\t+: \"2\"\n\
         {v1.RevisionSpec}.PodSpec.Containers[0].Env[?->1]:\n\
         \t+: v1.EnvVar: \"{Name:B Value: ValueFrom:<nil>}\"\n\
         *{v1.RevisionSpec}.TimeoutSeconds:\n\t-: \"10\"\n\t+: \"20\"\n",
    );
}

#[test]
fn changed_quantities_are_told_by_their_parts() {
    let asking = |memory: &str, cpu: &str| {
        json!({
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Revision",
            "metadata": {"name": "r", "namespace": "ns"},
            "spec": {
                "containers": [{
                    "name": "c",
                    "image": "helloworld",
                    "resources": {"limits": {"memory": memory, "cpu": cpu}},
                }],
            },
        })
    };
    refused(
        &asking("128Mi", "1"),
        Some(&asking("64Mi", "1000m")),
        "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: \
         validation failed: Immutable fields changed (-old +new): spec\n\
         {v1.RevisionSpec}.PodSpec.Containers[0].Resources.Limits[\"memory\"]:\n\
         \t-: resource.Quantity: \"{i:{value:67108864 scale:0} d:{Dec:<nil>} s: \
         Format:BinarySI}\"\n\
         \t+: resource.Quantity: \"{i:{value:134217728 scale:0} d:{Dec:<nil>} s: \
         Format:BinarySI}\"\n",
    );
}

#[test]
fn pod_autoscalers_get_class_and_metric() {
    let pa = json!({
        "apiVersion": "autoscaling.internal.knative.dev/v1alpha1",
        "kind": "PodAutoscaler",
        "metadata": {"name": "r", "namespace": "ns"},
        "spec": {
            "protocolType": "http1",
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "r"},
        },
    });
    let asked = Review {
        operation: Operation::Create,
        object: &pa,
        old: None,
        user: "alice",
    };
    let admitted = review(&asked, &Configs::default()).unwrap();
    let annotations = &admitted.object["metadata"]["annotations"];
    assert_eq!(
        annotations["autoscaling.knative.dev/class"],
        "kpa.autoscaling.knative.dev"
    );
    assert_eq!(annotations["autoscaling.knative.dev/metric"], "concurrency");

    let mut wrong = pa.clone();
    wrong["spec"] = json!({"scaleTargetRef": {"kind": "Bad Kind", "uid": "u"}});
    let text = "missing field(s): spec.protocolType, spec.scaleTargetRef.apiVersion, \
                spec.scaleTargetRef.name\nmust not set the field(s): spec.scaleTargetRef.uid";
    let denied = review(
        &Review {
            object: &wrong,
            ..asked
        },
        &Configs::default(),
    )
    .unwrap_err();
    assert!(denied.mistakes.ends_with(text), "{}", denied.mistakes);
}

#[test]
fn a_dry_run_asks_about_the_pod() {
    let spec = json!({"containers": [{"image": "helloworld"}], "timeoutSeconds": 3});
    let pod = dry_run_pod(&service(&spec)).unwrap();
    assert_eq!(pod["metadata"]["generateName"], "dry-run-validation");
    assert_eq!(
        pod["spec"],
        json!({"containers": [{"image": "helloworld"}]})
    );
    let text = dry_run_failed("quota").text();
    assert!(text.ends_with("validation callback failed: dry run failed with quota: spec.template"));
}
