//! Conversion of Knative Eventing's kinds. The older versions differ from the stored one in a few
//! fields; each difference is a [`Change`] that knows both directions, and the table says which
//! versions have which. What the stored version cannot say is kept in an annotation and comes back
//! in the version it was written in.

mod changes;
mod event_type;
mod sources;

use serde_json::Value;

use super::{Form, not_served, read_form, write_form};
use crate::object::ObjectExt;
use changes::Change;

/// One kind: its stored version and how the others differ from it.
struct Kind {
    group: &'static str,
    kind: &'static str,
    stored: &'static str,
    older: &'static [(&'static str, &'static [Change])],
}

const EVENTING: &str = "eventing.knative.dev";
const FLOWS: &str = "flows.knative.dev";
const MESSAGING: &str = "messaging.knative.dev";
const SOURCES: &str = "sources.knative.dev";

const SAME: &[Change] = &[];
const OF_FLOWS: &[Change] = &[changes::DESTINATIONS, changes::HOSTNAME];

const KINDS: &[Kind] = &[
    Kind {
        group: EVENTING,
        kind: "Broker",
        stored: "v1",
        older: &[
            ("v1beta1", &[changes::CHANNEL_TEMPLATE]),
            ("v1alpha1", &[changes::CHANNEL_TEMPLATE, changes::HOSTNAME]),
        ],
    },
    Kind {
        group: EVENTING,
        kind: "Trigger",
        stored: "v1",
        older: &[
            ("v1beta1", &[changes::DEFAULT_BROKER]),
            (
                "v1alpha1",
                &[
                    changes::DEFAULT_BROKER,
                    changes::SOURCE_AND_TYPE,
                    changes::DESTINATIONS,
                    changes::SUBSCRIBER_URI,
                ],
            ),
        ],
    },
    Kind {
        group: MESSAGING,
        kind: "Channel",
        stored: "v1",
        older: &[
            ("v1beta1", SAME),
            ("v1alpha1", &[changes::SUBSCRIBABLE, changes::HOSTNAME]),
        ],
    },
    Kind {
        group: MESSAGING,
        kind: "InMemoryChannel",
        stored: "v1",
        older: &[
            ("v1beta1", SAME),
            ("v1alpha1", &[changes::SUBSCRIBABLE, changes::HOSTNAME]),
        ],
    },
    Kind {
        group: MESSAGING,
        kind: "Subscription",
        stored: "v1",
        older: &[
            ("v1beta1", SAME),
            (
                "v1alpha1",
                &[
                    changes::REPLY_CHANNEL,
                    changes::DESTINATIONS,
                    changes::PHYSICAL_URIS,
                ],
            ),
        ],
    },
    Kind {
        group: EVENTING,
        kind: "EventType",
        stored: "v1beta3",
        older: &[
            ("v1beta2", &[event_type::ATTRIBUTES]),
            ("v1beta1", &[event_type::ATTRIBUTES]),
            ("v1alpha1", &[event_type::ATTRIBUTES]),
        ],
    },
    Kind {
        group: FLOWS,
        kind: "Sequence",
        stored: "v1",
        older: &[("v1beta1", SAME), ("v1alpha1", OF_FLOWS)],
    },
    Kind {
        group: FLOWS,
        kind: "Parallel",
        stored: "v1",
        older: &[("v1beta1", SAME), ("v1alpha1", OF_FLOWS)],
    },
    Kind {
        group: SOURCES,
        kind: "ApiServerSource",
        stored: "v1",
        older: &[
            ("v1beta1", SAME),
            ("v1alpha2", SAME),
            ("v1alpha1", &[changes::DESTINATIONS, sources::RESOURCES]),
        ],
    },
    Kind {
        group: SOURCES,
        kind: "ContainerSource",
        stored: "v1",
        older: &[("v1beta1", SAME), ("v1alpha2", SAME)],
    },
    Kind {
        group: SOURCES,
        kind: "SinkBinding",
        stored: "v1",
        older: &[
            ("v1beta1", SAME),
            ("v1alpha2", SAME),
            ("v1alpha1", &[changes::DESTINATIONS]),
        ],
    },
    Kind {
        group: SOURCES,
        kind: "PingSource",
        stored: "v1",
        older: &[
            ("v1beta2", SAME),
            ("v1beta1", &[sources::JSON_DATA]),
            ("v1alpha2", &[sources::JSON_DATA]),
            ("v1alpha1", &[changes::DESTINATIONS, sources::DATA]),
        ],
    },
];

/// The stored version of a kind of Knative Eventing, as `apiVersion`; `None` for other kinds.
pub(super) fn stored(api_version: &str, kind: &str) -> Option<String> {
    let kind = find(api_version, kind)?;
    Some(format!("{}/{}", kind.group, kind.stored))
}

fn find(api_version: &str, kind: &str) -> Option<&'static Kind> {
    let group = api_version.split('/').next()?;
    KINDS.iter().find(|k| k.group == group && k.kind == kind)
}

/// Converts an object if it is of one of these kinds.
pub(super) fn convert(object: &mut Value, from: &str, to: &str) -> Option<Result<(), String>> {
    let kind = find(from, object.kind())?;
    let changes = |api_version: &str| {
        let (group, version) = api_version.split_once('/')?;
        if group == kind.group && version == kind.stored {
            return Some((version.to_owned(), SAME));
        }
        let mut older = kind.older.iter();
        let (_, changes) = older.find(|(name, _)| group == kind.group && *name == version)?;
        Some((version.to_owned(), *changes))
    };
    let (Some((from, leaving)), Some((to, entering))) = (changes(from), changes(to)) else {
        return Some(Err(not_served(object, to)));
    };
    let mut form = Form::new();
    for change in leaving {
        if let Err(why) = (change.up)(object, &mut form) {
            return Some(Err(why));
        }
    }
    if from != kind.stored {
        write_form(object, &key(&from), form);
    }
    if to != kind.stored {
        let form = read_form(object, &key(&to));
        write_form(object, &key(&to), Form::new());
        for change in entering.iter().rev() {
            (change.down)(object, &form);
        }
    }
    Some(Ok(()))
}

/// The annotation that keeps what `version` says and the stored version cannot.
fn key(version: &str) -> String {
    format!("rekindle.dev/{version}")
}

#[cfg(test)]
mod tests;
