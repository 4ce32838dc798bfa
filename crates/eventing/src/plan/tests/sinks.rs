//! Addressables that answer each event themselves.

use api::world::{
    EVENT_TRANSFORM, Fact, INTEGRATION_SINK, JOB_SINK, REQUEST_REPLY, SERVICE, TRIGGER,
};
use expect_test::expect;
use serde_json::json;

use super::broker::DEFAULT;
use super::cluster::Cluster;

#[test]
fn a_job_sink_has_a_path_of_its_own() {
    let mut cluster = Cluster::new();
    cluster.apply("{apiVersion: sinks.knative.dev/v1alpha1, kind: JobSink, metadata: {name: j}, spec: {job: {}}}");
    expect![[r#"
        Addressable True
        EventPoliciesReady True OIDCDisabled Feature "authentication-oidc" must be enabled to support Authorization
        Ready True
        address: {"name":"http","url":"http://job-sink.knative-eventing.svc.cluster.local/ns/j"}
        job: {"selector":"sinks.knative.dev/job-sink-name=j"}
    "#]]
    .assert_eq(&cluster.status(JOB_SINK, "j", &["address", "job"]));
    assert_eq!(cluster.graph(), "JobSink j\n");
}

#[test]
fn of_integration_sinks_the_log_runs() {
    let mut cluster = Cluster::new();
    let sink = |what: &str| {
        format!(
            "{{apiVersion: sinks.knative.dev/v1alpha1, kind: IntegrationSink, metadata: {{name: i}}, spec: {{{what}}}}}"
        )
    };
    cluster.apply(&sink("log: {level: INFO}"));
    expect![[r#"
        Addressable True
        DeploymentReady True
        EventPoliciesReady True OIDCDisabled Feature "authentication-oidc" must be enabled to support Authorization
        Ready True
        TrustBundlePropagated True
        address: {"name":"http","url":"http://i-deployment.ns.svc.cluster.local"}
    "#]]
    .assert_eq(&cluster.status(INTEGRATION_SINK, "i", &["address"]));
    cluster.get(SERVICE, "i-deployment");
    cluster.apply(&sink("aws: {}"));
    assert!(
        cluster
            .condition(INTEGRATION_SINK, "i", "Ready")
            .starts_with("False NotSupported")
    );
}

#[test]
fn an_event_transform_says_whether_its_expressions_are_such_and_where_results_go() {
    let mut cluster = Cluster::new();
    let transform = |spec: &str| {
        format!(
            "{{apiVersion: eventing.knative.dev/v1alpha1, kind: EventTransform, metadata: {{name: t}}, spec: {{{spec}}}}}"
        )
    };
    let fact = |expression: &str| Fact::Jsonata {
        expression: expression.to_owned(),
    };
    cluster.fact(fact("$"), json!({}));
    cluster.fact(fact("{"), json!({"error": "unexpected end"}));
    cluster.apply(&transform("jsonata: {expression: '$'}"));
    expect![[r#"
        Addressable True
        EventPoliciesReady True OIDCDisabled Feature "authentication-oidc" must be enabled to support Authorization
        JsonataDeploymentReady True
        JsonataSinkBindingReady True
        Ready True
        TransformationReady True
        address: {"name":"http","url":"http://t-jsonata.ns.svc.cluster.local"}
    "#]]
    .assert_eq(&cluster.status(EVENT_TRANSFORM, "t", &["address"]));
    assert_eq!(cluster.graph(), "EventTransform t\n");
    let hello = "sink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: hello}}";
    let bad_reply =
        format!("jsonata: {{expression: '$'}}, {hello}, reply: {{jsonata: {{expression: '{{'}}}}");
    cluster.apply(&transform(&bad_reply));
    assert!(
        cluster
            .condition(EVENT_TRANSFORM, "t", "TransformationReady")
            .starts_with("False NotFound")
    );
    cluster.callable("hello");
    assert_eq!(
        cluster.condition(EVENT_TRANSFORM, "t", "Ready"),
        "False JsonataDeploymentUnavailable reply.jsonata.expression is not valid JSONata: unexpected end"
    );
    cluster.apply(&transform(&format!(
        "jsonata: {{expression: '$'}}, {hello}"
    )));
    assert_eq!(
        cluster.condition(EVENT_TRANSFORM, "t", "Ready").trim_end(),
        "True"
    );
    assert_eq!(
        cluster.graph(),
        "EventTransform t → http://hello.ns.svc.cluster.local\n"
    );
}

#[test]
fn a_request_reply_gets_its_answers_by_a_trigger() {
    let mut cluster = Cluster::new();
    cluster.apply(
        "
apiVersion: eventing.knative.dev/v1alpha1
kind: RequestReply
metadata: {name: r}
spec: {brokerRef: {name: default}, replyAttribute: replyid, correlationAttribute: correlationid, timeout: PT5S}
",
    );
    assert!(
        cluster
            .condition(REQUEST_REPLY, "r", "BrokerReady")
            .starts_with("False BrokerDoesNotExist")
    );
    cluster.apply(DEFAULT);
    expect![[r#"
        Addressable True
        BrokerReady True
        EventPoliciesReady True OIDCDisabled Feature "authentication-oidc" must be enabled to support Authorization
        Ready True
        TriggersReady True
        address: {"name":"http","url":"http://request-reply.knative-eventing.svc.cluster.local/ns/r"}
    "#]]
    .assert_eq(&cluster.status(REQUEST_REPLY, "r", &["address"]));
    expect![[r#"
        Broker default at default-broker.ns.svc.cluster.local, default-kne-trigger-kn-channel.ns.svc.cluster.local
          r-request-reply: {"attributes":{"replyid":""}} → http://request-reply.knative-eventing.svc.cluster.local/ns/r/reply retry 10 Exponential 200ms
        RequestReply r → http://broker-ingress.knative-eventing.svc.cluster.local/ns/default
    "#]]
    .assert_eq(&cluster.graph());
    cluster.delete(REQUEST_REPLY, "r");
    assert!(cluster.world.list(TRIGGER, "").is_empty());
}
