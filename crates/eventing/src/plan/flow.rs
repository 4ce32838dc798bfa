//! Sequence and Parallel → channels and Subscriptions in between. One file, because they are one
//! thing: a list of channels, a list of Subscriptions, and a status that sums them up.

use std::collections::BTreeSet;

use api::conditions::{Conditions, Set};
use api::draft::{Agree, Child, Draft, set_or_remove};
use api::names::child_name;
use api::object::ObjectExt;
use api::world::{
    CHANNEL, Context, IN_MEMORY_CHANNEL, Key, Kind, PARALLEL, Plan, SEQUENCE, SUBSCRIPTION, World,
};
use serde_json::{Value, json};

use super::addressable::policies;
use super::channel::{backing, copy_address, reference, template};
use super::policy::whole_delivery;
use super::resolve::whole;

const SET: Set = Set::living(&[
    "ChannelsReady",
    "SubscriptionsReady",
    "Addressable",
    "EventPoliciesReady",
]);

/// Whether `channel` is where events enter the Sequence or Parallel `flow` that it belongs to.
pub(super) fn is_entrance(flow: &Value, channel: &str) -> bool {
    let name = match flow.kind() {
        "Sequence" => sequence_child(flow.name(), 0),
        _ => child_name(flow.name(), "-kn-parallel"),
    };
    name == channel
}

fn sequence_child(name: &str, index: usize) -> String {
    child_name(name, &format!("-kn-sequence-{index}"))
}

/// Plans one Sequence.
pub(super) fn plan_sequence(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, SEQUENCE, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    policies(&mut draft, &mut conditions, SEQUENCE);
    let spec = draft.object["spec"].clone();
    let template = template(&spec["channelTemplate"], world, &key.namespace);
    let steps = spec["steps"].as_array().map_or(&[][..], Vec::as_slice);
    let name = |index: usize| sequence_child(&key.name, index);
    let channels: Vec<_> = (0..steps.len())
        .map(|index| channel(&mut draft, &name(index), &template))
        .collect();
    let subscriptions: Vec<_> = steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            let last = index + 1 == steps.len();
            let reply = match last {
                true => spec["reply"].clone(),
                false => channel_ref(&template, &name(index + 1), &key.namespace),
            };
            let mut subscriber = step.clone();
            set_or_remove(&mut subscriber, "delivery", None);
            let wish = Wish {
                name: name(index),
                channel: name(index),
                subscriber,
                reply,
                delivery: step["delivery"].clone(),
            };
            subscription(&mut draft, &template, &wish)
        })
        .collect();
    draft.status["channelStatuses"] = statuses(&channels, "channel");
    draft.status["subscriptionStatuses"] = statuses(&subscriptions, "subscription");
    sum_up(&mut draft, &mut conditions, &channels, &subscriptions);
    let entrance = channels.first().map(|channel| channel.status.clone());
    copy_address(&mut draft, &mut conditions, &entrance.unwrap_or_default());
    remove_others(&mut draft, &template, &channels, &subscriptions);
    draft.finish(conditions)
}

/// Plans one Parallel.
pub(super) fn plan_parallel(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, PARALLEL, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    policies(&mut draft, &mut conditions, PARALLEL);
    let spec = draft.object["spec"].clone();
    let template = template(&spec["channelTemplate"], world, &key.namespace);
    let branches = spec["branches"].as_array().map_or(&[][..], Vec::as_slice);
    let entrance = child_name(&key.name, "-kn-parallel");
    let mut channels = vec![channel(&mut draft, &entrance, &template)];
    let mut subscriptions = Vec::new();
    let mut listed = Vec::new();
    for (index, branch) in branches.iter().enumerate() {
        let name = child_name(&key.name, &format!("-kn-parallel-{index}"));
        let into = channel_ref(&template, &name, &key.namespace);
        // Without a filter the branch's channel is itself the subscriber.
        let (subscriber, reply) = match branch["filter"].is_object() {
            true => (branch["filter"].clone(), into),
            false => (into, Value::Null),
        };
        let filter = Wish {
            name: child_name(&key.name, &format!("-kn-parallel-filter-{index}")),
            channel: entrance.clone(),
            subscriber,
            reply,
            delivery: Value::Null,
        };
        let own_reply = &branch["reply"];
        let reply = if own_reply.is_object() {
            own_reply
        } else {
            &spec["reply"]
        };
        let work = Wish {
            name: name.clone(),
            channel: name.clone(),
            subscriber: branch["subscriber"].clone(),
            reply: reply.clone(),
            delivery: branch["delivery"].clone(),
        };
        let channel = channel(&mut draft, &name, &template);
        let filter = subscription(&mut draft, &template, &filter);
        let work = subscription(&mut draft, &template, &work);
        listed.push(json!({
            "filterChannelStatus": channel.listed("channel"),
            "filterSubscriptionStatus": filter.listed("subscription"),
            "subscriberSubscriptionStatus": work.listed("subscription"),
        }));
        channels.push(channel);
        subscriptions.extend([filter, work]);
    }
    draft.status["ingressChannelStatus"] = channels[0].listed("channel");
    draft.status["branchStatuses"] = listed.into();
    sum_up(&mut draft, &mut conditions, &channels, &subscriptions);
    let status = channels[0].status.clone();
    copy_address(&mut draft, &mut conditions, &status);
    remove_others(&mut draft, &template, &channels, &subscriptions);
    draft.finish(conditions)
}

/// A channel or Subscription of a flow.
struct Part {
    name: String,
    reference: Value,
    status: Value,
    /// Its condition `Ready`, as the flow's status repeats it.
    ready: Value,
}

impl Part {
    fn is_ready(&self) -> bool {
        self.ready["status"] == "True"
    }

    fn listed(&self, key: &str) -> Value {
        json!({key: self.reference, "ready": self.ready})
    }
}

fn statuses(parts: &[Part], key: &str) -> Value {
    parts.iter().map(|part| part.listed(key)).collect()
}

fn channel_ref(template: &Value, name: &str, namespace: &str) -> Value {
    json!({"ref": {
        "apiVersion": template["apiVersion"],
        "kind": template["kind"],
        "name": name,
        "namespace": namespace,
    }})
}

fn channel(draft: &mut Draft<'_>, name: &str, template: &Value) -> Part {
    let (status, why) = match backing(draft, name, template, &Value::Null) {
        Ok(channel) => (channel["status"].clone(), None),
        Err(why) => (Value::Null, Some(why)),
    };
    let ready = if status["address"].is_object() {
        json!({"type": "Ready", "status": "True"})
    } else {
        let why = why.unwrap_or_else(|| "Channel is not addressable".to_owned());
        json!({"type": "Ready", "status": "False", "reason": "NotAddressable", "message": why})
    };
    Part {
        name: name.to_owned(),
        reference: channel_ref(template, name, draft.namespace())["ref"].clone(),
        status,
        ready,
    }
}

/// A Subscription as it should be.
struct Wish {
    name: String,
    channel: String,
    subscriber: Value,
    reply: Value,
    delivery: Value,
}

fn subscription(draft: &mut Draft<'_>, template: &Value, wish: &Wish) -> Part {
    let channel = json!({
        "apiVersion": template["apiVersion"],
        "kind": template["kind"],
        "name": wish.channel,
    });
    let want = json!({
        "apiVersion": SUBSCRIPTION.api_version(),
        "kind": SUBSCRIPTION.kind,
        "metadata": draft.child_meta(&wish.name, Value::Null, Value::Null),
        "spec": {
            "channel": channel,
            "subscriber": whole(&wish.subscriber),
            "reply": whole(&wish.reply),
            "delivery": whole_delivery(&wish.delivery),
        },
    });
    let (reference, status) = match draft.ensure(SUBSCRIPTION, want.clone(), Agree::AtLeast) {
        Child::Have(have) => (reference(&have), have["status"].clone()),
        Child::Created | Child::Foreign => (reference(&want), Value::Null),
    };
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut conditions = conditions.filter(|condition| condition["type"] == "Ready");
    let unknown = || json!({"type": "Ready", "status": "Unknown"});
    let ready = conditions.next().cloned().unwrap_or_else(unknown);
    Part {
        name: wish.name.clone(),
        reference,
        status,
        ready,
    }
}

fn sum_up(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    channels: &[Part],
    subscriptions: &[Part],
) {
    for (condition, parts, reason, why) in [
        (
            "ChannelsReady",
            channels,
            "ChannelsNotReady",
            "Channels are not ready yet, or there are none",
        ),
        (
            "SubscriptionsReady",
            subscriptions,
            "SubscriptionsNotReady",
            "Subscriptions are not ready yet, or there are none",
        ),
    ] {
        if !parts.is_empty() && parts.iter().all(Part::is_ready) {
            conditions.mark_true(condition);
        } else {
            conditions.mark_false(condition, reason, why);
        }
    }
    let accounts = subscriptions
        .iter()
        .map(|part| &part.status["auth"]["serviceAccountName"]);
    let accounts: Vec<_> = accounts
        .filter(|account| account.is_string())
        .cloned()
        .collect();
    let auth = (!accounts.is_empty()).then(|| json!({"serviceAccountNames": accounts}));
    set_or_remove(&mut draft.status, "auth", auth);
}

/// What belonged to steps or branches that are no more.
fn remove_others(
    draft: &mut Draft<'_>,
    template: &Value,
    channels: &[Part],
    subscriptions: &[Part],
) {
    let (world, namespace, uid) = (
        draft.world,
        draft.namespace().to_owned(),
        draft.object.uid().to_owned(),
    );
    let of_template = Kind::find(template.api_version(), template.kind());
    let kinds = of_template.into_iter().chain([CHANNEL, IN_MEMORY_CHANNEL]);
    let kinds: BTreeSet<Kind> = kinds.collect();
    for (kind, wanted) in kinds
        .into_iter()
        .map(|kind| (kind, channels))
        .chain([(SUBSCRIPTION, subscriptions)])
    {
        for child in world.owned(kind, &namespace, &uid) {
            let is_wanted = |part: &Part| {
                part.name == child.name() && { kind == SUBSCRIPTION || Some(kind) == of_template }
            };
            if !wanted.iter().any(is_wanted) {
                draft.delete(kind, &child);
            }
        }
    }
}
