//! Flow → a Channel, a Subscription and a Feed of its name.

use api::conditions::Set;
use api::draft::Draft;
use api::world::{BUS_CHANNEL, BUS_SUBSCRIPTION, Context, FEED, FLOW, Key, Plan, World};
use history::flows;
use serde_json::json;

use super::super::config::Config;
use super::super::resolve::{Unresolved, resolve};
use super::keep;

const RESOLVED: &str = "ActionTargetResolved";
const SET: Set = Set::living(&[RESOLVED, "ChannelReady", "SubscriptionReady", "FeedReady"]);

/// Plans one Flow.
pub(crate) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, FLOW, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let target = match target(&mut draft) {
        Ok(target) => target,
        Err(Unresolved::Pending) => {
            let why = "The target of the action is being looked up.";
            conditions.mark_unknown(RESOLVED, "Resolving", why);
            return draft.finish(conditions);
        }
        Err(Unresolved::Because(why)) => {
            conditions.mark_false(RESOLVED, "ActionTargetNotResolved", &why);
            return draft.finish(conditions);
        }
    };
    let why = format!("Resolved to: {target:?}");
    conditions.mark_true_because(RESOLVED, RESOLVED, &why);
    let config = Config::read(world, "flow-controller-config");
    let bus = config.text("default-cluster-bus");
    let flow = draft.object.clone();
    let channel = flows::channel(&flow, bus.unwrap_or(flows::DEFAULT_BUS));
    let channel = keep(
        &mut draft,
        &mut conditions,
        "ChannelReady",
        BUS_CHANNEL,
        channel,
    );
    if let Some(host) =
        channel.and_then(|c| c["status"]["domainInternal"].as_str().map(str::to_owned))
    {
        draft.status["channelTarget"] = json!(host);
    }
    for (condition, kind, want) in [
        (
            "SubscriptionReady",
            BUS_SUBSCRIPTION,
            flows::subscription(&flow, &target),
        ),
        ("FeedReady", FEED, flows::feed(&flow, &cx.cluster_domain)),
    ] {
        keep(&mut draft, &mut conditions, condition, kind, want);
    }
    draft.finish(conditions)
}

/// The URL behind the action.
fn target(draft: &mut Draft<'_>) -> Result<String, Unresolved> {
    let action = draft.object["spec"]["action"].clone();
    if let Some(uri) = action["targetURI"].as_str() {
        return Ok(uri.to_owned());
    }
    let destination = json!({"ref": {
        "apiVersion": action["target"]["apiVersion"],
        "kind": action["target"]["kind"],
        "name": action["target"]["name"],
    }});
    Ok(resolve(draft, &destination)?.url)
}
