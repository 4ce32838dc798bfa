//! The official SDKs send to a Broker and receive from it: 0.3 and 1.0, binary and structured.

use std::time::Duration;

use system::{Instance, Sdk, run};

const SOON: Duration = Duration::from_secs(30);

fn round_trip(sdk: Sdk, language: &str, port: u16) {
    let instance = Instance::start();
    instance
        .apply(&format!(
            "
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {{name: default}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: sdk}}
spec:
  broker: default
  filter: {{attributes: {{lang: {language}}}}}
  subscriber: {{uri: 'http://127.0.0.1:{port}/'}}
"
        ))
        .expect();
    instance.eventually(SOON, || {
        let ready = "get trigger sdk -o jsonpath={.status.conditions[?(@.type=='Ready')].status}";
        instance.kubectl(ready).stdout == "True"
    });
    let url = instance
        .kubectl("get broker default -o jsonpath={.status.address.url}")
        .expect();
    // The machine itself reaches the ingress by its cluster address.
    let address = instance
        .kubectl("get svc broker-ingress -n knative-eventing -o jsonpath={.spec.clusterIP}")
        .expect();
    let mut command = instance.inside(sdk.program());
    sdk.prepare(&mut command).expect("install the SDK");
    command.args([&address, &url, &port.to_string()]);
    let wanted: String = [
        "0.3-binary",
        "0.3-structured",
        "1.0-binary",
        "1.0-structured",
    ]
    .map(|name| format!("{language}-{name} came back\n"))
    .concat();
    assert_eq!(run(&mut command, "").expect(), wanted);
}

#[test]
fn python() {
    round_trip(Sdk::Python, "python", 19_081);
}

#[test]
fn javascript() {
    round_trip(Sdk::JavaScript, "javascript", 19_082);
}
