//! TLS and identities of addressables: a Broker that is reached by https with the certificate its
//! status names, delivery by https, tokens that are asked for, checked and sent, EventPolicies.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use system::{Instance, Outcome, run, wait_for};

const BROKER: &str = "
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default}
";
const CONSUMER: &str = "
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: greet}
spec:
  broker: default
  subscriber: {ref: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel, name: next}}
---
apiVersion: messaging.knative.dev/v1
kind: InMemoryChannel
metadata: {name: next}
---
apiVersion: messaging.knative.dev/v1
kind: Subscription
metadata: {name: out}
spec:
  channel: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel, name: next}
  subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: show}}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: show}
spec:
  template:
    metadata: {annotations: {autoscaling.knative.dev/min-scale: '1'}}
    spec: {containers: [{image: gcr.io/knative-releases/knative.dev/eventing/cmd/event_display}]}
";
const POLICY: &str = "
apiVersion: eventing.knative.dev/v1alpha1
kind: EventPolicy
metadata: {name: only-them}
spec:
  to: [{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}]
  from: [{sub: 'system:serviceaccount:default:allowed'}]
  filters: [{exact: {type: greeting}}]
";

fn features(instance: &Instance, data: &Value) {
    instance.configure("knative-eventing", "config-features", data);
}

fn address(instance: &Instance, object: &str) -> Value {
    let words = ["get", object, "-o=jsonpath={.status.address}"];
    let said = instance.kubectl_args(&words, "").stdout;
    serde_json::from_str(&said).unwrap_or_default()
}

/// Waits until an object's address begins with `https://` and can be verified; gives the address and
/// the file of whom to trust.
fn secured(instance: &Instance, object: &str) -> (String, PathBuf) {
    let (url, trust) = wait_for("an address by TLS", || {
        let address = address(instance, object);
        let url = address["url"]
            .as_str()
            .filter(|url| url.starts_with("https://"));
        let both = url.zip(address["CACerts"].as_str());
        both.map(|(url, trust)| (url.to_owned(), trust.to_owned()))
            .ok_or_else(|| address.to_string())
    });
    let path = instance.data_dir().join("trust.pem");
    fs::write(&path, trust).expect("write whom to trust");
    (url, path)
}

/// Posts an event as a Pod would, from the machine of the instance; gives status and text.
fn post(
    instance: &Instance,
    url: &str,
    trust: &PathBuf,
    kind: &str,
    token: Option<&str>,
) -> Outcome {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let host = rest.split('/').next().expect("a host");
    let port = if scheme == "https" { 443 } else { 80 };
    let name = host.split('.').next().expect("a name");
    let words = [
        "get",
        "service",
        "-n",
        "knative-eventing",
        name,
        "-o=jsonpath={.spec.clusterIP}",
    ];
    let ip = instance.kubectl_args(&words, "").expect();
    let mut command = instance.inside("curl");
    command
        .args([
            "-s",
            "-S",
            "-w",
            "%{http_code}",
            "--max-time",
            "30",
            "--cacert",
        ])
        .arg(trust)
        .args(["--resolve", &format!("{host}:{port}:{ip}"), "-d", "{}"])
        .args([
            "-H",
            "content-type: application/json",
            "-H",
            "ce-specversion: 1.0",
        ])
        .args([
            "-H",
            "ce-id: 1",
            "-H",
            "ce-source: test",
            "-H",
            &format!("ce-type: {kind}"),
        ]);
    if let Some(token) = token {
        command.args(["-H", &format!("authorization: Bearer {token}")]);
    }
    run(command.arg(url), "")
}

#[track_caller]
fn answers(outcome: Outcome, status: &str, word: &str) {
    let said = outcome.expect();
    assert!(said.ends_with(status) && said.contains(word), "{said}");
}

/// A token of a ServiceAccount, which is made.
fn token(instance: &Instance, account: &str, audience: &str) -> String {
    instance.kubectl(&format!("create serviceaccount {account}"));
    let words = format!("create token {account} --audience {audience}");
    instance.kubectl(&words).expect().trim().to_owned()
}

/// Whether the consumer has shown the event.
fn shown(instance: &Instance) -> Result<(), String> {
    let words = "logs -l serving.knative.dev/service=show -c user-container --tail=-1";
    let log = instance.kubectl(words).stdout;
    match log.contains("type: greeting") {
        true => Ok(()),
        false => Err(log),
    }
}

#[test]
fn a_broker_is_reached_by_tls_and_delivers_by_tls() {
    let instance = Instance::start();
    let network = json!({"cluster-local-domain-tls": "Enabled"});
    instance.configure("knative-serving", "config-network", &network);
    instance.apply(BROKER).expect();
    features(&instance, &json!({"transport-encryption": "permissive"}));
    let (url, trust) = secured(&instance, "broker/default");
    assert_eq!(
        url,
        "https://broker-ingress.knative-eventing.svc.cluster.local/default/default"
    );
    instance.apply(CONSUMER).expect();
    for object in [
        "broker/default",
        "trigger/greet",
        "subscription/out",
        "ksvc/show",
    ] {
        let words = format!("wait {object} --for=condition=Ready --timeout=60s");
        instance.kubectl(&words).expect();
    }
    // Its certificate is of the authority that the bundle makes known.
    wait_for("the consumer's certificate", || {
        let words = ["get", "ksvc/show", "-o=jsonpath={.status.address.url}"];
        let said = instance.kubectl_args(&words, "").stdout;
        match said == "https://show.default.svc.cluster.local" {
            true => Ok(()),
            false => Err(said),
        }
    });
    wait_for("the Subscription has it", || {
        let path = "-o=jsonpath={.status.physicalSubscription.subscriberUri}";
        let said = instance
            .kubectl_args(&["get", "subscription/out", path], "")
            .stdout;
        match said.starts_with("https://show") {
            true => Ok(()),
            false => Err(said),
        }
    });
    answers(post(&instance, &url, &trust, "greeting", None), "202", "");
    wait_for("the event", || shown(&instance));
    let plain = url.replace("https://", "http://");
    answers(post(&instance, &plain, &trust, "greeting", None), "202", "");
    // Whoever trusts somebody else does not send.
    let mine = instance.data_dir().join("other.pem");
    let mut openssl = instance.inside("openssl");
    openssl
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=other",
            "-keyout",
        ])
        .arg(instance.data_dir().join("other.key"))
        .arg("-out")
        .arg(&mine);
    run(&mut openssl, "").expect();
    post(&instance, &url, &mine, "greeting", None).expect_failure();
    features(&instance, &json!({"transport-encryption": "strict"}));
    wait_for("plain HTTP ends", || {
        let said = post(&instance, &plain, &trust, "greeting", None).stdout;
        let refused = said.ends_with("426") && said.contains("transport-encryption is strict");
        refused.then_some(()).ok_or(said)
    });
    answers(post(&instance, &url, &trust, "greeting", None), "202", "");
    let words =
        "get configmap -n knative-eventing -l networking.knative.dev/trust-bundle=true -o name";
    let bundles = instance.kubectl(words).expect();
    assert_eq!(bundles, "configmap/knative-eventing-bundle\n");
}

#[test]
fn senders_show_tokens_and_policies_say_who_may_send() {
    let instance = Instance::start();
    features(&instance, &json!({"authentication-oidc": "enabled"}));
    instance.apply(BROKER).expect();
    instance.apply(CONSUMER).expect();
    let audience = "eventing.knative.dev/broker/default/default";
    let url = wait_for("an audience", || {
        let address = address(&instance, "broker/default");
        match address["audience"] == audience {
            true => Ok(address["url"].as_str().unwrap_or_default().to_owned()),
            false => Err(address.to_string()),
        }
    });
    let trust = instance.data_dir().join("none.pem");
    fs::write(&trust, "").expect("write nobody to trust");
    let send = |kind: &str, token: Option<&str>| post(&instance, &url, &trust, kind, token);
    wait_for("the audience is in force", || {
        let said = send("greeting", None).stdout;
        if said.ends_with("401") {
            Ok(())
        } else {
            Err(said)
        }
    });
    let good = token(&instance, "allowed", audience);
    let other = token(&instance, "other", audience);
    answers(send("greeting", Some(&good)), "202", "");
    answers(
        send("greeting", Some(&token(&instance, "allowed", "another"))),
        "401",
        "audience",
    );
    answers(send("greeting", Some(&format!("{good}x"))), "401", "token");
    // A Trigger has a name of its own, by which what it sends is let into the channel.
    for object in ["trigger/greet", "imc/next", "subscription/out", "ksvc/show"] {
        let words = format!("wait {object} --for=condition=Ready --timeout=60s");
        instance.kubectl(&words).expect();
    }
    let words = [
        "get",
        "trigger/greet",
        "-o=jsonpath={.status.auth.serviceAccountName}",
    ];
    let account = instance.kubectl_args(&words, "").expect();
    assert_eq!(account, "greet-oidc-eventing.knative.dev-trigger");
    instance
        .kubectl(&format!("get serviceaccount {account}"))
        .expect();
    answers(send("greeting", Some(&good)), "202", "");
    wait_for("the event behind the channel", || shown(&instance));
    instance.apply(POLICY).expect();
    instance
        .kubectl("wait eventpolicy/only-them --for=condition=Ready --timeout=60s")
        .expect();
    wait_for("the policy is in force", || {
        let said = send("greeting", Some(&other)).stdout;
        if said.ends_with("403") {
            Ok(())
        } else {
            Err(said)
        }
    });
    answers(send("greeting", Some(&good)), "202", "");
    answers(send("farewell", Some(&good)), "403", "no EventPolicy");
    features(
        &instance,
        &json!({"default-authorization-mode": "deny-all"}),
    );
    instance.kubectl("delete eventpolicy only-them").expect();
    wait_for("nobody may send", || {
        let said = send("greeting", Some(&good)).stdout;
        if said.ends_with("403") {
            Ok(())
        } else {
            Err(said)
        }
    });
}
