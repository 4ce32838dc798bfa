//! TLS between the gateway and queue-proxies: switched on, seen on the wire, through zero and a new
//! certificate, and switched off.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use system::{App, Instance, run, wait_for};

const HOST: &str = "hello.default.localhost";
/// Port 8112 as `/proc/net/tcp` has it, of the other side of an established connection.
const TLS_PORT: &str = ":1FB0 01";
const RELOADED: &str = "Certificate and/or key have changed on disk and were reloaded.";

const HELLO: &str = "
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: hello}
spec:
  template:
    metadata:
      annotations: {autoscaling.knative.dev/window: 6s}
    spec:
      containers:
        - image: example.com/probe
";

/// The only Pod, once it is ready and has a certificate or has none: its name and address.
fn pod(instance: &Instance, with_certificate: bool) -> Result<(String, String), String> {
    let list = instance.kubectl("get pods -o json").expect();
    let list: Value = serde_json::from_str(&list).expect("a list");
    let pods = list["items"].as_array().expect("items");
    let [pod] = pods.as_slice() else {
        return Err(format!("{} Pods", pods.len()));
    };
    let statuses = pod["status"]["containerStatuses"].as_array();
    let ready = statuses.is_some_and(|all| all.iter().all(|one| one["ready"] == true));
    let volumes = pod["spec"]["volumes"].as_array();
    let mounted = volumes.is_some_and(|all| all.iter().any(|one| one["name"] == "server-certs"));
    if !ready || mounted != with_certificate {
        return Err(format!("ready {ready}, certificate {mounted}"));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (name, address) = (&pod["metadata"]["name"], &pod["status"]["podIP"]);
    Ok((text(name), text(address)))
}

/// Whether the machine, on which the gateway is, has a connection to the TLS port of `address`.
fn has_connection(instance: &Instance, address: &str) -> bool {
    let address: std::net::Ipv4Addr = address.parse().expect("an address");
    let remote = format!("{:08X}{TLS_PORT}", u32::from_ne_bytes(address.octets()));
    let table = run(instance.inside("cat").arg("/proc/net/tcp"), "").expect();
    table.contains(&remote)
}

fn queue_log(instance: &Instance, pod: &str) -> String {
    let words = format!("logs {pod} -c queue-proxy");
    instance.kubectl(&words).expect()
}

fn ask(instance: &Instance) {
    instance.curl(HOST, "/echo").expect();
}

/// The certificate that the TLS port shows to who trusts the authority and asks for `name`.
fn shown(instance: &Instance, address: &str, name: &str) -> Result<String, String> {
    let trust = instance.data_dir().join("authority.pem");
    let words = "get secret knative-selfsigned-ca -n knative-serving -o jsonpath={.data.ca\\.crt}";
    let encoded = instance.kubectl(words).expect();
    let decoded = run(instance.inside("base64").arg("-d"), &encoded).expect();
    fs::write(&trust, decoded).expect("write the authority");
    let mut client = instance.inside("openssl");
    client
        .args(["s_client", "-verify_return_error", "-connect"])
        .arg(format!("{address}:8112"))
        .args(["-verify_hostname", name, "-servername", name, "-CAfile"])
        .arg(trust);
    let shown = run(&mut client, "");
    if !shown.ok {
        return Err(shown.stderr);
    }
    let mut read = instance.inside("openssl");
    read.args(["x509", "-noout", "-ext", "subjectAltName"]);
    Ok(run(&mut read, &shown.stdout).expect())
}

#[test]
fn queue_proxies_are_asked_by_tls_when_it_is_switched_on() {
    let instance = Instance::start();
    instance.load(App::Probe, "example.com/probe");
    let log = json!({
        "logging.enable-request-log": "true",
        "logging.request-log-template": "TLS: {{.Request.TLS}}",
    });
    instance.configure("knative-serving", "config-observability", &log);
    instance.apply(HELLO).expect();
    let wait = "wait ksvc/hello --for=condition=Ready --timeout=60s";
    instance.kubectl(wait).expect();
    ask(&instance);
    let (plain, _) = wait_for("a Pod", || pod(&instance, false));
    wait_for("the log", || match queue_log(&instance, &plain) {
        log if log.contains("TLS: <nil>") => Ok(()),
        log => Err(log),
    });

    let load = instance.keep_asking(HOST, "/echo", 1, Duration::from_millis(50));
    let on = json!({"system-internal-tls": "Enabled"});
    instance.configure("knative-serving", "config-network", &on);
    let (name, address) = wait_for("a Pod with a certificate", || pod(&instance, true));
    let san = shown(&instance, &address, "kn-user-default").expect("a certificate");
    assert!(san.contains("DNS:kn-user-default"), "{san}");
    shown(&instance, &address, "kn-user-other").expect_err("another name");
    wait_for("requests by TLS", || {
        match has_connection(&instance, &address) {
            true => Ok(()),
            false => Err("no connection".to_owned()),
        }
    });
    wait_for("the log", || match queue_log(&instance, &name) {
        log if log.contains("TLS: {") => Ok(()),
        log => Err(log),
    });
    assert!(!queue_log(&instance, &name).contains("TLS: <nil>"));

    // A new certificate is taken while requests go on. For a while after one was issued its Secret
    // comes back as it was.
    let mut pause = Instant::now();
    let reloaded = |log: &str| log.matches(RELOADED).count() > 1;
    instance.eventually(Duration::from_secs(180), || {
        if Instant::now() >= pause {
            instance.kubectl("delete secret serving-certs --ignore-not-found --wait=false");
            pause += Duration::from_secs(10);
        }
        reloaded(&queue_log(&instance, &name))
    });
    let told = load.stop();
    assert_eq!(told.failed, 0, "{told:?}");

    wait_for("zero", || {
        match instance.kubectl("get pods -o name").expect() {
            none if none.is_empty() => Ok(()),
            some => Err(some),
        }
    });
    ask(&instance);
    let (_, address) = wait_for("a Pod again", || pod(&instance, true));
    assert!(has_connection(&instance, &address));

    let off = json!({"system-internal-tls": "Disabled"});
    instance.configure("knative-serving", "config-network", &off);
    wait_for("plain text", || {
        ask(&instance);
        pod(&instance, false)
    });
}
