//! The rules of Knative Eventing's kinds, after its `pkg/apis`. Called by `kinds`, which finds a
//! kind's rules here by its stored version; older ones are converted before.

mod broker;
mod channel;
mod crossing;
mod delivery;
mod event_type;
mod filters;
mod flows;
mod integration;
mod job_sink;
mod own;
mod ping;
mod policy;
mod sources;
mod subscription;
mod transform;
mod trigger;

pub use crossing::{Needed, needed};
use serde_json::{Value, json};

use super::kinds::{Kind, Subject};
use super::{EVENTING, IN_MEMORY_CHANNEL, metadata};
use crate::config::eventing::Features;
use crate::object::ObjectExt;

/// The rules of one kind; the shape has the kind's name.
struct Row {
    group: &'static str,
    version: &'static str,
    kind: Kind,
}

const ROWS: &[Row] = &[
    Row {
        group: "eventing.knative.dev",
        version: "v1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "Broker",
            fill: broker::fill,
            check: broker::check,
        },
    },
    Row {
        group: "eventing.knative.dev",
        version: "v1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "Trigger",
            fill: trigger::fill,
            check: trigger::check,
        },
    },
    Row {
        group: "eventing.knative.dev",
        version: "v1beta3",
        kind: Kind {
            webhooks: EVENTING,
            shape: "EventType",
            fill: event_type::fill,
            check: event_type::check,
        },
    },
    Row {
        group: "eventing.knative.dev",
        version: "v1alpha1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "EventPolicy",
            fill: policy::fill,
            check: policy::check,
        },
    },
    Row {
        group: "eventing.knative.dev",
        version: "v1alpha1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "EventTransform",
            fill: transform::fill_transform,
            check: transform::check_transform,
        },
    },
    Row {
        group: "eventing.knative.dev",
        version: "v1alpha1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "RequestReply",
            fill: transform::fill_request_reply,
            check: transform::check_request_reply,
        },
    },
    Row {
        group: "messaging.knative.dev",
        version: "v1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "Channel",
            fill: channel::fill,
            check: channel::check,
        },
    },
    Row {
        group: "messaging.knative.dev",
        version: "v1",
        kind: Kind {
            webhooks: IN_MEMORY_CHANNEL,
            shape: "InMemoryChannel",
            fill: channel::fill_in_memory,
            check: channel::check_in_memory,
        },
    },
    Row {
        group: "messaging.knative.dev",
        version: "v1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "Subscription",
            fill: subscription::fill,
            check: subscription::check,
        },
    },
    Row {
        group: "flows.knative.dev",
        version: "v1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "Sequence",
            fill: flows::fill_sequence,
            check: flows::check_sequence,
        },
    },
    Row {
        group: "flows.knative.dev",
        version: "v1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "Parallel",
            fill: flows::fill_parallel,
            check: flows::check_parallel,
        },
    },
    Row {
        group: "sources.knative.dev",
        version: "v1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "ApiServerSource",
            fill: sources::fill_api_server,
            check: sources::check_api_server,
        },
    },
    Row {
        group: "sources.knative.dev",
        version: "v1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "ContainerSource",
            fill: sources::fill_container,
            check: sources::check_container,
        },
    },
    Row {
        group: "sources.knative.dev",
        version: "v1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "SinkBinding",
            fill: sources::fill_binding,
            check: sources::check_binding,
        },
    },
    Row {
        group: "sources.knative.dev",
        version: "v1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "PingSource",
            fill: ping::fill,
            check: ping::check,
        },
    },
    Row {
        group: "sources.knative.dev",
        version: "v1alpha1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "IntegrationSource",
            fill: integration::fill_source,
            check: integration::check_integration_source,
        },
    },
    Row {
        group: "sources.knative.dev",
        version: "v1alpha1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "GitHubSource",
            fill: sources::fill_github,
            check: sources::check_github,
        },
    },
    Row {
        group: "sinks.knative.dev",
        version: "v1alpha1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "JobSink",
            fill: job_sink::fill,
            check: job_sink::check,
        },
    },
    Row {
        group: "sinks.knative.dev",
        version: "v1alpha1",
        kind: Kind {
            webhooks: EVENTING,
            shape: "IntegrationSink",
            fill: integration::fill_sink,
            check: integration::check_integration_sink,
        },
    },
];

/// The rules for objects of `api_version` and `kind`, if there are any.
pub(super) fn find(api_version: &str, kind: &str) -> Option<Kind> {
    let (group, version) = api_version.split_once('/')?;
    let named = |row: &&Row| row.group == group && row.version == version && row.kind.shape == kind;
    ROWS.iter().find(named).map(|row| row.kind)
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
