//! The kinds of 2018 and what they become.

use api::object::ObjectExt;
use api::world::{self as kinds, Fact};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use expect_test::expect;
use serde_json::{Value, json};

use super::cluster::Cluster;

fn apply(cluster: &mut Cluster, api: &str, kind: &str, name: &str, spec: &str) {
    cluster.apply(&format!(
        "{{apiVersion: {api}.knative.dev/v1alpha1, kind: {kind}, metadata: {{name: {name}}}, spec: {spec}}}"
    ));
}

fn channel(cluster: &mut Cluster, name: &str, spec: &str) {
    apply(cluster, "channels", "Channel", name, spec);
}

fn subscription(cluster: &mut Cluster, name: &str, spec: &str) {
    apply(cluster, "channels", "Subscription", name, spec);
}

#[test]
fn channels_and_subscriptions() {
    let mut cluster = Cluster::new();
    channel(&mut cluster, "letters", "{bus: stub}");
    channel(&mut cluster, "answers", "{clusterBus: stub}");
    subscription(
        &mut cluster,
        "print",
        "{channel: letters, subscriber: printer, replyTo: answers-channel}",
    );
    expect![[r#"
        InMemoryChannel answers at answers-kn-channel.ns.svc.cluster.local, answers-channel.ns.svc.cluster.local, answers.ns.channels.cluster.local
        InMemoryChannel letters at letters-kn-channel.ns.svc.cluster.local, letters-channel.ns.svc.cluster.local, letters.ns.channels.cluster.local
          print: → http://printer.ns.svc.cluster.local/ ↩ http://answers-kn-channel.ns.svc.cluster.local
    "#]]
    .assert_eq(&cluster.graph());
    expect![[r#"
        Provisioned True
        Ready True
        Routeable True
        Serviceable True
        service: {"name":"letters-channel"}
        domainInternal: "letters-channel.ns.svc.cluster.local"
    "#]]
    .assert_eq(&cluster.status(
        kinds::BUS_CHANNEL,
        "letters",
        &["service", "domainInternal"],
    ));
    expect![[r#"
        Dispatching True
        Ready True
    "#]]
    .assert_eq(&cluster.status(kinds::BUS_SUBSCRIPTION, "print", &[]));
    let door = cluster.get(kinds::SERVICE, "letters-channel");
    assert_eq!(door.label("channel"), Some("letters"));
    cluster.delete(kinds::BUS_CHANNEL, "letters");
    assert!(cluster.world.get(kinds::CHANNEL, "ns", "letters").is_none());
    expect!["False ChannelNotFound Channel \"letters\" of channels.knative.dev not found."]
        .assert_eq(&cluster.condition(kinds::BUS_SUBSCRIPTION, "print", "Ready"));
}

#[test]
fn a_bus_of_ones_own_must_be_there_and_have_its_arguments() {
    let mut cluster = Cluster::new();
    channel(&mut cluster, "a", "{bus: mine}");
    let ready = |cluster: &Cluster| cluster.condition(kinds::BUS_CHANNEL, "a", "Ready");
    expect!["False BusNotFound Bus \"mine\" not found."].assert_eq(&ready(&cluster));
    apply(
        &mut cluster,
        "channels",
        "Bus",
        "mine",
        "{parameters: {channel: [{name: Size}, {name: Order, default: none}]}, dispatcher: {image: i}}",
    );
    expect!["False ArgumentMissing Bus \"mine\" asks for Size."].assert_eq(&ready(&cluster));
    channel(
        &mut cluster,
        "a",
        "{bus: mine, arguments: [{name: Size, value: '3'}]}",
    );
    expect!["True"].assert_eq(&ready(&cluster));
    expect!["True BuiltIn Channels of this bus are kept in the durable log of this installation; the containers of the spec are not run."]
        .assert_eq(&cluster.condition(kinds::BUS, "mine", "Dispatching"));
}

#[test]
fn what_is_somebody_elses_is_left_alone() {
    let mut cluster = Cluster::new();
    cluster.apply("{apiVersion: messaging.knative.dev/v1, kind: Channel, metadata: {name: a}}");
    channel(&mut cluster, "a", "{bus: stub}");
    expect!["False NotOwned There is an existing Channel (messaging.knative.dev) \"a\" that we do not own."]
        .assert_eq(&cluster.condition(kinds::BUS_CHANNEL, "a", "Provisioned"));
}

/// A Route that can be called.
fn route(cluster: &mut Cluster, name: &str) {
    cluster.apply(&format!(
        "{{apiVersion: serving.knative.dev/v1, kind: Route, metadata: {{name: {name}}}}}"
    ));
    let url = format!("http://{name}.ns.svc.cluster.local");
    cluster.set_status(kinds::ROUTE, name, json!({"address": {"url": url}}));
}

#[test]
fn a_flow_of_kubernetes_events() {
    let mut cluster = Cluster::new();
    let spec = "{
        serviceAccountName: feed-sa,
        trigger: {eventType: dev.knative.k8s.event, resource: k8sevents/dev.knative.k8s.event,
            service: k8sevents, parameters: {namespace: ns}},
        action: {target: {kind: Route, apiVersion: serving.knative.dev/v1alpha1, name: reader}}}";
    apply(&mut cluster, "flows", "Flow", "watch", spec);
    expect!["False ActionTargetNotResolved failed to get object ns/reader: routes.serving.knative.dev \"reader\" not found"]
        .assert_eq(&cluster.condition(kinds::FLOW, "watch", "Ready"));
    route(&mut cluster, "reader");
    let source = cluster.get(kinds::API_SERVER_SOURCE, "watch");
    let expected = json!({
        "mode": "Resource",
        "resources": [{"apiVersion": "v1", "kind": "Event"}],
        "serviceAccountName": "feed-sa",
        "sink": {"uri": "http://watch-channel.ns.svc.cluster.local/"},
    });
    assert_eq!(source["spec"], expected);
    let subscriber = cluster.subscriber("watch", "watch");
    let target = subscriber.target.clone().unwrap();
    assert_eq!(target.url, "http://reader.ns.svc.cluster.local");
    cluster.set_status(
        kinds::API_SERVER_SOURCE,
        "watch",
        json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}),
    );
    let status = cluster.status(kinds::FLOW, "watch", &["channelTarget"]);
    expect![[r#"
        ActionTargetResolved True ActionTargetResolved Resolved to: "http://reader.ns.svc.cluster.local"
        ChannelReady True
        FeedReady False  User system:serviceaccount:ns:feed-sa cannot not found
        Ready False  User system:serviceaccount:ns:feed-sa cannot not found
        SubscriptionReady True
        channelTarget: "watch-channel.ns.svc.cluster.local"
    "#]]
    .assert_eq(&status);
    cluster.delete(kinds::FLOW, "watch");
    assert!(cluster.world.get(kinds::FEED, "ns", "watch").is_none());
    assert!(cluster.world.keys(kinds::API_SERVER_SOURCE).is_empty());
}

#[test]
fn a_feed_by_its_event_type_and_source() {
    let mut cluster = Cluster::new();
    let feed = |cluster: &mut Cluster, spec: &str| apply(cluster, "feeds", "Feed", "f", spec);
    let spec = "{trigger: {eventType: tick, resource: '*/5 * * * *', parameters: {data: hi}},
        action: {dnsName: echo.ns.svc.cluster.local}}";
    feed(&mut cluster, spec);
    expect!["False EventTypeDoesNotExist EventType \"tick\" does not exist; event source \"tick\" is not built in: use a ContainerSource (sources.knative.dev/v1) with an image that reads \"tick\" and posts to $K_SINK"]
        .assert_eq(&cluster.condition(kinds::FEED, "f", "Ready"));
    apply(
        &mut cluster,
        "feeds",
        "EventType",
        "tick",
        "{eventSource: clock}",
    );
    apply(
        &mut cluster,
        "feeds",
        "EventSource",
        "clock",
        "{type: cron, source: clock, image: example.com/x}",
    );
    expect![[r#"
        DependenciesSatisfied True
        Ready True
        feedContext: {"context":{"kind":"PingSource","name":"f"}}
    "#]]
    .assert_eq(&cluster.status(kinds::FEED, "f", &["feedContext"]));
    expect![[r#"
        PingSource f → http://echo.ns.svc.cluster.local/
    "#]]
    .assert_eq(&cluster.graph());
    // Its trigger may change its mind.
    feed(
        &mut cluster,
        "{trigger: {eventType: receive, service: gcppubsub}, action: {dnsName: echo.ns}}",
    );
    assert_eq!(cluster.graph(), "");
    assert!(
        cluster
            .condition(kinds::FEED, "f", "Ready")
            .contains("reads Google Cloud Pub/Sub"),
    );
}

/// A Secret of the namespace, as a fact.
fn secret(cluster: &mut Cluster, name: &str, data: &Value) {
    let fact = Fact::Object {
        api_version: "v1".to_owned(),
        kind: "Secret".to_owned(),
        namespace: "ns".to_owned(),
        name: name.to_owned(),
    };
    let object = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "ns"},
        "data": data,
    });
    cluster.fact(fact, json!({"object": object}));
}

#[test]
fn a_github_feed_reads_both_tokens_from_one_json() {
    let mut cluster = Cluster::new();
    let spec = "{trigger: {eventType: pullrequest, resource: acme/anvil, service: github,
            parametersFrom: [{secretKeyRef: {name: hub, key: githubCredentials}}]},
        action: {dnsName: echo.ns.svc.cluster.local}}";
    apply(&mut cluster, "feeds", "Feed", "f", spec);
    let ready = |cluster: &Cluster| cluster.condition(kinds::FEED, "f", "Ready");
    expect![[r#"False AccessTokenNotFound Secret "hub" with the key "githubCredentials" of spec.accessToken is not there."#]].assert_eq(&ready(&cluster));
    let tokens = STANDARD.encode(r#"{"accessToken": "a", "secretToken": "s"}"#);
    secret(&mut cluster, "hub", &json!({"githubCredentials": tokens}));
    let source = cluster.get(kinds::GITHUB_SOURCE, "f");
    assert_eq!(source["spec"]["eventTypes"], json!(["pull_request"]));
    expect!["True"].assert_eq(&ready(&cluster));
    expect![[r#"
        GitHubSource f → http://echo.ns.svc.cluster.local/ hosts: ["f-github.ns.svc.cluster.local"] secretToken: "s"
    "#]].assert_eq(&cluster.graph());
}
