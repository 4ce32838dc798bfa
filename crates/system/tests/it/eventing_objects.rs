//! Eventing's objects on the real binary: admission, plans and statuses together. What becomes of
//! events is told elsewhere.

use std::time::Duration;

use system::Instance;

const SOON: Duration = Duration::from_secs(30);

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: hello}
spec: {selector: {app: hello}, ports: [{port: 80}]}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: greet}
spec:
  broker: default
  filter: {attributes: {type: greeting}}
  subscriber: {ref: {apiVersion: v1, kind: Service, name: hello}}
---
apiVersion: flows.knative.dev/v1
kind: Sequence
metadata: {name: seq}
spec:
  steps:
  - ref: {apiVersion: v1, kind: Service, name: hello}
  - uri: http://two.example.com
---
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {name: ping}
spec:
  schedule: '*/1 * * * *'
  sink: {ref: {apiVersion: flows.knative.dev/v1, kind: Sequence, name: seq}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: bound}
spec:
  replicas: 0
  selector: {matchLabels: {app: bound}}
  template:
    metadata: {labels: {app: bound}}
    spec: {containers: [{name: c, image: nowhere.example.com/c}]}
---
apiVersion: sources.knative.dev/v1
kind: SinkBinding
metadata: {name: bind}
spec:
  subject: {apiVersion: apps/v1, kind: Deployment, name: bound}
  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}
---
apiVersion: sources.knative.dev/v1
kind: ApiServerSource
metadata: {name: watch}
spec:
  resources: [{apiVersion: v1, kind: Event}]
  sink: {uri: 'http://sink.example.com'}
";

fn ready(instance: &Instance, what: &str) -> bool {
    let path = "-o jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    instance
        .kubectl(&format!("get {what} {path}"))
        .stdout
        .trim()
        == "True"
}

#[test]
fn objects_get_ready_and_say_where_events_go() {
    let instance = Instance::start();
    let label = "label namespace default knative-eventing-injection=enabled";
    instance.kubectl(label).expect();
    instance.apply(OBJECTS).expect();
    for what in [
        "broker/default",
        "trigger/greet",
        "sequence/seq",
        "pingsource/ping",
        "sinkbinding/bind",
    ] {
        instance.eventually(SOON, || ready(&instance, what));
    }
    let url = instance.kubectl("get broker default -o jsonpath={.status.address.url}");
    assert_eq!(
        url.expect(),
        "http://default-broker.default.svc.cluster.local"
    );
    let env = instance.kubectl(
        "get deployment bound -o jsonpath={.spec.template.spec.containers[0].env[0].value}",
    );
    assert_eq!(
        env.expect(),
        "http://default-broker.default.svc.cluster.local"
    );
    // Nobody has allowed the namespace's account to watch events.
    let why = "get apiserversource watch -o jsonpath={.status.conditions[?(@.type=='SufficientPermissions')].message}";
    let expected = "User system:serviceaccount:default:default cannot get, list, watch resource \"events\" in API group \"\" in Namespace \"default\"";
    instance.eventually(SOON, || instance.kubectl(why).stdout.trim() == expected);
    instance
        .kubectl(
            "create clusterrolebinding all --clusterrole=view --serviceaccount=default:default",
        )
        .expect();
    instance.eventually(SOON, || ready(&instance, "apiserversource/watch"));
    instance
        .kubectl("delete sinkbinding/bind sequence/seq --timeout=30s")
        .expect();
    let left = instance
        .kubectl("get deployment bound -o jsonpath={.spec.template.spec.containers[0].env}");
    assert_eq!(left.expect(), "");
    instance.eventually(SOON, || {
        let channels = instance.kubectl("get inmemorychannels -o name").stdout;
        channels.trim() == "inmemorychannel.messaging.knative.dev/default-kne-trigger"
    });
}
