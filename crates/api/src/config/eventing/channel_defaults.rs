//! `default-ch-webhook`: what Channels without a template are made of, for the cluster and by
//! namespace. The rules of Knative's `pkg/apis/messaging/config/channel_defaults.go`.

use serde_json::{Value, json};

use super::broker_defaults::required_yaml;
use crate::config::data::{Data, Error};

const KEY: &str = "default-ch-config";

/// The templates of Channels.
#[derive(Clone, PartialEq, Debug)]
pub struct ChannelDefaults {
    /// `clusterDefault` and `namespaceDefaults`.
    entry: Value,
}

impl Default for ChannelDefaults {
    fn default() -> Self {
        let template = json!({"apiVersion": "messaging.knative.dev/v1", "kind": "InMemoryChannel"});
        Self {
            entry: json!({"clusterDefault": template}),
        }
    }
}

impl ChannelDefaults {
    /// The name of the ConfigMap.
    pub const NAME: &str = "default-ch-webhook";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// The one key is missing or not YAML of the right form.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let entry = required_yaml(data, KEY)?;
        Ok(Self { entry })
    }

    /// The template for `namespace`: `apiVersion`, `kind` and perhaps `spec`.
    pub fn template(&self, namespace: &str) -> Option<Value> {
        let of_namespace = &self.entry["namespaceDefaults"][namespace];
        let chosen = if of_namespace.is_object() {
            of_namespace
        } else {
            &self.entry["clusterDefault"]
        };
        let fields = ["apiVersion", "kind", "spec"];
        chosen.as_object().map(|entries| {
            let known = entries
                .iter()
                .filter(|(key, _)| fields.contains(&key.as_str()));
            known
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        })
    }
}
