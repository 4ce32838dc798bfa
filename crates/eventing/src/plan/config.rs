//! What plans read of Eventing's ConfigMaps. A missing or unreadable one reads as that of a fresh
//! installation: bad values are refused by admission, so there is nobody to tell here.

use std::sync::Arc;

use api::config::data_of;
use api::config::eventing::{ChannelDefaults, Features};
use api::world::{CONFIG_MAP, World};
use serde_json::Value;

pub use api::config::eventing::SYSTEM_NAMESPACE;

/// One ConfigMap of the system namespace, absent or not.
pub(super) struct Config(Option<Arc<Value>>);

impl Config {
    /// Reads ConfigMap `name`.
    pub(super) fn read(world: &World, name: &str) -> Self {
        Self(world.get(CONFIG_MAP, SYSTEM_NAMESPACE, name))
    }

    /// An entry; empty is absent.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        let text = self.0.as_ref()?["data"].get(key)?.as_str()?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// An entry that is YAML.
    pub(super) fn yaml(&self, key: &str) -> Option<Value> {
        serde_saphyr::from_str(self.text(key)?).ok()
    }
}

/// `config-features`.
pub(super) fn features(world: &World) -> Features {
    world
        .get(CONFIG_MAP, SYSTEM_NAMESPACE, Features::NAME)
        .and_then(|map| Features::parse(&data_of(&map)).ok())
        .unwrap_or_default()
}

/// What channels are made of where nobody says it: `default-ch-webhook`.
pub(super) fn channel_template(world: &World, namespace: &str) -> Value {
    let defaults = world
        .get(CONFIG_MAP, SYSTEM_NAMESPACE, ChannelDefaults::NAME)
        .and_then(|map| ChannelDefaults::parse(&data_of(&map)).ok())
        .unwrap_or_default();
    defaults.template(namespace).unwrap_or_default()
}
