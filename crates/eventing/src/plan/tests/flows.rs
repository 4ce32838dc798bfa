//! Sequences and Parallels: the channels and Subscriptions they are made of.

use api::world::{IN_MEMORY_CHANNEL, PARALLEL, SEQUENCE, SUBSCRIPTION};
use expect_test::expect;

use super::cluster::Cluster;

const SEQUENCE_YAML: &str = "
apiVersion: flows.knative.dev/v1
kind: Sequence
metadata: {name: seq}
spec:
  channelTemplate: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel}
  steps:
  - ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: one}
  - uri: http://two
    delivery: {retry: 4}
  reply: {uri: 'http://end'}
";
const PARALLEL_YAML: &str = "
apiVersion: flows.knative.dev/v1
kind: Parallel
metadata: {name: par}
spec:
  channelTemplate: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel}
  branches:
  - filter: {uri: 'http://filter'}
    subscriber: {uri: 'http://first'}
    reply: {uri: 'http://own-reply'}
  - subscriber: {uri: 'http://second'}
    delivery: {retry: 2}
  reply: {uri: 'http://reply'}
";

#[test]
fn a_sequence_is_channels_with_subscriptions_in_between() {
    let mut cluster = Cluster::new();
    cluster.apply(SEQUENCE_YAML);
    assert_eq!(
        cluster.condition(SEQUENCE, "seq", "Ready"),
        "False SubscriptionsNotReady Subscriptions are not ready yet, or there are none"
    );
    cluster.callable("one");
    expect![[r#"
        Addressable True
        ChannelsReady True
        EventPoliciesReady True OIDCDisabled Feature "authentication-oidc" must be enabled to support Authorization
        Ready True
        SubscriptionsReady True
        address: {"name":"http","url":"http://seq-kn-sequence-0-kn-channel.ns.svc.cluster.local"}
    "#]]
    .assert_eq(&cluster.status(SEQUENCE, "seq", &["address"]));
    let status = cluster.get(SEQUENCE, "seq")["status"].clone();
    assert_eq!(
        status["channelStatuses"][1]["channel"]["name"],
        "seq-kn-sequence-1"
    );
    assert_eq!(status["subscriptionStatuses"][1]["ready"]["status"], "True");
    expect![[r#"
        InMemoryChannel seq-kn-sequence-0 at seq-kn-sequence-0-kn-channel.ns.svc.cluster.local
          seq-kn-sequence-0: → http://one.ns.svc.cluster.local ↩ http://seq-kn-sequence-1-kn-channel.ns.svc.cluster.local
        InMemoryChannel seq-kn-sequence-1 at seq-kn-sequence-1-kn-channel.ns.svc.cluster.local
          seq-kn-sequence-1: → http://two ↩ http://end retry 4
    "#]]
    .assert_eq(&cluster.graph());
}

#[test]
fn a_sequence_that_gets_shorter_leaves_nothing_behind() {
    let mut cluster = Cluster::new();
    cluster.callable("one");
    cluster.apply(SEQUENCE_YAML);
    let shorter = SEQUENCE_YAML.replace("  - uri: http://two\n    delivery: {retry: 4}\n", "");
    cluster.apply(&shorter);
    expect![[r#"
        InMemoryChannel seq-kn-sequence-0 at seq-kn-sequence-0-kn-channel.ns.svc.cluster.local
          seq-kn-sequence-0: → http://one.ns.svc.cluster.local ↩ http://end
    "#]]
    .assert_eq(&cluster.graph());
    assert_eq!(cluster.condition(SEQUENCE, "seq", "Ready"), "True");
    cluster.delete(SEQUENCE, "seq");
    assert!(cluster.world.list(IN_MEMORY_CHANNEL, "").is_empty());
    assert!(cluster.world.list(SUBSCRIPTION, "").is_empty());
}

#[test]
fn a_parallel_has_a_channel_for_each_branch() {
    let mut cluster = Cluster::new();
    cluster.apply(PARALLEL_YAML);
    expect![[r#"
        Addressable True
        ChannelsReady True
        EventPoliciesReady True OIDCDisabled Feature "authentication-oidc" must be enabled to support Authorization
        Ready True
        SubscriptionsReady True
        address: {"name":"http","url":"http://par-kn-parallel-kn-channel.ns.svc.cluster.local"}
    "#]]
    .assert_eq(&cluster.status(PARALLEL, "par", &["address"]));
    expect![[r#"
        InMemoryChannel par-kn-parallel at par-kn-parallel-kn-channel.ns.svc.cluster.local
          par-kn-parallel-filter-0: → http://filter ↩ http://par-kn-parallel-0-kn-channel.ns.svc.cluster.local
          par-kn-parallel-filter-1: → http://par-kn-parallel-1-kn-channel.ns.svc.cluster.local
        InMemoryChannel par-kn-parallel-0 at par-kn-parallel-0-kn-channel.ns.svc.cluster.local
          par-kn-parallel-0: → http://first ↩ http://own-reply
        InMemoryChannel par-kn-parallel-1 at par-kn-parallel-1-kn-channel.ns.svc.cluster.local
          par-kn-parallel-1: → http://second ↩ http://reply retry 2
    "#]]
    .assert_eq(&cluster.graph());
    let status = cluster.get(PARALLEL, "par")["status"].clone();
    let branch = &status["branchStatuses"][1];
    assert_eq!(
        branch["filterChannelStatus"]["channel"]["name"],
        "par-kn-parallel-1"
    );
    assert_eq!(
        branch["filterSubscriptionStatus"]["subscription"]["name"],
        "par-kn-parallel-filter-1"
    );
    assert_eq!(
        branch["subscriberSubscriptionStatus"]["ready"]["status"],
        "True"
    );
    assert_eq!(status["ingressChannelStatus"]["ready"]["status"], "True");
}

#[test]
fn flows_list_the_accounts_they_send_as() {
    let mut cluster = Cluster::new();
    cluster.feature("authentication-oidc", "enabled");
    cluster.callable("one");
    cluster.apply(SEQUENCE_YAML);
    let auth = cluster.get(SEQUENCE, "seq")["status"]["auth"].clone();
    assert_eq!(
        auth["serviceAccountNames"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(
        cluster.get(SEQUENCE, "seq")["status"]["address"]["audience"],
        "messaging.knative.dev/inmemorychannel/ns/seq-kn-sequence-0"
    );
}
