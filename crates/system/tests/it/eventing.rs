//! Brokers, Triggers, channels and Subscriptions on the real binary: who gets what, what becomes
//! of what cannot be delivered, and what a crash leaves.

use system::Instance;

use crate::event_support::{
    BROKER, DISPLAY, SOON, display, post, printed, ready, service, trigger,
};

const TO_DISPLAY: &str = "{ref: {apiVersion: v1, kind: Service, name: display}}";

#[test]
fn events_go_to_whoever_wants_them_and_wake_a_service_at_zero() {
    let instance = Instance::start();
    let allow = r#"patch cm -n knative-serving config-autoscaler --type=merge -p {"data":{"allow-zero-initial-scale":"true"}}"#;
    instance.kubectl(allow).expect();
    let sleeper = format!(
        "
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: sleeper}}
spec:
  template:
    metadata: {{annotations: {{autoscaling.knative.dev/initial-scale: '0'}}}}
    spec:
      containers: [{{image: {DISPLAY}}}]
"
    );
    let to_sleeper = "{ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: sleeper}}";
    let manifest = [
        display("display"),
        sleeper,
        format!("---{BROKER}"),
        trigger("all", "", TO_DISPLAY, "{}"),
        trigger("some", "type: wanted", to_sleeper, "{}"),
    ];
    instance.apply(&manifest.concat()).expect();
    instance
        .kubectl("rollout status deploy/display --timeout=60s")
        .expect();
    ready(
        &instance,
        "ksvc/sleeper broker/default trigger/all trigger/some",
    );
    assert_eq!(post(&instance, "broker default", "1", "other"), "202");
    assert_eq!(post(&instance, "broker default", "2", "wanted"), "202");
    let sleeper = "serving.knative.dev/service=sleeper";
    instance.eventually(SOON, || printed(&instance, sleeper, "2") == 1);
    instance.eventually(SOON, || {
        printed(&instance, "app=display", "1") == 1 && printed(&instance, "app=display", "2") == 1
    });
    assert_eq!(printed(&instance, sleeper, "1"), 0);
}

#[test]
fn what_fails_is_a_dead_letter_and_what_waits_outlives_a_crash() {
    let mut instance = Instance::start();
    let quick = "{retry: 2, backoffPolicy: linear, backoffDelay: PT0.05S, \
                 deadLetterSink: {ref: {apiVersion: v1, kind: Service, name: display}}}";
    let patient = "{retry: 1000, backoffPolicy: linear, backoffDelay: PT0.2S}";
    let to_nobody = "{ref: {apiVersion: v1, kind: Service, name: nobody}}";
    let manifest = [
        display("display"),
        format!("---{}", service("nobody")),
        format!("---{BROKER}"),
        trigger("buried", "type: bad", to_nobody, quick),
        trigger("waiting", "type: later", to_nobody, patient),
    ];
    instance.apply(&manifest.concat()).expect();
    instance
        .kubectl("rollout status deploy/display --timeout=60s")
        .expect();
    ready(&instance, "broker/default trigger/buried trigger/waiting");
    assert_eq!(post(&instance, "broker default", "bad-1", "bad"), "202");
    instance.eventually(SOON, || printed(&instance, "app=display", "bad-1") == 1);
    let logs = instance.kubectl("logs -l app=display --tail=-1").expect();
    assert!(
        logs.contains("knativeerrordest: http://nobody.default.svc.cluster.local"),
        "{logs}"
    );

    let waiting: Vec<String> = (0..20).map(|n| format!("later-{n}")).collect();
    for id in &waiting {
        assert_eq!(post(&instance, "broker default", id, "later"), "202");
    }
    instance.kill_9();
    instance.restart();
    instance.apply(&display("nobody")).expect();
    instance.eventually(SOON, || {
        waiting
            .iter()
            .all(|id| printed(&instance, "app=nobody", id) == 1)
    });
}

#[test]
fn a_channel_relays_an_event() {
    let instance = Instance::start();
    let channel = "
---
apiVersion: messaging.knative.dev/v1
kind: InMemoryChannel
metadata: {name: pipe}
---
apiVersion: messaging.knative.dev/v1
kind: Subscription
metadata: {name: tap}
spec:
  channel: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel, name: pipe}
  subscriber: {ref: {apiVersion: v1, kind: Service, name: display}}
";
    instance
        .apply(&[&display("display"), channel].concat())
        .expect();
    instance
        .kubectl("rollout status deploy/display --timeout=60s")
        .expect();
    ready(&instance, "inmemorychannel/pipe subscription/tap");
    assert_eq!(post(&instance, "inmemorychannel pipe", "1", "t"), "202");
    instance.eventually(SOON, || printed(&instance, "app=display", "1") == 1);
}

#[test]
fn sources_make_events_and_a_job_sink_runs_a_job_for_one() {
    let instance = Instance::start();
    let objects = "
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: watcher}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: watcher}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: watcher, namespace: default}]
---
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {name: ping}
spec:
  schedule: '* * * * * *'
  contentType: application/json
  data: '{\"message\": \"from ping\"}'
  sink: {ref: {apiVersion: v1, kind: Service, name: display}}
---
apiVersion: sources.knative.dev/v1
kind: ApiServerSource
metadata: {name: api}
spec:
  serviceAccountName: watcher
  mode: Resource
  resources: [{apiVersion: v1, kind: ConfigMap}]
  sink: {ref: {apiVersion: v1, kind: Service, name: display}}
---
apiVersion: sources.knative.dev/v1alpha1
kind: IntegrationSource
metadata: {name: timer}
spec:
  timer: {period: 500, message: from the timer}
  sink: {ref: {apiVersion: v1, kind: Service, name: display}}
---
apiVersion: sinks.knative.dev/v1alpha1
kind: JobSink
metadata: {name: jobs}
spec:
  job:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: main, image: example.com/none}]
";
    instance
        .apply(&[&display("display"), objects].concat())
        .expect();
    ready(
        &instance,
        "pingsource/ping apiserversource/api integrationsource/timer jobsink/jobs",
    );
    // A Job that could not be made is refused at once, and so is one with a field nobody knows.
    for (change, why) in [
        (
            "restartPolicy: Always",
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\": spec.job",
        ),
        (
            "restartPolicy: Never, turbo: 1",
            "unknown field \"spec.template.spec.turbo\": spec.job",
        ),
    ] {
        let said = instance.apply(&format!(
            "---\n{{apiVersion: sinks.knative.dev/v1alpha1, kind: JobSink, metadata: {{name: bad}}, spec: {{job: {{spec: \
             {{template: {{spec: {{containers: [{{name: a, image: b}}], {change}}}}}}}}}}}}}"
        ));
        let said = said.expect_failure();
        assert!(said.contains(why), "{said}");
    }
    instance.kubectl("create configmap fresh").expect();
    let expected = [
        "source: /apis/v1/namespaces/default/pingsources/ping",
        "\"message\": \"from ping\"",
        "subject: /apis/v1/namespaces/default/configmaps/fresh",
        "type: dev.knative.eventing.timer",
        "from the timer",
    ];
    instance.eventually(SOON, || {
        let log = instance.kubectl("logs -l app=display --tail=-1").stdout;
        expected.iter().all(|line| log.contains(line))
    });
    // The same event again is the same Job.
    for _ in 0..2 {
        assert_eq!(post(&instance, "jobsink jobs", "1", "t"), "202");
    }
    let jobs = || instance.kubectl("get jobs -o name").expect();
    assert_eq!(jobs().lines().count(), 1);
    let secrets = || instance.kubectl("get secrets -o name").expect();
    let event = secrets();
    assert!(!event.is_empty());
    instance.kubectl("delete jobs --all").expect();
    instance.eventually(SOON, || secrets().is_empty());
}
