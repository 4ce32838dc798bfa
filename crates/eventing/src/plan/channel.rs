//! Channel → the channel that backs it, by its template, and its status from that.

use std::sync::Arc;

use api::conditions::{Conditions, Set};
use api::draft::{Agree, Child, Draft, not_owned, set_or_remove};
use api::object::ObjectExt;
use api::world::{CHANNEL, Context, IN_MEMORY_CHANNEL, Key, Kind, Plan, World};
use serde_json::{Value, json};

use super::addressable::policies;
use super::config::channel_template;
use super::policy::{dead_letter_sink, whole_delivery};

const SET: Set = Set::living(&[
    "BackingChannelReady",
    "Addressable",
    "DeadLetterSinkResolved",
    "EventPoliciesReady",
]);

/// Plans one Channel.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, CHANNEL, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let spec = draft.object["spec"].clone();
    dead_letter_sink(&mut draft, &mut conditions, &spec["delivery"]);
    policies(&mut draft, &mut conditions, CHANNEL);
    let template = template(&spec["channelTemplate"], world, &key.namespace);
    let name = key.name.clone();
    match backing(&mut draft, &name, &template, &spec["delivery"]) {
        Ok(backing) => mirror(&mut draft, &mut conditions, &backing),
        Err(why) => conditions.mark_false("BackingChannelReady", "ChannelFailure", &why),
    }
    draft.finish(conditions)
}

/// The template as given, or the one of the namespace.
pub(super) fn template(given: &Value, world: &World, namespace: &str) -> Value {
    if given.is_object() {
        given.clone()
    } else {
        channel_template(world, namespace)
    }
}

/// Sees to a channel of `template`, named `name`, that belongs to the draft's object; answers it as
/// it is, or as it will be made.
pub(super) fn backing(
    draft: &mut Draft<'_>,
    name: &str,
    template: &Value,
    delivery: &Value,
) -> Result<Arc<Value>, String> {
    let (api_version, kind) = (template.api_version(), template.kind());
    let known = Kind::find(api_version, kind);
    let Some(kind) = known.filter(|kind| [IN_MEMORY_CHANNEL, CHANNEL].contains(kind)) else {
        return Err(format!(
            "no matches for kind {kind:?} in version {api_version:?}"
        ));
    };
    let mut want = json!({
        "apiVersion": api_version,
        "kind": kind.kind,
        "metadata": draft.child_meta(name, Value::Null, Value::Null),
        "spec": template["spec"].as_object().cloned().unwrap_or_default(),
    });
    if delivery.is_object() {
        want["spec"]["delivery"] = whole_delivery(delivery);
    }
    match draft.ensure(kind, want.clone(), Agree::AtLeast) {
        Child::Have(channel) => Ok(channel),
        Child::Created => Ok(Arc::new(want)),
        Child::Foreign => Err(not_owned(kind.kind, name)),
    }
}

/// What the backing channel says of itself.
fn mirror(draft: &mut Draft<'_>, conditions: &mut Conditions, backing: &Value) {
    draft.status["channel"] = reference(backing);
    for key in ["subscribers", "deadLetterChannel"] {
        let value = Some(backing["status"][key].clone()).filter(|value| !value.is_null());
        set_or_remove(&mut draft.status, key, value);
    }
    match api::conditions::get(backing, "Ready") {
        Some(ready) => conditions.mirror("BackingChannelReady", &ready),
        None => conditions.mark_unknown(
            "BackingChannelReady",
            "BackingChannelNotConfigured",
            "BackingChannel has not yet been reconciled.",
        ),
    }
    copy_address(draft, conditions, &backing["status"]);
}

/// Takes over the address of a channel.
pub(super) fn copy_address(draft: &mut Draft<'_>, conditions: &mut Conditions, status: &Value) {
    for key in ["address", "addresses"] {
        let value = Some(status[key].clone()).filter(|value| !value.is_null());
        set_or_remove(&mut draft.status, key, value);
    }
    if status["address"].is_object() {
        conditions.mark_true("Addressable");
    } else {
        conditions.mark_false("Addressable", "emptyAddress", "addressable is nil");
    }
}

/// A reference to an object.
pub(super) fn reference(object: &Value) -> Value {
    json!({
        "apiVersion": object.api_version(),
        "kind": object.kind(),
        "name": object.name(),
        "namespace": object.namespace(),
    })
}
