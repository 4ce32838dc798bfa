//! The kinds of Eventing that stand between producers and consumers, each from one end to the other:
//! GitHubSource, RequestReply, IntegrationSink, Sequence, Parallel, ContainerSource, EventPolicy.

use system::{Instance, run};

use crate::event_support::{
    BROKER, SOON, consumer, load_consumer, post, ready, request, rolled_out, seen, send, trigger,
};

fn to(name: &str) -> String {
    format!("{{ref: {{apiVersion: v1, kind: Service, name: {name}}}}}")
}

#[test]
fn github_posts_become_events_when_they_are_signed() {
    let instance = Instance::start();
    load_consumer(&instance);
    let source = "
---
apiVersion: v1
kind: Secret
metadata: {name: github}
stringData: {access: a, secret: s3cret}
---
apiVersion: sources.knative.dev/v1alpha1
kind: GitHubSource
metadata: {name: gh}
spec:
  ownerAndRepository: a/b
  eventTypes: [push]
  accessToken: {secretKeyRef: {name: github, key: access}}
  secretToken: {secretKeyRef: {name: github, key: secret}}
  sink: {ref: {apiVersion: v1, kind: Service, name: display}}
";
    let manifest = [consumer("display", ""), source.to_owned()];
    instance.apply(&manifest.concat()).expect();
    rolled_out(&instance, &["display"]);
    ready(&instance, "githubsource/gh");
    let url = instance
        .kubectl("get githubsource gh -o jsonpath={.status.webhookUrl}")
        .expect();
    // HMAC-SHA256 of the two bytes `{}` with the key `s3cret`.
    let signature = "adbde1ce40c89c14215687d5d762a47df6dfaefcfad61e2e86718ffc8498571b";
    let hook = |kind: &str, id: &str, signature: &str| {
        let kind = format!("X-GitHub-Event: {kind}");
        let id = format!("X-GitHub-Delivery: {id}");
        let signature = format!("X-Hub-Signature-256: sha256={signature}");
        let headers = [&*kind, &id, &signature, "Content-Type: application/json"];
        request(&instance, &url, &headers, "{}").0
    };
    assert_eq!(hook("push", "forged", &signature.replace('a', "b")), "401");
    assert_eq!(hook("issues", "unwanted", signature), "202");
    assert_eq!(hook("push", "wanted", signature), "202");
    instance.eventually(SOON, || {
        seen(&instance, "display").contains("ce-id: wanted\n")
    });
    let seen = seen(&instance, "display");
    assert!(
        seen.contains("ce-type: dev.knative.source.github.push\n"),
        "{seen}"
    );
    assert!(
        seen.contains("ce-source: https://github.com/a/b\n"),
        "{seen}"
    );
    assert!(
        !seen.contains("forged") && !seen.contains("unwanted"),
        "{seen}"
    );
}

#[test]
fn a_request_waits_for_its_reply_and_a_log_sink_writes_events_down() {
    let instance = Instance::start();
    load_consumer(&instance);
    let objects = "
---
apiVersion: eventing.knative.dev/v1alpha1
kind: RequestReply
metadata: {name: ask}
spec:
  brokerRef: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}
  timeout: PT50S
---
apiVersion: sinks.knative.dev/v1alpha1
kind: IntegrationSink
metadata: {name: log}
spec: {log: {level: INFO, showHeaders: true}}
";
    let manifest = [
        BROKER.to_owned(),
        consumer(
            "worker",
            "{name: REPLY_TYPE, value: answer}, {name: APPEND, value: ' 42'}",
        ),
        trigger("questions", "type: question", &to("worker"), "{}"),
        objects.to_owned(),
    ];
    instance.apply(&manifest.concat()).expect();
    rolled_out(&instance, &["worker"]);
    ready(
        &instance,
        "broker/default trigger/questions requestreply/ask integrationsink/log",
    );
    let (status, body) = send(&instance, "requestreply ask", ("1", "question"), &[], "{}");
    assert_eq!((&*status, &*body), ("200", "{} 42"));

    let (status, _) = send(
        &instance,
        "integrationsink log",
        ("2", "t"),
        &[],
        "{\"n\":7}",
    );
    assert!(status.starts_with("20"), "{status}");
    instance.eventually(SOON, || {
        let log = instance.log();
        log.contains("ce-id=2") && log.contains("Body: {\"n\":7}")
    });
}

#[test]
fn events_go_through_sequences_and_parallels() {
    let instance = Instance::start();
    load_consumer(&instance);
    let step = |name: &str, append: &str| {
        let env =
            format!("{{name: REPLY_TYPE, value: {name}}}, {{name: APPEND, value: '{append}'}}");
        consumer(name, &env)
    };
    let flows = "
---
apiVersion: flows.knative.dev/v1
kind: Sequence
metadata: {name: seq}
spec:
  steps:
  - ref: {apiVersion: v1, kind: Service, name: one}
  - ref: {apiVersion: v1, kind: Service, name: two}
  reply: {ref: {apiVersion: v1, kind: Service, name: end}}
---
apiVersion: flows.knative.dev/v1
kind: Parallel
metadata: {name: par}
spec:
  branches:
  - subscriber: {ref: {apiVersion: v1, kind: Service, name: one}}
  - filter: {ref: {apiVersion: v1, kind: Service, name: silent}}
    subscriber: {ref: {apiVersion: v1, kind: Service, name: never}}
  - filter: {ref: {apiVersion: v1, kind: Service, name: two}}
    subscriber: {ref: {apiVersion: v1, kind: Service, name: one}}
    reply: {ref: {apiVersion: v1, kind: Service, name: branch}}
  reply: {ref: {apiVersion: v1, kind: Service, name: end}}
";
    let manifest = [
        step("one", "1"),
        step("two", "2"),
        step("never", "never"),
        consumer("silent", ""),
        consumer("end", ""),
        consumer("branch", ""),
        flows.to_owned(),
    ];
    instance.apply(&manifest.concat()).expect();
    rolled_out(
        &instance,
        &["one", "two", "never", "silent", "end", "branch"],
    );
    ready(&instance, "sequence/seq parallel/par");
    assert_eq!(
        send(&instance, "sequence seq", ("s", "start"), &[], "0").0,
        "202"
    );
    instance.eventually(SOON, || seen(&instance, "end").contains("data: 012\n"));
    let end = seen(&instance, "end");
    assert!(
        end.contains("ce-id: s\n") && end.contains("ce-type: two\n"),
        "{end}"
    );
    assert_eq!(
        send(&instance, "parallel par", ("p", "start"), &[], "3").0,
        "202"
    );
    instance.eventually(SOON, || {
        seen(&instance, "end").contains("data: 31\n")
            && seen(&instance, "branch").contains("data: 321\n")
    });
    assert_eq!(seen(&instance, "never"), "");
    assert!(seen(&instance, "silent").contains("ce-id: p\n"));
}

#[test]
fn a_container_is_told_where_to_send() {
    let instance = Instance::start();
    load_consumer(&instance);
    let source = "
---
apiVersion: sources.knative.dev/v1
kind: ContainerSource
metadata: {name: contained}
spec:
  template:
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: source, image: example.com/consumer, env: [{name: SEND, value: contained}]}
  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}
";
    let manifest = [
        BROKER.to_owned(),
        consumer("display", ""),
        trigger("all", "type: contained", &to("display"), "{}"),
    ];
    instance.apply(&manifest.concat()).expect();
    rolled_out(&instance, &["display"]);
    ready(&instance, "broker/default trigger/all");
    instance.apply(source).expect();
    ready(&instance, "containersource/contained");
    instance.eventually(SOON, || {
        seen(&instance, "display").contains("ce-source: /container\n")
    });
}

#[test]
fn policies_say_who_may_send() {
    let instance = Instance::start();
    let policy = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: friend}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: stranger}
---
apiVersion: messaging.knative.dev/v1
kind: InMemoryChannel
metadata: {name: pipe}
---
apiVersion: eventing.knative.dev/v1alpha1
kind: EventPolicy
metadata: {name: friends}
spec:
  to:
  - ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}
  - ref: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel, name: pipe}
  from: [{sub: 'system:serviceaccount:default:friend'}]
  filters: [{prefix: {type: good}}]
";
    instance.apply(BROKER).expect();
    let refused = instance.apply(policy).expect_failure();
    assert!(
        refused.contains("oidc-authentication feature not enabled"),
        "{refused}"
    );
    // Without authentication there are no subjects, and everyone may send.
    ready(&instance, "broker/default");
    assert_eq!(post(&instance, "broker default", "1", "bad"), "202");
    let enable = [
        "patch",
        "cm",
        "config-features",
        "-n",
        "knative-eventing",
        "-p",
        r#"{"data":{"authentication-oidc":"enabled"}}"#,
    ];
    instance.kubectl_args(&enable, "").expect();
    instance.apply(policy).expect();
    ready(
        &instance,
        "broker/default inmemorychannel/pipe eventpolicy/friends",
    );
    for what in ["broker default", "inmemorychannel pipe"] {
        let audience = format!("get {what} -o jsonpath={{.status.address.audience}}");
        instance.eventually(SOON, || !instance.kubectl(&audience).stdout.is_empty());
        let audience = instance.kubectl(&audience).expect();
        let bearer = |account: &str| {
            let words = format!("create token {account} --audience {audience}");
            let token = instance.kubectl(&words).expect();
            format!("Authorization: Bearer {}", token.trim())
        };
        let (friend, stranger) = (bearer("friend"), bearer("stranger"));
        let status =
            |kind: &str, headers: &[&str]| send(&instance, what, ("2", kind), headers, "{}").0;
        instance.eventually(SOON, || status("good", &[]) == "401");
        assert_eq!(status("good", &[&friend]), "202", "{what}");
        assert_eq!(status("bad", &[&friend]), "403", "{what}");
        assert_eq!(status("good", &[&stranger]), "403", "{what}");
        let other = run(
            instance
                .client("kubectl")
                .args(["create", "token", "friend", "--audience", "other"]),
            "",
        );
        let other = format!("Authorization: Bearer {}", other.expect().trim());
        assert_eq!(status("good", &[&other]), "401", "{what}");
    }
}
