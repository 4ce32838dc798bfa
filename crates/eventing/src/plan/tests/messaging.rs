//! Channels and Subscriptions: who gets what of which channel.

use api::world::{CHANNEL, Fact, IN_MEMORY_CHANNEL, SERVICE, SUBSCRIPTION};
use expect_test::expect;
use serde_json::json;

use super::cluster::Cluster;

const CHANNEL_YAML: &str = "
apiVersion: messaging.knative.dev/v1
kind: Channel
metadata: {name: c}
spec: {channelTemplate: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel}}
";
const SUBSCRIPTION_YAML: &str = "
apiVersion: messaging.knative.dev/v1
kind: Subscription
metadata: {name: s}
spec:
  channel: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: c}
  subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: hello}}
  reply: {uri: 'http://reply'}
";

#[test]
fn a_channel_is_what_its_template_says() {
    let mut cluster = Cluster::new();
    cluster.apply(CHANNEL_YAML);
    expect![[r#"
        Addressable True
        BackingChannelReady True
        DeadLetterSinkResolved True DeadLetterSinkNotConfigured No dead letter sink is configured.
        EventPoliciesReady True OIDCDisabled Feature "authentication-oidc" must be enabled to support Authorization
        Ready True
        address: {"name":"http","url":"http://c-kn-channel.ns.svc.cluster.local"}
        channel: {"apiVersion":"messaging.knative.dev/v1","kind":"InMemoryChannel","name":"c","namespace":"ns"}
    "#]]
    .assert_eq(&cluster.status(CHANNEL, "c", &["address", "channel"]));
    expect![[r#"
        Addressable True
        ChannelServiceReady True
        DeadLetterSinkResolved True DeadLetterSinkNotConfigured No dead letter sink is configured.
        DispatcherReady True
        EndpointsReady True
        EventPoliciesReady True OIDCDisabled Feature "authentication-oidc" must be enabled to support Authorization
        Ready True
        ServiceReady True
    "#]]
    .assert_eq(&cluster.status(IN_MEMORY_CHANNEL, "c", &[]));
    let service = cluster.get(SERVICE, "c-kn-channel");
    assert_eq!(
        service["spec"]["externalName"],
        "imc-dispatcher.knative-eventing.svc.cluster.local"
    );
    let other = CHANNEL_YAML
        .replace("InMemoryChannel", "KafkaChannel")
        .replace("name: c}", "name: d}");
    cluster.apply(&other);
    assert_eq!(
        cluster.condition(CHANNEL, "d", "Ready"),
        "False ChannelFailure no matches for kind \"KafkaChannel\" in version \"messaging.knative.dev/v1\""
    );
}

#[test]
fn a_channel_without_template_is_what_its_namespace_says() {
    let mut cluster = Cluster::new();
    let bare = "{apiVersion: messaging.knative.dev/v1, kind: Channel, metadata: {name: c}}";
    cluster.apply(bare);
    assert_eq!(cluster.condition(CHANNEL, "c", "Ready"), "True");
}

#[test]
fn a_subscription_is_added_to_the_channel_behind_a_channel() {
    let mut cluster = Cluster::new();
    cluster.apply(SUBSCRIPTION_YAML);
    assert_eq!(
        cluster.condition(SUBSCRIPTION, "s", "Ready"),
        "False ChannelReferenceFailed Failed to get Spec.Channel or backing channel: channels.messaging.knative.dev \"c\" not found"
    );
    cluster.apply(CHANNEL_YAML);
    assert_eq!(
        cluster.condition(SUBSCRIPTION, "s", "Ready"),
        "False SubscriberResolveFailed Failed to resolve spec.subscriber: failed to get object ns/hello: services.serving.knative.dev \"hello\" not found"
    );
    cluster.callable("hello");
    expect![[r#"
        AddedToChannel True
        ChannelReady True
        OIDCIdentityCreated True authentication-oidc feature disabled
        Ready True
        ReferencesResolved True
        physicalSubscription: {"replyUri":"http://reply","subscriberUri":"http://hello.ns.svc.cluster.local"}
    "#]]
    .assert_eq(&cluster.status(SUBSCRIPTION, "s", &["physicalSubscription"]));
    let uid = cluster.get(SUBSCRIPTION, "s")["metadata"]["uid"].clone();
    let entry = json!([{
        "uid": uid, "name": "s", "generation": 1,
        "subscriberUri": "http://hello.ns.svc.cluster.local", "replyUri": "http://reply",
    }]);
    assert_eq!(
        cluster.get(IN_MEMORY_CHANNEL, "c")["spec"]["subscribers"],
        entry
    );
    let served = json!([{"uid": uid, "observedGeneration": 1, "ready": "True"}]);
    assert_eq!(cluster.get(CHANNEL, "c")["status"]["subscribers"], served);
    expect![[r#"
        InMemoryChannel c at c-kn-channel.ns.svc.cluster.local
          s: → http://hello.ns.svc.cluster.local ↩ http://reply
    "#]]
    .assert_eq(&cluster.graph());
    cluster.delete(SUBSCRIPTION, "s");
    let spec = cluster.get(IN_MEMORY_CHANNEL, "c")["spec"].clone();
    assert_eq!(spec.get("subscribers"), None);
    assert!(cluster.ingress("c").subscribers.is_empty());
}

#[test]
fn subscribers_that_others_entered_stay() {
    let mut cluster = Cluster::new();
    cluster.callable("hello");
    cluster.apply(
        "
apiVersion: messaging.knative.dev/v1
kind: InMemoryChannel
metadata: {name: c}
spec: {subscribers: [{uid: u, generation: 1, subscriberUri: 'http://other', delivery: {retry: 3}}]}
",
    );
    let direct = SUBSCRIPTION_YAML.replace("kind: Channel", "kind: InMemoryChannel");
    cluster.apply(&direct);
    expect![[r#"
        InMemoryChannel c at c-kn-channel.ns.svc.cluster.local
          : → http://other retry 3
          s: → http://hello.ns.svc.cluster.local ↩ http://reply
    "#]]
    .assert_eq(&cluster.graph());
    cluster.delete(SUBSCRIPTION, "s");
    assert_eq!(cluster.ingress("c").subscribers.len(), 1);
}

#[test]
fn a_subscriptions_delivery_goes_before_its_channels() {
    let mut cluster = Cluster::new();
    cluster.callable("hello");
    let delivery = "spec: {delivery: {retry: 1, deadLetterSink: {uri: 'http://of-channel'}}, ";
    cluster.apply(&CHANNEL_YAML.replace("spec: {", delivery));
    cluster.apply(SUBSCRIPTION_YAML);
    let policy = |cluster: &Cluster| {
        let policy = cluster.subscriber("c", "s").policy.clone();
        (
            policy.retry,
            policy.dead_letter.map(|endpoint| endpoint.url),
        )
    };
    assert_eq!(policy(&cluster), (1, Some("http://of-channel".to_owned())));
    let own = "  delivery: {retry: 7, deadLetterSink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: hello}}}\n";
    cluster.apply(&format!("{SUBSCRIPTION_YAML}{own}"));
    let hello = "http://hello.ns.svc.cluster.local";
    assert_eq!(policy(&cluster), (7, Some(hello.to_owned())));
    let subscription = cluster.get(SUBSCRIPTION, "s");
    assert_eq!(
        subscription["status"]["physicalSubscription"]["deadLetterSinkUri"],
        hello
    );
    assert_eq!(cluster.condition(SUBSCRIPTION, "s", "Ready"), "True");
}

#[test]
fn a_subscription_says_order_and_parallelism_too() {
    let mut cluster = Cluster::new();
    cluster.callable("hello");
    cluster.apply(CHANNEL_YAML);
    let marks = "annotations: {eventing.rekindle.dev/delivery-order: ordered, eventing.rekindle.dev/replay-from: '5'}";
    cluster.apply(&SUBSCRIPTION_YAML.replace("{name: s}", &format!("{{name: s, {marks}}}")));
    let subscriber = cluster.subscriber("c", "s");
    assert!(subscriber.ordered);
    assert_eq!(subscriber.start, api::delivery::Start::Offset(5));
}

#[test]
fn channels_of_other_namespaces_need_the_feature() {
    let mut cluster = Cluster::new();
    cluster.callable("hello");
    cluster.apply(CHANNEL_YAML);
    let elsewhere = SUBSCRIPTION_YAML
        .replace("{name: s}", "{name: s, namespace: other}")
        .replace("name: c}", "name: c, namespace: ns}")
        .replace("name: hello}", "name: hello, namespace: ns}");
    cluster.apply(&elsewhere);
    let ready = |cluster: &Cluster| {
        let subscription = cluster.world.get(SUBSCRIPTION, "other", "s").unwrap();
        api::conditions::is_ready(&subscription)
    };
    assert!(!ready(&cluster));
    cluster.feature("cross-namespace-event-links", "enabled");
    assert!(ready(&cluster));
    assert_eq!(cluster.ingress("c").subscribers.len(), 1);
}

#[test]
fn a_dispatcher_that_cannot_serve_says_so_at_channel_and_subscription() {
    let mut cluster = Cluster::new();
    cluster.callable("hello");
    cluster.apply(CHANNEL_YAML);
    cluster.apply(SUBSCRIPTION_YAML);
    let trouble = Fact::Trouble {
        kind: IN_MEMORY_CHANNEL,
        namespace: "ns".to_owned(),
        name: "c".to_owned(),
    };
    cluster
        .world
        .learn(trouble.clone(), json!({"message": "no log"}));
    cluster.settle();
    let why = "False DataPlaneUnavailable no log";
    assert_eq!(cluster.condition(IN_MEMORY_CHANNEL, "c", "Ready"), why);
    assert_eq!(
        cluster.condition(IN_MEMORY_CHANNEL, "c", "DispatcherReady"),
        why
    );
    assert_eq!(
        cluster.condition(SUBSCRIPTION, "s", "Ready"),
        "False SubscriptionNotMarkedReadyByChannel Subscription not marked by Channel as Ready: no log"
    );
    cluster.world.unlearn(&trouble);
    cluster.settle();
    assert_eq!(cluster.condition(IN_MEMORY_CHANNEL, "c", "Ready"), "True");
    assert_eq!(cluster.condition(SUBSCRIPTION, "s", "Ready"), "True");
}
