//! The subresource `proxy`: what listens in a Pod or behind a Service is reached through the API
//! server, WebSockets included, by those who may.

use std::process::{Child, Stdio};
use std::time::Duration;

use system::{App, Instance};

const PATIENCE: Duration = Duration::from_secs(60);

const OBJECTS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: example.com/probe
      env: [{name: PORT, value: '8080'}]
      ports: [{containerPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: nobody}
";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn pods_and_services_are_reached_through_the_api_server() {
    let instance = Instance::start();
    instance.load(App::Probe, "example.com/probe");
    instance.apply(OBJECTS).expect();
    instance
        .kubectl("wait pod/web --for=condition=Ready --timeout=60s")
        .expect();
    let core = "/api/v1/namespaces/default";
    let raw = |path: &str| instance.kubectl_args(&["get", "--raw", path], "");
    let pod = format!("{core}/pods/web/proxy/headers?a=b%2Fc");
    instance.eventually(PATIENCE, || raw(&pod).ok);
    let seen = raw(&pod).expect();
    assert!(seen.starts_with("GET /headers?a=b%2Fc HTTP/1.1"), "{seen}");
    let secret = seen.to_lowercase();
    assert!(!secret.contains("authorization"), "{seen}");
    for name in ["web:80", "web:http", "http:web:http"] {
        let path = format!("{core}/services/{name}/proxy/");
        instance.eventually(PATIENCE, || raw(&path).ok);
        assert_eq!(raw(&path).expect(), "ok\n", "{name}");
    }
    let node = instance.kubectl("get nodes -o jsonpath={.items[0].metadata.name}");
    let healthz = format!("/api/v1/nodes/{}/proxy/healthz", node.expect());
    assert_eq!(raw(&healthz).expect(), "ok");
    let refused = raw(&format!("{core}/services/web:81/proxy/")).expect_failure();
    let wanted = "no service port 81 found for service \"web\"";
    assert!(refused.contains(wanted), "{refused}");
    let refused = raw(&format!("{core}/pods/web:9/proxy/")).expect_failure();
    assert!(
        refused.contains("error trying to reach service"),
        "{refused}"
    );
    let other = "--as=system:serviceaccount:default:nobody";
    let refused = instance.kubectl_args(&["get", "--raw", &pod, other], "");
    let refused = refused.expect_failure();
    assert!(
        refused.contains("cannot get resource \"pods/proxy\""),
        "{refused}"
    );

    let mut proxy = instance.client(&system::kubectls()[0]);
    proxy.args(["proxy", "--port=18001"]).stdout(Stdio::null());
    let _running = Running(proxy.spawn().expect("kubectl proxy"));
    let address = "127.0.0.1:18001".parse().expect("an address");
    let path = format!("{core}/pods/web:8080/proxy/ws");
    let open = || instance.websocket_at(address, "127.0.0.1", &path);
    instance.eventually(PATIENCE, || open().is_ok());
    let mut channel = open().expect("a WebSocket");
    channel.echo("through it all").expect("the echo");
}
