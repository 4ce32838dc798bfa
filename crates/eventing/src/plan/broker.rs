//! Broker → its place in the delivery graph, the channel it shows, its address.
//!
//! The events of a Broker are in one log of its own; Triggers read from it. Knative keeps them in
//! a channel with a Subscription for each Trigger: of these objects the channel is made, because
//! tests and tools look for it, and it is only another door to the same log. The Subscriptions are
//! not: nothing reads them, and a thousand Triggers would be rewritten for each one more.

use std::sync::Arc;

use api::conditions::Set;
use api::delivery::{Change, Ingress, Key as DeliveryKey, Subscriber};
use api::draft::{Agree, Child, Draft, not_owned, set_or_remove};
use api::names::child_name;
use api::object::ObjectExt;
use api::world::{
    Action, BROKER, CONFIG_MAP, Context, IN_MEMORY_CHANNEL, Key, Kind, Plan, TRIGGER, World,
};
use serde_json::{Value, json};

use super::addressable::{Certificate, Place, access, ensure_door, policies, publish};
use super::config::{SYSTEM_NAMESPACE, features};
use super::policy::{dead_letter_sink, kept};
use super::{in_memory_channel, trigger, trouble};

const SET: Set = Set::living(&[
    "IngressReady",
    "TriggerChannelReady",
    "FilterReady",
    "Addressable",
    "DeadLetterSinkResolved",
    "EventPoliciesReady",
]);
/// The annotation that says whose Broker it is.
const CLASS: &str = "eventing.knative.dev/broker.class";
/// The class this engine answers for. Nobody acts on others.
const OURS: &str = "MTChannelBasedBroker";
/// On Brokers and Triggers that belong to a Broker.
pub(super) const BROKER_LABEL: &str = "eventing.knative.dev/broker";
/// On the default Broker of a namespace with the injection label of v0.5 to v0.15: such a Broker
/// shows the address that Brokers had then.
pub(super) const NAMESPACE_INJECTED: &str = "eventing.knative.dev/namespaceInjected";
/// Annotations with this prefix go on to the channel.
const CHANNEL_ANNOTATIONS: &str = "messaging.knative.dev/";
/// The Secret with the authority of the ingress' certificate.
const CERTIFICATE: &str = "mt-broker-ingress-server-tls";

/// Whether this engine answers for `broker`.
pub(super) fn is_ours(broker: &Value) -> bool {
    broker.annotation(CLASS) == Some(OURS)
}

/// The channel a Broker shows.
fn channel_name(broker: &str) -> String {
    child_name(broker, "-kne-trigger")
}

/// The Service by which Brokers were reached before v0.15.
fn old_service(broker: &str) -> String {
    child_name(broker, "-broker")
}

/// Plans one Broker.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, BROKER, key) else {
        return Plan::default();
    };
    if !is_ours(&draft.object) {
        return Plan::default();
    }
    let mut conditions = draft.conditions(SET);
    match template(&draft) {
        Ok(template) => match channel(&mut draft, &template) {
            Ok(channel) => show_channel(&mut draft, &mut conditions, &channel),
            Err((reason, why)) => conditions.mark_false("TriggerChannelReady", reason, &why),
        },
        Err(why) => {
            let why = format!("Error on setting up the ChannelTemplate: {why}");
            conditions.mark_false("TriggerChannelReady", "ChannelTemplateFailed", &why);
        }
    }
    let delivery = draft.object["spec"]["delivery"].clone();
    dead_letter_sink(&mut draft, &mut conditions, &delivery);
    // Ingress and filter are the broker's process, which has one log for both.
    trouble::mark(
        &draft,
        &mut conditions,
        BROKER,
        &["IngressReady", "FilterReady"],
    );
    let shared = format!(
        "broker-ingress.{SYSTEM_NAMESPACE}.svc.{}",
        cx.cluster_domain
    );
    let path = format!("/{}/{}", draft.namespace(), draft.name());
    let old = old_host(&mut draft);
    let (host, plain_path) = match &old {
        Some(host) => (host.as_str(), ""),
        None => (shared.as_str(), path.as_str()),
    };
    let place = Place {
        host,
        path: plain_path,
        secure: (&shared, &path),
        certificate: Certificate::Shared(CERTIFICATE),
    };
    publish(&mut draft, &mut conditions, BROKER, &place);
    policies(&mut draft, &mut conditions, BROKER);
    draft.finish(conditions)
}

/// The address of old, for a Broker that is to have it, and the Service behind it.
fn old_host(draft: &mut Draft<'_>) -> Option<String> {
    if draft.object.label(NAMESPACE_INJECTED) != Some("true") {
        return None;
    }
    let name = old_service(draft.name());
    let domain = &draft.cx.cluster_domain;
    let host = format!("{name}.{}.svc.{domain}", draft.namespace());
    let labels = json!({BROKER_LABEL: draft.name(), "eventing.knative.dev/role": "ingress"});
    ensure_door(draft, &name, labels, "broker-ingress").then_some(host)
}

/// The channel template of the ConfigMap that `spec.config` names.
fn template(draft: &Draft<'_>) -> Result<Value, String> {
    let config = &draft.object["spec"]["config"];
    let text = |key: &str| config[key].as_str().unwrap_or_default();
    if config.is_null() {
        return Ok(default_template());
    }
    if text("kind") != "ConfigMap" || text("apiVersion") != "v1" {
        return Err("Broker.Spec.Config configuration not supported, only [kind: ConfigMap, apiVersion: v1]".to_owned());
    }
    let namespace = match text("namespace") {
        "" => draft.namespace(),
        some => some,
    };
    let name = text("name");
    let Some(map) = draft.world.get(CONFIG_MAP, namespace, name) else {
        return Err(format!("configmap {name:?} not found"));
    };
    let Some(yaml) = map["data"]["channel-template-spec"].as_str() else {
        return Err(format!(
            "ConfigMap {namespace}/{name} has no key \"channel-template-spec\""
        ));
    };
    serde_saphyr::from_str(yaml).map_err(|error| format!("channel-template-spec: {error}"))
}

fn default_template() -> Value {
    json!({"apiVersion": IN_MEMORY_CHANNEL.api_version(), "kind": IN_MEMORY_CHANNEL.kind})
}

/// Sees to the channel that the Broker shows.
fn channel(draft: &mut Draft<'_>, template: &Value) -> Result<Child, (&'static str, String)> {
    let (api_version, kind) = (template.api_version(), template.kind());
    let Some(kind) = Kind::find(api_version, kind).filter(|kind| *kind == IN_MEMORY_CHANNEL) else {
        let why = format!("no matches for kind {kind:?} in version {api_version:?}");
        return Err(("ChannelFailure", why));
    };
    let annotations = draft.object["metadata"]["annotations"].as_object();
    let annotations: Value = annotations
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(CHANNEL_ANNOTATIONS))
        .map(|(key, value)| (key.clone(), value.clone()))
        .chain([("eventing.knative.dev/scope".to_owned(), json!("cluster"))])
        .collect();
    let name = channel_name(draft.name());
    let labels =
        json!({BROKER_LABEL: draft.name(), "eventing.knative.dev/brokerEverything": "true"});
    let want = json!({
        "apiVersion": template["apiVersion"],
        "kind": template["kind"],
        "metadata": draft.child_meta(&name, labels, annotations),
        "spec": template["spec"],
    });
    match draft.ensure(kind, want, Agree::AtLeast) {
        Child::Foreign => Err(("ChannelFailure", not_owned(kind.kind, &name))),
        child => Ok(child),
    }
}

/// The channel's address as the Broker's status shows it.
fn show_channel(
    draft: &mut Draft<'_>,
    conditions: &mut api::conditions::Conditions,
    channel: &Child,
) {
    let address = match channel {
        Child::Have(channel) => channel["status"]["address"].clone(),
        Child::Created | Child::Foreign => Value::Null,
    };
    let Some(url) = address["url"].as_str() else {
        conditions.mark_false(
            "TriggerChannelReady",
            "NoAddress",
            "Channel does not have an address.",
        );
        return;
    };
    let name = channel_name(draft.name());
    for (key, value) in [
        ("channelAddress", json!(url)),
        ("channelCACerts", address["CACerts"].clone()),
        ("channelAudience", address["audience"].clone()),
        ("channelAPIVersion", json!(IN_MEMORY_CHANNEL.api_version())),
        ("channelKind", json!(IN_MEMORY_CHANNEL.kind)),
        ("channelName", json!(name)),
    ] {
        let annotations = &mut draft.status["annotations"];
        if !annotations.is_object() {
            *annotations = json!({});
        }
        let value = Some(value).filter(|value| !value.is_null());
        set_or_remove(annotations, &format!("knative.dev/{key}"), value);
    }
    conditions.mark_true("TriggerChannelReady");
}

/// States the Broker's place in the delivery graph: who may post, and every Trigger of it that is
/// resolved.
pub(super) fn plan_ingress(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(draft) = Draft::of(cx, world, BROKER, key).filter(|draft| is_ours(&draft.object))
    else {
        return Plan::default();
    };
    let (broker, domain) = (&draft.object, &cx.cluster_domain);
    let host = |service: String| format!("{service}.{}.svc.{domain}", key.namespace);
    let (retention, bytes_max) = kept(broker);
    let ingress = Ingress {
        uid: broker.uid().into(),
        hosts: vec![
            host(old_service(&key.name)),
            host(in_memory_channel::service(&channel_name(&key.name))),
        ],
        access: access(world, BROKER, broker),
        subscribers: subscribers(cx, world, broker),
        retention,
        bytes_max,
        makes_event_types: features(world).event_type_auto_create,
    };
    let key = DeliveryKey::new(BROKER, &key.namespace, &key.name);
    let change = Change::Ingress(key, Some(Arc::new(ingress)));
    Plan {
        actions: vec![Action::Deliver(change)],
    }
}

fn subscribers(cx: &Context, world: &World, broker: &Value) -> Vec<Arc<Subscriber>> {
    let crosses = features(world).cross_namespace_event_links;
    let namespace = if crosses { "" } else { broker.namespace() };
    let triggers = world.list(TRIGGER, namespace);
    let ours = triggers.iter().filter(|trigger| {
        let (namespace, name) = trigger::broker_of(trigger, crosses);
        (namespace, name) == (broker.namespace(), broker.name())
    });
    ours.filter_map(|trigger| {
        let key = Key::new(trigger.namespace(), trigger.name());
        let mut draft = Draft::of(cx, world, TRIGGER, &key)?;
        trigger::subscriber(&mut draft, broker).map(Arc::new)
    })
    .collect()
}
