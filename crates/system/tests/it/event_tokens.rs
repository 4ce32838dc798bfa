//! The subjects of SinkBindings and the containers of ContainerSources show who they are: where tokens
//! are asked for, they have one for their sink.

use system::{Image, Instance};

use super::event_support::{
    BROKER, SOON, consumer, load_consumer, post, ready, rolled_out, seen, trigger,
};

/// Posts again and again, with the token it has.
fn sender(id: &str) -> String {
    format!(
        "{{name: sender, image: dev.local/busybox:1, command: [sh, -c, 'while true; do wget -q -O- \
         --header \"Authorization: Bearer $(cat /oidc/token)\" --header \"ce-specversion: 1.0\" \
         --header \"ce-id: {id}\" --header \"ce-type: x\" --header \"ce-source: /bound\" \
         --post-data {{}} $K_SINK; sleep 1; done']}}"
    )
}

#[test]
fn subjects_show_who_they_are() {
    let instance = Instance::start();
    load_consumer(&instance);
    let busybox = Image::busybox("dev.local/busybox:1").expect("busybox");
    instance.load_image(&busybox);
    instance
        .kubectl_args(
            &[
                "patch",
                "configmap",
                "config-features",
                "-n=knative-eventing",
                "--type=merge",
                r#"--patch={"data":{"authentication-oidc":"enabled"}}"#,
            ],
            "",
        )
        .expect();
    let to_display = "{ref: {apiVersion: v1, kind: Service, name: display}}";
    let manifest = [
        BROKER.to_owned(),
        consumer("display", ""),
        trigger("t", "type: x", to_display, "{}"),
    ];
    instance.apply(&manifest.concat()).expect();
    rolled_out(&instance, &["display"]);
    ready(&instance, "broker/default");
    ready(&instance, "trigger/t");
    instance.eventually(SOON, || {
        post(&instance, "broker/default", "stranger", "x") == "401"
    });
    let (bound, contained) = (sender("bound"), sender("contained"));
    let objects = format!(
        "
---
apiVersion: sources.knative.dev/v1
kind: SinkBinding
metadata: {{name: bind}}
spec:
  subject: {{apiVersion: apps/v1, kind: Deployment, name: app}}
  sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app}}
spec:
  selector: {{matchLabels: {{app: app}}}}
  template:
    metadata: {{labels: {{app: app}}}}
    spec: {{containers: [{bound}], terminationGracePeriodSeconds: 1}}
---
apiVersion: sources.knative.dev/v1
kind: ContainerSource
metadata: {{name: source}}
spec:
  template: {{spec: {{containers: [{contained}], terminationGracePeriodSeconds: 1}}}}
  sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}}}
"
    );
    instance.apply(&objects).expect();
    ready(&instance, "sinkbinding/bind");
    ready(&instance, "containersource/source");
    for id in ["bound", "contained"] {
        instance.eventually(SOON, || {
            seen(&instance, "display").contains(&format!("ce-id: {id}\n"))
        });
    }
    assert!(!seen(&instance, "display").contains("ce-id: stranger\n"));
    let words = "get sinkbinding bind -o jsonpath={.status.oidcTokenSecretName}";
    assert_eq!(instance.kubectl(words).expect(), "bind-oidc-token");
}
