//! The rules of Knative Eventing's kinds, after its `pkg/apis`. Called by `kinds`, which finds a
//! kind's rules here by its stored version; older ones are converted before.

mod broker;
mod channel;
mod delivery;
mod filters;
mod subscription;
mod trigger;

use serde_json::{Value, json};

use super::kinds::{Kind, Subject};
use super::{EVENTING, IN_MEMORY_CHANNEL, metadata};
use crate::config::eventing::Features;
use crate::object::ObjectExt;

/// The rules for objects of `api_version` and `kind`, if there are any.
pub(super) fn find(api_version: &str, kind: &str) -> Option<Kind> {
    let kind = match (api_version, kind) {
        ("eventing.knative.dev/v1", "Broker") => Kind {
            webhooks: EVENTING,
            shape: "Broker",
            fill: broker::fill,
            check: broker::check,
        },
        ("eventing.knative.dev/v1", "Trigger") => Kind {
            webhooks: EVENTING,
            shape: "Trigger",
            fill: trigger::fill,
            check: trigger::check,
        },
        ("messaging.knative.dev/v1", "Channel") => Kind {
            webhooks: EVENTING,
            shape: "Channel",
            fill: channel::fill,
            check: channel::check,
        },
        ("messaging.knative.dev/v1", "InMemoryChannel") => Kind {
            webhooks: IN_MEMORY_CHANNEL,
            shape: "InMemoryChannel",
            fill: channel::fill_in_memory,
            check: channel::check_in_memory,
        },
        ("messaging.knative.dev/v1", "Subscription") => Kind {
            webhooks: EVENTING,
            shape: "Subscription",
            fill: subscription::fill,
            check: subscription::check,
        },
        _ => return None,
    };
    Some(kind)
}

impl Subject<'_> {
    fn features(&self) -> &Features {
        &self.configs.eventing.features
    }

    /// Notes who created and who last changed the object, as Knative's webhook does for every kind
    /// with a spec. Called when the defaults are in.
    fn note_user(&mut self) {
        let api_version = self.object.api_version().to_owned();
        let group = api_version.split('/').next().unwrap_or_default();
        let changed = self.spec_changed();
        metadata::set_user(&mut self.object, group, self.user, changed);
    }
}

/// Sets `metadata.FIELD[key]` unless it is there.
fn set_default(object: &mut Value, field: &str, key: &str, value: &str) {
    let map = &mut object["metadata"][field];
    if !map.is_object() {
        *map = json!({});
    }
    if map[key].is_null() {
        map[key] = json!(value);
    }
}

/// `value` without some of its fields, for comparison.
fn without(value: &Value, fields: &[&str]) -> Value {
    let mut rest = value.clone();
    if let Some(entries) = rest.as_object_mut() {
        entries.retain(|key, _| !fields.contains(&key.as_str()));
    }
    rest
}

#[cfg(test)]
mod tests;
