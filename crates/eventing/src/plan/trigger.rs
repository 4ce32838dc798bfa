//! Trigger → a subscriber of its Broker, and what its status says about it.

use api::conditions::{self, Conditions, Set};
use api::delivery::{Endpoint, Key as DeliveryKey, Start, Subscriber};
use api::draft::Draft;
use api::object::ObjectExt;
use api::world::{BROKER, Context, Key, Plan, TRIGGER, World};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::config::features;
use super::policy::{RESOLVED, dead_letter_sink, policy};
use super::resolve::{Found, Unresolved, find, known, note, resolve};
use super::{broker, identity, own_annotation};

const SET: Set = Set::living(&[
    "BrokerReady",
    "SubscriptionReady",
    "DependencyReady",
    "SubscriberResolved",
    "DeadLetterSinkResolved",
    "OIDCIdentityCreated",
]);
/// Names an object that the Trigger waits for before it is ready.
const DEPENDENCY: &str = "knative.dev/dependency";
/// Kafka's name for the order of delivery.
const ORDER_OF_KAFKA: &str = "kafka.eventing.knative.dev/delivery.order";
/// RabbitMQ's name for the number of requests at once.
const PARALLELISM_OF_RABBITMQ: &str = "rabbitmq.eventing.knative.dev/parallelism";

/// Namespace and name of the Broker that `trigger` is of. `brokerRef` counts where references may
/// cross namespaces.
pub(super) fn broker_of(trigger: &Value, crosses: bool) -> (&str, &str) {
    let reference = &trigger["spec"]["brokerRef"];
    if crosses && reference.is_object() {
        let namespace = reference["namespace"].as_str();
        let namespace = namespace.filter(|namespace| !namespace.is_empty());
        return (
            namespace.unwrap_or_else(|| trigger.namespace()),
            reference["name"].as_str().unwrap_or_default(),
        );
    }
    let name = trigger["spec"]["broker"].as_str().unwrap_or_default();
    (trigger.namespace(), name)
}

/// Plans one Trigger.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, TRIGGER, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let trigger = draft.object.clone();
    let (namespace, name) = broker_of(&trigger, features(world).cross_namespace_event_links);
    let Some(broker) = world.get(BROKER, namespace, name) else {
        let why = format!("Broker {name:?} does not exist");
        conditions.mark_false("BrokerReady", "BrokerDoesNotExist", &why);
        return draft.finish(conditions);
    };
    if !broker::is_ours(&broker) {
        return Plan::default();
    }
    match conditions::get(&broker, "Ready") {
        Some(ready) => conditions.mirror("BrokerReady", &ready),
        None => conditions.mark_unknown(
            "BrokerReady",
            "BrokerNotConfigured",
            "Broker has not yet been reconciled.",
        ),
    }
    identity::establish(&mut draft, &mut conditions, TRIGGER);
    let resolved = resolve_subscriber(&mut draft, &mut conditions);
    resolve_dead_letters(&mut draft, &mut conditions, &broker);
    check_dependency(&mut draft, &mut conditions);
    match start(&trigger) {
        Err(why) => conditions.mark_false("SubscriptionReady", "ReplayFromInvalid", &why),
        Ok(_) if resolved && conditions.is_true("BrokerReady") => {
            conditions.mark_true("SubscriptionReady");
        }
        Ok(_) => conditions.mark_unknown(
            "SubscriptionReady",
            "SubscriptionNotConfigured",
            "Subscription has not yet been reconciled.",
        ),
    }
    draft.finish(conditions)
}

fn resolve_subscriber(draft: &mut Draft<'_>, conditions: &mut Conditions) -> bool {
    let destination = draft.object["spec"]["subscriber"].clone();
    match resolve(draft, &destination) {
        Ok(endpoint) => {
            note(&mut draft.status, "subscriber", Some(&endpoint));
            conditions.mark_true("SubscriberResolved");
            true
        }
        // What was found before stays, so that events are kept for it until it is back.
        Err(Unresolved::Pending) => {
            let why = "The subscriber is being looked up.";
            conditions.mark_unknown("SubscriberResolved", "Resolving", why);
            false
        }
        Err(Unresolved::Because(why)) => {
            let reason = "Unable to get the Subscriber's URI";
            conditions.mark_false("SubscriberResolved", reason, &why);
            false
        }
    }
}

/// The Trigger's own sink first, then the Broker's.
fn resolve_dead_letters(draft: &mut Draft<'_>, conditions: &mut Conditions, broker: &Value) {
    let own = draft.object["spec"]["delivery"].clone();
    let of_broker = &broker["spec"]["delivery"]["deadLetterSink"];
    if own["deadLetterSink"].is_object() || !of_broker.is_object() {
        dead_letter_sink(draft, conditions, &own);
        return;
    }
    let endpoint = known(&broker["status"], "deadLetterSink");
    note(&mut draft.status, "deadLetterSink", endpoint.as_ref());
    if endpoint.is_some() {
        conditions.mark_true(RESOLVED);
    } else {
        let reason = format!(
            "Broker {} didn't set status.deadLetterSinkURI",
            broker.name()
        );
        conditions.mark_false(RESOLVED, &reason, "");
    }
}

fn check_dependency(draft: &mut Draft<'_>, conditions: &mut Conditions) {
    const READY: &str = "DependencyReady";
    let trigger = draft.object.clone();
    let Some(annotation) = trigger.annotation(DEPENDENCY) else {
        conditions.mark_true(READY);
        return;
    };
    let reference: Value = match serde_json::from_str(annotation) {
        Ok(reference) => reference,
        Err(error) => {
            let why = format!(
                "Unable to unmarshal objectReference from dependency annotation of trigger: {error}"
            );
            conditions.mark_false(READY, "ReferenceError", &why);
            return;
        }
    };
    let dependency = match find(draft, &reference) {
        Found::Object(object) => object,
        Found::Pending => {
            let why = "The dependency is being looked up.";
            conditions.mark_unknown(READY, "DependencyGetFailed", why);
            return;
        }
        Found::Missing(why) => {
            let why = format!("Dependency does not exist: {why}");
            conditions.mark_false(READY, "DependencyDoesNotExist", &why);
            return;
        }
    };
    if !conditions::is_observed(&dependency) {
        let (generation, observed) = (
            dependency.generation(),
            dependency["status"]["observedGeneration"]
                .as_i64()
                .unwrap_or_default(),
        );
        let why = format!(
            "The dependency's metadata.generation, {generation}, is not equal to its status.observedGeneration, {observed}."
        );
        conditions.mark_unknown(READY, "GenerationNotEqual", &why);
        return;
    }
    match conditions::get(&dependency, "Ready") {
        Some(ready) => conditions.mirror(READY, &ready),
        None => conditions.mark_unknown(
            READY,
            "DependencyNotConfigured",
            "Dependency has not yet been reconciled.",
        ),
    }
}

/// The Trigger as a subscriber of `broker`, once it is known where its events go.
pub(super) fn subscriber(draft: &mut Draft<'_>, broker: &Value) -> Option<Subscriber> {
    let trigger = draft.object.clone();
    let spec = &trigger["spec"];
    let target = resolve(draft, &spec["subscriber"])
        .ok()
        .or_else(|| known(&trigger["status"], "subscriber"))?;
    let start = start(&trigger).ok()?;
    // A Trigger's delivery replaces the Broker's as a whole.
    let (delivery, dead_letter) = match &spec["delivery"] {
        Value::Null => (
            &broker["spec"]["delivery"],
            known(&broker["status"], "deadLetterSink"),
        ),
        own => (own, own_dead_letters(draft, own)),
    };
    Some(Subscriber {
        uid: trigger.uid().into(),
        key: DeliveryKey::new(TRIGGER, trigger.namespace(), trigger.name()),
        filters: filters(spec),
        target: Some(target),
        reply: None,
        replies_to_ingress: true,
        policy: policy(delivery, dead_letter),
        ordered: ordered(&trigger),
        parallelism: parallelism(&trigger),
        start,
        replay: own_annotation(&trigger, "replay-from")
            .unwrap_or_default()
            .to_owned(),
        service_account: identity::of(&trigger),
    })
}

fn own_dead_letters(draft: &mut Draft<'_>, delivery: &Value) -> Option<Endpoint> {
    let sink = &delivery["deadLetterSink"];
    if !sink.is_object() {
        return None;
    }
    resolve(draft, sink)
        .ok()
        .or_else(|| known(&draft.object["status"], "deadLetterSink"))
}

/// `filters` wins over `filter`.
fn filters(spec: &Value) -> Vec<Value> {
    let list = spec["filters"].as_array().cloned().unwrap_or_default();
    if !list.is_empty() {
        return list;
    }
    let attributes = &spec["filter"]["attributes"];
    match attributes.as_object() {
        Some(map) if !map.is_empty() => vec![json!({"attributes": attributes})],
        _ => Vec::new(),
    }
}

/// Whether a consumer asks for one event at a time.
pub(super) fn ordered(consumer: &Value) -> bool {
    let order =
        own_annotation(consumer, "delivery-order").or_else(|| consumer.annotation(ORDER_OF_KAFKA));
    order == Some("ordered")
}

/// How many requests at once a consumer asks for; 0 leaves it to the broker.
pub(super) fn parallelism(consumer: &Value) -> u32 {
    let text = own_annotation(consumer, "parallelism")
        .or_else(|| consumer.annotation(PARALLELISM_OF_RABBITMQ));
    text.and_then(|text| text.trim().parse().ok())
        .unwrap_or_default()
}

/// `eventing.rekindle.dev/replay-from`: an offset or an RFC 3339 time.
pub(super) fn start(consumer: &Value) -> Result<Start, String> {
    let Some(text) = own_annotation(consumer, "replay-from").map(str::trim) else {
        return Ok(Start::Now);
    };
    if let Ok(offset) = text.parse() {
        return Ok(Start::Offset(offset));
    }
    let time: Result<Timestamp, _> = text.parse();
    time.map(Start::Time).map_err(|_| {
        format!("The annotation eventing.rekindle.dev/replay-from is {text:?}: write an offset (0 is the oldest event kept) or a time like 2026-01-31T12:00:00Z.")
    })
}
