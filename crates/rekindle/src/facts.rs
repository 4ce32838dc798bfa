//! Facts plans ask for that no object holds: image digests from the node's store or a registry,
//! whether the gateway answers as activator. Plugged into the driver by `wire`.

use std::time::Duration;

use ::api::world::{Fact, Kind, SECRET, SERVICE_ACCOUNT};
use base64::Engine;
use controller::request::{self, Request};
use controller::{Gather, Gathered};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kube::Client;
use node::image::{Keyring, Puller};
use serde_json::{Value, json};
use tracing::debug;

use crate::builtins::chain;

/// After this time an image that could not be resolved is looked for again: it may have been
/// loaded or pushed meanwhile.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Facts {
    /// The node's images.
    pub(crate) images: Puller,
    /// Where pull secrets are.
    pub(crate) client: Client,
}

impl Gather for Facts {
    fn gather<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Gathered> {
        async move {
            match fact {
                Fact::Digest {
                    image,
                    namespace,
                    service_account,
                    pull_secrets,
                } => {
                    let keyring = self.keyring(namespace, service_account, pull_secrets).await;
                    self.digest(image, &keyring).await
                }
                // The gateway lives in this process and its table is written before the
                // endpoints that lead to it.
                Fact::ActivatorProbe { .. } => always(json!({"ready": true})),
                // Told by the autoscaler and by the driver, never looked for.
                Fact::Decision { .. } | Fact::Refused { .. } => always(json!(null)),
            }
        }
        .boxed()
    }
}

impl Facts {
    async fn digest(&self, image: &str, keyring: &Keyring) -> Gathered {
        match self.images.resolve_digest(image, keyring).await {
            Ok(reference) => always(json!({"digest": reference.to_string()})),
            Err(error) => Gathered {
                value: json!({"error": chain(&error)}),
                valid_for: Some(RETRY_AFTER),
            },
        }
    }

    /// The pull secrets of a Pod and of its ServiceAccount. One that is missing or malformed is
    /// left out: the registry will say that it wants one.
    async fn keyring(&self, namespace: &str, account: &str, pull_secrets: &[String]) -> Keyring {
        let mut keyring = Keyring::default();
        let account = if account.is_empty() {
            "default"
        } else {
            account
        };
        let account = self.read(SERVICE_ACCOUNT, namespace, account).await;
        let of_account = account["imagePullSecrets"].as_array().into_iter().flatten();
        let of_account = of_account.filter_map(|secret| secret["name"].as_str());
        for name in pull_secrets.iter().map(String::as_str).chain(of_account) {
            let secret = self.read(SECRET, namespace, name).await;
            let encoded = secret["data"][".dockerconfigjson"]
                .as_str()
                .unwrap_or_default();
            let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
            if let Err(error) = keyring.add_docker_config_json(&decoded.unwrap_or_default()) {
                debug!(%error, secret = name, "a pull secret is left out");
            }
        }
        keyring
    }

    async fn read(&self, kind: Kind, namespace: &str, name: &str) -> Value {
        let request = Request::get(request::path(kind, namespace, name, ""));
        let answer = request::call(&self.client, request).await.ok();
        answer
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }
}

fn always(value: Value) -> Gathered {
    Gathered {
        value,
        valid_for: None,
    }
}
