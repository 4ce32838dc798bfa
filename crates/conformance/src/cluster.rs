//! The Kubernetes API as the tests use it: plain requests with JSON bodies, so that what is asserted
//! is what went over the wire. Every test goes through here; nothing else talks to the API server.

use std::fmt;

use anyhow::{Context as _, Result, anyhow};
use http::{Method, Request, header};
use serde_json::{Value, json};

/// A kind's place in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    pub root: &'static str,
    /// Its name in URLs.
    pub plural: &'static str,
}

const fn resource(root: &'static str, plural: &'static str) -> Resource {
    Resource { root, plural }
}

const SERVING: &str = "/apis/serving.knative.dev/v1";
const NETWORKING: &str = "/apis/networking.internal.knative.dev/v1alpha1";

/// Knative's Service.
pub const SERVICES: Resource = resource(SERVING, "services");
/// Configuration.
pub const CONFIGURATIONS: Resource = resource(SERVING, "configurations");
/// Revision.
pub const REVISIONS: Resource = resource(SERVING, "revisions");
/// Route.
pub const ROUTES: Resource = resource(SERVING, "routes");
/// DomainMapping.
pub const DOMAIN_MAPPINGS: Resource =
    resource("/apis/serving.knative.dev/v1beta1", "domainmappings");
/// PodAutoscaler.
pub const POD_AUTOSCALERS: Resource = resource(
    "/apis/autoscaling.internal.knative.dev/v1alpha1",
    "podautoscalers",
);
/// ServerlessService.
pub const SERVERLESS_SERVICES: Resource = resource(NETWORKING, "serverlessservices");
/// Knative's Ingress.
pub const INGRESSES: Resource = resource(NETWORKING, "ingresses");
/// Pod.
pub const PODS: Resource = resource("/api/v1", "pods");
/// Kubernetes' Service.
pub const CORE_SERVICES: Resource = resource("/api/v1", "services");
/// Endpoints.
pub const ENDPOINTS: Resource = resource("/api/v1", "endpoints");
/// ConfigMap.
pub const CONFIG_MAPS: Resource = resource("/api/v1", "configmaps");
/// Secret.
pub const SECRETS: Resource = resource("/api/v1", "secrets");
/// Event.
pub const EVENTS: Resource = resource("/api/v1", "events");
/// Deployment.
pub const DEPLOYMENTS: Resource = resource("/apis/apps/v1", "deployments");
/// EndpointSlice.
pub const ENDPOINT_SLICES: Resource = resource("/apis/discovery.k8s.io/v1", "endpointslices");

impl Resource {
    fn path(self, namespace: &str, name: Option<&str>) -> String {
        let name = name.map(|name| format!("/{name}")).unwrap_or_default();
        format!("{}/namespaces/{namespace}/{}{name}", self.root, self.plural)
    }
}

/// What the API server said no with.
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// `metav1.Status.reason`.
    pub reason: String,
    /// `metav1.Status.message`.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code, self.reason, self.message)
    }
}

impl std::error::Error for Refusal {}

/// The refusal in `error`, if the API server said it.
pub fn refusal(error: &anyhow::Error) -> Option<&Refusal> {
    error.downcast_ref()
}

/// Whether `error` says that there is no such object.
pub fn is_not_found(error: &anyhow::Error) -> bool {
    refusal(error).is_some_and(|refusal| refusal.code == 404)
}

/// The refusal a call must end with.
pub fn expect_refusal<T: fmt::Debug>(outcome: Result<T>) -> Result<String> {
    match outcome {
        Ok(answer) => Err(anyhow!("should have been refused, but: {answer:?}")),
        Err(error) => match refusal(&error) {
            Some(refusal) => Ok(refusal.message.clone()),
            None => Err(error),
        },
    }
}

/// A connection to the API server.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
}

impl Cluster {
    /// Over `client`, whoever made it.
    pub fn new(client: kube::Client) -> Self {
        Self { client }
    }

    /// One request; `query` begins with `?` or is empty.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let text = self.text(method, path, content_type, body).await?;
        serde_json::from_str(&text).with_context(|| format!("{path} answered {text:?}"))
    }

    /// One request, and the answer as it came.
    pub async fn text(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<String> {
        let body = body.map(|body| body.to_string().into_bytes());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content_type)
            .body(body.unwrap_or_default())?;
        match self.client.request_text(request).await {
            Ok(text) => Ok(text),
            Err(kube::Error::Api(status)) => Err(Refusal {
                code: status.code,
                reason: status.reason.clone(),
                message: status.message.clone(),
            }
            .into()),
            Err(error) => Err(error).with_context(|| path.to_owned()),
        }
    }

    /// The object.
    pub async fn get(&self, kind: Resource, namespace: &str, name: &str) -> Result<Value> {
        let path = kind.path(namespace, Some(name));
        self.request(Method::GET, &path, JSON, None).await
    }

    /// The object, if there is one.
    pub async fn find(&self, kind: Resource, namespace: &str, name: &str) -> Result<Option<Value>> {
        match self.get(kind, namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The objects a label selector (empty: all) finds.
    pub async fn list(
        &self,
        kind: Resource,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Value>> {
        let selector = selector.replace('=', "%3D").replace(',', "%2C");
        let path = format!("{}?labelSelector={selector}", kind.path(namespace, None));
        let list = self.request(Method::GET, &path, JSON, None).await?;
        let items = list["items"].as_array().context("a list without items")?;
        Ok(items.clone())
    }

    /// Creates what `object` says; `query` is empty or, for example, `?dryRun=All`.
    pub async fn create(
        &self,
        kind: Resource,
        namespace: &str,
        object: &Value,
        query: &str,
    ) -> Result<Value> {
        let path = format!("{}{query}", kind.path(namespace, None));
        self.request(Method::POST, &path, JSON, Some(object)).await
    }

    /// Replaces the object (PUT).
    pub async fn replace(&self, kind: Resource, namespace: &str, object: &Value) -> Result<Value> {
        let name = object["metadata"]["name"].as_str();
        let path = kind.path(namespace, name);
        self.request(Method::PUT, &path, JSON, Some(object)).await
    }

    /// Changes the object in place and tries again while somebody else changes it too.
    pub async fn update(
        &self,
        kind: Resource,
        namespace: &str,
        name: &str,
        change: impl Fn(&mut Value),
    ) -> Result<Value> {
        loop {
            let mut object = self.get(kind, namespace, name).await?;
            change(&mut object);
            match self.replace(kind, namespace, &object).await {
                Err(error) if refusal(&error).is_some_and(|refusal| refusal.code == 409) => {}
                outcome => return outcome,
            }
        }
    }

    /// A JSON patch (RFC 6902); `query` is empty or, for example, `?dryRun=All`.
    pub async fn json_patch(
        &self,
        kind: Resource,
        namespace: &str,
        name: &str,
        patch: &Value,
        query: &str,
    ) -> Result<Value> {
        let path = format!("{}{query}", kind.path(namespace, Some(name)));
        self.request(
            Method::PATCH,
            &path,
            "application/json-patch+json",
            Some(patch),
        )
        .await
    }

    /// A merge patch (RFC 7386).
    pub async fn merge_patch(
        &self,
        kind: Resource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value> {
        let path = kind.path(namespace, Some(name));
        self.request(
            Method::PATCH,
            &path,
            "application/merge-patch+json",
            Some(patch),
        )
        .await
    }

    /// Deletes the object and all below it, as Knative's tests do.
    pub async fn delete(&self, kind: Resource, namespace: &str, name: &str) -> Result<()> {
        let path = kind.path(namespace, Some(name));
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground",
        });
        let deleted = self
            .request(Method::DELETE, &path, JSON, Some(&options))
            .await;
        match deleted {
            Err(error) if !is_not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// What a container has written so far.
    pub async fn log(&self, namespace: &str, pod: &str, container: &str) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}");
        self.text(Method::GET, &path, JSON, None).await
    }

    /// Makes a namespace, if it is not there.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
        });
        let made = self
            .request(Method::POST, "/api/v1/namespaces", JSON, Some(&object))
            .await;
        match made {
            Err(error) if refusal(&error).is_none_or(|refusal| refusal.code != 409) => Err(error),
            _ => Ok(()),
        }
    }
}

const JSON: &str = "application/json";
