//! The kinds of 2019 that another group has today → those of today, in the conditions of their
//! time. What each becomes is `history::moved`'s to say.

use api::conditions::{self, Conditions, Set};
use api::draft::{Draft, set_or_remove};
use api::world::{
    CHANNEL_OF_2019, CLUSTER_CHANNEL_PROVISIONER, Context, Key, Kind, Plan, SUBSCRIPTION_OF_2019,
    World,
};
use history::moved::{is_stock_provisioner, provisioner, translate};
use serde_json::{Value, json};

use super::super::resolve::whole;
use super::super::url;
use super::keep;

const INSTALLED: &str = "ProvisionerInstalled";
const CHANNEL: Set = Set::living(&["Provisioned", "Addressable", INSTALLED]);
const SUBSCRIPTION: Set = Set::living(&["ChannelReady", "ReferencesResolved"]);
const FLOW: Set = Set::living(&["ChannelsReady", "SubscriptionsReady", "Addressable"]);
const PROVISIONER: Set = Set::living(&[]);

/// Plans one ClusterChannelProvisioner: there is nothing to make, since its Channels are kept in the
/// durable log of this installation.
pub(crate) fn plan_provisioner(cx: &Context, key: &Key, world: &World) -> Plan {
    match Draft::of(cx, world, CLUSTER_CHANNEL_PROVISIONER, key) {
        Some(draft) => {
            let mut conditions = draft.conditions(PROVISIONER);
            let why =
                "Channels of this provisioner are kept in the durable log of this installation.";
            conditions.mark_true_because("Ready", "BuiltIn", why);
            draft.finish(conditions)
        }
        None => Plan::default(),
    }
}

/// Plans one Channel.
pub(crate) fn plan_channel(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, CHANNEL_OF_2019, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(CHANNEL);
    let child = child(&mut draft, &mut conditions, "Provisioned");
    addressed(&mut draft, &mut conditions, &child);
    let name = provisioner(&draft.object).to_owned();
    let object = world.get(CLUSTER_CHANNEL_PROVISIONER, "", &name);
    if object.is_some() || is_stock_provisioner(&name) {
        conditions.mark_true(INSTALLED);
    } else {
        let why = format!("ClusterChannelProvisioner {name:?} not found.");
        conditions.mark_false(INSTALLED, "ProvisionerNotFound", &why);
    }
    draft.finish(conditions)
}

/// Plans one Subscription.
pub(crate) fn plan_subscription(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, SUBSCRIPTION_OF_2019, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SUBSCRIPTION);
    let child = child(&mut draft, &mut conditions, "ChannelReady");
    mirror(&mut conditions, &child, SUBSCRIPTION);
    let uris = &child["status"]["physicalSubscription"];
    let physical: serde_json::Map<String, Value> =
        [("subscriberURI", "subscriberUri"), ("replyURI", "replyUri")]
            .into_iter()
            .filter(|(_, today)| uris[today].is_string())
            .map(|(then, today)| (then.to_owned(), uris[today].clone()))
            .collect();
    let physical = (!physical.is_empty()).then(|| physical.into());
    set_or_remove(&mut draft.status, "physicalSubscription", physical);
    draft.finish(conditions)
}

/// Plans one Sequence, Parallel or Choice of `messaging.knative.dev`.
pub(crate) fn plan_flow(kind: Kind, cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, kind, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(FLOW);
    let child = child(&mut draft, &mut conditions, "SubscriptionsReady");
    mirror(&mut conditions, &child, FLOW);
    addressed(&mut draft, &mut conditions, &child);
    draft.finish(conditions)
}

/// Keeps what the object is today; nothing where it is not there yet or says something wrong, which
/// `condition` then tells.
fn child(draft: &mut Draft<'_>, conditions: &mut Conditions, condition: &str) -> Value {
    let (kind, mut want) = match translate(&draft.object) {
        Ok(found) => found,
        Err(why) => {
            conditions.mark_false(condition, "NotSupported", &why);
            return Value::Null;
        }
    };
    for end in ["subscriber", "reply"] {
        if want["spec"][end].is_object() {
            want["spec"][end] = whole(&want["spec"][end]);
        }
    }
    let child = keep(draft, conditions, condition, kind, want);
    child.map_or(Value::Null, |child| (*child).clone())
}

/// The conditions that are called today as they were then.
fn mirror(conditions: &mut Conditions, child: &Value, set: Set) {
    for condition in set.dependents {
        if let Some(found) = conditions::get(child, condition) {
            conditions.mirror(condition, &found);
        }
    }
}

/// Shows the child's address, by its host as well.
fn addressed(draft: &mut Draft<'_>, conditions: &mut Conditions, child: &Value) {
    let known = child["status"]["address"]["url"].as_str();
    let address = known.map(|found| json!({"hostname": url::host(found), "url": found}));
    match known {
        Some(_) => conditions.mark_true("Addressable"),
        None => {
            let why = "It has no address yet.";
            conditions.mark_unknown("Addressable", "Pending", why);
        }
    }
    set_or_remove(&mut draft.status, "address", address);
}
