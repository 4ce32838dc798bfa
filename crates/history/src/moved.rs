//! Kinds of 2019 that another group has today: Channel and Subscription of
//! `eventing.knative.dev/v1alpha1` (v0.2 to v0.9), Sequence, Parallel and Choice of
//! `messaging.knative.dev/v1alpha1` (v0.7 to v0.12).
//!
//! Called by `eventing`'s plans, which keep what [`translate`] answers, and by
//! [`crate::migrate`], which prints it. The sources that moved are in [`crate::sources`].

use api::object::ObjectExt;
use api::world::{CHANNEL, Kind, PARALLEL, SEQUENCE, SUBSCRIPTION};
use serde_json::{Value, json};

use crate::channels::{self, metadata};
use crate::text;

/// The group and version of Channels and Subscriptions until v0.9.
pub(crate) const EVENTING: &str = "eventing.knative.dev/v1alpha1";
/// The group and version of Sequences, Parallels and Choices until v0.12.
const MESSAGING: &str = "messaging.knative.dev/v1alpha1";
/// Those too, since then.
const FLOWS: &str = "flows.knative.dev/v1alpha1";
const SOURCES: &str = "sources.knative.dev/v1alpha1";

/// The provisioners that came with a release: a Channel may name them without an object of the name.
const STOCK_PROVISIONERS: [&str; 5] = [
    "in-memory-channel",
    "in-memory",
    "kafka",
    "natss",
    "gcp-pubsub",
];

/// The old group and version, the kind, and group, version and kind that conversion knows.
const MOVED: &[(&str, &str, &str, &str)] = &[
    (EVENTING, "Subscription", MESSAGING, "Subscription"),
    (MESSAGING, "Sequence", FLOWS, "Sequence"),
    (MESSAGING, "Parallel", FLOWS, "Parallel"),
    (MESSAGING, "Choice", FLOWS, "Parallel"),
    (
        "sources.eventing.knative.dev/v1alpha1",
        "ApiServerSource",
        SOURCES,
        "ApiServerSource",
    ),
    (
        "sources.eventing.knative.dev/v1alpha1",
        "SinkBinding",
        SOURCES,
        "SinkBinding",
    ),
];

/// Whether a provisioner of this name came with a release.
pub fn is_stock_provisioner(name: &str) -> bool {
    STOCK_PROVISIONERS.contains(&name)
}

/// The object of the group that has its kind today, in a version that conversion knows; nothing for
/// what did not move.
pub(crate) fn renamed(old: &Value) -> Option<Value> {
    let (_, _, api_version, kind) = MOVED
        .iter()
        .find(|(from, of, ..)| (*from, *of) == (old.api_version(), old.kind()))?;
    let mut new = old.clone();
    new["apiVersion"] = json!(api_version);
    new["kind"] = json!(kind);
    let spec = &mut new["spec"];
    if old.kind() == "Choice" {
        // A Choice's cases are a Parallel's branches.
        spec["branches"] = spec["cases"].take();
    }
    if spec["channel"]["apiVersion"] == EVENTING {
        spec["channel"]["apiVersion"] = json!(CHANNEL.api_version());
    }
    if goes_on(old) {
        let reply = spec["reply"].take();
        spec["subscriber"] = match &reply["channel"] {
            Value::Null => reply,
            channel => json!({"ref": channel}),
        };
    }
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|field, value| field != "generation" && !value.is_null());
    }
    Some(new)
}

/// Whether `old` is a Subscription without a subscriber: the events themselves went on to the channel
/// of the answers, which is the subscriber today.
pub(crate) fn goes_on(old: &Value) -> bool {
    let spec = &old["spec"];
    let of_old = (old.api_version(), old.kind()) == (EVENTING, SUBSCRIPTION.kind);
    of_old && spec["subscriber"].is_null() && !spec["reply"].is_null()
}

/// What `old` is today, with its kind: what plans keep for it.
///
/// # Errors
/// A sentence for the user: it says something that is of no version, or has not moved.
pub fn translate(old: &Value) -> Result<(Kind, Value), String> {
    if (old.api_version(), old.kind()) == (EVENTING, "Channel") {
        return Ok((CHANNEL, channels::channel(old)));
    }
    let renamed = renamed(old).ok_or_else(|| format!("{} has not moved", old.kind()))?;
    let kind = match renamed.kind() {
        "Subscription" => SUBSCRIPTION,
        "Sequence" => SEQUENCE,
        "Parallel" => PARALLEL,
        other => return Err(format!("{other} is kept by other plans")),
    };
    let new = api::convert(renamed, &kind.api_version())?;
    let mut spec = new["spec"].clone();
    references(&mut spec);
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "metadata": metadata(old),
        "spec": spec,
    });
    Ok((kind, object))
}

/// References to kinds of Knative name the version that is stored.
pub(crate) fn references(spec: &mut Value) {
    match spec {
        Value::Object(map) => {
            let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
            let (api_version, kind) = (text("apiVersion"), text("kind"));
            let is_channel = kind == CHANNEL.kind && api_version == EVENTING;
            let stored = if is_channel {
                Some(CHANNEL.api_version())
            } else {
                api::convert::stored(api_version, kind)
            };
            if let Some(stored) = stored {
                map.insert("apiVersion".to_owned(), json!(stored));
            }
            map.values_mut().for_each(references);
        }
        Value::Array(list) => list.iter_mut().for_each(references),
        _ => {}
    }
}

/// The name of a Channel's provisioner.
pub fn provisioner(channel: &Value) -> &str {
    text(&channel["spec"]["provisioner"], "name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(api_version: &str, kind: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": "a", "namespace": "ns", "uid": "1", "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            }},
            "spec": spec,
        })
    }

    #[track_caller]
    fn check(api_version: &str, kind: &str, spec: &Value, today: &str, expected: &Value) {
        let (found, new) = translate(&old(api_version, kind, spec)).expect("it is translated");
        assert_eq!(format!("{}/{}", found.api_version(), found.kind), today);
        assert_eq!(new["metadata"], json!({"name": "a", "namespace": "ns"}));
        assert_eq!(&new["spec"], expected);
    }

    #[test]
    fn channels_leave_their_provisioner_behind() {
        let spec =
            json!({"provisioner": {"kind": "ClusterChannelProvisioner", "name": "in-memory"}});
        check(
            EVENTING,
            "Channel",
            &spec,
            "messaging.knative.dev/v1/Channel",
            &Value::Null,
        );
    }

    #[test]
    fn subscriptions_name_channels_of_today() {
        let of_old = |name: &str| json!({"apiVersion": EVENTING, "kind": "Channel", "name": name});
        let of_today = |name: &str| json!({"apiVersion": "messaging.knative.dev/v1", "kind": "Channel", "name": name});
        let today = "messaging.knative.dev/v1/Subscription";
        check(
            EVENTING,
            "Subscription",
            &json!({
                "generation": 3,
                "channel": of_old("letters"),
                "subscriber": {"dnsName": "printer.ns.svc.cluster.local"},
                "reply": {"channel": of_old("answers")},
            }),
            today,
            &json!({
                "channel": of_today("letters"),
                "subscriber": {"uri": "http://printer.ns.svc.cluster.local/"},
                "reply": {"ref": of_today("answers")},
            }),
        );
        check(
            EVENTING,
            "Subscription",
            &json!({"channel": of_old("letters"), "reply": {"channel": of_old("answers")}}),
            today,
            &json!({"channel": of_today("letters"), "subscriber": {"ref": of_today("answers")}}),
        );
    }

    #[test]
    fn a_choice_is_a_parallel() {
        let service = |version: &str| json!({"apiVersion": format!("serving.knative.dev/{version}"), "kind": "Service", "name": "s"});
        check(
            MESSAGING,
            "Choice",
            &json!({
                "channelTemplate": {"apiVersion": MESSAGING, "kind": "InMemoryChannel"},
                "cases": [{"subscriber": {"ref": service("v1alpha1")}}],
            }),
            "flows.knative.dev/v1/Parallel",
            &json!({
                "channelTemplate": {"apiVersion": "messaging.knative.dev/v1", "kind": "InMemoryChannel"},
                "branches": [{"subscriber": {"ref": service("v1")}}],
            }),
        );
    }

    #[test]
    fn what_is_of_today_has_not_moved() {
        let why = translate(&old("flows.knative.dev/v1", "Sequence", &json!({})));
        assert_eq!(why, Err("Sequence has not moved".to_owned()));
    }
}
