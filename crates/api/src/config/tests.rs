//! ConfigMaps: defaults, legacy names, refused values.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn data(entries: &[(&str, &str)]) -> Data {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// ConfigMap `name` with one entry is refused with this text.
#[track_caller]
fn refused(name: &str, key: &str, value: &str, text: &str) {
    let mut entries = data(&[(key, value)]);
    if name == Deployment::NAME {
        entries
            .entry("queue-sidecar-image".to_owned())
            .or_insert_with(|| "q".to_owned());
    }
    let object = json!({"metadata": {"name": name}, "data": entries});
    let error = validate(&object).expect_err(key);
    assert_eq!(error.to_string(), text);
}

#[test]
fn stock_is_valid_and_its_examples_are_the_defaults() {
    for object in stock::stock() {
        validate(&object).unwrap_or_else(|error| panic!("{}: {error}", object["metadata"]));
        let example = object["data"]["_example"].as_str().unwrap();
        let shown: BTreeMap<String, String> = serde_saphyr::from_str(example).unwrap();
        let name = object["metadata"]["name"].as_str().unwrap();
        let mut from_example = Configs::default();
        if name == Deployment::NAME {
            from_example.deployment.queue_sidecar_image = stock::QUEUE_IMAGE.to_owned();
        }
        let defaults = from_example.clone();
        let mut shown = shown;
        if name == Deployment::NAME {
            shown.insert(
                "queue-sidecar-image".to_owned(),
                stock::QUEUE_IMAGE.to_owned(),
            );
        }
        if name != Domain::NAME {
            from_example.apply(name, &shown).unwrap();
            assert_eq!(from_example, defaults, "{name}");
        }
    }
}

#[test]
fn an_edited_example_is_refused() {
    let mut object = stock().remove(0);
    object["data"]["_example"] = json!("stable-window: 5s");
    let error = validate(&object).unwrap_err().to_string();
    assert!(
        error.starts_with("the update modifies a key in \"_example\""),
        "{error}"
    );
    object["metadata"]["annotations"] = Value::Null;
    validate(&object).unwrap();
}

#[test]
fn checksums_ignore_how_lines_end() {
    assert_eq!(checksum("a: b\n\nc: d\n"), checksum("\r\na: b\r\nc: d"));
    assert_ne!(checksum("a: b"), checksum("a: c"));
    // CRC-32 of "123456789", the check value of the polynomial.
    assert_eq!(checksum("123456789\n"), "cbf43926");
}

#[test]
fn refusals_name_the_key() {
    refused(
        Autoscaler::NAME,
        "max-scale-up-rate",
        "x",
        "failed to parse data: failed to parse \"max-scale-up-rate\": \
         strconv.ParseFloat: parsing \"x\": invalid syntax",
    );
    let window = "stable-window = 5s, must be in [6s; 1h0m0s] range";
    refused(Autoscaler::NAME, "stable-window", "5s", window);
    let limit = "max-scale = 0, must be in [1, max-scale-limit(10)] range";
    refused(Autoscaler::NAME, "max-scale-limit", "10", limit);
    refused(
        Defaults::NAME,
        "revision-timeout-seconds",
        "601",
        "revision-timeout-seconds (601) cannot be greater than max-revision-timeout-seconds (600)",
    );
    refused(
        Defaults::NAME,
        "container-name-template",
        "{{.Nope}}",
        "error executing template: template: container-template:1: can't evaluate field Nope",
    );
    refused(
        Deployment::NAME,
        "queue-sidecar-image",
        "",
        "queue-sidecar-image cannot be empty or unset",
    );
    refused(
        Deployment::NAME,
        "progress-deadline",
        "1500ms",
        "progress-deadline must be rounded to a whole second, was: 1.5s",
    );
    refused(
        Gc::NAME,
        "max-non-active-revisions",
        "10",
        "min-non-active-revisions(20) must be <= max-non-active-revisions(10)",
    );
    refused(
        Network::NAME,
        "http-protocol",
        "gone",
        "httpProtocol gone in config-network ConfigMap is not supported",
    );
    let path = "domain template has url path: /x";
    refused(Network::NAME, "domain-template", "{{.Name}}/x", path);
    refused(
        Observability::NAME,
        "metrics-protocol",
        "grpc",
        "endpoint should be set when protocol is \"grpc\"",
    );
    let buckets = "buckets: value must be between 1 <= 11 <= 10";
    refused(LeaderElection::NAME, "buckets", "11", buckets);
    refused(
        Logging::NAME,
        "loglevel.webhook",
        "loud",
        "invalid logging level: loud",
    );
}

#[test]
fn percentages_may_be_fractions() {
    for (text, fraction) in [("70", 0.7), ("0.5", 0.5), ("1", 1.0), ("100", 1.0)] {
        let entries = data(&[("container-concurrency-target-percentage", text)]);
        assert_eq!(
            Autoscaler::parse(&entries).unwrap().target_utilization,
            fraction
        );
    }
}

#[test]
fn the_most_specific_domain_wins() {
    let entries = data(&[
        ("b.example.com", "selector:\n  app: a\n"),
        ("a.example.com", "selector:\n  app: a\n"),
        ("c.example.com", "selector:\n  app: a\n  tier: x\n"),
        ("default.example.com", ""),
        ("_example", "ignored: yes"),
    ]);
    let domain = Domain::parse(&entries).unwrap();
    assert_eq!(domain.lookup(&data(&[])), "default.example.com");
    assert_eq!(domain.lookup(&data(&[("app", "a")])), "a.example.com");
    let both = data(&[("app", "a"), ("tier", "x")]);
    assert_eq!(domain.lookup(&both), "c.example.com");
    let local = data(&[("networking.knative.dev/visibility", "cluster-local")]);
    assert_eq!(domain.lookup(&local), "svc.cluster.local");
    assert_eq!(
        Domain::parse(&data(&[])).unwrap().lookup(&data(&[])),
        "svc.cluster.local"
    );
}

#[test]
fn legacy_names_give_way_to_current_ones() {
    let entries = data(&[
        ("ingress.class", "old"),
        ("ingress-class", "new"),
        ("autoTLS", "Enabled"),
        ("domainTemplate", "{{.Name}}-{{.Namespace}}.{{.Domain}}"),
    ]);
    let network = Network::parse(&entries).unwrap();
    assert_eq!(network.ingress_class, "new");
    assert!(network.external_domain_tls);
    let host = network.host(("ns", "r"), "example.com", &Value::Null);
    assert_eq!(host.unwrap(), "r-ns.example.com");
    assert_eq!(network.tag_host("r", "blue").unwrap(), "blue-r");

    let entries = data(&[("queueSidecarImage", "q"), ("progressDeadline", "5s")]);
    let deployment = Deployment::parse(&entries).unwrap();
    assert_eq!(deployment.progress_deadline, 5_000_000_000);
}

#[test]
fn features_and_gc_read_their_words() {
    let entries = data(&[
        ("multi-container", "disabled"),
        ("secure-pod-defaults", "allowrootbounded"),
        ("kubernetes.podspec-affinity", "ALLOWED"),
        ("kubernetes.podspec-fieldref", "maybe"),
    ]);
    let features = Features::parse(&entries).unwrap();
    assert_eq!(features.multi_container, Flag::Disabled);
    assert_eq!(features.secure_pod_defaults, Flag::AllowRootBounded);
    assert_eq!(features.affinity, Flag::Allowed);
    assert_eq!(features.field_ref, Flag::Disabled);

    let entries = data(&[
        ("retain-since-create-time", "Disabled"),
        ("max-non-active-revisions", "disabled"),
    ]);
    let gc = Gc::parse(&entries).unwrap();
    assert_eq!((gc.retain_since_create, gc.max_non_active), (None, None));
}
