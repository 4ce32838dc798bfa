//! Trust bundles reach the Pods of sources: what is trusted in `knative-eventing` is a file there.

use system::{App, Instance};

use crate::event_support::{SOON, ready, rolled_out};

const MANIFEST: &str = "
apiVersion: v1
kind: ConfigMap
metadata:
  name: company
  namespace: knative-eventing
  labels: {networking.knative.dev/trust-bundle: 'true'}
data:
  company.pem: |
    -----BEGIN CERTIFICATE-----
    bm90IG11Y2g=
    -----END CERTIFICATE-----
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: sends}
spec:
  selector: {matchLabels: {app: sends}}
  template:
    metadata: {labels: {app: sends}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: example.com/probe}]
---
apiVersion: sources.knative.dev/v1
kind: SinkBinding
metadata: {name: b}
spec:
  subject: {apiVersion: apps/v1, kind: Deployment, name: sends}
  sink: {uri: 'http://127.0.0.1:9'}
";

#[test]
fn trust_bundles_are_files_of_whoever_is_bound() {
    let instance = Instance::start();
    instance.load(App::Probe, "example.com/probe");
    instance.apply(MANIFEST).expect();
    ready(&instance, "sinkbinding/b");
    let names = "get configmap -l networking.knative.dev/trust-bundle=true -o name";
    instance.eventually(SOON, || {
        let names = instance.kubectl(names).stdout;
        names == "configmap/companykne-bundle\nconfigmap/kn-combined-kne-bundlekne-bundle\n"
    });
    let sources = "get deploy sends -o jsonpath={.spec.template.spec.volumes[?(@.name==\"kne-bundle-volume\")].projected.sources[*].configMap.name}";
    instance.eventually(SOON, || {
        instance.kubectl(sources).stdout == "companykne-bundle kn-combined-kne-bundlekne-bundle"
    });
    // Its Pod starts with them.
    rolled_out(&instance, &["sends"]);
    // What is trusted no more is gone from the copies.
    instance
        .kubectl("delete configmap company -n knative-eventing")
        .expect();
    instance.eventually(SOON, || instance.kubectl(names).stdout.is_empty());
    instance.eventually(SOON, || instance.kubectl(sources).stdout.is_empty());
    let types = instance.verb("source list-types").expect();
    let mut lines = types.lines().map(|line| line.split_whitespace());
    let ping = [
        "PingSource",
        "pingsources.sources.knative.dev",
        "Periodically",
    ];
    assert!(lines.any(|words| words.take(3).eq(ping)), "{types}");
}
