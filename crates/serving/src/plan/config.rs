//! The few entries of Knative's ConfigMaps that plans read, each with the default of a fresh
//! installation. A missing or unreadable entry reads as its default: bad values are refused by
//! admission, so there is nobody to tell here. Whole ConfigMaps are `api::config`'s.

use std::sync::Arc;
use std::time::Duration;

use api::config::{Data, Error};
use api::gotext;
use api::world::{CONFIG_MAP, Context, World};
use serde_json::Value;

/// One ConfigMap of the system namespace, absent or not.
pub(super) struct Config(Option<Arc<Value>>);

impl Config {
    /// Reads `config-NAME`.
    pub(super) fn read(cx: &Context, world: &World, name: &str) -> Self {
        Self(world.get(CONFIG_MAP, &cx.system_namespace, &format!("config-{name}")))
    }

    /// A ConfigMap made up by a test.
    #[cfg(test)]
    pub(super) fn of(map: Value) -> Self {
        Self(Some(Arc::new(map)))
    }

    /// An entry under the first of its spellings that is there.
    pub(super) fn text(&self, keys: &[&str]) -> Option<&str> {
        let data = self.0.as_ref()?["data"].as_object()?;
        keys.iter()
            .find_map(|key| data.get(*key)?.as_str())
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    /// An entry that is a Go duration.
    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        duration(self.text(&[key])?)
    }

    /// Whether an entry is `true` or `enabled`.
    pub(super) fn is_on(&self, key: &str) -> bool {
        self.text(&[key]).is_some_and(|text| {
            text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("enabled")
        })
    }
}

/// A whole ConfigMap as its type; the default where it is missing or makes no sense.
pub(super) fn load<T: Default>(
    cx: &Context,
    world: &World,
    name: &str,
    parse: impl Fn(&Data) -> Result<T, Error>,
) -> T {
    world
        .get(CONFIG_MAP, &cx.system_namespace, name)
        .and_then(|map| parse(&settings(&map)).ok())
        .unwrap_or_default()
}

/// The entries that say something: without the long `_example`.
fn settings(map: &Value) -> Data {
    let entries = map["data"].as_object().into_iter().flatten();
    let entries = entries.filter(|(key, _)| !key.starts_with('_'));
    entries
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Reads a Go duration that is not negative.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let nanos = gotext::parse_duration(text).ok()?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}
