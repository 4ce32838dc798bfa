//! Sources: where their events go, what runs for them, what they are told.

use api::world::{
    API_SERVER_SOURCE, CONFIG_MAP, CONTAINER_SOURCE, DEPLOYMENT, EVENT_TYPE, Fact, GITHUB_SOURCE,
    INTEGRATION_SOURCE, PING_SOURCE, SECRET, SERVICE, SINK_BINDING,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use expect_test::expect;
use serde_json::json;

use super::cluster::Cluster;

const SINK: &str = "sink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: hello}}";

fn available(cluster: &mut Cluster, name: &str) {
    let status = json!({"conditions": [{"type": "Available", "status": "True"}]});
    cluster.set_status(DEPLOYMENT, name, status);
}

#[test]
fn a_ping_source_waits_for_its_sink_and_then_runs() {
    let mut cluster = Cluster::new();
    cluster.apply(&format!(
        "
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {{name: p}}
spec:
  schedule: '*/1 * * * *'
  {SINK}
  ceOverrides: {{extensions: {{x: z}}}}
"
    ));
    assert_eq!(
        cluster.condition(PING_SOURCE, "p", "Ready"),
        "False NotFound failed to get object ns/hello: services.serving.knative.dev \"hello\" not found"
    );
    assert_eq!(cluster.graph(), "");
    cluster.callable("hello");
    expect![[r#"
        Deployed True
        OIDCIdentityCreated True authentication-oidc feature disabled
        Ready True
        SinkProvided True
        sinkUri: "http://hello.ns.svc.cluster.local"
        ceAttributes: [{"source":"/apis/v1/namespaces/ns/pingsources/p","type":"dev.knative.sources.ping"}]
    "#]]
    .assert_eq(&cluster.status(PING_SOURCE, "p", &["sinkUri", "ceAttributes"]));
    assert_eq!(
        cluster.graph(),
        "PingSource p → http://hello.ns.svc.cluster.local x=z\n"
    );
    cluster.delete(PING_SOURCE, "p");
    assert_eq!(cluster.graph(), "");
}

#[test]
fn sinks_of_old_are_references_themselves() {
    let mut cluster = Cluster::new();
    cluster.callable("hello");
    let source = "{apiVersion: sources.knative.dev/v1, kind: PingSource, metadata: {name: p}, spec: {sink: {apiVersion: serving.knative.dev/v1, kind: Service, name: hello}}}";
    cluster.apply(source);
    assert_eq!(cluster.condition(PING_SOURCE, "p", "Ready"), "True");
}

const API_SERVER: &str = "
apiVersion: sources.knative.dev/v1
kind: ApiServerSource
metadata: {name: a, annotations: {}}
spec:
  mode: Resource
  serviceAccountName: watcher
  resources: [{apiVersion: v1, kind: Event}]
  sink: {uri: 'http://sink'}
";

fn served(cluster: &mut Cluster) {
    let fact = Fact::Resource {
        api_version: "v1".into(),
        kind: "Event".into(),
    };
    cluster.fact(fact, json!({"plural": "events", "namespaced": true}));
}

fn allow(cluster: &mut Cluster, verbs: &[&str], namespace: &str) {
    for verb in verbs {
        let fact = Fact::Allowed {
            user: "system:serviceaccount:ns:watcher".into(),
            verb: (*verb).into(),
            group: String::new(),
            resource: "events".into(),
            namespace: namespace.into(),
        };
        cluster.fact(fact, json!({"allowed": true}));
    }
}

#[test]
fn an_api_server_source_needs_permissions() {
    let mut cluster = Cluster::new();
    served(&mut cluster);
    cluster.apply(API_SERVER);
    let uid = cluster.get(API_SERVER_SOURCE, "a")["metadata"]["uid"].clone();
    let adapter = format!("apiserversource-a-{}", uid.as_str().unwrap());
    allow(&mut cluster, &["get"], "ns");
    assert_eq!(
        cluster.condition(API_SERVER_SOURCE, "a", "SufficientPermissions"),
        "False  User system:serviceaccount:ns:watcher cannot list, watch resource \"events\" in API group \"\" in Namespace \"ns\""
    );
    assert_eq!(cluster.graph(), "");
    allow(&mut cluster, &["list", "watch"], "ns");
    assert_eq!(
        cluster.condition(API_SERVER_SOURCE, "a", "Ready"),
        format!("Unknown DeploymentUnavailable The Deployment '{adapter}' is unavailable.")
    );
    available(&mut cluster, &adapter);
    assert_eq!(cluster.condition(API_SERVER_SOURCE, "a", "Ready"), "True");
    assert_eq!(
        cluster.graph(),
        "ApiServerSource a → http://sink allNamespaces: false namespaces: [\"ns\"] resources: [{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"namespaced\":true,\"plural\":\"events\"}]\n"
    );
    let types = cluster.get(API_SERVER_SOURCE, "a")["status"]["ceAttributes"].clone();
    assert_eq!(types[0]["type"], "dev.knative.apiserver.resource.add");
}

#[test]
fn the_check_of_permissions_can_be_skipped() {
    let mut cluster = Cluster::new();
    served(&mut cluster);
    let skip = "annotations: {features.knative.dev/apiserversource-skip-permissions-check: 'true'}";
    cluster.apply(&API_SERVER.replace("annotations: {}", skip));
    assert_eq!(
        cluster.condition(API_SERVER_SOURCE, "a", "SufficientPermissions"),
        "True"
    );
}

#[test]
fn an_api_server_source_watches_the_namespaces_it_selects() {
    let mut cluster = Cluster::new();
    served(&mut cluster);
    for (name, label) in [("one", "yes"), ("two", "no")] {
        cluster.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{watch: '{label}'}}}}}}"));
    }
    let with = |selector: &str| format!("{API_SERVER}  namespaceSelector: {selector}\n");
    cluster.apply(&with("{matchLabels: {watch: 'yes'}}"));
    let namespaces =
        |cluster: &Cluster| cluster.get(API_SERVER_SOURCE, "a")["status"]["namespaces"].clone();
    assert_eq!(namespaces(&cluster), json!(["one"]));
    allow(&mut cluster, &["get", "list", "watch"], "one");
    assert!(cluster.graph().contains("allNamespaces: false"));
    cluster.apply(&with("{}"));
    assert_eq!(namespaces(&cluster), json!(["one", "two"]));
    allow(&mut cluster, &["get", "list", "watch"], "two");
    assert!(cluster.graph().contains("allNamespaces: true"));
}

#[test]
fn adapters_run_where_the_features_say() {
    let mut cluster = Cluster::new();
    served(&mut cluster);
    cluster.feature("apiserversources-nodeselector-disk", "ssd");
    cluster.apply(API_SERVER);
    let adapters = cluster.world.list(DEPLOYMENT, "ns");
    let spec = &adapters[0]["spec"]["template"]["spec"];
    assert_eq!(spec["nodeSelector"], json!({"disk": "ssd"}));
    assert_eq!(spec["serviceAccountName"], "watcher");
    let filters = "  filters: [{exact: {type: a}}]\n";
    cluster.apply(&format!("{API_SERVER}{filters}"));
    allow(&mut cluster, &["get", "list", "watch"], "ns");
    assert!(!cluster.graph().contains("filters"), "the feature is off");
    cluster.feature("new-apiserversource-filters", "enabled");
    assert!(
        cluster
            .graph()
            .contains("filters: [{\"exact\":{\"type\":\"a\"}}]")
    );
}

#[test]
fn containers_of_a_container_source_are_told_the_sink() {
    let mut cluster = Cluster::new();
    cluster.apply(&format!(
        "
apiVersion: sources.knative.dev/v1
kind: ContainerSource
metadata: {{name: c}}
spec:
  {SINK}
  template: {{spec: {{containers: [{{name: app, image: i, args: [a]}}]}}}}
"
    ));
    assert!(
        cluster.world.list(DEPLOYMENT, "").is_empty(),
        "not before the sink is known"
    );
    cluster.callable("hello");
    let adapter = cluster.get(DEPLOYMENT, "c-deployment");
    let container = &adapter["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["env"],
        json!([{"name": "K_SINK", "value": "http://hello.ns.svc.cluster.local"}, {"name": "K_CE_OVERRIDES"}])
    );
    available(&mut cluster, "c-deployment");
    expect![[r#"
        Ready True
        ReceiveAdapterReady True
        SinkBindingReady True
        sinkUri: "http://hello.ns.svc.cluster.local"
    "#]]
    .assert_eq(&cluster.status(CONTAINER_SOURCE, "c", &["sinkUri"]));
}

const BINDING: &str = "
apiVersion: sources.knative.dev/v1
kind: SinkBinding
metadata: {name: b}
spec:
  subject: {apiVersion: apps/v1, kind: Deployment, name: app}
  sink: {uri: 'http://sink'}
  ceOverrides: {extensions: {x: z}}
";
const APP: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, labels: {app: x}}
spec: {template: {spec: {containers: [{name: c}]}}}
";

#[test]
fn a_sink_binding_tells_its_subject_and_takes_it_back() {
    let mut cluster = Cluster::new();
    cluster.apply(BINDING);
    assert_eq!(
        cluster.condition(SINK_BINDING, "b", "Ready"),
        "False SubjectMissing Deployment \"app\" not found"
    );
    cluster.apply(APP);
    expect![[r#"
        OIDCIdentityCreated True authentication-oidc feature disabled
        OIDCTokenSecretCreated True authentication-oidc feature disabled
        Ready True
        SinkBindingAvailable True
        SinkProvided True
        TrustBundlePropagated True
        sinkUri: "http://sink"
    "#]]
    .assert_eq(&cluster.status(SINK_BINDING, "b", &["sinkUri"]));
    let env = |cluster: &Cluster| {
        cluster.get(DEPLOYMENT, "app")["spec"]["template"]["spec"]["containers"][0]["env"].clone()
    };
    assert_eq!(
        env(&cluster),
        json!([{"name": "K_SINK", "value": "http://sink"}, {"name": "K_CE_OVERRIDES", "value": "{\"extensions\":{\"x\":\"z\"}}"}])
    );
    let mut binding = cluster.get(SINK_BINDING, "b");
    binding["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    cluster.world.insert(SINK_BINDING, binding);
    cluster.settle();
    assert_eq!(env(&cluster), json!(null));
    assert!(cluster.world.list(SINK_BINDING, "").is_empty());
}

#[test]
fn trust_bundles_are_copied_to_where_sources_are() {
    let bundle = |name: &str, text: &str| {
        format!(
            "
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}, namespace: knative-eventing, labels: {{networking.knative.dev/trust-bundle: 'true'}}}}
data: {{ca.pem: '{text}'}}
"
        )
    };
    let certificate =
        |text: &str| format!("-----BEGIN CERTIFICATE-----{text}-----END CERTIFICATE-----");
    let mut cluster = Cluster::new();
    cluster.apply(&bundle("one", &certificate("1")));
    cluster.apply(APP);
    cluster.apply(BINDING);
    cluster.apply(&BINDING.replace("name: b}", "name: second}"));
    let text = |cluster: &Cluster, name: &str, file: &str| {
        cluster.get(CONFIG_MAP, name)["data"][file]
            .as_str()
            .map(str::to_owned)
    };
    let combined = "kn-combined-kne-bundlekne-bundle";
    let file = "kn-combined-kne-bundle.pem";
    assert_eq!(
        text(&cluster, "onekne-bundle", "ca.pem"),
        Some(certificate("1"))
    );
    assert_eq!(
        text(&cluster, combined, file),
        Some(certificate("1") + "\n")
    );
    let owners = cluster.get(CONFIG_MAP, "onekne-bundle")["metadata"]["ownerReferences"].clone();
    let owners: Vec<_> = owners
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["name"].clone())
        .collect();
    assert_eq!(owners, ["b", "second"]);
    let sources = |cluster: &Cluster| {
        let app = cluster.get(DEPLOYMENT, "app");
        app["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"].clone()
    };
    let of = |names: &[&str]| -> serde_json::Value {
        names
            .iter()
            .map(|name| json!({"configMap": {"name": name}}))
            .collect()
    };
    assert_eq!(sources(&cluster), of(&[combined, "onekne-bundle"]));
    // Another, and what the first holds, change; then they go.
    cluster.world.remove(CONFIG_MAP, "knative-eventing", "one");
    cluster.apply(&bundle("one", &certificate("2")));
    cluster.apply(&bundle("two", "none"));
    assert_eq!(
        text(&cluster, combined, file),
        Some(certificate("2") + "\n")
    );
    assert_eq!(
        sources(&cluster),
        of(&[combined, "onekne-bundle", "twokne-bundle"])
    );
    cluster.world.remove(CONFIG_MAP, "knative-eventing", "one");
    cluster.world.remove(CONFIG_MAP, "knative-eventing", "two");
    cluster.settle();
    assert!(cluster.world.list(CONFIG_MAP, "ns").is_empty());
    assert_eq!(sources(&cluster), json!(null));
}

#[test]
fn a_sink_binding_selects_subjects_by_label() {
    let mut cluster = Cluster::new();
    cluster.apply(APP);
    cluster.apply(&BINDING.replace("name: app}", "selector: {matchLabels: {app: x}}}"));
    let env = &cluster.get(DEPLOYMENT, "app")["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env[0]["value"], "http://sink");
    assert_eq!(cluster.condition(SINK_BINDING, "b", "Ready"), "True");
}

#[test]
fn of_integration_sources_the_timer_runs() {
    let mut cluster = Cluster::new();
    let source = |what: &str| {
        format!(
            "{{apiVersion: sources.knative.dev/v1alpha1, kind: IntegrationSource, metadata: {{name: i}}, spec: {{{what}, sink: {{uri: 'http://sink'}}}}}}"
        )
    };
    cluster.apply(&source("timer: {message: hi}"));
    assert_eq!(cluster.condition(INTEGRATION_SOURCE, "i", "Ready"), "True");
    assert_eq!(cluster.graph(), "IntegrationSource i → http://sink\n");
    cluster.apply(&source("aws: {s3: {arn: a}}"));
    assert!(
        cluster
            .condition(INTEGRATION_SOURCE, "i", "Ready")
            .starts_with("False NotSupported")
    );
    assert_eq!(cluster.graph(), "");
}

#[test]
fn a_github_source_needs_its_secrets() {
    let mut cluster = Cluster::new();
    cluster.apply(
        "
apiVersion: sources.knative.dev/v1alpha1
kind: GitHubSource
metadata: {name: g}
spec:
  eventTypes: [push]
  ownerAndRepository: o/r
  accessToken: {secretKeyRef: {name: github, key: accessToken}}
  secretToken: {secretKeyRef: {name: github, key: secretToken}}
  sink: {uri: 'http://sink'}
",
    );
    assert_eq!(
        cluster.condition(GITHUB_SOURCE, "g", "Ready"),
        "False AccessTokenNotFound Secret \"github\" with the key \"accessToken\" of spec.accessToken is not there."
    );
    let secret = Fact::Object {
        api_version: "v1".into(),
        kind: "Secret".into(),
        namespace: "ns".into(),
        name: "github".into(),
    };
    let data = json!({"accessToken": "YQ==", "secretToken": "c2VjcmV0"});
    cluster.fact(secret, json!({"object": {"data": data}}));
    assert_eq!(cluster.condition(GITHUB_SOURCE, "g", "Ready"), "True");
    assert_eq!(
        cluster.graph(),
        "GitHubSource g → http://sink hosts: [\"g-github.ns.svc.cluster.local\"] secretToken: \"secret\"\n"
    );
    cluster.get(SERVICE, "g-github");
}

#[test]
fn what_a_source_sends_to_an_object_has_event_types() {
    let mut cluster = Cluster::new();
    let ping = |sink: &str| {
        format!(
            "{{apiVersion: sources.knative.dev/v1, kind: PingSource, metadata: {{name: p}}, spec: {{schedule: '* * * * *', sink: {{{sink}}}}}}}"
        )
    };
    cluster.callable("hello");
    let reference = "{apiVersion: serving.knative.dev/v1, kind: Service, name: hello}";
    cluster.apply(&ping(&format!("ref: {reference}")));
    let types = cluster.world.list(EVENT_TYPE, "ns");
    let [only] = &types[..] else {
        panic!("one is expected, not {}", types.len())
    };
    assert_eq!(only["spec"]["reference"]["name"], "hello");
    assert_eq!(
        only["spec"]["attributes"][0],
        json!({"name": "type", "required": true, "value": "dev.knative.sources.ping"})
    );
    assert_eq!(
        only["metadata"]["labels"]["eventing.knative.dev/sourceName"],
        "p"
    );
    cluster.apply(&ping("uri: 'http://elsewhere'"));
    assert!(cluster.world.list(EVENT_TYPE, "ns").is_empty());
}

#[test]
fn a_source_that_does_not_run_is_not_deployed() {
    let mut cluster = Cluster::new();
    cluster.apply("{apiVersion: sources.knative.dev/v1, kind: PingSource, metadata: {name: p}, spec: {sink: {uri: 'http://x'}}}");
    assert_eq!(cluster.condition(PING_SOURCE, "p", "Ready"), "True");
    let trouble = Fact::Trouble {
        kind: PING_SOURCE,
        namespace: "ns".to_owned(),
        name: "p".to_owned(),
    };
    cluster.world.learn(trouble, json!({"message": "no log"}));
    cluster.settle();
    let found = cluster.condition(PING_SOURCE, "p", "Deployed");
    assert_eq!(found, "False DataPlaneUnavailable no log");
}

/// A token as the API server makes them, signed by nobody.
fn token(audience: &str, until: &str) -> String {
    let until: jiff::Timestamp = until.parse().unwrap();
    let claims = json!({
        "sub": "system:serviceaccount:ns:b-oidc-sources.knative.dev-sinkbinding",
        "aud": [audience],
        "exp": until.as_second(),
    });
    format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[test]
fn subjects_get_a_token_where_the_sink_wants_one() {
    let mut cluster = Cluster::new();
    cluster.feature("authentication-oidc", "enabled");
    cluster.apply(APP);
    cluster.apply(&BINDING.replace("{uri: 'http://sink'}", "{uri: 'http://sink', audience: me}"));
    let wanted = Fact::Token {
        namespace: "ns".to_owned(),
        account: "b-oidc-sources.knative.dev-sinkbinding".to_owned(),
        audience: "me".to_owned(),
    };
    let spec =
        |cluster: &Cluster| cluster.get(DEPLOYMENT, "app")["spec"]["template"]["spec"].clone();
    let created = cluster.condition(SINK_BINDING, "b", "OIDCTokenSecretCreated");
    assert!(created.starts_with("False"), "{created}");
    // Nobody is told half of it.
    assert!(spec(&cluster)["containers"][0]["env"].is_null());

    let first = token("me", "2026-01-01T01:00:00Z");
    cluster.fact(wanted.clone(), json!({"token": first}));
    assert_eq!(cluster.condition(SINK_BINDING, "b", "Ready"), "True");
    let binding = cluster.get(SINK_BINDING, "b");
    assert_eq!(binding["status"]["oidcTokenSecretName"], "b-oidc-token");
    let kept = |cluster: &Cluster| {
        let text = cluster.get(SECRET, "b-oidc-token")["data"]["token"].clone();
        let bytes = STANDARD.decode(text.as_str().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(kept(&cluster), first);
    let mount = json!([{"name": "oidc-token", "mountPath": "/oidc"}]);
    assert_eq!(spec(&cluster)["containers"][0]["volumeMounts"], mount);

    // It is renewed before it ends, and nothing flickers meanwhile.
    let second = token("me", "2026-01-01T02:00:00Z");
    cluster
        .facts
        .insert(wanted.clone(), json!({"error": "not now"}));
    cluster.world.unlearn(&wanted);
    cluster
        .world
        .set_now("2026-01-01T00:51:00Z".parse().unwrap());
    cluster.settle();
    assert_eq!(cluster.condition(SINK_BINDING, "b", "Ready"), "True");
    cluster.fact(wanted, json!({"token": second}));
    assert_eq!(kept(&cluster), second);

    cluster.feature("authentication-oidc", "disabled");
    assert!(cluster.world.list(SECRET, "ns").is_empty());
    assert!(spec(&cluster)["volumes"].is_null());
    assert_eq!(cluster.condition(SINK_BINDING, "b", "Ready"), "True");
}
