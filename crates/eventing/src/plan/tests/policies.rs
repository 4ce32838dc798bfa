//! EventPolicies and EventTypes.

use api::world::{CHANNEL, EVENT_POLICY, EVENT_TYPE, PING_SOURCE};
use serde_json::json;

use super::broker::DEFAULT;
use super::cluster::Cluster;

const POLICY: &str = "
apiVersion: eventing.knative.dev/v1alpha1
kind: EventPolicy
metadata: {name: p}
spec:
  from:
  - sub: system:serviceaccount:other:*
  - ref: {apiVersion: sources.knative.dev/v1, kind: PingSource, name: ping, namespace: ns}
  to: [{ref: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: c}}]
";

#[test]
fn policies_need_authentication_and_subjects_that_have_an_identity() {
    let mut cluster = Cluster::new();
    cluster.apply(POLICY);
    assert_eq!(
        cluster.condition(EVENT_POLICY, "p", "Ready"),
        "False OIDCAuthenticationDisabled"
    );
    cluster.feature("authentication-oidc", "enabled");
    assert_eq!(
        cluster.condition(EVENT_POLICY, "p", "SubjectsResolved"),
        "False SubjectsNotResolved Failed to resolve .spec.from[].ref: pingsources.sources.knative.dev \"ping\" not found"
    );
    cluster.apply("{apiVersion: sources.knative.dev/v1, kind: PingSource, metadata: {name: ping}, spec: {sink: {uri: 'http://x'}}}");
    assert_eq!(cluster.condition(EVENT_POLICY, "p", "Ready"), "True");
    let from = cluster.get(EVENT_POLICY, "p")["status"]["from"].clone();
    assert_eq!(
        from,
        json!([
            "system:serviceaccount:ns:ping-oidc-sources.knative.dev-pingsource",
            "system:serviceaccount:other:*",
        ])
    );
    cluster.delete(PING_SOURCE, "ping");
    assert!(
        cluster
            .condition(EVENT_POLICY, "p", "Ready")
            .starts_with("False")
    );
}

#[test]
fn a_policy_for_a_channel_holds_where_its_events_are_posted() {
    let mut cluster = Cluster::new();
    cluster.feature("authentication-oidc", "enabled");
    cluster.apply("{apiVersion: messaging.knative.dev/v1, kind: Channel, metadata: {name: c}}");
    cluster.apply("{apiVersion: messaging.knative.dev/v1, kind: Channel, metadata: {name: d}}");
    cluster.apply(&POLICY.replace("  - ref: {apiVersion: sources.knative.dev/v1, kind: PingSource, name: ping, namespace: ns}\n", ""));
    let subjects = |name: &str| {
        let allowed = cluster.ingress(name).access.allowed.clone().unwrap();
        let subjects = allowed.iter().flat_map(|allowed| allowed.subjects.clone());
        subjects.collect::<Vec<_>>()
    };
    assert_eq!(subjects("c"), ["system:serviceaccount:other:*"]);
    assert_eq!(subjects("d"), ["system:serviceaccount:ns:*"]);
    let policies = cluster.get(CHANNEL, "c")["status"]["policies"].clone();
    assert_eq!(policies[0]["name"], "p");
}

#[test]
fn an_event_type_says_whether_its_broker_is_there() {
    let mut cluster = Cluster::new();
    let event_type = "
apiVersion: eventing.knative.dev/v1beta3
kind: EventType
metadata: {name: e}
spec: {reference: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}
";
    cluster.apply(event_type);
    assert_eq!(
        cluster.condition(EVENT_TYPE, "e", "Ready"),
        "False ReferenceDoesNotExist brokers.eventing.knative.dev \"default\" not found"
    );
    cluster.apply(DEFAULT);
    assert_eq!(cluster.condition(EVENT_TYPE, "e", "Ready"), "True");
    cluster.apply(
        "{apiVersion: eventing.knative.dev/v1beta3, kind: EventType, metadata: {name: free}}",
    );
    assert_eq!(
        cluster.condition(EVENT_TYPE, "free", "ReferenceExists"),
        "True ReferenceNotSet"
    );
}
