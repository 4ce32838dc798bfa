//! Templates: parameters, arguments, environment; of a namespace and of the cluster.

use api::world::{BUILD_TEMPLATE, CLUSTER_BUILD_TEMPLATE, Kind};
use serde_json::{Value, json};

use super::Cluster;

fn template() -> Value {
    json!({"spec": {
        "parameters": [{"name": "IMAGE", "description": "what to push"}, {"name": "DIR", "default": "/w"}],
        "steps": [{
            "name": "step-${DIR}", "image": "${IMAGE}", "args": ["--a=${DIR}${IMAGE}", "${OTHER}", "$${DIR}"],
            "command": ["${DIR}"], "workingDir": "${DIR}",
            "env": [{"name": "A", "value": "${IMAGE}"}, {"name": "B", "value": "b"}],
            "volumeMounts": [{"name": "v-${DIR}", "mountPath": "${DIR}", "subPath": "${DIR}"}],
        }],
        "volumes": [{"name": "v-${DIR}", "configMap": {"name": "${IMAGE}"}}],
    }})
}

fn built(kind: Kind, reference: &str) -> Cluster {
    let mut cluster = Cluster::new(&format!("template: {reference}"));
    cluster.put(kind, "t", template());
    cluster.settle();
    cluster
}

#[test]
fn placeholders_are_filled_in() {
    let arguments =
        "arguments: [{name: IMAGE, value: 'r/${DIR}'}], env: [{name: B, value: '${DIR}'}]";
    for (kind, name) in [
        (BUILD_TEMPLATE, "BuildTemplate"),
        (CLUSTER_BUILD_TEMPLATE, "ClusterBuildTemplate"),
    ] {
        let cluster = built(kind, &format!("{{name: t, kind: {name}, {arguments}}}"));
        let pod = cluster.pod().expect(name);
        let step = &pod["spec"]["initContainers"][1];
        let want = json!({
            "name": "build-step-step-/w", "image": "r/${DIR}",
            "args": ["--a=/wr/${DIR}", "${OTHER}", "$/w"], "command": ["/w"], "workingDir": "/w",
            "env": [
                {"name": "HOME", "value": "/builder/home"},
                {"name": "A", "value": "r/${DIR}"},
                {"name": "B", "value": "/w"},
            ],
            "volumeMounts": [
                {"name": "v-/w", "mountPath": "/w", "subPath": "/w"},
                {"name": "workspace", "mountPath": "/workspace"},
                {"name": "home", "mountPath": "/builder/home"},
            ],
        });
        assert_eq!(*step, want);
        let volume = json!({"name": "v-/w", "configMap": {"name": "r/${DIR}"}});
        assert_eq!(pod["spec"]["volumes"][0], volume);
    }
}

#[test]
fn arguments_that_do_not_fit_are_told() {
    let cases = [
        (
            "{name: t}",
            "UnsatisfiedParameter",
            "build does not specify these required parameters: [{IMAGE what to push}]",
        ),
        (
            "{name: t, arguments: [{name: IMAGE, value: a}, {name: IMAGE, value: b}]}",
            "DuplicateArgName",
            "duplicate argument name \"IMAGE\"",
        ),
    ];
    for (reference, reason, message) in cases {
        built(BUILD_TEMPLATE, reference).check("False", reason, message);
    }
    let mut nested = template();
    nested["spec"]["parameters"][1]["default"] = json!("${IMAGE}");
    let mut cluster = Cluster::new("template: {name: t, arguments: [{name: IMAGE, value: a}]}");
    cluster.put(BUILD_TEMPLATE, "t", nested);
    cluster.settle();
    assert_eq!(cluster.succeeded().1, "NestedPlaceholder");
}

#[test]
fn a_template_may_come_a_little_later() {
    let mut cluster = Cluster::new("template: {name: t, arguments: [{name: IMAGE, value: a}]}");
    cluster.settle();
    cluster.check(
        "Unknown",
        "Pending",
        "buildtemplates.build.knative.dev \"t\" not found",
    );
    cluster.put(BUILD_TEMPLATE, "t", template());
    cluster.settle();
    assert!(cluster.pod().is_some());
    let mut never = Cluster::new("template: {name: t, kind: ClusterBuildTemplate}");
    never.pass(5);
    let text = "clusterbuildtemplates.build.knative.dev \"t\" not found";
    never.check("False", "BuildValidationFailed", text);
}
