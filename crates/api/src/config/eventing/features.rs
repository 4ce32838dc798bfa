//! `config-features` of Knative Eventing. The rules of Knative's `pkg/apis/feature`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::data::{Data, Error};
use crate::gotext::Period;

/// Flags that nodes are selected by begin so.
const NODE_SELECTOR: &str = "apiserversources-nodeselector-";

/// `transport-encryption`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Encryption {
    /// Events are sent in the clear.
    #[default]
    Disabled,
    /// Addressables can be reached both ways.
    Permissive,
    /// Addressables can be reached by TLS alone.
    Strict,
}

/// `default-authorization-mode`: who may send where no EventPolicy says anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Authorization {
    /// Everybody.
    AllowAll,
    /// Nobody.
    DenyAll,
    /// Subjects of the same namespace.
    #[default]
    AllowSameNamespace,
}

/// The features and their states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Features {
    /// `kreference-group`: references may name a group instead of an API version.
    pub kreference_group: bool,
    /// `kreference-mapping`: references may stand for URLs of a template.
    pub kreference_mapping: bool,
    /// `delivery-retryafter`: `delivery.retryAfterMax` may be set.
    pub delivery_retry_after: bool,
    /// `delivery-timeout`: `delivery.timeout` may be set.
    pub delivery_timeout: bool,
    /// `transport-encryption`.
    pub transport_encryption: Encryption,
    /// `eventtype-auto-create`: EventTypes are made of the events that pass.
    pub event_type_auto_create: bool,
    /// `authentication-oidc`: senders have identities.
    pub authentication_oidc: bool,
    /// `default-authorization-mode`.
    pub default_authorization: Authorization,
    /// `cross-namespace-event-links`: Triggers and Subscriptions may listen in other namespaces.
    pub cross_namespace_event_links: bool,
    /// `new-apiserversource-filters`: ApiServerSources may have filters.
    pub api_server_source_filters: bool,
    /// `oidc-discovery-base-url`.
    pub oidc_discovery_base_url: String,
    /// `requestreply-default-timeout`, an ISO 8601 duration.
    pub request_reply_timeout: String,
    /// `apiserversources-nodeselector-LABEL`.
    pub node_selector: BTreeMap<String, String>,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            kreference_group: false,
            kreference_mapping: false,
            delivery_retry_after: false,
            delivery_timeout: true,
            transport_encryption: Encryption::Disabled,
            event_type_auto_create: false,
            authentication_oidc: false,
            default_authorization: Authorization::AllowSameNamespace,
            cross_namespace_event_links: false,
            api_server_source_filters: false,
            oidc_discovery_base_url: "https://kubernetes.default.svc".to_owned(),
            request_reply_timeout: "PT30S".to_owned(),
            node_selector: BTreeMap::new(),
        }
    }
}

impl Features {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-features";

    /// Reads the ConfigMap's data. Flags nobody knows are let through if they look like flags.
    ///
    /// # Errors
    /// A value that is no state of its flag.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut features = Self::default();
        for (key, value) in data.iter().filter(|(key, _)| !key.starts_with('_')) {
            features.read(key.trim(), value).ok_or_else(|| {
                Error(format!("cannot parse the feature flag '{key}' = '{value}'"))
            })?;
        }
        Ok(features)
    }

    /// How long a RequestReply waits that says nothing of its own.
    pub fn request_reply_timeout(&self) -> Duration {
        let parsed = Period::parse(&self.request_reply_timeout);
        parsed.map_or(Duration::from_secs(30), Period::duration)
    }

    fn read(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "transport-encryption" => self.transport_encryption = encryption(value)?,
            "default-authorization-mode" => self.default_authorization = authorization(value)?,
            "oidc-discovery-base-url" => value.clone_into(&mut self.oidc_discovery_base_url),
            "requestreply-default-timeout" => {
                Period::parse(value)?;
                value.clone_into(&mut self.request_reply_timeout);
            }
            _ => match key.strip_prefix(NODE_SELECTOR) {
                Some(label) => {
                    let value = value.trim().to_owned();
                    self.node_selector.insert(label.to_owned(), value);
                }
                None => self.read_flag(key, flag(value)?),
            },
        }
        Some(())
    }

    fn read_flag(&mut self, key: &str, is_enabled: bool) {
        let target = match key {
            "kreference-group" => &mut self.kreference_group,
            "kreference-mapping" => &mut self.kreference_mapping,
            "delivery-retryafter" => &mut self.delivery_retry_after,
            "delivery-timeout" => &mut self.delivery_timeout,
            "eventtype-auto-create" => &mut self.event_type_auto_create,
            "authentication-oidc" => &mut self.authentication_oidc,
            "cross-namespace-event-links" => &mut self.cross_namespace_event_links,
            "new-apiserversource-filters" => &mut self.api_server_source_filters,
            _ => return,
        };
        *target = is_enabled;
    }
}

/// Whether a flag is enabled; `None` if the word is no state. `Allowed` is not enabled.
fn flag(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "enabled" => Some(true),
        "allowed" | "disabled" => Some(false),
        _ => None,
    }
}

fn encryption(value: &str) -> Option<Encryption> {
    match value.to_ascii_lowercase().as_str() {
        "strict" => Some(Encryption::Strict),
        "permissive" => Some(Encryption::Permissive),
        other => flag(other).map(|_| Encryption::Disabled),
    }
}

fn authorization(value: &str) -> Option<Authorization> {
    match value.to_ascii_lowercase().as_str() {
        "allow-all" => Some(Authorization::AllowAll),
        "deny-all" => Some(Authorization::DenyAll),
        "allow-same-namespace" => Some(Authorization::AllowSameNamespace),
        _ => None,
    }
}
