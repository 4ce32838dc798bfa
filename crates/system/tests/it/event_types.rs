//! EventTypes that are made of what comes by, and of what sources say they make.

use system::Instance;

use crate::event_support::{BROKER, SOON, post, ready};

#[test]
fn event_types_are_made_of_what_comes_by() {
    let instance = Instance::start();
    let objects = "
---
apiVersion: messaging.knative.dev/v1
kind: InMemoryChannel
metadata: {name: pipe}
---
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {name: ping}
spec:
  schedule: '0 0 1 1 *'
  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}
";
    instance.apply(&[BROKER, objects].concat()).expect();
    ready(
        &instance,
        "broker/default inmemorychannel/pipe pingsource/ping",
    );
    let line = "{.spec.reference.kind}/{.spec.reference.name} \
                {.spec.attributes[?(@.name=='type')].value} {.status.conditions[?(@.type=='Ready')].status}";
    let path = format!("jsonpath={{range .items[*]}}{line}{{'\\n'}}{{end}}");
    let types = || {
        instance
            .kubectl_args(&["get", "eventtypes", "-o", &path], "")
            .stdout
    };
    let of_source = "Broker/default dev.knative.sources.ping True\n";
    instance.eventually(SOON, || types() == of_source);
    assert_eq!(post(&instance, "broker default", "1", "unseen"), "202");
    let enable = [
        "patch",
        "cm",
        "config-features",
        "-n",
        "knative-eventing",
        "-p",
        r#"{"data":{"eventtype-auto-create":"enabled"}}"#,
    ];
    instance.kubectl_args(&enable, "").expect();
    instance.eventually(SOON, || {
        assert_eq!(post(&instance, "broker default", "2", "seen"), "202");
        assert_eq!(post(&instance, "inmemorychannel pipe", "3", "piped"), "202");
        let types = types();
        types.contains("Broker/default seen True\n")
            && types.contains("InMemoryChannel/pipe piped True\n")
    });
    assert!(!types().contains("unseen"), "{}", types());
    // They go with what they are about.
    instance
        .kubectl("delete inmemorychannel/pipe pingsource/ping")
        .expect();
    instance.eventually(SOON, || {
        let types = types();
        !types.contains("piped") && !types.contains("ping")
    });
}
