//! Subscription of `channels.knative.dev` → a Subscription of `messaging.knative.dev`.

use api::conditions::Set;
use api::draft::Draft;
use api::world::{BUS, BUS_CHANNEL, BUS_SUBSCRIPTION, CLUSTER_BUS, Context, Key, Plan};
use api::world::{SUBSCRIPTION, World};
use history::channels::{self, Bus};

use super::keep;

const SET: Set = Set::living(&["Dispatching"]);

/// Plans one Subscription.
pub(crate) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, BUS_SUBSCRIPTION, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let is_channel = |name: &str| world.get(BUS_CHANNEL, &key.namespace, name).is_some();
    let want = channels::subscription(&draft.object, &cx.cluster_domain, &is_channel);
    if let Some(why) = obstacle(&draft) {
        conditions.mark_false("Dispatching", why.0, &why.1);
    } else {
        keep(
            &mut draft,
            &mut conditions,
            "Dispatching",
            SUBSCRIPTION,
            want,
        );
    }
    draft.finish(conditions)
}

/// What stands in the way of a Subscription: a reason and a sentence.
fn obstacle(draft: &Draft<'_>) -> Option<(&'static str, String)> {
    let spec = &draft.object["spec"];
    let text = |field: &str| spec[field].as_str().unwrap_or_default();
    if text("subscriber").is_empty() {
        let why = "The subscription has no subscriber.".to_owned();
        return Some(("SubscriberMissing", why));
    }
    let Some(channel) = draft.get(BUS_CHANNEL, text("channel")) else {
        let why = format!(
            "Channel {:?} of channels.knative.dev not found.",
            text("channel")
        );
        return Some(("ChannelNotFound", why));
    };
    let bus = Bus::of(&channel)?;
    let found = if bus.is_cluster {
        draft.world.get(CLUSTER_BUS, "", bus.name)?
    } else {
        draft.get(BUS, bus.name)?
    };
    let missing = channels::missing_arguments(&found, "subscription", &spec["arguments"]);
    let why = format!(
        "{} {:?} asks for {}.",
        bus.kind(),
        bus.name,
        missing.join(", ")
    );
    (!missing.is_empty()).then_some(("ArgumentMissing", why))
}
