//! TLS at the gateway with curl and openssl: certificates of the built-in authority, of users, for
//! whole namespaces; redirects; exchange and renewal while the gateway runs.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use system::{App, Instance, Outcome, run, wait_for};

const HELLO: &str = "
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: hello, namespace: NAMESPACE}
spec:
  template:
    spec:
      containers:
        - image: example.com/hello
          env: [{name: TARGET, value: TLS}]
  traffic:
    - {latestRevision: true, percent: 100, tag: current}
";

const MAPPING: &str = "
apiVersion: serving.knative.dev/v1beta1
kind: DomainMapping
metadata: {name: hello.home.arpa}
spec:
  ref: {kind: Service, name: hello, apiVersion: serving.knative.dev/v1}
  tls: {secretName: mine}
";

fn equal<T: PartialEq + std::fmt::Debug>(found: T, wanted: &T) -> Result<(), String> {
    if found == *wanted {
        Ok(())
    } else {
        Err(format!("{found:?}, not {wanted:?}"))
    }
}

/// Sets keys of config-network.
fn configure(instance: &Instance, data: &Value) {
    instance.configure("knative-serving", "config-network", data);
}

/// curl with whom to trust, to the gateway's TLS port whatever the host.
fn curl(instance: &Instance, trust: &PathBuf, flags: &[&str], host: &str) -> Outcome {
    let address = instance.address("https");
    let (ip, port) = address.rsplit_once(':').expect("an address and a port");
    let mut command = instance.inside("curl");
    command
        .args(["-sS", "-f", "--max-time", "30", "--cacert"])
        .arg(trust)
        .args(["--resolve", &format!("{host}:{port}:{ip}")])
        .args(flags)
        .arg(format!("https://{host}:{port}/"));
    run(&mut command, "")
}

/// The built-in authority as a file.
fn authority(instance: &Instance) -> PathBuf {
    let path = instance.data_dir().join("authority.pem");
    fs::write(&path, instance.verb("ca").expect()).expect("write the authority");
    path
}

/// The serial number of the certificate the gateway shows for `host`.
fn serial(instance: &Instance, host: &str) -> Result<String, String> {
    let address = instance.address("https");
    let shown = run(
        instance
            .inside("openssl")
            .args(["s_client", "-connect", &address, "-servername", host]),
        "",
    );
    let read = run(
        instance
            .inside("openssl")
            .args(["x509", "-noout", "-serial"]),
        &shown.stdout,
    );
    if read.ok {
        Ok(read.stdout)
    } else {
        Err(shown.stderr)
    }
}

/// Makes the Secret `mine` with a certificate of its own; gives the certificate's file.
fn own_certificate(instance: &Instance, host: &str) -> PathBuf {
    let file = |name: &str| instance.data_dir().join(name);
    let (certificate, key) = (file("mine.pem"), file("mine.key"));
    let mut openssl = instance.inside("openssl");
    openssl
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mine",
        ])
        .args(["-addext", &format!("subjectAltName=DNS:{host}"), "-out"])
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key);
    run(&mut openssl, "").expect();
    let words = format!(
        "create secret tls mine --dry-run=client -o yaml --cert {} --key {}",
        certificate.display(),
        key.display()
    );
    let secret = instance.kubectl(&words).expect();
    instance.apply(&secret).expect();
    certificate
}

fn ready(instance: &Instance, namespace: &str) {
    let manifest = HELLO.replace("NAMESPACE", namespace);
    instance.apply(&manifest).expect();
    let words = format!("wait ksvc/hello -n {namespace} --for=condition=Ready --timeout=60s");
    instance.kubectl(&words).expect();
}

fn field(instance: &Instance, object: &str, path: &str) -> String {
    let path = format!("-o=jsonpath={{{path}}}");
    let words = ["get", object, &path];
    instance.kubectl_args(&words, "").stdout
}

#[test]
fn services_are_asked_by_tls_when_it_is_switched_on() {
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    let none = instance.verb("ca").expect_failure();
    assert!(none.contains("external-domain-tls"), "{none}");
    configure(
        &instance,
        &serde_json::json!({"external-domain-tls": "Enabled"}),
    );
    ready(&instance, "default");
    let (host, tagged) = ("hello.default.localhost", "current-hello.default.localhost");
    let port = instance
        .address("https")
        .rsplit_once(':')
        .expect("a port")
        .1
        .to_owned();
    let url = format!("https://{host}:{port}");
    wait_for("the URL", || {
        equal(field(&instance, "ksvc/hello", ".status.url"), &url)
    });
    let provisioned = field(
        &instance,
        "route/hello",
        ".status.conditions[?(@.type==\"CertificateProvisioned\")].status",
    );
    assert_eq!(provisioned, "True");
    let trust = authority(&instance);
    for (flags, version) in [
        (&["--http1.1"][..], "1.1"),
        (&["--http2"], "2"),
        (&["--tls-max", "1.2"], "2"),
    ] {
        let mut all = vec!["-w", "%{http_version}"];
        all.extend(flags);
        let answer = curl(&instance, &trust, &all, host).expect();
        assert_eq!(answer, format!("Hello TLS!\n{version}"), "{flags:?}");
    }
    assert_eq!(
        curl(&instance, &trust, &[], tagged).expect(),
        "Hello TLS!\n"
    );
    // Who names no host of ours is shown nothing.
    assert!(serial(&instance, "other.default.localhost").is_err());
    // Plain HTTP goes on until it is to be redirected.
    assert_eq!(instance.curl(host, "/").expect(), "Hello TLS!\n");
    configure(
        &instance,
        &serde_json::json!({"http-protocol": "Redirected"}),
    );
    let plain = format!("http://{}/x?y=1", instance.address("http"));
    let host_header = format!("Host: {host}");
    let wanted = format!("301 {url}/x?y=1");
    wait_for("the redirect", || {
        let mut command = instance.inside("curl");
        let format = [
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{redirect_url}",
        ];
        command.args(format).args(["-H", &host_header, &plain]);
        equal(run(&mut command, "").stdout, &wanted)
    });
    // The annotation of one Service counts more than what holds for all.
    instance
        .kubectl("annotate ksvc hello networking.knative.dev/disable-external-domain-tls=true")
        .expect();
    wait_for("plain HTTP again", || {
        equal(instance.curl(host, "/").stdout, &"Hello TLS!\n".to_owned())
    });
    assert!(field(&instance, "ksvc/hello", ".status.url").starts_with("http://"));
    wait_for("no certificate", || match serial(&instance, host) {
        Ok(serial) => Err(serial),
        Err(_) => Ok(()),
    });
    instance.kubectl("delete ksvc hello").expect();
    wait_for("nothing is left", || {
        let left = instance.kubectl("get kcert,secrets -o name").expect();
        equal(left, &String::new())
    });
}

#[test]
fn a_domain_shows_the_certificate_of_its_user_and_each_new_one() {
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    ready(&instance, "default");
    configure(
        &instance,
        &serde_json::json!({"autocreate-cluster-domain-claims": "true"}),
    );
    instance.apply(MAPPING).expect();
    let host = "hello.home.arpa";
    let message = ".status.conditions[?(@.type==\"Ready\")].message";
    wait_for("the Secret is missed", || {
        let wanted = "Secret default/mine is not there".to_owned();
        equal(
            field(&instance, "domainmapping/hello.home.arpa", message),
            &wanted,
        )
    });
    let trust = own_certificate(&instance, host);
    instance
        .kubectl("wait domainmapping/hello.home.arpa --for=condition=Ready --timeout=60s")
        .expect();
    assert_eq!(curl(&instance, &trust, &[], host).expect(), "Hello TLS!\n");
    let url = field(&instance, "domainmapping/hello.home.arpa", ".status.url");
    assert!(url.starts_with("https://hello.home.arpa"), "{url}");
    let first = serial(&instance, host).expect("a certificate");
    let trust = own_certificate(&instance, host);
    wait_for("the new certificate", || match serial(&instance, host)? {
        same if same == first => Err(same),
        _ => Ok(()),
    });
    assert_eq!(curl(&instance, &trust, &[], host).expect(), "Hello TLS!\n");
}

#[test]
fn certificates_are_renewed_while_requests_go_on() {
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    let short =
        "create configmap config-certificates -n knative-serving --from-literal=duration=60s";
    instance.kubectl(short).expect();
    let refused = instance
        .kubectl_args(
            &[
                "patch",
                "configmap",
                "config-certificates",
                "-n",
                "knative-serving",
                "--type",
                "merge",
                "-p",
                "{\"data\": {\"duration\": \"1s\"}}",
            ],
            "",
        )
        .expect_failure();
    assert!(
        refused.contains("duration must be at least 10s"),
        "{refused}"
    );
    configure(
        &instance,
        &serde_json::json!({
            "external-domain-tls": "Enabled",
            "namespace-wildcard-cert-selector": "matchLabels: {kubernetes.io/metadata.name: default}",
        }),
    );
    ready(&instance, "default");
    let names = instance
        .kubectl("get kcert -o jsonpath={.items[*].spec.dnsNames}")
        .expect();
    assert_eq!(names, "[\"*.default.localhost\"]");
    let host = "hello.default.localhost";
    let trust = wait_for("an authority", || match instance.verb("ca").ok {
        true => Ok(authority(&instance)),
        false => Err("none yet".to_owned()),
    });
    wait_for("TLS", || {
        let answer = curl(&instance, &trust, &[], host);
        equal(answer.stdout, &"Hello TLS!\n".to_owned())
    });
    let first = serial(&instance, host).expect("a certificate");
    wait_for("another certificate", || {
        assert_eq!(curl(&instance, &trust, &[], host).expect(), "Hello TLS!\n");
        match serial(&instance, host)? {
            same if same == first => Err(same),
            _ => Ok(()),
        }
    });
}

#[test]
fn an_authority_that_speaks_acme_looks_and_signs() {
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    let acme = instance.acme();
    let class = "net-http01.certificate.networking.knative.dev";
    configure(
        &instance,
        &serde_json::json!({"external-domain-tls": "Enabled", "certificate-class": class}),
    );
    ready(&instance, "default");
    let host = "hello.default.localhost";
    let message = ".items[*].status.conditions[?(@.type==\"Ready\")].message";
    wait_for("what is missing is named", || {
        let said = field(&instance, "kcert", message);
        let named = said.contains("set acme-directory-url in ConfigMap");
        named.then_some(()).ok_or(said)
    });
    assert_eq!(instance.curl(host, "/").expect(), "Hello TLS!\n");
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "config-certificates", "namespace": "knative-serving"},
        "data": {
            "acme-directory-url": acme.directory,
            "acme-email": "nobody@example.com",
            "acme-root-certificates": acme.root,
        },
    });
    instance.apply(&config.to_string()).expect();
    let trust = instance.data_dir().join("acme.pem");
    fs::write(&trust, &acme.root).expect("write the root");
    wait_for("its certificate", || {
        let answer = curl(&instance, &trust, &[], host);
        equal(answer.stdout, &"Hello TLS!\n".to_owned())
    });
    let tagged = "current-hello.default.localhost";
    wait_for("the tag's certificate", || {
        let answer = curl(&instance, &trust, &[], tagged);
        equal(answer.stdout, &"Hello TLS!\n".to_owned())
    });
    let looked_at = acme.looked_at();
    for host in [host, tagged] {
        let path = format!("http://{host}/.well-known/acme-challenge/");
        assert!(
            looked_at.iter().any(|url| url.starts_with(&path)),
            "{looked_at:?}"
        );
    }
    wait_for("the way to the answers is closed", || {
        let ingress = field(&instance, "king/hello", ".spec.rules");
        if ingress.contains("acme-challenge") {
            Err(ingress)
        } else {
            Ok(())
        }
    });
}
