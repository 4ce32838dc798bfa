//! Brokers: ready, shown as Knative shows them, guarded.

use api::world::{BROKER, EVENT_POLICY, Fact, IN_MEMORY_CHANNEL, SECRET, SERVICE, TRIGGER};
use base64::Engine;
use expect_test::expect;
use serde_json::json;

use super::cluster::Cluster;

pub(super) const DEFAULT: &str = "
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata:
  name: default
  annotations: {eventing.knative.dev/broker.class: MTChannelBasedBroker, messaging.knative.dev/mark: x}
spec:
  config: {apiVersion: v1, kind: ConfigMap, name: config-br-default-channel, namespace: knative-eventing}
  delivery: {retry: 10, backoffPolicy: exponential, backoffDelay: PT0.2S}
";

#[test]
fn a_broker_becomes_ready_and_shows_its_channel() {
    let mut cluster = Cluster::new();
    cluster.apply(DEFAULT);
    expect![[r#"
        Addressable True
        DeadLetterSinkResolved True DeadLetterSinkNotConfigured No dead letter sink is configured.
        EventPoliciesReady True OIDCDisabled Feature "authentication-oidc" must be enabled to support Authorization
        FilterReady True
        IngressReady True
        Ready True
        TriggerChannelReady True
        address: {"name":"http","url":"http://broker-ingress.knative-eventing.svc.cluster.local/ns/default"}
        annotations: {"knative.dev/channelAPIVersion":"messaging.knative.dev/v1","knative.dev/channelAddress":"http://default-kne-trigger-kn-channel.ns.svc.cluster.local","knative.dev/channelKind":"InMemoryChannel","knative.dev/channelName":"default-kne-trigger"}
    "#]]
    .assert_eq(&cluster.status(BROKER, "default", &["address", "annotations"]));
    expect![[r#"
        Broker default at default-broker.ns.svc.cluster.local, default-kne-trigger-kn-channel.ns.svc.cluster.local
    "#]]
    .assert_eq(&cluster.graph());
    let channel = cluster.get(IN_MEMORY_CHANNEL, "default-kne-trigger");
    assert_eq!(
        channel["metadata"]["annotations"]["messaging.knative.dev/mark"],
        "x"
    );
    cluster.delete(BROKER, "default");
    assert_eq!(cluster.graph(), "");
    assert!(cluster.world.list(IN_MEMORY_CHANNEL, "").is_empty());
    assert!(cluster.world.list(SERVICE, "").is_empty());
}

#[test]
fn nobody_acts_on_a_broker_of_another_class() {
    let mut cluster = Cluster::new();
    cluster.apply(&DEFAULT.replace("MTChannelBasedBroker", "Kafka"));
    assert_eq!(cluster.get(BROKER, "default").get("status"), None);
    assert_eq!(cluster.graph(), "");
}

#[test]
fn a_broker_of_an_old_tutorial_has_the_address_of_its_time() {
    let mut cluster = Cluster::new();
    let labels = "name: default\n  labels: {eventing.knative.dev/namespaceInjected: 'true'}";
    cluster.apply(&DEFAULT.replace("name: default\n", &format!("{labels}\n")));
    let broker = cluster.get(BROKER, "default");
    assert_eq!(
        broker["status"]["address"]["url"],
        "http://default-broker.ns.svc.cluster.local"
    );
    let service = cluster.get(SERVICE, "default-broker");
    assert_eq!(
        service["spec"]["externalName"],
        "broker-ingress.knative-eventing.svc.cluster.local"
    );
}

#[test]
fn what_cannot_be_a_channel_is_said() {
    let mut cluster = Cluster::new();
    let config = "config-br-default-channel";
    let template = "{apiVersion: messaging.knative.dev/v1beta1, kind: KafkaChannel}";
    cluster.configure(config, "channel-template-spec", template);
    cluster.apply(DEFAULT);
    assert_eq!(
        cluster.condition(BROKER, "default", "TriggerChannelReady"),
        "False ChannelFailure no matches for kind \"KafkaChannel\" in version \"messaging.knative.dev/v1beta1\""
    );
    cluster.apply(&DEFAULT.replace("name: config-br", "name: missing-config-br"));
    assert_eq!(
        cluster.condition(BROKER, "default", "Ready"),
        "False ChannelTemplateFailed Error on setting up the ChannelTemplate: configmap \"missing-config-br-default-channel\" not found"
    );
}

#[test]
fn dead_letters_of_a_broker_go_where_its_sink_is() {
    let mut cluster = Cluster::new();
    let sink = "delivery: {deadLetterSink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: dls}}, ";
    cluster.apply(&DEFAULT.replace("delivery: {", sink));
    assert_eq!(
        cluster.condition(BROKER, "default", "DeadLetterSinkResolved"),
        "False Unable to get the dead letter sink's URI failed to get object ns/dls: services.serving.knative.dev \"dls\" not found"
    );
    cluster.callable("dls");
    let broker = cluster.get(BROKER, "default");
    assert_eq!(
        broker["status"]["deadLetterSinkUri"],
        "http://dls.ns.svc.cluster.local"
    );
    assert_eq!(cluster.condition(BROKER, "default", "Ready"), "True");
}

#[test]
fn with_oidc_policies_say_who_may_post() {
    let mut cluster = Cluster::new();
    cluster.apply(DEFAULT);
    cluster.feature("authentication-oidc", "enabled");
    assert_eq!(
        cluster.condition(BROKER, "default", "EventPoliciesReady"),
        "True DefaultAuthorizationMode Default authz mode is \"allow-same-namespace\""
    );
    let audience = "eventing.knative.dev/broker/ns/default";
    let broker = cluster.get(BROKER, "default");
    assert_eq!(broker["status"]["address"]["audience"], audience);
    let allowed = |cluster: &Cluster| cluster.ingress("default").access.allowed.clone();
    let default = allowed(&cluster).unwrap();
    assert_eq!(default[0].subjects, ["system:serviceaccount:ns:*"]);
    let policy = "
apiVersion: eventing.knative.dev/v1alpha1
kind: EventPolicy
metadata: {name: p}
spec:
  from: [FROM]
  to: [{selector: {apiVersion: eventing.knative.dev/v1, kind: Broker, matchExpressions: [{key: x, operator: DoesNotExist}]}}]
  filters: [{exact: {type: a}}]
";
    let nobody = "ref: {apiVersion: sources.knative.dev/v1, kind: PingSource, name: nope}";
    cluster.apply(&policy.replace("FROM", &format!("{{{nobody}}}")));
    assert_eq!(
        cluster.condition(BROKER, "default", "Ready"),
        "False EventPoliciesNotReady event policies p are not ready"
    );
    assert_eq!(
        allowed(&cluster),
        Some(Vec::new()),
        "nobody until it is ready"
    );
    cluster.apply(&policy.replace("FROM", "{sub: me}"));
    let broker = cluster.get(BROKER, "default");
    assert_eq!(
        broker["status"]["policies"],
        json!([{"apiVersion": "eventing.knative.dev/v1alpha1", "name": "p"}])
    );
    let by_policy = allowed(&cluster).unwrap();
    assert_eq!(by_policy[0].subjects, ["me"]);
    assert_eq!(by_policy[0].filters, [json!({"exact": {"type": "a"}})]);
    cluster.delete(EVENT_POLICY, "p");
    cluster.feature("default-authorization-mode", "deny-all");
    assert_eq!(allowed(&cluster), Some(Vec::new()));
    cluster.feature("default-authorization-mode", "allow-all");
    assert_eq!(allowed(&cluster), None);
}

#[test]
fn transport_encryption_names_https_first() {
    let mut cluster = Cluster::new();
    cluster.apply(DEFAULT);
    cluster.feature("transport-encryption", "permissive");
    assert!(
        cluster
            .condition(BROKER, "default", "Addressable")
            .starts_with("Unknown CertificateNotFound")
    );
    for name in ["mt-broker-ingress-server-tls", "imc-dispatcher-server-tls"] {
        // Somebody else's: shown as they are.
        let text = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let data = json!({"ca.crt": text("ca"), "tls.crt": text("it"), "tls.key": text("key")});
        let metadata = json!({"name": name, "namespace": "knative-eventing"});
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data});
        cluster.world.insert(SECRET, secret);
    }
    cluster.settle();
    let broker = cluster.get(BROKER, "default");
    let url = "broker-ingress.knative-eventing.svc.cluster.local/ns/default";
    let secure = json!({"name": "https", "url": format!("https://{url}"), "CACerts": "ca"});
    let plain = json!({"name": "http", "url": format!("http://{url}")});
    assert_eq!(broker["status"]["address"], secure);
    assert_eq!(broker["status"]["addresses"], json!([secure, plain]));
    assert_eq!(
        broker["status"]["annotations"]["knative.dev/channelCACerts"],
        "ca"
    );
    cluster.feature("transport-encryption", "strict");
    let broker = cluster.get(BROKER, "default");
    assert_eq!(broker["status"]["addresses"], json!([secure]));
}

#[test]
fn a_broker_keeps_events_as_long_as_its_annotations_say() {
    let mut cluster = Cluster::new();
    let keep = "annotations: {eventing.rekindle.dev/retention: P7D, eventing.rekindle.dev/retention-bytes: 1Gi, ";
    cluster.apply(&DEFAULT.replace("annotations: {", keep));
    let ingress = cluster.ingress("default");
    assert_eq!(ingress.retention.unwrap().as_secs(), 7 * 86_400);
    assert_eq!(ingress.bytes_max, Some(1 << 30));
}

#[test]
fn a_log_that_cannot_be_opened_shows_at_the_broker_and_its_triggers() {
    let mut cluster = Cluster::new();
    cluster.callable("hello");
    cluster.apply(DEFAULT);
    cluster.apply(
        "{apiVersion: eventing.knative.dev/v1, kind: Trigger, metadata: {name: t}, spec: {broker: default, \
         subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: hello}}}}",
    );
    assert_eq!(cluster.condition(TRIGGER, "t", "Ready"), "True");
    let trouble = Fact::Trouble {
        kind: BROKER,
        namespace: "ns".to_owned(),
        name: "default".to_owned(),
    };
    cluster
        .world
        .learn(trouble.clone(), json!({"message": "no log"}));
    cluster.settle();
    for condition in ["IngressReady", "FilterReady"] {
        let found = cluster.condition(BROKER, "default", condition);
        assert_eq!(found, "False DataPlaneUnavailable no log");
    }
    let channel = cluster.condition(IN_MEMORY_CHANNEL, "default-kne-trigger", "Ready");
    assert!(channel.starts_with("False"), "{channel}");
    let trigger = cluster.condition(TRIGGER, "t", "BrokerReady");
    assert!(trigger.starts_with("False"), "{trigger}");
    cluster.world.unlearn(&trouble);
    cluster.settle();
    assert_eq!(cluster.condition(TRIGGER, "t", "Ready"), "True");
}
