//! Facts plans ask for that no object holds: image digests from the node's store or a registry,
//! whether the gateway answers as activator. Plugged into the driver by `wire`.

use std::time::Duration;

use ::api::world::{Fact, Kind, SECRET, SERVICE_ACCOUNT};
use base64::Engine;
use controller::request::{self, Request};
use controller::{Gather, Gathered};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use kube::Client;
use node::image::{Keyring, Puller};
use serde_json::{Value, json};
use tracing::debug;

use crate::builtins::chain;
use crate::certificates::Issuer;
use crate::event_display;

/// After this time an image that could not be resolved is looked for again: it may have been
/// loaded or pushed meanwhile.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How old an object may be that no watch brings; one that has no address yet is looked at as often
/// as a missing image.
const OBJECT_VALID_FOR: Duration = Duration::from_secs(5);

/// How long a token of a subject holds.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
/// And is known to plans, which keep it in a Secret.
const TOKEN_KEPT_FOR: Duration = Duration::from_secs(60);

/// How the API server serves a kind.
struct Served {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    prefix: String,
    plural: String,
    namespaced: bool,
}

impl Served {
    fn path(&self, namespace: &str, name: &str) -> String {
        let Self { prefix, plural, .. } = self;
        match namespace {
            "" => format!("{prefix}/{plural}/{name}"),
            _ => format!("{prefix}/namespaces/{namespace}/{plural}/{name}"),
        }
    }
}

/// See the module.
pub(crate) struct Facts {
    /// The node's images.
    pub(crate) images: Puller,
    /// Where pull secrets are.
    pub(crate) client: Client,
    /// Gives certificates.
    pub(crate) issuer: Issuer,
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
                // Told by the autoscaler, the broker and the driver, never looked for.
                Fact::Decision { .. } | Fact::Trouble { .. } | Fact::Refused { .. } => {
                    always(json!(null))
                }
                Fact::Object {
                    api_version,
                    kind,
                    namespace,
                    name,
                } => self.object(api_version, kind, namespace, name).await,
                Fact::Resource { api_version, kind } => self.resource(api_version, kind).await,
                Fact::Jsonata { expression } => jsonata(expression).await,
                Fact::Allowed {
                    user,
                    verb,
                    group,
                    resource,
                    namespace,
                } => {
                    let attributes = json!({
                        "verb": verb, "group": group, "resource": resource, "namespace": namespace,
                    });
                    self.allowed(user, attributes).await
                }
                Fact::Token {
                    namespace,
                    account,
                    audience,
                } => self.token(namespace, account, audience).await,
                Fact::Issued {
                    names, lifetime_s, ..
                } => self.issuer.issued(names, *lifetime_s).await,
                Fact::Challenges(order) => self.issuer.challenges(order).await,
                Fact::Granted(order) => self.issuer.granted(order).await,
            }
        }
        .boxed()
    }
}

impl Facts {
    async fn digest(&self, image: &str, keyring: &Keyring) -> Gathered {
        if event_display::for_image(image).is_some() {
            // No registry need have what this program stands in for.
            return always(json!({"digest": image}));
        }
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

    /// An object of any kind: its kind is looked up as kubectl does.
    async fn object(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Gathered {
        let found = match self.lookup(api_version, kind).await {
            Ok(served) => {
                let namespace = if served.namespaced { namespace } else { "" };
                let uri = served.path(namespace, name);
                request::call(&self.client, Request::get(uri)).await
            }
            Err(error) => Err(error),
        };
        let value = match found {
            Ok(bytes) => serde_json::from_slice::<Value>(&bytes)
                .map(|object| json!({"object": object}))
                .unwrap_or_else(|error| json!({"error": error.to_string(), "code": 0})),
            Err(error) => json!({"error": error.message(), "code": error.code()}),
        };
        let waits = value["object"]["status"]["address"]["url"].is_null();
        Gathered {
            value,
            valid_for: Some(if waits { RETRY_AFTER } else { OBJECT_VALID_FOR }),
        }
    }

    async fn resource(&self, api_version: &str, kind: &str) -> Gathered {
        let value = match self.lookup(api_version, kind).await {
            Ok(served) => json!({"plural": served.plural, "namespaced": served.namespaced}),
            Err(error) => json!({"error": error.message()}),
        };
        let known = value["error"].is_null();
        Gathered {
            value,
            valid_for: Some(if known { OBJECT_VALID_FOR } else { RETRY_AFTER }),
        }
    }

    async fn lookup(&self, api_version: &str, kind: &str) -> Result<Served, request::Error> {
        let prefix = match api_version {
            "v1" => "/api/v1".to_owned(),
            version if version.contains('/') => format!("/apis/{version}"),
            // A group alone: the version it prefers.
            group => {
                let group = self.json(format!("/apis/{group}")).await?;
                let preferred = group["preferredVersion"]["groupVersion"].as_str();
                format!("/apis/{}", preferred.unwrap_or_default())
            }
        };
        let list = self.json(prefix.clone()).await?;
        let resources = list["resources"].as_array().into_iter().flatten();
        let mut served = resources.filter_map(|resource| {
            let plural = resource["name"]
                .as_str()
                .filter(|name| !name.contains('/'))?;
            (resource["kind"] == *kind).then(|| Served {
                prefix: prefix.clone(),
                plural: plural.to_owned(),
                namespaced: resource["namespaced"] == true,
            })
        });
        let missing = || format!("no matches for kind {kind:?} in version {api_version:?}");
        served
            .next()
            .ok_or_else(|| request::refusal(404, missing().as_bytes()))
    }

    async fn json(&self, uri: String) -> Result<Value, request::Error> {
        let answer = request::call(&self.client, Request::get(uri)).await?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    async fn allowed(&self, user: &str, attributes: Value) -> Gathered {
        // A ServiceAccount is in the groups its token would name.
        let namespace = user
            .strip_prefix("system:serviceaccount:")
            .and_then(|account| account.split(':').next())
            .unwrap_or_default();
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "groups": [
                    "system:serviceaccounts",
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated",
                ],
                "resourceAttributes": attributes,
            },
        });
        let uri = "/apis/authorization.k8s.io/v1/subjectaccessreviews".to_owned();
        let request = Request::json(Method::POST, uri, review.to_string());
        let answer = request::call(&self.client, request).await;
        let answer: Option<Value> = answer
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let allowed = answer.is_some_and(|review| review["status"]["allowed"] == true);
        Gathered {
            value: json!({"allowed": allowed}),
            valid_for: Some(RETRY_AFTER),
        }
    }

    async fn token(&self, namespace: &str, account: &str, audience: &str) -> Gathered {
        let wanted = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": TOKEN_LIFETIME.as_secs()},
        });
        let uri = request::path(SERVICE_ACCOUNT, namespace, account, "token");
        let request = Request::json(Method::POST, uri, wanted.to_string());
        let value = match request::call(&self.client, request).await {
            Ok(bytes) => {
                let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                json!({"token": answer["status"]["token"]})
            }
            Err(error) => json!({"error": error.message()}),
        };
        let is_error = value["token"].is_null();
        Gathered {
            value,
            valid_for: Some(if is_error {
                RETRY_AFTER
            } else {
                TOKEN_KEPT_FOR
            }),
        }
    }

    async fn read(&self, kind: Kind, namespace: &str, name: &str) -> Value {
        let request = Request::get(request::path(kind, namespace, name, ""));
        let answer = request::call(&self.client, request).await.ok();
        answer
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }
}

/// Whether the broker would take it.
async fn jsonata(expression: &str) -> Gathered {
    match broker::check_expression(expression).await {
        Ok(()) => always(json!({})),
        Err(error) => always(json!({"error": error})),
    }
}

fn always(value: Value) -> Gathered {
    Gathered {
        value,
        valid_for: None,
    }
}
