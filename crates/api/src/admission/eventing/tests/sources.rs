//! Sources.

use super::*;

const SOURCES: &str = "sources.knative.dev/v1";
const ALPHA: &str = "sources.knative.dev/v1alpha1";

/// `spec` with a sink that is good.
fn with_sink(mut spec: Value) -> Value {
    spec["sink"] = json!({"uri": "http://sink"});
    spec
}

/// The refusals of several specs that have a sink, one after the other.
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
        let object = object(api_version, kind, &with_sink(spec.clone()));
        let error = ask(&object, None, configs).expect_err("admitted");
        let (_, mistakes) = error.split_once("denied the request: ").unwrap();
        told.push_str(&format!("{mistakes}\n"));
    }
    expected.assert_eq(&told);
}

#[test]
fn api_server_sources() {
    let resources = json!([{"apiVersion": "v1", "kind": "Event"}]);
    filled(
        SOURCES,
        "ApiServerSource",
        with_sink(json!({"resources": resources})),
        expect![[r#"
            {
              "metadata": {
                "annotations": {
                  "sources.knative.dev/creator": "alice",
                  "sources.knative.dev/lastModifier": "alice"
                },
                "name": "x",
                "namespace": "ns"
              },
              "spec": {
                "mode": "Reference",
                "resources": [
                  {
                    "apiVersion": "v1",
                    "kind": "Event"
                  }
                ],
                "serviceAccountName": "default",
                "sink": {
                  "uri": "http://sink"
                }
              }
            }"#]],
    );
    refused(
        SOURCES,
        "ApiServerSource",
        with_sink(json!({"resources": resources, "mode": "Unknown"})),
        expect![[
            r#"admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: invalid value: Unknown: spec.mode"#
        ]],
    );
    refused(
        SOURCES,
        "ApiServerSource",
        json!({"resources": resources}),
        expect![[
            r#"admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: expected at least one, got none: spec.sink.ref, spec.sink.uri"#
        ]],
    );
    let specs = [
        json!({}),
        json!({"resources": [{"apiVersion": "a/b/c", "kind": " "}], "owner": {"apiVersion": "v1"}}),
        json!({"resources": resources, "filters": [{"exact": {"type": "a"}}]}),
        json!({"resources": resources, "ceOverrides": {"extensions": {"Invalid_type": "a"}}}),
    ];
    all_refused(
        SOURCES,
        "ApiServerSource",
        &specs,
        &Configs::default(),
        expect![[r#"
            validation failed: missing field(s): spec.resources
            validation failed: invalid value: a/b/c: spec.resources[0].apiVersion
            missing field(s): spec.owner.kind, spec.resources[0].kind
            validation failed: Filters is not empty but the NewAPIServerFilters feature is disabled.: 
            validation failed: invalid key name "Invalid_type": spec.ceOverrides.extensions
            keys are expected to be alphanumeric
        "#]],
    );
}

#[test]
fn filters_of_api_server_sources() {
    let resources = json!([{"apiVersion": "v1", "kind": "Event"}]);
    let mut on = Configs::default();
    on.eventing.features.api_server_source_filters = true;
    let filters = json!([{"exact": {"A": "a"}}]);
    let spec = json!({"resources": resources, "filters": filters});
    all_refused(
        SOURCES,
        "ApiServerSource",
        &[spec],
        &on,
        expect![[r#"
        validation failed: invalid key name "A": spec.filters[0].exact[A]
        Attribute name must start with a letter and can only contain lowercase alphanumeric
    "#]],
    );
}

#[test]
fn container_sources() {
    let of = |containers: Value| json!({"template": {"spec": {"containers": containers}}});
    let good = object(
        SOURCES,
        "ContainerSource",
        &with_sink(of(json!([{"image": "i"}]))),
    );
    let admitted = ask(&good, None, &Configs::default()).unwrap();
    assert_eq!(
        admitted["spec"]["template"]["spec"]["containers"][0]["name"],
        "x-0"
    );
    let specs = [json!({}), of(json!([{"name": "a"}]))];
    all_refused(
        SOURCES,
        "ContainerSource",
        &specs,
        &Configs::default(),
        expect![[r#"
            validation failed: missing field(s): spec.containers
            validation failed: missing field(s): spec.containers[0].image
        "#]],
    );
}

#[test]
fn sink_bindings() {
    let named = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    let good = object(
        SOURCES,
        "SinkBinding",
        &with_sink(json!({"subject": named})),
    );
    let admitted = ask(&good, None, &Configs::default()).unwrap();
    assert_eq!(admitted["spec"]["subject"]["namespace"], "ns");
    let mut both = named.clone();
    both["selector"] = json!({"matchLabels": {"a": "b"}});
    let mut elsewhere = named.clone();
    elsewhere["namespace"] = json!("other");
    let specs = [
        json!({}),
        json!({"subject": both}),
        json!({"subject": elsewhere}),
        json!({"subject": {"apiVersion": "a/b/c", "kind": "a b", "name": "A"}}),
    ];
    all_refused(
        SOURCES,
        "SinkBinding",
        &specs,
        &Configs::default(),
        expect![[r#"
            validation failed: expected exactly one, got neither: spec.subject.name, spec.subject.selector
            missing field(s): spec.subject.apiVersion, spec.subject.kind
            validation failed: expected exactly one, got both: spec.subject.name, spec.subject.selector
            validation failed: invalid value: other: spec.subject.namespace
            validation failed: invalid value: a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?'): spec.subject.name
            invalid value: a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName'): spec.subject.apiVersion
            invalid value: a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*'): spec.subject.kind
        "#]],
    );
}

#[test]
fn ping_sources() {
    filled(
        SOURCES,
        "PingSource",
        with_sink(json!({})),
        expect![[r#"
            {
              "metadata": {
                "annotations": {
                  "sources.knative.dev/creator": "alice",
                  "sources.knative.dev/lastModifier": "alice"
                },
                "name": "x",
                "namespace": "ns"
              },
              "spec": {
                "schedule": "* * * * *",
                "sink": {
                  "uri": "http://sink"
                }
              }
            }"#]],
    );
    let specs = [
        json!({"schedule": "2"}),
        json!({"schedule": "@every 2h", "timezone": "Europe/Paris"}),
        json!({"timezone": "Knative/Land"}),
        json!({"data": "a", "dataBase64": "YQ=="}),
        json!({"dataBase64": "$$$ invalid base64 string $$$"}),
        json!({"contentType": "application/json", "data": "Invalid JSON"}),
        json!({"contentType": "application/json", "data": "{"}),
        json!({"contentType": "application/json", "data": "[]"}),
        json!({"contentType": "application/json", "dataBase64": "SW52YWxpZCBKU09O"}),
        json!({"ceOverrides": {"extensions": {"Invalid_type": "any value"}}}),
    ];
    all_refused(
        SOURCES,
        "PingSource",
        &specs,
        &Configs::default(),
        expect![[r#"
            validation failed: invalid value: expected 5 to 6 fields, found 1: [2]: spec.schedule
            validation failed: invalid value: unsupported descriptor @every: spec.schedule
            validation failed: invalid value: provided bad location Knative/Land: unknown time zone Knative/Land: spec.timezone
            validation failed: expected exactly one, got both: spec.data, spec.dataBase64
            validation failed: invalid value: illegal base64 data at input byte 0: spec.dataBase64
            validation failed: invalid value: invalid character 'I' looking for beginning of value: spec.data
            validation failed: invalid value: unexpected end of JSON input: spec.data
            validation failed: invalid value: json: cannot unmarshal array into Go value of type map[string]interface {}: spec.data
            validation failed: invalid value: invalid character 'I' looking for beginning of value: spec.dataBase64
            validation failed: invalid key name "Invalid_type": spec.ceOverrides.extensions
            keys are expected to be alphanumeric
        "#]],
    );
    let mut small = Configs::default();
    small.eventing.ping.data_max = 4;
    let specs = [json!({"data": "aaaaa"}), json!({"dataBase64": "YWFhYWE="})];
    all_refused(
        SOURCES,
        "PingSource",
        &specs,
        &small,
        expect![[r#"
        validation failed: invalid value: the data length of 5 bytes exceeds limit set at 4.: spec.data
        validation failed: invalid value: the dataBase64 length of 8 bytes exceeds limit set at 4.: spec.dataBase64
    "#]],
    );
    let seconds = json!({"schedule": "*/5 * * * * *", "timezone": "Europe/Paris", "data": "a"});
    let good = object(SOURCES, "PingSource", &with_sink(seconds));
    ask(&good, None, &Configs::default()).unwrap();
}

#[test]
fn integration_sources() {
    filled(
        ALPHA,
        "IntegrationSource",
        with_sink(json!({"timer": {"message": "m"}})),
        expect![[r#"
            {
              "metadata": {
                "annotations": {
                  "sources.knative.dev/creator": "alice",
                  "sources.knative.dev/lastModifier": "alice"
                },
                "name": "x",
                "namespace": "ns"
              },
              "spec": {
                "sink": {
                  "uri": "http://sink"
                },
                "timer": {
                  "contentType": "text/plain",
                  "message": "m",
                  "period": 1000
                }
              }
            }"#]],
    );
    let auth = json!({"secret": {"ref": {"name": "s"}}});
    let specs = [
        json!({}),
        json!({"timer": {}, "aws": {"s3": {}}}),
        json!({"aws": {"s3": {"arn": "a"}}}),
        json!({"aws": {"ddbStreams": {}, "auth": auth}}),
    ];
    all_refused(
        ALPHA,
        "IntegrationSource",
        &specs,
        &Configs::default(),
        expect![[r#"
            validation failed: at least one source type must be specified: spec.spec
            validation failed: only one source type can be set: spec.spec
            validation failed: missing field(s): spec.aws.auth.secret.ref.name, spec.aws.s3.region
            validation failed: missing field(s): spec.aws.ddbStreams.region, spec.aws.ddbStreams.table
        "#]],
    );
}

#[test]
fn github_sources() {
    let key = json!({"secretKeyRef": {"name": "s", "key": "k"}});
    let good = json!({
        "ownerAndRepository": "o/r",
        "eventTypes": ["push"],
        "accessToken": key,
        "secretToken": key,
    });
    ask(
        &object(ALPHA, "GitHubSource", &with_sink(good)),
        None,
        &Configs::default(),
    )
    .unwrap();
    let specs = [
        json!({}),
        json!({"ownerAndRepository": "o", "eventTypes": ["pull"], "accessToken": key}),
    ];
    all_refused(
        ALPHA,
        "GitHubSource",
        &specs,
        &Configs::default(),
        expect![[r#"
            validation failed: missing field(s): spec.accessToken.secretKeyRef.key, spec.accessToken.secretKeyRef.name, spec.eventTypes, spec.ownerAndRepository, spec.secretToken.secretKeyRef.key, spec.secretToken.secretKeyRef.name
            validation failed: invalid value: pull: spec.eventTypes[0]
            missing field(s): spec.secretToken.secretKeyRef.key, spec.secretToken.secretKeyRef.name
        "#]],
    );
}
