//! Channel of `channels.knative.dev` → a Channel of `messaging.knative.dev`, and the Service by
//! which it was called then.

use api::conditions::{Conditions, Set};
use api::draft::{Draft, not_owned};
use api::object::ObjectExt;
use api::world::{BUS, BUS_CHANNEL, CHANNEL, CLUSTER_BUS, Context, Key, Plan, World};
use history::channels::{self, Bus};
use serde_json::{Value, json};

use super::super::addressable::ensure_door;
use super::keep;

const SET: Set = Set::living(&["Serviceable", "Routeable", "Provisioned"]);

/// Plans one Channel.
pub(crate) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, BUS_CHANNEL, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let want = channels::channel(&draft.object);
    keep(&mut draft, &mut conditions, "Provisioned", CHANNEL, want);
    check_bus(&draft, &mut conditions);
    let service = channels::service(&key.name);
    let labels = json!({"channel": key.name});
    if ensure_door(&mut draft, &service, labels, "imc-dispatcher") {
        conditions.mark_true("Serviceable");
        conditions.mark_true("Routeable");
        draft.status["service"] = json!({"name": service});
        let host = channels::host(&key.name, &key.namespace, &cx.cluster_domain);
        draft.status["domainInternal"] = json!(host);
    } else {
        let why = not_owned("Service", &service);
        for condition in ["Serviceable", "Routeable"] {
            conditions.mark_false(condition, "ServiceError", &why);
        }
    }
    draft.finish(conditions)
}

/// The bus must be there, or have come with a release, and have its arguments.
fn check_bus(draft: &Draft<'_>, conditions: &mut Conditions) {
    let Some(bus) = Bus::of(&draft.object) else {
        let why = "The channel names neither a bus nor a clusterBus.";
        conditions.mark_false("Provisioned", "BusNotFound", why);
        return;
    };
    let found = if bus.is_cluster {
        draft.world.get(CLUSTER_BUS, "", bus.name)
    } else {
        draft.get(BUS, bus.name)
    };
    let Some(found) = found else {
        if !bus.is_stock() {
            let why = format!("{} {:?} not found.", bus.kind(), bus.name);
            conditions.mark_false("Provisioned", "BusNotFound", &why);
        }
        return;
    };
    let arguments = &draft.object["spec"]["arguments"];
    let missing = channels::missing_arguments(&found, "channel", arguments);
    if !missing.is_empty() {
        let names = missing.join(", ");
        let why = format!("{} {:?} asks for {names}.", bus.kind(), bus.name);
        conditions.mark_false("Provisioned", "ArgumentMissing", &why);
    }
}

/// The hosts of the Channel of 2018 that `channel`, an InMemoryChannel, stands for.
pub(crate) fn hosts(cx: &Context, world: &World, channel: &Value) -> Vec<String> {
    let owner = |object: &Value, group: &str| {
        let owner = object.controller_owner()?;
        let is_channel = owner["kind"] == "Channel"
            && super::super::resolve::group(owner.api_version()) == group;
        is_channel.then(|| owner["name"].as_str().unwrap_or_default().to_owned())
    };
    let namespace = channel.namespace();
    let today = owner(channel, CHANNEL.group);
    let today = today.and_then(|name| world.get(CHANNEL, namespace, &name));
    match today.and_then(|today| owner(&today, BUS_CHANNEL.group)) {
        Some(name) => channels::hosts(&name, namespace, &cx.cluster_domain).into(),
        None => Vec::new(),
    }
}
