//! What the node asks the rest of the cluster: contents of ConfigMaps and Secrets, tokens. The
//! binary answers; the node does not know who serves the API.

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

/// An answer that comes later: the thing, `None` when there is none, or why it cannot be said.
pub type Answer<T> = BoxFuture<'static, Result<Option<T>, String>>;

/// A bearer token for a Pod.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token itself.
    pub token: String,
    /// Seconds from now until it is void.
    pub lifetime_s: u64,
}

/// Which token is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenRequest {
    /// Namespace of Pod and ServiceAccount.
    pub namespace: String,
    /// The ServiceAccount.
    pub service_account: String,
    /// For whom; empty means the API server.
    pub audiences: Vec<String>,
    /// Wanted lifetime, seconds.
    pub expiration_s: u64,
    /// The Pod it is bound to.
    pub pod_name: String,
    /// The same by UID.
    pub pod_uid: String,
}

/// The cluster as the node sees it.
pub trait Cluster: Send + Sync + 'static {
    /// A ConfigMap.
    fn config_map(&self, namespace: &str, name: &str) -> Answer<ConfigMap>;
    /// A Secret.
    fn secret(&self, namespace: &str, name: &str) -> Answer<Secret>;
    /// A token; `None` when there is no such ServiceAccount.
    fn service_account_token(&self, request: TokenRequest) -> Answer<Token>;
}

/// Something volumes show that has changed, as told by [`crate::Node::source_changed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A ConfigMap: namespace and name.
    ConfigMap(String, String),
    /// A Secret: namespace and name.
    Secret(String, String),
    /// Labels and annotations of the Pod itself; the node finds that out.
    Pod,
}
