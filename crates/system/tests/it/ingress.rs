//! Ingresses of Kubernetes at the gateway: hosts, paths, the default, certificates; and that none
//! takes a host away from a Service of Knative's.

use std::time::Duration;

use system::{App, Instance, run};

const PATIENCE: Duration = Duration::from_secs(60);

/// A Deployment that says its name, and a Service before it.
fn app(name: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: example.com/hello
          env: [{{name: PORT, value: '8080'}}, {{name: TARGET, value: {name}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
"
    )
}

const INGRESSES: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: paths}
spec:
  tls: [{hosts: [shop.example], secretName: shop}]
  rules:
    - host: shop.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: one, port: {number: 80}}}}
          - {path: /cart, pathType: Prefix, backend: {service: {name: two, port: {name: http}}}}
    - host: '*.wild.example'
      http:
        paths:
          - {path: /, pathType: Exact, backend: {service: {name: two, port: {number: 80}}}}
    - host: hello.default.localhost
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: two, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: theirs}
spec:
  ingressClassName: nginx
  rules:
    - host: theirs.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: one, port: {number: 80}}}}
";

const DEFAULT: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: rest}
spec:
  defaultBackend: {service: {name: one, port: {number: 80}}}
";

const HELLO: &str = "
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: hello}
spec:
  template:
    spec:
      containers: [{image: example.com/hello, env: [{name: TARGET, value: Knative}]}]
";

#[test]
fn ingresses_lead_where_knative_does_not() {
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    instance.apply(&(app("one") + &app("two"))).expect();
    instance.apply(HELLO).expect();
    for name in ["one", "two"] {
        let wait = format!("wait deploy/{name} --for=condition=Available --timeout=60s");
        instance.kubectl(&wait).expect();
    }
    instance
        .kubectl("wait ksvc/hello --for=condition=Ready --timeout=60s")
        .expect();
    instance.apply(INGRESSES).expect();
    let says = |host: &str, path: &str, wanted: &str| {
        let asked = || instance.curl(host, path);
        instance.eventually(PATIENCE, || asked().stdout == format!("Hello {wanted}!\n"));
    };
    says("shop.example", "/", "one");
    says("shop.example", "/cart/1", "two");
    says("shop.example", "/cartoon", "one");
    says("any.wild.example", "/", "two");
    says("hello.default.localhost", "/", "Knative");
    for (host, path) in [
        ("any.wild.example", "/other"),
        ("a.b.wild.example", "/"),
        ("theirs.example", "/"),
    ] {
        assert!(!instance.curl(host, path).ok, "{host}{path}");
    }
    let shown = instance.kubectl("get ingress paths --no-headers").expect();
    let columns: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(columns[1], "rekindle", "{shown}");
    let address = "get ingress paths -o jsonpath={.status.loadBalancer.ingress[0].ip}";
    instance.eventually(PATIENCE, || !instance.kubectl(address).expect().is_empty());

    // What nobody else has goes to the default, and nowhere when that is gone.
    instance.apply(DEFAULT).expect();
    says("nobody.example", "/", "one");
    says("any.wild.example", "/other", "one");
    says("hello.default.localhost", "/", "Knative");
    instance.kubectl("delete ingress rest").expect();
    instance.eventually(PATIENCE, || !instance.curl("nobody.example", "/").ok);
    says("shop.example", "/", "one");

    let dir = tempfile::tempdir().expect("a directory");
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let mut openssl = instance.inside("openssl");
    openssl
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
        ])
        .args([
            "-subj",
            "/CN=shop.example",
            "-addext",
            "subjectAltName=DNS:shop.example",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert);
    run(&mut openssl, "").expect();
    let (cert_arg, key_arg) = (
        format!("--cert={}", cert.display()),
        format!("--key={}", key.display()),
    );
    let secret = ["create", "secret", "tls", "shop", &cert_arg, &key_arg];
    instance.kubectl_args(&secret, "").expect();
    let address = instance.address("https");
    let (ip, port) = address.rsplit_once(':').expect("an address and a port");
    instance.eventually(PATIENCE, || {
        let mut curl = instance.inside("curl");
        curl.args(["-sS", "-f", "--max-time", "30", "--cacert"])
            .arg(&cert)
            .args(["--resolve", &format!("shop.example:{port}:{ip}")])
            .arg(format!("https://shop.example:{port}/"));
        run(&mut curl, "").stdout == "Hello one!\n"
    });
}
