//! The kinds of Knative Eventing as Knative's own conformance tests and old manifests meet them in
//! the API: definitions, roles, defaults, refusals, versions. Nothing is delivered here.

use system::{Instance, Outcome};

/// Triggers as they were written from 2019 on.
const OLD: &str = "
apiVersion: eventing.knative.dev/v1alpha1
kind: Trigger
metadata: {name: old}
spec:
  filter: {sourceAndType: {type: greeting, source: ''}}
  subscriber: {ref: {apiVersion: v1, kind: Service, name: s}}
---
apiVersion: eventing.knative.dev/v1beta1
kind: Broker
metadata: {name: default}
spec:
  channelTemplateSpec: {apiVersion: messaging.knative.dev/v1beta1, kind: InMemoryChannel}
---
apiVersion: sources.knative.dev/v1alpha2
kind: PingSource
metadata: {name: ping}
spec:
  schedule: '*/1 * * * *'
  jsonData: '{\"message\": \"Hello\"}'
  sink: {ref: {apiVersion: v1, kind: Service, name: s}}
";

/// `jsonpath` of an object.
#[track_caller]
fn check(instance: &Instance, object: &str, jsonpath: &str, expected: &str) {
    let got = instance.kubectl(&format!("get {object} -o jsonpath={jsonpath}"));
    assert_eq!(got.expect(), expected, "{object} {jsonpath}");
}

/// A manifest is refused with these words.
#[track_caller]
fn refused(outcome: Outcome, expected: &str) {
    let said = outcome.expect_failure();
    assert!(said.contains(expected), "{expected:?} is not in\n{said}");
}

fn subscription(name: &str, namespace: &str) -> String {
    format!(
        "apiVersion: messaging.knative.dev/v1\nkind: Subscription\nmetadata: {{name: {name}}}\n\
         spec:\n  channel: {{apiVersion: messaging.knative.dev/v1, kind: Channel, name: c, \
         namespace: {namespace}}}\n  subscriber: {{uri: 'http://s'}}\n"
    )
}

#[test]
fn old_manifests_come_back_as_they_were_written() {
    let instance = Instance::start();
    instance.apply(OLD).expect();
    let old = "trigger.v1alpha1.eventing.knative.dev/old";
    check(
        &instance,
        old,
        "{.spec.filter.sourceAndType.type}",
        "greeting",
    );
    check(
        &instance,
        "trigger/old",
        "{.spec.filter.attributes}",
        "{\"type\":\"greeting\"}",
    );
    check(&instance, "trigger/old", "{.spec.broker}", "default");
    let broker = "broker.v1beta1.eventing.knative.dev/default";
    check(
        &instance,
        broker,
        "{.spec.channelTemplateSpec.kind}",
        "InMemoryChannel",
    );
    check(
        &instance,
        "broker/default",
        "{.spec.config.name}",
        "config-br-default-channel",
    );
    check(
        &instance,
        "broker/default",
        "{.spec.channelTemplateSpec}",
        "",
    );
    check(
        &instance,
        "pingsource/ping",
        "{.spec.data}",
        "{\"message\": \"Hello\"}",
    );
    let ping = "pingsource.v1alpha2.sources.knative.dev/ping";
    check(
        &instance,
        ping,
        "{.spec.jsonData}",
        "{\"message\": \"Hello\"}",
    );
    // A second apply of the same finds nothing to do.
    let again = instance.apply(OLD).expect();
    assert_eq!(again.matches("unchanged").count(), 3, "{again}");
}

#[test]
fn definitions_and_roles_are_as_conformance_asks() {
    let instance = Instance::start();
    let crd = "crd/inmemorychannels.messaging.knative.dev";
    let labels = "{.metadata.labels.messaging\\.knative\\.dev/subscribable}\
                  {.metadata.labels.duck\\.knative\\.dev/addressable}";
    check(&instance, crd, labels, "truetrue");
    check(
        &instance,
        crd,
        "{.spec.names.categories}",
        "[\"all\",\"knative\",\"messaging\",\"channel\"]",
    );
    let types = "{.metadata.annotations.registry\\.knative\\.dev/eventTypes}";
    let types = instance.kubectl(&format!(
        "get crd/pingsources.sources.knative.dev -o jsonpath={types}"
    ));
    assert!(types.expect().contains("dev.knative.sources.ping"));
    for (role, asked) in [
        (
            "channelable-manipulator",
            "patch inmemorychannels.messaging.knative.dev --subresource=status",
        ),
        ("addressable-resolver", "watch brokers.eventing.knative.dev"),
        ("source-observer", "list pingsources.sources.knative.dev"),
    ] {
        let may = format!("auth can-i {asked} --as system:serviceaccount:default:{role}");
        instance.kubectl(&may).expect_failure();
        let bind = format!(
            "create clusterrolebinding {role} --clusterrole {role} --serviceaccount default:{role}"
        );
        instance.kubectl(&bind).expect();
        assert_eq!(instance.kubectl(&may).expect().trim(), "yes", "{role}");
    }
    instance
        .kubectl(
            "wait -n knative-eventing deployment --all --for=condition=Available --timeout=30s",
        )
        .expect();
}

#[test]
fn settings_count_at_once() {
    let instance = Instance::start();
    let set = |name: &str, data: &str| {
        let patch = format!("{{\"data\":{{{data}}}}}");
        instance.kubectl_args(
            &[
                "-n",
                "knative-eventing",
                "patch",
                "cm",
                name,
                "--type=merge",
                "-p",
                &patch,
            ],
            "",
        )
    };
    refused(
        set("config-features", "\"delivery-timeout\":\"maybe\""),
        "admission webhook \"config.webhook.eventing.knative.dev\" denied the request",
    );
    let broker = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n";
    let defaults =
        "clusterDefault: {brokerClass: Other, apiVersion: v1, kind: ConfigMap, name: conf}";
    set(
        "config-br-defaults",
        &format!("\"default-br-config\":\"{defaults}\""),
    )
    .expect();
    instance.apply(broker).expect();
    let class = "{.metadata.annotations.eventing\\.knative\\.dev/broker\\.class}";
    check(&instance, "broker/b", class, "Other");
    let policy = "apiVersion: eventing.knative.dev/v1alpha1\nkind: EventPolicy\n\
                  metadata: {name: p}\nspec: {from: [{sub: a}]}\n";
    refused(
        instance.apply(policy),
        "oidc-authentication feature not enabled",
    );
    set("config-features", "\"authentication-oidc\":\"enabled\"").expect();
    instance.apply(policy).expect();
}

#[test]
fn listening_in_another_namespace_needs_leave() {
    let instance = Instance::start();
    instance.kubectl("create namespace other").expect();
    instance
        .kubectl("create rolebinding e --clusterrole edit --user jane")
        .expect();
    refused(
        instance.apply(&subscription("a", "other")),
        "must not set the field(s): spec.channel.namespace",
    );
    let patch = "{\"data\":{\"cross-namespace-event-links\":\"enabled\"}}";
    let settings = [
        "-n",
        "knative-eventing",
        "patch",
        "cm",
        "config-features",
        "--type=merge",
        "-p",
        patch,
    ];
    instance.kubectl_args(&settings, "").expect();
    let jane = |name: &str| {
        let manifest = subscription(name, "other");
        instance.kubectl_args(&["apply", "--as", "jane", "-f", "-"], &manifest)
    };
    refused(
        jane("a"),
        "user jane is not authorized to get target resource in namespace: other: spec.ChannelNamespace",
    );
    let grant = "create rolebinding s -n other --clusterrole channel-subscriber --user jane";
    instance.kubectl(grant).expect();
    jane("a").expect();
}

#[test]
fn subscribers_of_channels_are_the_controllers() {
    let instance = Instance::start();
    let channel =
        "apiVersion: messaging.knative.dev/v1\nkind: InMemoryChannel\nmetadata: {name: c}\n";
    instance.apply(channel).expect();
    let patch = "{\"spec\":{\"subscribers\":[{\"uid\":\"u\",\"subscriberUri\":\"http://s\"}]}}";
    refused(
        instance.kubectl_args(&["patch", "imc", "c", "--type=merge", "-p", patch], ""),
        "which was not the system:serviceaccount:knative-eventing:eventing-controller service account",
    );
    let controller = "system:serviceaccount:knative-eventing:eventing-controller";
    let grant =
        format!("create clusterrolebinding c --clusterrole cluster-admin --user {controller}");
    instance.kubectl(&grant).expect();
    let allowed = [
        "patch",
        "imc",
        "c",
        "--as",
        controller,
        "--type=merge",
        "-p",
        patch,
    ];
    instance.kubectl_args(&allowed, "").expect();
}

/// A SinkBinding, and a Job that it is about: a Job cannot be told later.
const BOUND: &str = "
apiVersion: sources.knative.dev/v1
kind: SinkBinding
metadata: {name: bind}
spec:
  subject: {apiVersion: batch/v1, kind: Job, selector: {matchLabels: {app: heartbeat}}}
  sink: {uri: 'http://sink.example.com'}
  ceOverrides: {extensions: {sink: bound}}
";
const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: NAME, labels: {app: heartbeat, bindings.knative.dev/exclude: 'EXCLUDE'}}
spec:
  suspend: true
  template:
    spec: {restartPolicy: Never, containers: [{name: c, image: example.com/none}]}
";

#[test]
fn subjects_of_bindings_are_told_when_they_are_made() {
    let instance = Instance::start();
    instance.apply(BOUND).expect();
    instance
        .kubectl("wait sinkbinding/bind --for=jsonpath={.status.sinkUri}=http://sink.example.com --timeout=30s")
        .expect();
    let job = |name: &str, exclude: &str| JOB.replace("NAME", name).replace("EXCLUDE", exclude);
    instance.apply(&job("told", "false")).expect();
    instance.apply(&job("left", "true")).expect();
    let env = "{.spec.template.spec.containers[0].env[*].value}";
    let expected = "http://sink.example.com {\"extensions\":{\"sink\":\"bound\"}}";
    check(&instance, "job/told", env, expected);
    check(&instance, "job/left", env, "");
}
