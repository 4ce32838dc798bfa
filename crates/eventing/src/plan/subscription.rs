//! Subscription → who is subscribed to which channel, resolved; and the entries of a channel's
//! `spec.subscribers`, which follow from that.
//!
//! A Subscription's own plan resolves its references into `status.physicalSubscription` and later
//! reports what the channel says about it. The entries are the channel's plan, [`plan_channel`]:
//! one write for any number of Subscriptions, and those that are gone need no finalizer.

use std::sync::Arc;

use api::conditions::{Conditions, Set};
use api::draft::{Draft, set_or_remove};
use api::object::ObjectExt;
use api::world::{
    Action, CHANNEL, Context, IN_MEMORY_CHANNEL, Key, Kind, Plan, SUBSCRIPTION, World,
};
use serde_json::{Map, Value, json};

use super::config::features;
use super::identity;
use super::resolve::{Unresolved, group, note, resolve};

const SET: Set = Set::living(&[
    "ReferencesResolved",
    "AddedToChannel",
    "ChannelReady",
    "OIDCIdentityCreated",
]);

/// Plans one Subscription.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, SUBSCRIPTION, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    identity::establish(&mut draft, &mut conditions, SUBSCRIPTION);
    let subscription = draft.object.clone();
    let channel = match channel_of(world, &subscription) {
        Ok(channel) => channel,
        Err(why) => {
            let why = format!("Failed to get Spec.Channel or backing channel: {why}");
            conditions.mark_false("ReferencesResolved", "ChannelReferenceFailed", &why);
            return draft.finish(conditions);
        }
    };
    if resolve_all(&mut draft, &mut conditions, &channel) {
        conditions.mark_true("ReferencesResolved");
        report(&mut conditions, &subscription, &channel);
    }
    draft.finish(conditions)
}

/// The channel that has the events: of a Channel, the one that backs it.
fn channel_of(world: &World, subscription: &Value) -> Result<Arc<Value>, String> {
    let (kind, namespace, name) = target(world, subscription)?;
    let missing =
        |kind: Kind, name: &str| format!("{}.{} {name:?} not found", kind.plural, kind.group);
    let channel = world
        .get(kind, namespace, name)
        .ok_or_else(|| missing(kind, name))?;
    if kind == IN_MEMORY_CHANNEL {
        return Ok(channel);
    }
    let backing = &channel["status"]["channel"];
    let Some(name) = backing["name"].as_str() else {
        return Err("channel is not ready: it has no backing channel yet".to_owned());
    };
    let backing = world.get(IN_MEMORY_CHANNEL, namespace, name);
    backing.ok_or_else(|| missing(IN_MEMORY_CHANNEL, name))
}

/// Kind, namespace and name of `spec.channel`.
fn target<'a>(world: &World, subscription: &'a Value) -> Result<(Kind, &'a str, &'a str), String> {
    let reference = &subscription["spec"]["channel"];
    let text = |key: &str| reference[key].as_str().unwrap_or_default();
    let wanted = (group(text("apiVersion")), text("kind"));
    let known = [CHANNEL, IN_MEMORY_CHANNEL];
    let Some(kind) = known
        .into_iter()
        .find(|kind| (kind.group, kind.kind) == wanted)
    else {
        return Err(format!(
            "no matches for kind {:?} in version {:?}",
            text("kind"),
            text("apiVersion")
        ));
    };
    let own = subscription.namespace();
    let namespace = reference["namespace"]
        .as_str()
        .filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or(own);
    if namespace != own && !features(world).cross_namespace_event_links {
        return Err(format!(
            "the channel is in namespace {namespace:?}: enable the feature \"cross-namespace-event-links\""
        ));
    }
    let name = reference["name"].as_str().unwrap_or_default();
    Ok((kind, namespace, name))
}

/// Resolves subscriber, reply and dead letter sink into the status; answers whether all were.
fn resolve_all(draft: &mut Draft<'_>, conditions: &mut Conditions, channel: &Value) -> bool {
    let spec = draft.object["spec"].clone();
    let own = &spec["delivery"]["deadLetterSink"];
    let sink = if own.is_object() {
        own.clone()
    } else if spec["delivery"].is_object() {
        Value::Null
    } else {
        of_channel(channel)
    };
    for (destination, prefix, reason, field) in [
        (
            &spec["subscriber"],
            "subscriber",
            "SubscriberResolveFailed",
            "spec.subscriber",
        ),
        (&spec["reply"], "reply", "ReplyResolveFailed", "spec.reply"),
        (
            &sink,
            "deadLetterSink",
            "DeadLetterSinkResolveFailed",
            "spec.delivery.deadLetterSink",
        ),
    ] {
        let nobody = destination.as_object().is_none_or(Map::is_empty);
        let found = if nobody {
            Ok(None)
        } else {
            resolve(draft, destination).map(Some)
        };
        match found {
            Ok(endpoint) => note(
                &mut draft.status["physicalSubscription"],
                prefix,
                endpoint.as_ref(),
            ),
            Err(Unresolved::Pending) => {
                let why = format!("{field} is being looked up.");
                conditions.mark_unknown("ReferencesResolved", "Resolving", &why);
                return false;
            }
            Err(Unresolved::Because(why)) => {
                let why = format!("Failed to resolve {field}: {why}");
                conditions.mark_false("ReferencesResolved", reason, &why);
                return false;
            }
        }
    }
    true
}

/// The channel's own dead letter sink, as a Destination.
fn of_channel(channel: &Value) -> Value {
    let status = &channel["status"];
    match &status["deadLetterSinkUri"] {
        Value::Null => Value::Null,
        uri => json!({
            "uri": uri,
            "CACerts": status["deadLetterSinkCACerts"],
            "audience": status["deadLetterSinkAudience"],
        }),
    }
}

/// What the channel says about the Subscription.
fn report(conditions: &mut Conditions, subscription: &Value, channel: &Value) {
    let uid = subscription.uid();
    let listed = channel["spec"]["subscribers"]
        .as_array()
        .into_iter()
        .flatten();
    let mut listed = listed.filter(|entry| entry["uid"] == *uid);
    if !listed.any(|entry| entry["generation"] == subscription.generation()) {
        let why = "Subscription has not yet been added to the channel.";
        conditions.mark_unknown("AddedToChannel", "SubscriptionNotAdded", why);
        return;
    }
    conditions.mark_true("AddedToChannel");
    let served = channel["status"]["subscribers"]
        .as_array()
        .into_iter()
        .flatten();
    let mut served = served.filter(|entry| entry["uid"] == *uid);
    let ours = served.find(|entry| entry["observedGeneration"] == subscription.generation());
    match ours {
        Some(entry) if entry["ready"] == "True" => conditions.mark_true("ChannelReady"),
        Some(entry) => {
            let why = entry["message"].as_str().unwrap_or_default();
            let why = format!("Subscription not marked by Channel as Ready: {why}");
            conditions.mark_false("ChannelReady", "SubscriptionNotMarkedReadyByChannel", &why);
        }
        None => {
            let why = format!(
                "subscription {:?} not present in channel {:?} subscriber's list",
                subscription.name(),
                channel.name()
            );
            conditions.mark_unknown("ChannelReady", "SubscriptionNotMarkedReadyByChannel", &why);
        }
    }
}

/// Keeps `spec.subscribers` of one InMemoryChannel: an entry for each Subscription that is
/// resolved. Entries that name no Subscription are somebody else's and stay.
pub(super) fn plan_channel(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, IN_MEMORY_CHANNEL, key) else {
        return Plan::default();
    };
    let channel = draft.object.clone();
    let have = channel["spec"]["subscribers"].as_array();
    let have = have.map_or(&[][..], Vec::as_slice);
    let crosses = features(world).cross_namespace_event_links;
    let namespace = if crosses { "" } else { key.namespace.as_str() };
    let subscriptions = world.list(SUBSCRIPTION, namespace);
    let ours = subscriptions.iter().filter(|subscription| {
        channel_of(world, subscription).is_ok_and(|found| found.uid() == channel.uid())
    });
    let of_others = have
        .iter()
        .filter(|entry| entry["name"].as_str().unwrap_or_default().is_empty());
    let want: Vec<Value> = of_others
        .cloned()
        .chain(ours.filter_map(|subscription| entry(subscription, &channel)))
        .collect();
    if want != have {
        let mut new = (*channel).clone();
        if !new["spec"].is_object() {
            new["spec"] = json!({});
        }
        set_or_remove(
            &mut new["spec"],
            "subscribers",
            (!want.is_empty()).then(|| want.into()),
        );
        draft.push(Action::Update(new));
    }
    draft.finish_without_status()
}

/// The entry of a Subscription that has been resolved.
fn entry(subscription: &Value, channel: &Value) -> Option<Value> {
    let status = &subscription["status"];
    let resolved = &status["physicalSubscription"];
    if subscription.is_terminating()
        || (resolved["subscriberUri"].is_null() && resolved["replyUri"].is_null())
    {
        return None;
    }
    let mut entry = json!({
        "uid": subscription.uid(),
        "name": subscription.name(),
        "generation": status["observedGeneration"],
    });
    let resolved = resolved.as_object().into_iter().flatten();
    let (sink, addresses): (Vec<_>, Vec<_>) =
        resolved.partition(|(key, _)| key.starts_with("deadLetterSink"));
    for (key, value) in addresses {
        entry[key] = value.clone();
    }
    let own = &subscription["spec"]["delivery"];
    let delivery = if own.is_object() {
        own
    } else {
        &channel["spec"]["delivery"]
    };
    let mut delivery = delivery.as_object().cloned().unwrap_or_default();
    delivery.remove("deadLetterSink");
    for (key, value) in sink {
        let key = match key.trim_start_matches("deadLetterSink") {
            "Uri" => "uri",
            "Audience" => "audience",
            other => other,
        };
        let sink = delivery
            .entry("deadLetterSink")
            .or_insert_with(|| json!({}));
        sink[key] = value.clone();
    }
    if !delivery.is_empty() {
        entry["delivery"] = delivery.into();
    }
    if let Some(account) = status["auth"]["serviceAccountName"].as_str() {
        entry["auth"] = json!({"serviceAccountName": account});
    }
    Some(entry)
}
