//! The Serving steps of the tutorials in `examples/tutorials`, word for word where a command is
//! shown there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use system::{App, Image, Instance, run};

/// The autoscaler's default window plus the grace period, with room for a slow machine.
const ZERO_WITHIN: Duration = Duration::from_secs(120);

fn manifest(path: &str) -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/tutorials"
    ))
    .join(path)
}

fn apply(instance: &Instance, path: &str) -> String {
    let path = manifest(path).display().to_string();
    instance.kubectl_args(&["apply", "-f", &path], "").expect()
}

fn await_ready(instance: &Instance, service: &str) {
    instance
        .kubectl(&format!(
            "wait ksvc/{service} --for=condition=Ready --timeout=60s"
        ))
        .expect();
}

/// The table `kubectl get` prints, as rows of columns.
fn rows(table: &str) -> Vec<Vec<String>> {
    table
        .lines()
        .map(|row| row.split_whitespace().map(str::to_owned).collect())
        .collect()
}

#[test]
fn getting_started_2020() {
    let instance = Instance::start();
    instance.load(App::Hello, "gcr.io/knative-samples/helloworld-go");
    let said = apply(&instance, "2020-getting-started/serving.yaml");
    assert_eq!(said, "service.serving.knative.dev/helloworld-go created\n");
    await_ready(&instance, "helloworld-go");
    let ksvc = rows(&instance.kubectl("get ksvc").expect());
    assert_eq!(
        ksvc[0],
        [
            "NAME",
            "URL",
            "LATESTCREATED",
            "LATESTREADY",
            "READY",
            "REASON"
        ]
    );
    assert_eq!(
        ksvc[1][2..],
        ["helloworld-go-00001", "helloworld-go-00001", "True"]
    );

    // `curl -H "Host: …" http://CLUSTER-IP`, from the machine itself.
    let gateway = rows(
        &instance
            .kubectl("get svc istio-ingressgateway -n istio-system")
            .expect(),
    );
    let cluster_ip = &gateway[1][2];
    let mut curl = instance.inside("curl");
    curl.args(["-sS", "-f", "--max-time", "20"]);
    curl.args([
        "-H",
        "Host: helloworld-go.default.example.com",
        &format!("http://{cluster_ip}"),
    ]);
    assert_eq!(run(&mut curl, "").expect(), "Hello Go Sample v1!\n");

    let pods = || instance.kubectl("get pod --no-headers").expect();
    assert_eq!(rows(&pods())[0][1..3], ["2/2", "Running"]);
    instance.eventually(ZERO_WITHIN, || pods().is_empty());
    let answer = instance
        .curl("helloworld-go.default.example.com", "/")
        .expect();
    assert_eq!(answer, "Hello Go Sample v1!\n");
    assert_eq!(rows(&pods())[0][2], "Running");
}

#[test]
fn run_latest_2019() {
    let instance = Instance::start();
    let app = fs::read_to_string(manifest("2019-runlatest/app.py")).expect("the application");
    // Flask's debug mode starts a second interpreter; the answer is the same without it.
    let app = app.replace("debug=True, ", "");
    instance.load_image(&Image::flask(&app, "ddiiwoong/hello-python:latest").expect("image"));
    apply(&instance, "2019-runlatest/service.yaml");
    await_ready(&instance, "helloworld-python");
    let answer = instance
        .curl("helloworld-python.default.example.com", "/")
        .expect();
    assert_eq!(
        answer,
        "Hello World: Python Sample v1 with Knative on EKS!\n"
    );
    let spec = instance
        .kubectl("get services.v1alpha1.serving.knative.dev helloworld-python -o jsonpath={.spec}");
    assert!(
        spec.expect().contains("runLatest"),
        "v1alpha1 reads back as it was written"
    );
}

#[test]
fn python_2021() {
    let instance = Instance::start();
    instance.load(App::Echo, "hashicorp/http-echo");
    let app = fs::read_to_string(manifest("2021-python/app.py")).expect("the application");
    let app = app.replace("debug=True,", "");
    let image = Image::flask(&app, "docker.io/username/helloworld-python").expect("image");
    instance.load_image(&image);
    for path in ["pod.yaml", "k8s-service.yaml", "ingress.yaml"] {
        apply(&instance, &format!("2021-python/{path}"));
    }
    instance
        .kubectl("wait pod/apple-app --for=condition=Ready --timeout=30s")
        .expect();
    let ip = instance
        .kubectl("get svc apple-service -o jsonpath={.spec.clusterIP}")
        .expect();
    let mut curl = instance.inside("curl");
    curl.args([
        "-sS",
        "-f",
        "--max-time",
        "20",
        &format!("http://{ip}:5678/"),
    ]);
    assert_eq!(run(&mut curl, "").expect(), "apple\n");

    let service = fs::read_to_string(manifest("2021-python/service.yaml")).expect("manifest");
    instance
        .apply(&service.replace("{username}", "username"))
        .expect();
    await_ready(&instance, "helloworld-python");
    let answer = instance
        .curl("helloworld-python.default.localhost", "/")
        .expect();
    assert_eq!(answer, "Hello Python Sample v1!\n");
}

#[test]
fn generated_objects_2024() {
    let instance = Instance::start();
    instance.load(App::Hello, "ghcr.io/knative/helloworld-go:latest");
    let crds = instance.kubectl("get crd").expect();
    for crd in [
        "services.serving",
        "routes.serving",
        "images.caching.internal",
    ] {
        assert!(
            crds.contains(&format!("{crd}.knative.dev")),
            "{crd} is missing in\n{crds}"
        );
    }
    let patch = r#"{"data":{"knative.example.com":""}}"#;
    let args = [
        "patch",
        "configmap/config-domain",
        "--namespace",
        "knative-serving",
        "--type",
        "merge",
    ];
    instance
        .kubectl_args(&[&args[..], &["--patch", patch]].concat(), "")
        .expect();
    apply(&instance, "2024-eks/service.yaml");
    await_ready(&instance, "helloworld-go");

    let services = rows(&instance.kubectl("get svc").expect());
    let named = |name: &str| {
        services
            .iter()
            .find(|row| row[0] == name)
            .expect(name)
            .clone()
    };
    let local = "knative-local-gateway.istio-system.svc.cluster.local";
    assert_eq!(
        named("helloworld-go")[1..5],
        ["ExternalName", "<none>", local, "80/TCP"]
    );
    assert_eq!(named("helloworld-go-00001")[1], "ClusterIP");
    assert!(named("helloworld-go-00001-private")[4].contains("9090/TCP"));
    let deploy = rows(&instance.kubectl("get deploy").expect());
    assert_eq!(deploy[1][0], "helloworld-go-00001-deployment");

    let route = instance.kubectl("get route helloworld-go -oyaml").expect();
    for line in [
        "latestRevision: true",
        "percent: 100",
        "configurationName: helloworld-go",
    ] {
        assert!(route.contains(line), "{line} is missing in\n{route}");
    }
    let revision = instance.kubectl("get revisions.serving.knative.dev helloworld-go-00001 -oyaml");
    assert!(revision.expect().contains("containerConcurrency: 0"));
    let ksvc = rows(&instance.kubectl("get ksvc").expect());
    assert!(ksvc[1][1].starts_with("http://helloworld-go.default.knative.example.com"));

    let endpoints = rows(&instance.kubectl("get ep helloworld-go-00001").expect());
    let activator = rows(
        &instance
            .kubectl("get po -o wide -n knative-serving")
            .expect(),
    );
    let activator = activator
        .iter()
        .find(|row| row[0].starts_with("activator"))
        .expect("a Pod");
    let ports: Vec<String> = [":8012", ":8112"]
        .map(|port| activator[5].clone() + port)
        .into();
    assert_eq!(endpoints[1][1].split(',').collect::<Vec<_>>(), ports);
    instance
        .kubectl("logs -n knative-serving deploy/activator")
        .expect();
    let answer = instance
        .curl("helloworld-go.default.knative.example.com", "/")
        .expect();
    assert_eq!(answer, "Hello Go Sample v1!\n");
}

#[test]
fn window_of_30_seconds_2024() {
    let instance = Instance::start();
    instance.load(App::Hello, "ghcr.io/knative/helloworld-go:latest");
    apply(&instance, "2024-eks/config-autoscaler.yaml");
    apply(&instance, "2024-eks/service-window-30s.yaml");
    await_ready(&instance, "helloworld-go");
    instance
        .curl("helloworld-go.default.localhost", "/")
        .expect();
    let called = Instant::now();
    let terminating = || {
        let pods = instance.kubectl("get po --no-headers").expect();
        pods.is_empty() || pods.contains("Terminating")
    };
    assert!(!terminating());
    instance.eventually(ZERO_WITHIN, terminating);
    let idle = called.elapsed();
    assert!(
        idle >= Duration::from_secs(29),
        "gone after {idle:?}, before the window was over"
    );
    instance
        .curl("helloworld-go.default.localhost", "/")
        .expect();
}

#[test]
fn editing_config_autoscaler_2024() {
    let instance = Instance::start();
    instance.load(App::Hello, "ghcr.io/knative/helloworld-go:latest");
    apply(&instance, "2024-eks/enable-scale-to-zero.yaml");
    let mut edit: Command = instance.inside("kubectl");
    edit.env("KUBECONFIG", instance.kubeconfig());
    // The setting itself, indented by two; what `_example` says of it is not to be edited.
    let editor = r#"sed -i 's/^  enable-scale-to-zero:.*/  enable-scale-to-zero: "maybe"/'"#;
    edit.env("KUBE_EDITOR", editor);
    edit.args(["edit", "cm", "config-autoscaler", "-n", "knative-serving"]);
    let refused = run(&mut edit, "").expect_failure();
    assert!(refused.contains("enable-scale-to-zero"), "{refused}");
}
