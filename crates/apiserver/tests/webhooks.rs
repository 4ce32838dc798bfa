//! Mutating webhooks, and what the server does with an object after them.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use apiserver::{Admitted, ApiServer, Config, Denied, Hooks, Review};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a webhook answers to a request of an `AdmissionReview`: a JSON patch.
type Answer = fn(&Value) -> Value;

/// Serves one webhook over TLS until the test ends; its `clientConfig`.
async fn serve(answer: Answer) -> Value {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let stream = TokioIo::new(tls.accept(stream).await.unwrap());
                let service = service_fn(move |request| respond(request, answer));
                let connection = hyper::server::conn::http1::Builder::new();
                connection.serve_connection(stream, service).await
            });
        }
    });
    json!({
        "url": format!("https://localhost:{port}/"),
        "caBundle": STANDARD.encode(signed.cert.pem()),
    })
}

async fn respond(
    request: http::Request<Incoming>,
    answer: Answer,
) -> hyper::Result<http::Response<Full<bytes::Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let patch = answer(&review["request"]).to_string();
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": review["request"]["uid"],
            "allowed": true,
            "patchType": "JSONPatch",
            "patch": STANDARD.encode(patch),
        },
    });
    Ok(http::Response::new(Full::new(answer.to_string().into())))
}

/// Registers a webhook for what is created and updated of one resource of the core group.
async fn register(client: &Client, name: &str, resource: &str, answer: Answer, policy: &str) {
    let webhook = json!({
        "name": format!("{name}.example.com"),
        "clientConfig": serve(answer).await,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
            "resources": [resource]}],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "reinvocationPolicy": policy,
    });
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    let body = json!({"metadata": {"name": name}, "webhooks": [webhook]});
    call(client, "POST", path, body).await.unwrap();
}

async fn call(client: &Client, method: &str, path: &str, body: Value) -> Result<Value, String> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .unwrap();
    let answer = client.request(request).await;
    answer.map_err(|error| error.to_string())
}

fn add_container(_: &Value) -> Value {
    json!([
        {"op": "add", "path": "/spec/containers/-", "value": {
            "name": "side", "image": "side", "resources": {"limits": {"cpu": "1", "memory": "1Mi"}},
            "readinessProbe": {"httpGet": {"port": 80}}}},
        {"op": "add", "path": "/spec/colour", "value": "blue"},
        {"op": "replace", "path": "/status/phase", "value": "Failed"},
    ])
}

#[tokio::test]
async fn what_a_webhook_adds_is_given_its_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let server = ApiServer::open(Config::new(dir.path())).await.unwrap();
    let client = Client::new(server.service(), "default");
    register(&client, "sidecar", "pods", add_container, "Never").await;
    let pod = json!({"metadata": {"name": "p"},
        "spec": {"containers": [{"name": "main", "image": "main:1"}]}});
    let pods = "/api/v1/namespaces/default/pods";
    let pod = call(&client, "POST", pods, pod).await.unwrap();

    let side = &pod["spec"]["containers"][1];
    assert_eq!(side["imagePullPolicy"], "Always");
    assert_eq!(side["terminationMessagePath"], "/dev/termination-log");
    assert_eq!(side["readinessProbe"]["periodSeconds"], 10);
    assert_eq!(side["resources"]["requests"]["memory"], "1Mi");
    let token = "/var/run/secrets/kubernetes.io/serviceaccount";
    assert_eq!(side["volumeMounts"][0]["mountPath"], token);
    assert_eq!(pod["spec"]["volumes"].as_array().unwrap().len(), 1);
    assert_eq!(
        pod["status"],
        json!({"phase": "Pending", "qosClass": "Burstable"})
    );
    assert!(
        pod["spec"].get("colour").is_none(),
        "nobody knows that field"
    );
}

fn count_keys(request: &Value) -> Value {
    let keys = request["object"]["data"].as_object().unwrap().len();
    json!([{"op": "add", "path": "/data/keys", "value": keys.to_string()}])
}

fn add_key(_: &Value) -> Value {
    json!([{"op": "add", "path": "/data/added", "value": "x"}])
}

#[tokio::test]
async fn a_webhook_is_called_again_only_if_others_changed_the_object_and_it_wants_to() {
    for (policy, keys) in [("IfNeeded", "3"), ("Never", "1")] {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(Config::new(dir.path())).await.unwrap();
        let client = Client::new(server.service(), "default");
        register(&client, "a-counts", "configmaps", count_keys, policy).await;
        register(&client, "b-adds", "configmaps", add_key, "Never").await;
        let map = json!({"metadata": {"name": "m"}, "data": {"own": ""}});
        let maps = "/api/v1/namespaces/default/configmaps";
        let map = call(&client, "POST", maps, map).await.unwrap();
        assert_eq!(map["data"]["keys"], keys, "{policy}");
    }
}

/// Refuses ConfigMaps with `data.added`, but for those that say `data.allowed`.
struct Judge;

impl Hooks for Judge {
    fn claims(&self, _: &str, kind: &str, _: &str) -> bool {
        kind == "ConfigMap"
    }

    fn admit(&self, review: &Review<'_>) -> Result<Admitted, Denied> {
        let data = &review.object["data"];
        if data["added"].is_string() && !data["allowed"].is_string() {
            let message = "added without being allowed".to_owned();
            return Err(Denied { message });
        }
        let mut object = review.object.clone();
        if data["added"].is_string() {
            object["data"]["judged"] = "twice".into();
        }
        let warnings = Vec::new();
        Ok(Admitted { object, warnings })
    }
}

#[tokio::test]
async fn the_programs_own_admission_judges_what_webhooks_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.hooks = Arc::new(Judge);
    let server = ApiServer::open(config).await.unwrap();
    let client = Client::new(server.service(), "default");
    register(&client, "adds", "configmaps", add_key, "Never").await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = |data: Value| json!({"metadata": {"name": "m"}, "data": data});
    let refused = call(&client, "POST", maps, map(json!({})))
        .await
        .unwrap_err();
    assert!(refused.contains("added without being allowed"), "{refused}");
    let allowed = map(json!({"allowed": ""}));
    let made = call(&client, "POST", maps, allowed).await.unwrap();
    assert_eq!(made["data"]["judged"], "twice");
    let changed = map(json!({"allowed": "", "more": ""}));
    let path = format!("{maps}/m");
    let changed = call(&client, "PUT", &path, changed).await.unwrap();
    assert_eq!(changed["data"]["judged"], "twice");
}
