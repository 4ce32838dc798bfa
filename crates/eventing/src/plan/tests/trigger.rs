//! Triggers: resolved, waiting, filtered, replayed.

use api::delivery::Start;
use api::world::{BROKER, Fact, KNATIVE_SERVICE, SERVICE_ACCOUNT, TRIGGER};
use expect_test::expect;
use serde_json::json;

use super::broker::DEFAULT;
use super::cluster::Cluster;

const TRIGGER_YAML: &str = "
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: t, annotations: {a: b}}
spec:
  broker: default
  filter: {attributes: {type: greeting}}
  subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: hello}}
";

fn with_broker() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.apply(DEFAULT);
    cluster.callable("hello");
    cluster
}

#[test]
fn a_trigger_waits_for_its_broker_and_its_subscriber() {
    let mut cluster = Cluster::new();
    cluster.apply(TRIGGER_YAML);
    assert_eq!(
        cluster.condition(TRIGGER, "t", "Ready"),
        "False BrokerDoesNotExist Broker \"default\" does not exist"
    );
    cluster.apply(DEFAULT);
    expect![[r#"
        BrokerReady True
        DeadLetterSinkResolved True DeadLetterSinkNotConfigured No dead letter sink is configured.
        DependencyReady True
        OIDCIdentityCreated True authentication-oidc feature disabled
        Ready False Unable to get the Subscriber's URI failed to get object ns/hello: services.serving.knative.dev "hello" not found
        SubscriberResolved False Unable to get the Subscriber's URI failed to get object ns/hello: services.serving.knative.dev "hello" not found
        SubscriptionReady Unknown SubscriptionNotConfigured Subscription has not yet been reconciled.
    "#]]
    .assert_eq(&cluster.status(TRIGGER, "t", &[]));
    cluster.callable("hello");
    expect![[r#"
        BrokerReady True
        DeadLetterSinkResolved True DeadLetterSinkNotConfigured No dead letter sink is configured.
        DependencyReady True
        OIDCIdentityCreated True authentication-oidc feature disabled
        Ready True
        SubscriberResolved True
        SubscriptionReady True
        subscriberUri: "http://hello.ns.svc.cluster.local"
    "#]]
    .assert_eq(&cluster.status(TRIGGER, "t", &["subscriberUri"]));
    expect![[r#"
        Broker default at default-broker.ns.svc.cluster.local, default-kne-trigger-kn-channel.ns.svc.cluster.local
          t: {"attributes":{"type":"greeting"}} → http://hello.ns.svc.cluster.local retry 10 Exponential 200ms
    "#]]
    .assert_eq(&cluster.graph());
}

#[test]
fn events_are_kept_for_a_subscriber_that_is_gone_for_a_while() {
    let mut cluster = with_broker();
    cluster.apply(TRIGGER_YAML);
    cluster.delete(KNATIVE_SERVICE, "hello");
    assert!(
        cluster
            .condition(TRIGGER, "t", "SubscriberResolved")
            .starts_with("False")
    );
    let target = cluster.subscriber("default", "t").target.clone();
    assert_eq!(target.unwrap().url, "http://hello.ns.svc.cluster.local");
    cluster.delete(TRIGGER, "t");
    assert!(cluster.ingress("default").subscribers.is_empty());
}

#[test]
fn subscribers_are_found_by_every_kind_of_destination() {
    let mut cluster = with_broker();
    cluster.apply("{apiVersion: v1, kind: Service, metadata: {name: plain}}");
    let foreign = Fact::Object {
        api_version: "example.com/v1".into(),
        kind: "Thing".into(),
        namespace: "ns".into(),
        name: "it".into(),
    };
    let status = json!({
        "address": {"url": "http://thing", "CACerts": "ca", "audience": "aud"},
        "addresses": [{"name": "b", "url": "https://thing-b"}],
    });
    cluster.fact(foreign, json!({"object": {"status": status}}));
    let own = "{ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: hello}}";
    for (destination, expected) in [
        ("{uri: 'http://else/where'}", "http://else/where"),
        (
            "{ref: {apiVersion: v1, kind: Service, name: plain}}",
            "http://plain.ns.svc.cluster.local",
        ),
        (
            "{ref: {apiVersion: v1, kind: Service, name: plain}, uri: /path}",
            "http://plain.ns.svc.cluster.local/path",
        ),
        (
            "{ref: {apiVersion: serving.knative.dev/v1beta1, kind: Service, name: hello}}",
            "http://hello.ns.svc.cluster.local",
        ),
        (
            "{ref: {group: serving.knative.dev, kind: Service, name: hello}}",
            "http://hello.ns.svc.cluster.local",
        ),
        (
            "{ref: {apiVersion: example.com/v1, kind: Thing, name: it}}",
            "http://thing (ca) [aud]",
        ),
        (
            "{ref: {apiVersion: example.com/v1, kind: Thing, name: it, address: b}}",
            "https://thing-b",
        ),
        (
            "{ref: {apiVersion: example.com/v1, kind: Thing, name: it}, CACerts: mine, audience: me}",
            "http://thing (mine) [me]",
        ),
        (
            "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}",
            "http://broker-ingress.knative-eventing.svc.cluster.local/ns/default",
        ),
    ] {
        cluster.apply(&TRIGGER_YAML.replace(own, destination));
        assert_eq!(
            cluster.condition(TRIGGER, "t", "Ready"),
            "True",
            "{destination}"
        );
        let line = cluster.graph();
        let target = line
            .split("→ ")
            .nth(1)
            .unwrap()
            .split(" retry")
            .next()
            .unwrap();
        assert_eq!(target, expected, "{destination}");
    }
    for (destination, expected) in [
        (
            "{uri: /path}",
            "URI is not absolute (both scheme and host should be non-empty): \"/path\"",
        ),
        (
            "{ref: {apiVersion: v1, kind: Service, name: plain}, uri: 'http://x'}",
            "absolute URI is not allowed when Ref or [apiVersion, kind, name] exists",
        ),
        (
            "{ref: {apiVersion: v1, kind: Service, name: nope}}",
            "failed to get object ns/nope: services \"nope\" not found",
        ),
        (
            "{ref: {apiVersion: example.com/v1, kind: Thing, name: nope}}",
            "failed to get object ns/nope: not found",
        ),
        (
            "{ref: {apiVersion: flows.knative.dev/v1, kind: Sequence, name: s}}",
            "failed to get object ns/s: sequences.flows.knative.dev \"s\" not found",
        ),
    ] {
        cluster.apply(&TRIGGER_YAML.replace(own, destination));
        assert_eq!(
            cluster.condition(TRIGGER, "t", "SubscriberResolved"),
            format!("False Unable to get the Subscriber's URI {expected}")
        );
    }
}

#[test]
fn a_mapping_gives_every_object_of_a_kind_an_address() {
    let mut cluster = with_broker();
    let template = "https://{{ .SystemNamespace }}.{{.Name}}/{{ .Namespace }}";
    cluster.configure(
        "config-kreference-mapping",
        "Thing.v1.example.com",
        template,
    );
    let thing = "{ref: {apiVersion: example.com/v1, kind: Thing, name: it}}";
    let own = "{ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: hello}}";
    cluster.apply(&TRIGGER_YAML.replace(own, thing));
    assert!(
        cluster
            .condition(TRIGGER, "t", "Ready")
            .starts_with("False")
    );
    cluster.feature("kreference-mapping", "enabled");
    let trigger = cluster.get(TRIGGER, "t");
    assert_eq!(
        trigger["status"]["subscriberUri"],
        "https://knative-eventing.it/ns"
    );
}

#[test]
fn delivery_of_a_trigger_replaces_the_brokers_as_a_whole() {
    let mut cluster = with_broker();
    cluster.apply("{apiVersion: v1, kind: Service, metadata: {name: dls}}");
    let sink = "delivery: {deadLetterSink: {ref: {apiVersion: v1, kind: Service, name: dls}}, ";
    cluster.apply(&DEFAULT.replace("delivery: {", sink));
    cluster.apply(TRIGGER_YAML);
    let of_broker = "http://dls.ns.svc.cluster.local";
    let sink = |cluster: &Cluster| {
        let policy = cluster.subscriber("default", "t").policy.clone();
        (
            policy.retry,
            policy.dead_letter.map(|endpoint| endpoint.url),
        )
    };
    assert_eq!(sink(&cluster), (10, Some(of_broker.to_owned())));
    assert_eq!(
        cluster.get(TRIGGER, "t")["status"]["deadLetterSinkUri"],
        of_broker
    );
    cluster.apply(&format!("{TRIGGER_YAML}  delivery: {{retry: 2}}\n"));
    assert_eq!(sink(&cluster), (2, None));
    let own = "  delivery: {deadLetterSink: {uri: 'http://own'}, timeout: PT5S}\n";
    cluster.apply(&format!("{TRIGGER_YAML}{own}"));
    assert_eq!(sink(&cluster), (0, Some("http://own".to_owned())));
    assert_eq!(
        cluster.get(TRIGGER, "t")["status"]["deadLetterSinkUri"],
        "http://own"
    );
}

#[test]
fn a_trigger_waits_for_what_it_depends_on() {
    let mut cluster = with_broker();
    let annotation =
        r#"knative.dev/dependency: '{"kind":"Thing","name":"p","apiVersion":"example.com/v1"}'"#;
    cluster.apply(&TRIGGER_YAML.replace("a: b", annotation));
    let ready = |cluster: &Cluster| cluster.condition(TRIGGER, "t", "DependencyReady");
    assert_eq!(
        ready(&cluster),
        "False DependencyDoesNotExist Dependency does not exist: not found"
    );
    let put = |cluster: &mut Cluster, status: serde_json::Value| {
        let thing = Fact::Object {
            api_version: "example.com/v1".into(),
            kind: "Thing".into(),
            namespace: "ns".into(),
            name: "p".into(),
        };
        let object = json!({"metadata": {"generation": 2}, "status": status});
        cluster.fact(thing, json!({"object": object}));
    };
    put(&mut cluster, json!({"observedGeneration": 1}));
    assert!(ready(&cluster).starts_with("Unknown GenerationNotEqual"));
    put(&mut cluster, json!({"observedGeneration": 2}));
    assert!(ready(&cluster).starts_with("Unknown DependencyNotConfigured"));
    let condition = |status: &str| json!({"observedGeneration": 2, "conditions": [{"type": "Ready", "status": status, "reason": "R", "message": "m"}]});
    put(&mut cluster, condition("False"));
    assert_eq!(ready(&cluster), "False R m");
    put(&mut cluster, condition("True"));
    assert_eq!(cluster.condition(TRIGGER, "t", "Ready"), "True");
    cluster.apply(&TRIGGER_YAML.replace("a: b", "knative.dev/dependency: nonsense"));
    assert!(ready(&cluster).starts_with("False ReferenceError Unable to unmarshal"));
}

#[test]
fn brokers_of_other_namespaces_need_the_feature() {
    let mut cluster = with_broker();
    let elsewhere = TRIGGER_YAML
        .replace("broker: default", "brokerRef: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default, namespace: ns}")
        .replace("{name: t,", "{name: t, namespace: other,")
        .replace("name: hello}", "name: hello, namespace: ns}");
    cluster.apply(&elsewhere);
    assert!(cluster.ingress("default").subscribers.is_empty());
    cluster.feature("cross-namespace-event-links", "enabled");
    let subscriber = cluster.subscriber("default", "t");
    assert_eq!(&*subscriber.key.namespace, "other");
    let trigger = cluster.world.get(TRIGGER, "other", "t").unwrap();
    assert!(api::conditions::is_ready(&trigger));
}

#[test]
fn annotations_say_order_parallelism_and_replay() {
    let mut cluster = with_broker();
    let mut with = |annotations: &str| {
        cluster.apply(&TRIGGER_YAML.replace("a: b", annotations));
        cluster.graph().lines().nth(1).map(|line| {
            let (_, behind) = line.split_once("200ms").unwrap();
            behind.trim().to_owned()
        })
    };
    for (annotations, expected) in [
        ("eventing.rekindle.dev/delivery-order: ordered", "ordered"),
        (
            "kafka.eventing.knative.dev/delivery.order: ordered",
            "ordered",
        ),
        ("eventing.rekindle.dev/parallelism: '7'", "× 7"),
        ("rabbitmq.eventing.knative.dev/parallelism: '3'", "× 3"),
        ("eventing.rekindle.dev/replay-from: '0'", "from Offset(0)"),
        (
            "eventing.rekindle.dev/replay-from: '2026-01-31T12:00:00Z'",
            "from Time(2026-01-31T12:00:00Z)",
        ),
    ] {
        assert_eq!(
            with(annotations).as_deref(),
            Some(expected),
            "{annotations}"
        );
    }
    assert_eq!(with("eventing.rekindle.dev/replay-from: yesterday"), None);
    assert!(
        cluster
            .condition(TRIGGER, "t", "SubscriptionReady")
            .starts_with("False ReplayFromInvalid")
    );
    assert_eq!(Start::default(), Start::Now);
}

#[test]
fn filters_win_over_filter() {
    let mut cluster = with_broker();
    cluster.apply(&format!(
        "{TRIGGER_YAML}  filters: [{{prefix: {{type: a}}}}]\n"
    ));
    assert_eq!(
        cluster.subscriber("default", "t").filters,
        [json!({"prefix": {"type": "a"}})]
    );
    cluster.apply(&TRIGGER_YAML.replace("{attributes: {type: greeting}}", "{}"));
    assert!(cluster.subscriber("default", "t").filters.is_empty());
}

#[test]
fn with_oidc_a_trigger_sends_as_its_own_service_account() {
    let mut cluster = with_broker();
    cluster.feature("authentication-oidc", "enabled");
    cluster.apply(TRIGGER_YAML);
    let account = "t-oidc-eventing.knative.dev-trigger";
    assert_eq!(
        cluster.condition(TRIGGER, "t", "OIDCIdentityCreated"),
        "True"
    );
    assert_eq!(
        cluster.get(TRIGGER, "t")["status"]["auth"]["serviceAccountName"],
        account
    );
    cluster.get(SERVICE_ACCOUNT, account);
    let subscriber = cluster.subscriber("default", "t");
    assert_eq!(
        subscriber.service_account.as_deref(),
        Some("ns/t-oidc-eventing.knative.dev-trigger")
    );
    cluster.feature("authentication-oidc", "disabled");
    assert_eq!(cluster.get(TRIGGER, "t")["status"].get("auth"), None);
    cluster.delete(BROKER, "default");
    assert!(
        cluster
            .condition(TRIGGER, "t", "BrokerReady")
            .starts_with("False BrokerDoesNotExist")
    );
}
