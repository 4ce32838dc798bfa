//! Tokens of ServiceAccounts, from the request to those who verify them.

#![allow(clippy::unwrap_used)]

use apiserver::{ApiServer, Config, User};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kube::Client;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};

async fn call(client: &Client, method: &str, path: &str, body: Value) -> Result<Value, String> {
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    client
        .request(request)
        .await
        .map_err(|error| error.to_string())
}

async fn token(client: &Client, spec: Value) -> Result<Value, String> {
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    call(client, "POST", path, json!({"spec": spec})).await
}

async fn review(client: &Client, token: &Value, audiences: Value) -> Value {
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let body = json!({"spec": {"token": token, "audiences": audiences}});
    call(client, "POST", path, body).await.unwrap()["status"].clone()
}

#[tokio::test]
async fn a_token_is_for_its_audience_and_for_as_long_as_its_pod_lives() {
    let dir = tempfile::tempdir().unwrap();
    let server = ApiServer::open(Config::new(dir.path())).await.unwrap();
    let client = Client::new(server.service(), "default");

    let issued = token(&client, json!({"audiences": ["sink"]}))
        .await
        .unwrap();
    let for_sink = &issued["status"]["token"];
    let found = review(&client, for_sink, json!(["other", "sink"])).await;
    assert_eq!(found["authenticated"], true);
    assert_eq!(found["audiences"], json!(["sink"]));
    assert_eq!(
        found["user"]["username"],
        "system:serviceaccount:default:default"
    );
    let found = review(&client, for_sink, Value::Null).await;
    assert_ne!(found["authenticated"], true, "it is not for the API");

    let refused = token(&client, json!({"expirationSeconds": 1}))
        .await
        .unwrap_err();
    assert!(refused.contains("less than 10 minutes"), "{refused}");
    let bound =
        |kind: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": "p"}});
    let refused = token(&client, bound("ConfigMap")).await.unwrap_err();
    assert!(refused.contains("cannot bind token"), "{refused}");
    let refused = token(&client, bound("Pod")).await.unwrap_err();
    assert!(refused.contains("not found"), "{refused}");

    let pods = "/api/v1/namespaces/default/pods";
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    call(&client, "POST", pods, pod).await.unwrap();
    let issued = token(&client, bound("Pod")).await.unwrap();
    let found = review(&client, &issued["status"]["token"], Value::Null).await;
    assert_eq!(found["authenticated"], true);
    let now = json!({"gracePeriodSeconds": 0});
    call(&client, "DELETE", &format!("{pods}/p"), now)
        .await
        .unwrap();
    let found = review(&client, &issued["status"]["token"], Value::Null).await;
    assert_ne!(found["authenticated"], true, "its Pod is gone");
}

#[tokio::test]
async fn the_key_set_verifies_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let server = ApiServer::open(Config::new(dir.path())).await.unwrap();
    let admin = Client::new(server.service(), "default");
    let account = User::new("x", &["system:serviceaccounts"]);
    let account = Client::new(server.service_as(account), "default");
    let stranger = Client::new(server.service_as(User::anonymous()), "default");

    let found = call(
        &account,
        "GET",
        "/.well-known/openid-configuration",
        Value::Null,
    )
    .await
    .unwrap();
    let keys = found["jwks_uri"].as_str().unwrap();
    let path = keys
        .strip_prefix(found["issuer"].as_str().unwrap())
        .unwrap();
    assert!(call(&stranger, "GET", path, Value::Null).await.is_err());
    let keys = call(&account, "GET", path, Value::Null).await.unwrap();

    let issued = token(&admin, json!({})).await.unwrap();
    let token = issued["status"]["token"].as_str().unwrap();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    let key = &keys["keys"][0];
    assert_eq!(header["kid"], key["kid"]);
    let coordinate = |name: &str| decode(key[name].as_str().unwrap());
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &decode(signature))
        .unwrap();
}

#[tokio::test]
async fn an_old_data_directory_follows_the_program_in_what_is_the_programs() {
    let dir = tempfile::tempdir().unwrap();
    let service = |port: u16| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "default", "name": "gateway"},
            "spec": {"ports": [{"name": "http", "port": port}]},
        })
    };
    let settings = |value: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "default", "name": "settings"},
            "data": {"key": value},
        })
    };
    let open = async |port: u16, value: &str| {
        loop {
            let mut config = Config::new(dir.path());
            config.owned = vec![service(port)];
            config.bootstrap = vec![settings(value)];
            match ApiServer::open(config).await {
                Ok(server) => return server,
                // The tasks of the one before are ending.
                Err(apiserver::Error::Store(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let read = async |server: &ApiServer| {
        let client = Client::new(server.service(), "default");
        let object = async |plural: &str, name: &str| {
            let path = format!("/api/v1/namespaces/default/{plural}/{name}");
            call(&client, "GET", &path, Value::Null).await.unwrap()
        };
        (
            object("services", "gateway").await,
            object("configmaps", "settings").await,
        )
    };
    let (before, _) = read(&open(80, "theirs").await).await;
    let (same, _) = read(&open(80, "theirs").await).await;
    assert_eq!(before, same, "nothing is written where nothing has changed");
    let (after, settings) = read(&open(81, "ours").await).await;
    assert_eq!(after["spec"]["ports"][0]["port"], 81);
    assert_eq!(after["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    assert_eq!(settings["data"]["key"], "theirs");
}
