//! Sugar: a namespace or a Trigger that asks for it gets the Broker it needs.
//!
//! `config-sugar` selects by label. The labels of earlier years (`knative-eventing-injection`,
//! `eventing.knative.dev/injection`) count whatever it says, as they did then.

use api::draft::Draft;
use api::object::ObjectExt;
use api::selector::selects;
use api::world::{Action, BROKER, Context, Key, NAMESPACE, Plan, TRIGGER, World};
use serde_json::{Value, json};

use super::broker::NAMESPACE_INJECTED;
use super::config::Config;

/// v0.13 to v0.23.
const INJECTION: &str = "eventing.knative.dev/injection";
/// v0.5 to v0.15.
const INJECTION_OF_OLD: &str = "knative-eventing-injection";
/// On Brokers made here.
const INJECTED: &str = "eventing.knative.dev/injected";

/// Plans one Namespace.
pub(super) fn plan_namespace(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(draft) = Draft::of(cx, world, NAMESPACE, key) else {
        return Plan::default();
    };
    let namespace = draft.object.clone();
    let label = |key: &str| namespace.label(key);
    let wanted = match label(INJECTION_OF_OLD).or_else(|| label(INJECTION)) {
        Some("enabled") => true,
        Some(_) => false,
        None => is_selected(world, "namespace-selector", &namespace),
    };
    if !wanted {
        return Plan::default();
    }
    let of_old = label(INJECTION_OF_OLD).is_some();
    ensure_broker(draft, &key.name, "default", of_old)
}

/// Plans one Trigger.
pub(super) fn plan_trigger(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(draft) = Draft::of(cx, world, TRIGGER, key) else {
        return Plan::default();
    };
    let trigger = draft.object.clone();
    let mark = |key: &str| trigger.annotation(key).or_else(|| trigger.label(key));
    let wanted = match mark(INJECTION_OF_OLD).or_else(|| mark(INJECTION)) {
        Some("enabled") => true,
        Some(_) => false,
        None => is_selected(world, "trigger-selector", &trigger),
    };
    let broker = trigger["spec"]["broker"].as_str().unwrap_or_default();
    if !wanted || broker.is_empty() {
        return Plan::default();
    }
    let of_old = mark(INJECTION_OF_OLD).is_some();
    ensure_broker(draft, &key.namespace, broker, of_old)
}

fn is_selected(world: &World, key: &str, object: &Value) -> bool {
    let selector = Config::read(world, "config-sugar").yaml(key);
    selector.is_some_and(|selector| selects(&selector, object))
}

/// Creates the Broker, unless there is one. It outlives what asked for it, as Knative's does.
fn ensure_broker(mut draft: Draft<'_>, namespace: &str, name: &str, of_old: bool) -> Plan {
    if draft.world.get(BROKER, namespace, name).is_some() {
        return Plan::default();
    }
    let mut labels = json!({INJECTED: "true"});
    if of_old {
        labels[NAMESPACE_INJECTED] = json!("true");
    }
    draft.push(Action::Create(json!({
        "apiVersion": BROKER.api_version(),
        "kind": BROKER.kind,
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
    })));
    let message = format!("Default eventing.knative.dev Broker {name:?} created.");
    draft.event("Normal", "BrokerCreated", message);
    draft.finish_without_status()
}
