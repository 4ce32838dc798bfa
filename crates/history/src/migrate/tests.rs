//! What people see: texts before and after. The whole corpus is in `tests/corpus.rs`.

use expect_test::{Expect, expect};

use super::Catalog;

fn check(text: &str, expected: &Expect) {
    let mut catalog = Catalog::default();
    catalog.add(text).unwrap();
    expected.assert_eq(&catalog.migrate(text).unwrap().text);
}

#[test]
fn a_run_latest_service() {
    let text = "\
# The greeter.
apiVersion: serving.knative.dev/v1alpha1
kind: Service
metadata:
  name: greeter
  labels: {app: greeter}
spec:
  runLatest:
    configuration:
      revisionTemplate:
        spec:
          container:
            image: example.com/greeter
          concurrencyModel: Single
";
    check(
        text,
        &expect![[r#"
        # The greeter.
        # migrate: serving.knative.dev/v1 instead of serving.knative.dev/v1alpha1
        # migrate: spec.runLatest.configuration is the spec itself; the latest Revision gets all traffic
        #   unless spec.traffic says otherwise
        # migrate: revisionTemplate is template
        # migrate: the container is an entry of containers
        # migrate: concurrencyModel: Single is containerConcurrency: 1
        apiVersion: serving.knative.dev/v1
        kind: Service
        metadata:
          labels:
            app: greeter
          name: greeter
        spec:
          template:
            spec:
              containerConcurrency: 1
              containers:
              - image: example.com/greeter
    "#]],
    );
}

#[test]
fn what_is_of_today_or_unknown_is_passed_on_as_it_was_written() {
    let text = "\
# Kept, with its comments.
apiVersion: v1   # here too
kind: ConfigMap
metadata: {name: a}
data:
  b: |
    ---text that looks like a border
---
apiVersion: example.com/v1
kind: Anvil
metadata: {name: b}
";
    check(
        text,
        &expect![[r#"
        # Kept, with its comments.
        apiVersion: v1   # here too
        kind: ConfigMap
        metadata: {name: a}
        data:
          b: |
            ---text that looks like a border
        ---
        apiVersion: example.com/v1
        kind: Anvil
        metadata: {name: b}
    "#]],
    );
}

#[test]
fn a_build_stands_by_itself() {
    let text = "\
apiVersion: serving.knative.dev/v1alpha1
kind: Configuration
metadata: {name: built}
spec:
  build:
    serviceAccountName: builder
    steps: [{image: example.com/kaniko}]
  revisionTemplate:
    spec:
      container: {image: example.com/built}
";
    check(
        text,
        &expect![[r##"
        # migrate: serving.knative.dev/v1 instead of serving.knative.dev/v1alpha1
        # migrate: revisionTemplate is template
        # migrate: the container is an entry of containers
        # migrate: since v0.8 no Configuration has a build: it stands by itself as Build "built-build",
        #   and must be done before the image is asked for
        apiVersion: build.knative.dev/v1alpha1
        kind: Build
        metadata:
          name: built-build
        spec:
          serviceAccountName: builder
          steps:
          - image: example.com/kaniko
        ---
        apiVersion: serving.knative.dev/v1
        kind: Configuration
        metadata:
          name: built
        spec:
          template:
            spec:
              containers:
              - image: example.com/built
    "##]],
    );
}

#[test]
fn a_flow_is_written_out_and_its_event_type_is_gone() {
    let text = "\
apiVersion: feeds.knative.dev/v1alpha1
kind: EventType
metadata: {name: tick}
spec: {eventSource: cron}
---
apiVersion: flows.knative.dev/v1alpha1
kind: Flow
metadata: {name: clock}
spec:
  trigger: {eventType: tick, resource: '*/5 * * * *'}
  action:
    target: {kind: Route, apiVersion: serving.knative.dev/v1alpha1, name: wall}
";
    check(
        text,
        &expect![[r##"
        # migrate: EventType.feeds.knative.dev "tick" is left out
        # migrate: sources are kinds of their own now (sources.knative.dev); an EventType of
        #   eventing.knative.dev only describes events
        ---
        # migrate: a Flow was a source, a Channel and a Subscription, which are written out; for one
        #   target the source's sink could name it without the Channel
        # migrate: its events are of the type dev.knative.sources.ping
        apiVersion: messaging.knative.dev/v1
        kind: Channel
        metadata:
          name: clock
        ---
        apiVersion: messaging.knative.dev/v1
        kind: Subscription
        metadata:
          name: clock
        spec:
          channel:
            apiVersion: messaging.knative.dev/v1
            kind: Channel
            name: clock
          subscriber:
            ref:
              apiVersion: serving.knative.dev/v1
              kind: Route
              name: wall
        ---
        apiVersion: sources.knative.dev/v1
        kind: PingSource
        metadata:
          name: clock
        spec:
          schedule: "*/5 * * * *"
          sink:
            ref:
              apiVersion: messaging.knative.dev/v1
              kind: Channel
              name: clock
    "##]],
    );
}

#[test]
fn a_refusal_names_the_replacement_and_keeps_the_words() {
    let text = "\
apiVersion: sources.eventing.knative.dev/v1alpha1
kind: GcpPubSubSource
metadata: {name: orders}
spec: {topic: orders}
";
    check(
        text,
        &expect![[r##"
        # migrate: GcpPubSubSource.sources.eventing.knative.dev "orders" has no equivalent: use a
        #   ContainerSource (sources.knative.dev/v1) with an image that reads the topic and posts to
        #   $K_SINK
        # apiVersion: sources.eventing.knative.dev/v1alpha1
        # kind: GcpPubSubSource
        # metadata: {name: orders}
        # spec: {topic: orders}
    "##]],
    );
    let mut catalog = Catalog::default();
    let refused = catalog.migrate(text).unwrap().refused;
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("ContainerSource"), "{}", refused[0]);
    let error = catalog.add("a: [").unwrap_err();
    assert!(!error.is_empty());
}
