//! Stories of certificates: who asks for which, what becomes of the URLs meanwhile, renewal.

use std::time::Duration;

use api::certificate::{CERTIFICATE as CRT, KEY, Order, TRUST};
use api::object::ObjectExt;
use api::world::{
    CERTIFICATE, DEPLOYMENT, DOMAIN_MAPPING, Fact, INGRESS, NAMESPACE, ROUTE, SECRET,
    SERVERLESS_SERVICE,
};
use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::cluster::{Cluster, service_yaml};

const DAY: Duration = Duration::from_secs(86_400);

/// What an authority would give.
pub(super) fn issue(names: &[String], now: Timestamp, lifetime_s: u64) -> Value {
    let mut params = rcgen::CertificateParams::new(names.to_vec()).unwrap();
    let date = |at: Timestamp| {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        let part = |n: i8| u8::try_from(n).unwrap();
        rcgen::date_time_ymd(date.year().into(), part(date.month()), part(date.day()))
    };
    params.not_before = date(now);
    params.not_after = date(now + SignedDuration::from_secs(lifetime_s.try_into().unwrap()));
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    json!({CRT: pem, KEY: key.serialize_pem(), TRUST: "the authority"})
}

/// What an authority that speaks ACME wants to see.
pub(super) fn challenges(order: &Order) -> Value {
    let one = |name: &String| json!({"host": name, "token": "abc"});
    json!({"challenges": order.names.iter().map(one).collect::<Value>()})
}

#[track_caller]
fn check(actual: String, expected: &Expect) {
    expected.assert_eq(&actual);
}

fn route(cluster: &Cluster) -> String {
    cluster.status(ROUTE, "hello", &["url", "address"])
}

#[test]
fn a_service_is_asked_by_tls_once_its_certificate_is_there() {
    let mut cluster = Cluster::new();
    cluster.cx.https_port = 8443;
    cluster.service("hello", "app");
    cluster.configure("config-network", "external-domain-tls", "Enabled");
    check(
        route(&cluster),
        &expect![[r#"
            AllTrafficAssigned True
            CertificateProvisioned True
            IngressReady True
            Ready True
            url: "https://hello.default.localhost:8443"
            address: {"url":"http://hello.default.svc.cluster.local"}
        "#]],
    );
    assert_eq!(cluster.identities(), ["hello.default.localhost"]);
    let uid = cluster.get(ROUTE, "hello").uid().to_owned();
    let certificate = cluster.get(CERTIFICATE, &format!("route-{uid}"));
    assert_eq!(certificate["status"]["notAfter"], "2026-04-01T00:00:00Z");
    assert_eq!(
        certificate["spec"],
        json!({
            "dnsNames": ["hello.default.localhost"],
            "domain": "localhost",
            "secretName": format!("route-{uid}"),
        })
    );
    let ingress = cluster.get(INGRESS, "hello");
    assert_eq!(ingress["spec"]["httpOption"], "Enabled");
    cluster.configure("config-network", "http-protocol", "Redirected");
    let ingress = cluster.get(INGRESS, "hello");
    assert_eq!(ingress["spec"]["httpOption"], "Redirected");
    cluster.configure("config-network", "external-domain-tls", "Disabled");
    assert_eq!(cluster.identities(), [""; 0]);
    assert_eq!(cluster.get(INGRESS, "hello")["spec"]["tls"], Value::Null);
}

#[test]
fn each_tag_has_a_certificate_and_loses_it_with_the_tag() {
    let mut cluster = Cluster::new();
    cluster.configure("config-network", "external-domain-tls", "Enabled");
    let traffic = "  traffic: [{latestRevision: true, percent: 100, tag: blue}]\n";
    cluster.apply(&service_yaml("hello", "app", traffic));
    let hosts = ["blue-hello.default.localhost", "hello.default.localhost"];
    assert_eq!(cluster.identities(), hosts);
    let traffic = cluster.get(ROUTE, "hello")["status"]["traffic"].clone();
    assert_eq!(traffic[0]["url"], "https://blue-hello.default.localhost");
    cluster.service("hello", "app");
    assert_eq!(cluster.identities(), hosts[1..]);
    assert_eq!(cluster.world.list(CERTIFICATE, "default").len(), 1);
    assert_eq!(cluster.world.list(SECRET, "default").len(), 1);
}

#[test]
fn annotations_keep_tls_away() {
    let mut cluster = Cluster::new();
    cluster.configure("config-network", "external-domain-tls", "Enabled");
    let yaml = service_yaml("hello", "app", "").replace(
        "  annotations:\n",
        "  annotations:\n    networking.knative.dev/disable-external-domain-tls: 'true'\n",
    );
    cluster.apply(&yaml);
    check(
        route(&cluster),
        &expect![[r#"
            AllTrafficAssigned True
            CertificateProvisioned True TLSNotEnabled external-domain-tls is not enabled
            IngressReady True
            Ready True
            url: "http://hello.default.localhost:8080"
            address: {"url":"http://hello.default.svc.cluster.local"}
        "#]],
    );
    let labels = "  labels: {networking.knative.dev/visibility: cluster-local}\n  annotations:\n";
    let yaml = service_yaml("hello", "app", "").replace("  annotations:\n", labels);
    cluster.apply(&yaml);
    check(
        route(&cluster),
        &expect![[r#"
            AllTrafficAssigned True
            CertificateProvisioned True TLSNotEnabled TLS is not enabled for cluster-local
            IngressReady True
            Ready True
            url: "http://hello.default.svc.cluster.local"
            address: {"url":"http://hello.default.svc.cluster.local"}
        "#]],
    );
}

#[test]
fn a_class_nobody_answers_for_leaves_plain_http_or_nothing() {
    let mut cluster = Cluster::new();
    cluster.configure("config-network", "external-domain-tls", "Enabled");
    cluster.configure("config-network", "certificate-class", "other.example");
    cluster.service("hello", "app");
    let status = route(&cluster);
    assert!(
        status.contains("CertificateProvisioned True HTTPDowngrade Certificate route-"),
        "{status}"
    );
    assert!(
        status.contains("is not ready downgrade HTTP.\n"),
        "{status}"
    );
    assert!(status.contains("url: \"http://hello"), "{status}");
    cluster.configure("config-network", "http-protocol", "Redirected");
    let status = route(&cluster);
    assert!(
        status.contains("CertificateProvisioned Unknown CertificateNotReady"),
        "{status}"
    );
    assert!(status.contains("url: \"https://hello"), "{status}");
}

#[test]
fn names_inside_the_cluster_have_certificates_of_their_own() {
    let mut cluster = Cluster::new();
    cluster.configure("config-network", "cluster-local-domain-tls", "Enabled");
    cluster.service("hello", "app");
    check(
        route(&cluster),
        &expect![[r#"
            AllTrafficAssigned True
            CertificateProvisioned True
            IngressReady True
            Ready True
            url: "http://hello.default.localhost:8080"
            address: {"url":"https://hello.default.svc.cluster.local"}
        "#]],
    );
    let hosts = [
        "hello.default",
        "hello.default.svc",
        "hello.default.svc.cluster.local",
    ];
    assert_eq!(cluster.identities(), hosts);
}

#[test]
fn a_namespace_may_have_one_certificate_for_all() {
    let mut cluster = Cluster::new();
    cluster.configure("config-network", "external-domain-tls", "Enabled");
    let selector = "matchLabels: {tls: wildcard}";
    cluster.configure(
        "config-network",
        "namespace-wildcard-cert-selector",
        selector,
    );
    let mut namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": "default", "uid": "ns", "resourceVersion": "1", "labels": {"tls": "wildcard"},
        },
    });
    cluster.world.insert(NAMESPACE, namespace.clone());
    cluster.service("hello", "app");
    let certificates = cluster.world.list(CERTIFICATE, "default");
    assert_eq!(certificates.len(), 1);
    assert_eq!(certificates[0].name(), "default.localhost");
    assert_eq!(
        certificates[0]["spec"]["dnsNames"],
        json!(["*.default.localhost"])
    );
    assert_eq!(cluster.identities(), ["hello.default.localhost"]);
    assert!(route(&cluster).contains("url: \"https://hello"));
    namespace["metadata"]["labels"] = json!({});
    cluster.world.insert(NAMESPACE, namespace);
    cluster.settle();
    let certificates = cluster.world.list(CERTIFICATE, "default");
    assert!(
        certificates
            .iter()
            .all(|one| one.name().starts_with("route-"))
    );
    assert_eq!(cluster.identities(), ["hello.default.localhost"]);
}

#[test]
fn certificates_are_renewed_in_time() {
    let mut cluster = Cluster::new();
    cluster.configure("config-network", "external-domain-tls", "Enabled");
    cluster.service("hello", "app");
    let uid = cluster.get(ROUTE, "hello").uid().to_owned();
    let secret = |cluster: &Cluster| cluster.get(SECRET, &format!("route-{uid}"))["data"].clone();
    let first = secret(&cluster);
    cluster.wait(59 * DAY);
    assert_eq!(secret(&cluster), first);
    // A fact is forgotten when nobody builds on it.
    let certificate = cluster.get(CERTIFICATE, &format!("route-{uid}"));
    cluster.world.unlearn(&Fact::Issued {
        holder: format!("default/route-{uid}"),
        names: vec!["hello.default.localhost".into()],
        lifetime_s: 90 * 86_400,
        authority: String::new(),
    });
    assert_eq!(certificate["status"]["notAfter"], "2026-04-01T00:00:00Z");
    cluster.wait(2 * DAY);
    assert_ne!(secret(&cluster), first);
    let certificate = cluster.get(CERTIFICATE, &format!("route-{uid}"));
    assert_eq!(certificate["status"]["notAfter"], "2026-05-31T00:00:00Z");
}

#[test]
fn an_authority_that_speaks_acme_sees_its_challenges_before_it_is_told_to_look() {
    let mut cluster = Cluster::new();
    let class = "net-http01.certificate.networking.knative.dev";
    cluster.configure("config-network", "certificate-class", class);
    cluster.configure("config-network", "external-domain-tls", "Enabled");
    cluster.service("hello", "app");
    let uid = cluster.get(ROUTE, "hello").uid().to_owned();
    let name = format!("route-{uid}");
    check(
        cluster.status(CERTIFICATE, &name, &[]),
        &expect![[r#"
            Ready False NoDirectory no authority is named: set acme-directory-url in ConfigMap knative-serving/config-certificates
        "#]],
    );
    cluster.world.insert(
        api::world::CONFIG_MAP,
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "config-certificates", "namespace": "knative-serving"},
            "data": {"acme-directory-url": "https://acme.example/directory"},
        }),
    );
    cluster.settle();
    check(
        cluster.status(CERTIFICATE, &name, &["http01Challenges"]),
        &expect![[r#"
            Ready True
            http01Challenges: []
        "#]],
    );
    assert_eq!(cluster.identities(), ["hello.default.localhost"]);
    let all = "http://hello.default.localhost/.well-known/acme-challenge/abc";
    let seen = cluster.seen(CERTIFICATE, &name);
    assert!(
        seen.iter()
            .any(|old| old["status"]["http01Challenges"][0]["url"] == all)
    );
    let seen = cluster.seen(INGRESS, "hello");
    let path = "/.well-known/acme-challenge/abc";
    let asked = |old: &Value| old["spec"]["rules"][1]["http"]["paths"][0]["path"] == path;
    assert!(seen.iter().any(|old| asked(old)));
    assert!(!asked(&cluster.get(INGRESS, "hello")));
}

#[test]
fn mapped_domains_have_certificates_and_may_bring_them() {
    let mut cluster = Cluster::new();
    cluster.cx.https_port = 8443;
    cluster.service("hello", "app");
    let network = "config-network";
    cluster.configure(network, "autocreate-cluster-domain-claims", "true");
    cluster.configure(network, "external-domain-tls", "Enabled");
    let mapping = "
apiVersion: serving.knative.dev/v1beta1
kind: DomainMapping
metadata: {name: hello.home.arpa, namespace: default, annotations: {made-by-user: ''}}
spec:
  ref: {kind: Service, name: hello, apiVersion: serving.knative.dev/v1}
";
    cluster.apply(mapping);
    check(
        cluster.status(DOMAIN_MAPPING, "hello.home.arpa", &["url"]),
        &expect![[r#"
            CertificateProvisioned True
            DomainClaimed True
            IngressReady True
            Ready True
            ReferenceResolved True
            url: "https://hello.home.arpa:8443"
        "#]],
    );
    let hosts = ["hello.default.localhost", "hello.home.arpa"];
    assert_eq!(cluster.identities(), hosts);
    cluster.apply(&format!("{mapping}  tls: {{secretName: mine}}\n"));
    check(
        cluster.status(DOMAIN_MAPPING, "hello.home.arpa", &[]),
        &expect![[r#"
            CertificateProvisioned True CertificateExternallyProvided TLS certificate was provided externally
            DomainClaimed True
            IngressReady Unknown ReconcileIngressFailed Secret default/mine is not there
            Ready Unknown ReconcileIngressFailed Secret default/mine is not there
            ReferenceResolved True
        "#]],
    );
    assert_eq!(cluster.identities(), hosts[..1]);
    let mut secret = api::certificate::secret_body(&issue(
        &["hello.home.arpa".to_owned()],
        cluster.world.now(),
        86_400,
    ));
    secret["metadata"] = json!({
        "name": "mine", "namespace": "default", "annotations": {"made-by-user": ""},
    });
    cluster.world.insert(SECRET, secret);
    cluster.settle();
    assert_eq!(cluster.identities(), hosts);
}

#[test]
fn the_parts_of_the_system_know_each_other_by_certificates() {
    let mut cluster = Cluster::new();
    for name in ["default", "knative-serving"] {
        let metadata = json!({"name": name, "uid": name, "resourceVersion": "1", "annotations": {"made-by-user": ""}});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        cluster.world.insert(NAMESPACE, namespace);
    }
    cluster.configure("config-network", "system-internal-tls", "Enabled");
    cluster.service("hello", "app");

    let certificate = cluster.get(CERTIFICATE, "serving-certs");
    let names = json!(["kn-user-default", "data-plane.knative.dev"]);
    assert_eq!(certificate["spec"]["dnsNames"], names);
    assert_eq!(certificate.controller_owner().unwrap()["name"], "default");
    let table = cluster.table();
    assert_eq!(&*table.internal.unwrap().trust, "the authority");
    let pods = &table.revisions.values().next().unwrap().pods;
    assert_eq!(pods[0].tls_name.as_deref(), Some("kn-user-default"));
    let pod_spec = |cluster: &Cluster| {
        let deployment = cluster.get(DEPLOYMENT, "hello-00001-deployment");
        deployment["spec"]["template"]["spec"].clone()
    };
    let spec = pod_spec(&cluster);
    assert_eq!(spec["volumes"][0]["secret"]["secretName"], "serving-certs");
    let mount = &spec["containers"][1]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/lib/knative/certs");
    cluster.decide("hello-00001", 1);
    let sks = cluster.get(SERVERLESS_SERVICE, "hello-00001");
    assert_eq!(sks["spec"]["mode"], "Proxy");

    cluster.configure("config-network", "system-internal-tls", "Disabled");
    let spec = pod_spec(&cluster);
    assert_eq!(spec["volumes"], Value::Null);
    assert_eq!(spec["containers"][1]["volumeMounts"], Value::Null);
    let sks = cluster.get(SERVERLESS_SERVICE, "hello-00001");
    assert_eq!(sks["spec"]["mode"], "Serve");
}
