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

/// A container that runs and never listens is given up after the progress deadline; the old revision
/// goes on serving.
#[test]
fn a_container_that_never_listens_is_given_up() {
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    instance.load(App::Probe, "example.com/probe");
    let mute = "{image: example.com/probe, env: [{name: LISTEN, value: 'no'}]}";
    let deadline =
        "template:\n    metadata: {annotations: {serving.knative.dev/progress-deadline: 5s}}";
    instance
        .apply(&service("app", "{image: example.com/hello}"))
        .expect();
    instance
        .kubectl("wait ksvc/app --for=condition=Ready --timeout=60s")
        .expect();
    instance
        .apply(&service("app", mute).replace("template:", deadline))
        .expect();
    let condition = |path: &str| {
        let path = format!("jsonpath={{.status.conditions[?(@.type==\"Ready\")].{path}}}");
        let args = ["get", "ksvc", "app", "-o", path.as_str()];
        instance.kubectl_args(&args, "").expect()
    };
    instance.eventually(Duration::from_secs(90), || condition("status") == "False");
    let said = condition("message");
    assert!(
        said.contains("app-00002") && said.contains("has timed out progressing"),
        "{said}"
    );
    let events = "get events --field-selector reason=Unhealthy -o jsonpath={.items[*].message}";
    let events = instance.kubectl(events).expect();
    assert!(
        events.contains("Readiness probe failed: HTTP probe failed with statuscode: 503"),
        "{events}"
    );
    let answer = instance.curl("app.default.localhost", "/").expect();
    assert_eq!(answer, "Hello World!\n");
}

#[test]
fn requests_that_make_no_sense_are_refused_in_kubernetes_words() {
    let instance = Instance::start();
    for (path, wanted) in [
        ("/api/v1/nosuch", "could not find the requested resource"),
        ("/apis/no.such/v1", "could not find the requested resource"),
        (
            "/api/v1/pods?labelSelector=a==b==c",
            "unable to parse requirement",
        ),
        (
            "/api/v1/pods?fieldSelector=spec.colour=red",
            "field label not supported: spec.colour",
        ),
        ("/api/v1/pods?limit=few", "parsing \"few\": invalid syntax"),
        (
            "/api/v1/pods?continue=nonsense",
            "continue key is not valid",
        ),
        ("/api/v1/pods?resourceVersion=old", "resourceVersion"),
        (
            "/api/v1/namespaces/default/pods/none",
            "pods \\\"none\\\" not found",
        ),
        (
            "/api/v1/namespaces/default/pods/none/log",
            "pods \\\"none\\\" not found",
        ),
    ] {
        let said = instance
            .kubectl_args(&["get", "--raw", path], "")
            .expect_failure();
        let wanted = wanted.replace("\\\"", "\"");
        assert!(
            said.replace("\\\"", "\"").contains(&wanted),
            "{wanted:?} is not in\n{said}\nfor {path}"
        );
    }
    let post = |body: &str| {
        let path = "/api/v1/namespaces/default/configmaps";
        let outcome = instance.kubectl_args(&["create", "--raw", path, "-f", "-"], body);
        outcome.expect_failure()
    };
    for (body, wanted) in [
        ("{\"kind\"", "the object provided is unrecognized"),
        ("{\"kind\": \"Pod\", \"apiVersion\": \"v1\"}", "Pod"),
        (
            "{\"kind\": \"ConfigMap\", \"apiVersion\": \"v1\", \"data\": 3}",
            "data",
        ),
        (
            "{\"kind\": \"ConfigMap\", \"apiVersion\": \"v1\", \"metadata\": {\"name\": \"a_b\"}}",
            "RFC 1123 subdomain",
        ),
    ] {
        let said = post(body);
        assert!(
            said.contains(wanted),
            "{wanted:?} is not in\n{said}\nfor\n{body}"
        );
    }
    assert_eq!(instance.kubectl("get pods -o name").expect(), "");
}

#[test]
fn objects_that_make_no_sense_are_refused_by_field() {
    let instance = Instance::start();
    let deployment = |change: (&str, &str)| {
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 1, \
         selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, \
         spec: {containers: [{name: web, image: a}]}}}\n"
            .replace(change.0, change.1)
    };
    let invalid = [
        (("name: web}\nspec", "name: Web}\nspec"), "metadata.name"),
        (("replicas: 1", "replicas: -1"), "spec.replicas"),
        (
            ("labels: {app: web}", "labels: {app: other}"),
            "spec.template.metadata.labels",
        ),
        (
            ("name: web, image: a", "image: a"),
            "spec.template.spec.containers[0].name",
        ),
        (
            ("image: a", "image: a, imagePullPolicy: Soon"),
            "imagePullPolicy",
        ),
        (
            ("name: web}\nspec", "name: web, namespace: none}\nspec"),
            "namespaces \"none\" not found",
        ),
        (
            ("name: web}\nspec", "name: web, labels: {'a b': c}}\nspec"),
            "metadata.labels",
        ),
    ];
    for (change, wanted) in invalid {
        let said = instance.apply(&deployment(change)).expect_failure();
        assert!(said.contains(wanted), "{wanted:?} is not in\n{said}");
    }
    instance
        .apply(&deployment(("replicas: 1", "replicas: 0")))
        .expect();
    let other = deployment(("app: web", "app: other"));
    let said = instance.apply(&other).expect_failure();
    assert!(said.contains("field is immutable"), "{said}");
    assert_eq!(
        instance.kubectl("get deploy -o name").expect(),
        "deployment.apps/web\n"
    );
}
