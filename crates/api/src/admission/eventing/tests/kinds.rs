//! Event types, policies, transformations, flows, sinks.

use super::*;

const FLOWS: &str = "flows.knative.dev/v1";
const SINKS: &str = "sinks.knative.dev/v1alpha1";
const ALPHA: &str = "eventing.knative.dev/v1alpha1";

/// The refusals of several specs, one after the other.
#[track_caller]
fn all_refused(
    api_version: &str,
    kind: &str,
    specs: &[Value],
    configs: &Configs,
    expected: Expect,
) {
    let mut told = String::new();
    for spec in specs {
        let object = object(api_version, kind, spec);
        let error = ask(&object, None, configs).expect_err("admitted");
        let (_, mistakes) = error.split_once("denied the request: ").unwrap();
        told.push_str(&format!("{mistakes}\n"));
    }
    expected.assert_eq(&told);
}

#[test]
fn event_types() {
    let named = |names: &[&str]| {
        let attributes: Value = names
            .iter()
            .map(|name| json!({"name": name, "required": true}))
            .collect();
        json!({"attributes": attributes, "reference": {"apiVersion": "v1", "kind": "K", "name": "n"}})
    };
    let all = Configs::default();
    all_refused(
        "eventing.knative.dev/v1beta3",
        "EventType",
        &[named(&["id", "type"])],
        &all,
        expect![[r#"
            validation failed: missing field(s): spec.attributes.source, spec.attributes.specversion
        "#]],
    );
    let good = object(
        "eventing.knative.dev/v1beta3",
        "EventType",
        &named(&["id", "type", "source", "specversion"]),
    );
    let admitted = ask(&good, None, &all).unwrap();
    assert_eq!(admitted["spec"]["reference"]["namespace"], "ns");
}

#[test]
fn policies() {
    let off = Configs::default();
    let mut on = Configs::default();
    on.eventing.features.authentication_oidc = true;
    all_refused(
        ALPHA,
        "EventPolicy",
        &[json!({})],
        &off,
        expect![[r#"
        validation failed: oidc-authentication feature not enabled: 
    "#]],
    );
    let specs = [
        json!({"from": [{}, {"sub": "a", "ref": {"name": "n"}}], "to": [{}]}),
        json!({"from": [{"sub": "a*b"}], "to": [{"ref": {"kind": "K"}, "selector": {"kind": "K"}}]}),
        json!({"from": [{"sub": "a*"}], "filters": [{"prefix": {"1a": "b"}}]}),
    ];
    all_refused(
        ALPHA,
        "EventPolicy",
        &specs,
        &on,
        expect![[r#"
        validation failed: expected exactly one, got both: spec.from[1].ref, spec.from[1].sub
        expected exactly one, got neither: spec.from[0].ref, spec.from[0].sub, spec.to[0].ref, spec.to[0].selector
        missing field(s): spec.from[1].ref.apiVersion, spec.from[1].ref.kind
        validation failed: expected exactly one, got both: spec.to[0].ref, spec.to[0].selector
        invalid value: a*b: spec.from[0].sub
        '*' is only allowed as suffix
        missing field(s): spec.to[0].ref.apiVersion, spec.to[0].ref.name
        validation failed: invalid key name "1a": spec.filters[0].prefix[1a]
        Attribute name must start with a letter and can only contain lowercase alphanumeric
    "#]],
    );
    let reference = json!({"apiVersion": "v1", "kind": "ServiceAccount", "name": "a"});
    let good = object(
        ALPHA,
        "EventPolicy",
        &json!({"from": [{"ref": reference}, {"sub": "a*"}]}),
    );
    let admitted = ask(&good, None, &on).unwrap();
    assert_eq!(admitted["spec"]["from"][0]["ref"]["namespace"], "ns");
}

#[test]
fn transformations() {
    let jsonata = json!({"expression": "$"});
    let specs = [
        json!({}),
        json!({"jsonata": jsonata, "reply": {"discard": true}}),
        json!({"jsonata": jsonata, "sink": {"uri": "http://a"}, "reply": {"discard": true, "jsonata": jsonata}}),
        json!({"jsonata": jsonata, "sink": {"uri": "http://a", "CACerts": "x"}}),
    ];
    all_refused(
        ALPHA,
        "EventTransform",
        &specs,
        &Configs::default(),
        expect![[r#"
            validation failed: expected exactly one, got neither: spec.jsonata
            validation failed: reply is set without spec.sink: spec.reply
            validation failed: expected exactly one, got both: spec.reply.discard, spec.reply.jsonata
            validation failed: CACerts for the sink is not supported for JSONata transformations, to propagate CA trust bundles use labeled ConfigMaps: https://knative.dev/docs/eventing/features/transport-encryption/#configure-additional-ca-trust-bundles: spec.sink.CACerts
            invalid value: CA Cert provided is invalid: spec.sink.caCert
        "#]],
    );
    // What was once admitted without a transformation, as other versions of Knative might.
    let old = object(ALPHA, "EventTransform", &json!({}));
    let new = object(ALPHA, "EventTransform", &json!({"jsonata": jsonata}));
    let error = ask(&new, Some(&old), &Configs::default()).unwrap_err();
    assert!(
        error.contains("Transformations types are immutable"),
        "{error}"
    );
}

#[test]
fn request_replies() {
    let broker = json!({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "b"});
    filled(
        ALPHA,
        "RequestReply",
        json!({"brokerRef": broker}),
        expect![[r#"
            {
              "metadata": {
                "annotations": {
                  "eventing.knative.dev/creator": "alice",
                  "eventing.knative.dev/lastModifier": "alice"
                },
                "name": "x",
                "namespace": "ns"
              },
              "spec": {
                "brokerRef": {
                  "apiVersion": "eventing.knative.dev/v1",
                  "kind": "Broker",
                  "name": "b"
                },
                "correlationAttribute": "correlationid",
                "replyAttribute": "replyid",
                "timeout": "PT30S"
              }
            }"#]],
    );
    let specs = [
        json!({}),
        json!({"brokerRef": {"apiVersion": "v1", "kind": "Service", "name": "s", "namespace": "ns"}}),
        json!({"brokerRef": broker, "timeout": "PT0S", "correlationAttribute": "id"}),
        json!({"brokerRef": broker, "correlationAttribute": "a", "replyAttribute": "a"}),
    ];
    all_refused(
        ALPHA,
        "RequestReply",
        &specs,
        &Configs::default(),
        expect![[r#"
            validation failed: invalid value: : spec.brokerRef.kind
            brokerRef kind must be Broker
            missing field(s): spec.brokerRef.apiVersion, spec.brokerRef.kind, spec.brokerRef.name
            validation failed: invalid value: Service: spec.brokerRef.kind
            brokerRef kind must be Broker
            must not set the field(s): spec.brokerRef.namespace
            validation failed: invalid value: PT0S: spec.timeout
            invalid value: id: spec.correlationattribute
            correlationattribute must be non-empty and cannot be a core cloudevent attribute (id, type, specversion, source)
            validation failed: invalid value: a: spec.replyattribute
            an answer could not be told from its request
        "#]],
    );
}

#[test]
fn sequences() {
    filled(
        FLOWS,
        "Sequence",
        json!({"steps": [service()], "reply": service()}),
        expect![[r#"
            {
              "metadata": {
                "annotations": {
                  "flows.knative.dev/creator": "alice",
                  "flows.knative.dev/lastModifier": "alice"
                },
                "name": "x",
                "namespace": "ns"
              },
              "spec": {
                "channelTemplate": {
                  "apiVersion": "messaging.knative.dev/v1",
                  "kind": "InMemoryChannel"
                },
                "reply": {
                  "ref": {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": "s",
                    "namespace": "ns"
                  }
                },
                "steps": [
                  {
                    "ref": {
                      "apiVersion": "v1",
                      "kind": "Service",
                      "name": "s",
                      "namespace": "ns"
                    }
                  }
                ]
              }
            }"#]],
    );
    let template = json!({"apiVersion": "m/v1", "kind": "C"});
    let specs = [
        json!({}),
        json!({"steps": [{}, {"uri": "/a"}, {"uri": "http://a", "delivery": {"retry": -1}}]}),
        json!({"steps": [service()], "channelTemplate": {}, "reply": {}}),
        json!({"steps": [{"ref": {"name": "s"}}], "channelTemplate": template}),
    ];
    all_refused(
        FLOWS,
        "Sequence",
        &specs,
        &Configs::default(),
        expect![[r#"
            validation failed: missing field(s): spec.steps
            validation failed: invalid value: {{<nil> /a <nil> <nil>} <nil>}: spec.steps[1]
            invalid value: {{<nil> <nil> <nil> <nil>} <nil>}: spec.steps[0]
            invalid value: {{<nil> http://a <nil> <nil>} &{<nil> -1 <nil> <nil> <nil> <nil> <nil>}}: spec.steps[2]
            validation failed: expected at least one, got none: spec.reply.ref, spec.reply.uri
            missing field(s): spec.channelTemplate.apiVersion, spec.channelTemplate.kind
            validation failed: invalid value: {{&{ ns s   <nil>} <nil> <nil> <nil>} <nil>}: spec.steps[0]
        "#]],
    );
}

#[test]
fn parallels() {
    let branch = json!({"filter": service(), "subscriber": service(), "reply": service()});
    let good = object(FLOWS, "Parallel", &json!({"branches": [branch]}));
    let admitted = ask(&good, None, &Configs::default()).unwrap();
    for field in ["filter", "subscriber", "reply"] {
        assert_eq!(
            admitted["spec"]["branches"][0][field]["ref"]["namespace"],
            "ns"
        );
    }
    let specs = [
        json!({}),
        json!({"branches": [{}, {"subscriber": service(), "reply": {}}, {"subscriber": service(), "filter": {}}]}),
        json!({"branches": [branch], "channelTemplate": {}, "reply": {"uri": "a"}}),
    ];
    all_refused(
        FLOWS,
        "Parallel",
        &specs,
        &Configs::default(),
        expect![[r#"
            validation failed: missing field(s): spec.branches
            validation failed: invalid value: {&{<nil> <nil> <nil> <nil>} {&{Service ns s v1  <nil>} <nil> <nil> <nil>} <nil> <nil>}: spec.branches.filter[2]
            invalid value: {<nil> {&{Service ns s v1  <nil>} <nil> <nil> <nil>} &{<nil> <nil> <nil> <nil>} <nil>}: spec.branches.reply[1]
            invalid value: {<nil> {<nil> <nil> <nil> <nil>} <nil> <nil>}: spec.branches.subscriber[0]
            validation failed: invalid value: Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent: spec.reply.uri
            missing field(s): spec.channelTemplate.apiVersion, spec.channelTemplate.kind
        "#]],
    );
}

#[test]
fn job_sinks() {
    let containers = json!([
        {"name": "a", "image": "i"},
        {"name": "b", "image": "i", "env": [{"name": "K_EXECUTION_MODE", "value": "x"}]},
    ]);
    let job = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    filled(
        SINKS,
        "JobSink",
        json!({"job": job}),
        expect![[r#"
        {
          "metadata": {
            "annotations": {
              "sinks.knative.dev/creator": "alice",
              "sinks.knative.dev/lastModifier": "alice"
            },
            "name": "x",
            "namespace": "ns"
          },
          "spec": {
            "job": {
              "spec": {
                "template": {
                  "spec": {
                    "containers": [
                      {
                        "env": [
                          {
                            "name": "K_EXECUTION_MODE",
                            "value": "batch"
                          }
                        ],
                        "image": "i",
                        "name": "a"
                      },
                      {
                        "env": [
                          {
                            "name": "K_EXECUTION_MODE",
                            "value": "x"
                          }
                        ],
                        "image": "i",
                        "name": "b"
                      }
                    ]
                  }
                }
              }
            }
          }
        }"#]],
    );
    let specs = [json!({})];
    all_refused(
        SINKS,
        "JobSink",
        &specs,
        &Configs::default(),
        expect![[r#"
            validation failed: expected exactly one, got neither: spec.job
        "#]],
    );
}

#[test]
fn integration_sinks() {
    filled(
        SINKS,
        "IntegrationSink",
        json!({"log": {"showBody": false}}),
        expect![[r#"
            {
              "metadata": {
                "annotations": {
                  "sinks.knative.dev/creator": "alice",
                  "sinks.knative.dev/lastModifier": "alice"
                },
                "name": "x",
                "namespace": "ns"
              },
              "spec": {
                "log": {
                  "level": "INFO",
                  "loggerName": "log-sink",
                  "showBody": false,
                  "showBodyType": true,
                  "showCachedStreams": true,
                  "showExchangePattern": true
                }
              }
            }"#]],
    );
    let auth = json!({"serviceAccountName": "a"});
    let specs = [
        json!({}),
        json!({"log": {}, "aws": {"s3": {}}}),
        json!({"aws": {"sns": {"arn": "a"}}}),
        json!({"aws": {"eventbridge": {}, "auth": auth}}),
    ];
    all_refused(
        SINKS,
        "IntegrationSink",
        &specs,
        &Configs::default(),
        expect![[r#"
            validation failed: at least one sink type must be specified: spec.spec
            validation failed: only one sink type can be set: spec.spec
            validation failed: missing field(s): spec.aws.auth.secret.ref.name, spec.aws.sns.region
            validation failed: missing field(s): spec.aws.eventbridge.arn, spec.aws.eventbridge.region
        "#]],
    );
}
