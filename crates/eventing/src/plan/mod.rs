//! What to make of what the user wrote: the reconcilers of Knative Eventing as pure plans.
//!
//! Each planner is one file with one function of the same shape, `plan(cx, key, world) -> Plan`.
//! It states what should differ from the world it sees; a second plan over the result of the first
//! writes nothing. What the broker must know ([`api::delivery`]) is stated the same way, and
//! before the status that promises it.
//!
//! Shared rooms: `config` reads the ConfigMaps, `resolve` finds who a Destination means, `policy`
//! reads delivery policies, `addressable` publishes addresses and event policies, `identity` sees
//! to the ServiceAccounts that events are sent as.

mod addressable;
mod broker;
mod config;
mod identity;
mod in_memory_channel;
mod policy;
mod resolve;
mod trigger;
mod url;

pub use config::SYSTEM_NAMESPACE;

use api::world::{self as kinds, Context, Key, Kind, Plan, Planner, World};

/// All planners of Knative Eventing, for the driver to register.
pub fn planners() -> Vec<Planner> {
    TABLE
        .iter()
        .map(|&(name, root, plan)| Planner {
            name,
            root,
            watches: READ,
            is_urgent: name == "BrokerIngress",
            plan,
        })
        .collect()
}

/// Name, root kind, the plan. `BrokerIngress` is urgent, so that the graph has a Trigger before
/// the Trigger says that it is ready.
type Row = (&'static str, Kind, fn(&Context, &Key, &World) -> Plan);

const TABLE: &[Row] = &[
    ("BrokerIngress", kinds::BROKER, broker::plan_ingress),
    ("Broker", kinds::BROKER, broker::plan),
    ("Trigger", kinds::TRIGGER, trigger::plan),
    (
        "InMemoryChannel",
        kinds::IN_MEMORY_CHANNEL,
        in_memory_channel::plan,
    ),
];

/// What plans read: since a Destination may name anything addressable, they all read nearly
/// everything.
const READ: &[Kind] = &[
    kinds::BROKER,
    kinds::CHANNEL,
    kinds::IN_MEMORY_CHANNEL,
    kinds::SEQUENCE,
    kinds::PARALLEL,
    kinds::KNATIVE_SERVICE,
    kinds::ROUTE,
    kinds::SERVICE,
    kinds::JOB_SINK,
    kinds::INTEGRATION_SINK,
    kinds::EVENT_TRANSFORM,
    kinds::REQUEST_REPLY,
    kinds::TRIGGER,
    kinds::SUBSCRIPTION,
    kinds::EVENT_POLICY,
    kinds::PING_SOURCE,
    kinds::API_SERVER_SOURCE,
    kinds::CONTAINER_SOURCE,
    kinds::SINK_BINDING,
    kinds::INTEGRATION_SOURCE,
    kinds::GITHUB_SOURCE,
    kinds::SERVICE_ACCOUNT,
    kinds::CONFIG_MAP,
];

/// How this project's own annotations begin.
const OWN: &str = "eventing.rekindle.dev";

/// An annotation of this project.
fn own_annotation<'a>(object: &'a serde_json::Value, name: &str) -> Option<&'a str> {
    use api::object::ObjectExt;
    object.annotation(&format!("{OWN}/{name}"))
}

#[cfg(test)]
mod tests;
