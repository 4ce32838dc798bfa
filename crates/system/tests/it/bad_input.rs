//! Bad input is refused with an error that names the thing and the remedy, or shows in the status
//! where Knative puts it; nothing else is harmed.

use std::time::Duration;

use system::{App, Instance};

fn service(name: &str, container: &str) -> String {
    format!(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  \
         template:\n    spec:\n      containers:\n        - {container}\n"
    )
}

#[test]
fn refused_at_the_door() {
    let instance = Instance::start();
    for (manifest, wanted) in [
        (service("1abc", "{image: a/b}"), "metadata.name"),
        (
            service("svc", "{}"),
            "missing field(s): spec.template.spec.containers[0].image",
        ),
        (service("svc", "{image: a/b, imagee: c}"), "imagee"),
        (
            service("svc", "{image: a/b, ports: [{containerPort: 8012}]}"),
            "reserved port",
        ),
        (
            service("svc", "{image: 'not an image'}"),
            "Failed to parse image reference",
        ),
        (
            "apiVersion: v1\nkind: Nonsense\nmetadata: {name: a}\n".into(),
            "no matches for kind",
        ),
        ("a: [b\n".into(), "yaml"),
    ] {
        let said = instance.apply(&manifest).expect_failure();
        assert!(
            said.contains(wanted),
            "{wanted:?} is not in\n{said}\nfor\n{manifest}"
        );
    }
    assert_eq!(instance.kubectl("get ksvc -o name").expect(), "");
}

#[test]
fn failing_revisions_say_why_and_leave_the_old_one_serving() {
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    instance.load(App::Probe, "example.com/probe");
    instance
        .apply(&service("app", "{image: example.com/hello}"))
        .expect();
    instance
        .kubectl("wait ksvc/app --for=condition=Ready --timeout=30s")
        .expect();

    let message = || {
        let path = "{.status.conditions[?(@.type==\"Ready\")].message}";
        instance
            .kubectl(&format!("get ksvc app -o jsonpath={path}"))
            .expect()
    };
    for (container, wanted) in [
        (
            "{image: 127.0.0.1:1/nowhere/nothing}",
            "Unable to fetch image",
        ),
        (
            "{image: example.com/probe, env: [{name: EXIT, value: '5'}]}",
            "exiting with 5 as told",
        ),
    ] {
        instance.apply(&service("app", container)).expect();
        instance.eventually(Duration::from_secs(60), || message().contains(wanted));
        let answer = instance.curl("app.default.localhost", "/").expect();
        assert_eq!(answer, "Hello World!\n");
    }
}
