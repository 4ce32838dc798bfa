//! What the node asks the cluster (ConfigMaps, Secrets, tokens), answered from the API server.
//! Plugged in by `wire`.

use ::api::world::{CONFIG_MAP, Kind, SECRET, SERVICE_ACCOUNT};
use controller::request::{self, Request};
use futures_util::FutureExt;
use http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use node::{Answer, Cluster, Token, TokenRequest};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// See the module.
pub(crate) struct FromApi(pub(crate) Client);

impl Cluster for FromApi {
    fn config_map(&self, namespace: &str, name: &str) -> Answer<ConfigMap> {
        read(self.0.clone(), CONFIG_MAP, namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Answer<Secret> {
        read(self.0.clone(), SECRET, namespace, name)
    }

    fn service_account_token(&self, wanted: TokenRequest) -> Answer<Token> {
        let client = self.0.clone();
        async move {
            let body = json!({
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {
                    "audiences": wanted.audiences,
                    "expirationSeconds": wanted.expiration_s,
                    "boundObjectRef": {
                        "kind": "Pod", "apiVersion": "v1",
                        "name": wanted.pod_name, "uid": wanted.pod_uid,
                    },
                },
            });
            let (namespace, name) = (&wanted.namespace, &wanted.service_account);
            let uri = request::path(SERVICE_ACCOUNT, namespace, name, "token");
            let request = Request::json(Method::POST, uri, body.to_string());
            let answer: Option<Value> = call(&client, request).await?;
            Ok(answer.map(|answer| Token {
                token: answer["status"]["token"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                lifetime_s: wanted.expiration_s,
            }))
        }
        .boxed()
    }
}

fn read<T>(client: Client, kind: Kind, namespace: &str, name: &str) -> Answer<T>
where
    T: DeserializeOwned + Send + 'static,
{
    let uri = request::path(kind, namespace, name, "");
    async move { call(&client, Request::get(uri)).await }.boxed()
}

/// The answer; `None` for what does not exist.
async fn call<T: DeserializeOwned>(client: &Client, request: Request) -> Result<Option<T>, String> {
    match request::call(client, request).await {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| error.to_string()),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
