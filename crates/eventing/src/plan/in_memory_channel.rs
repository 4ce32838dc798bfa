//! InMemoryChannel → its place in the delivery graph, its Service, its status. The name is
//! Knative's; what is posted here is kept in a log until every subscriber has it.

use std::sync::Arc;

use api::conditions::Set;
use api::delivery::{Change, Endpoint, Ingress, Key as DeliveryKey, Subscriber};
use api::draft::{Draft, not_owned, set_or_remove};
use api::names::child_name;
use api::object::ObjectExt;
use api::world::{Action, BROKER, Context, IN_MEMORY_CHANNEL, Key, Plan, SUBSCRIPTION, World};
use serde_json::{Value, json};

use super::addressable::{Certificate, Place, ensure_door, policies, publish};
use super::config::{SYSTEM_NAMESPACE, features};
use super::policy::{dead_letter_sink, kept, policy};
use super::{own_annotation, trigger, trouble};

const SET: Set = Set::living(&[
    "ServiceReady",
    "EndpointsReady",
    "Addressable",
    "ChannelServiceReady",
    "DeadLetterSinkResolved",
    "EventPoliciesReady",
]);
/// The Secret with the authority of the dispatcher's certificate.
const CERTIFICATE: &str = "imc-dispatcher-server-tls";

/// The Service of a channel.
pub(super) fn service(channel: &str) -> String {
    child_name(channel, "-kn-channel")
}

/// Plans one InMemoryChannel.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, IN_MEMORY_CHANNEL, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    // A Broker's channel is a door to the Broker's own log.
    let broker = draft.object.controller_owner();
    let broker = broker.filter(|owner| owner["kind"] == BROKER.kind);
    let served = match broker.and_then(|owner| owner["name"].as_str()) {
        Some(name) => (BROKER, name.to_owned()),
        None => (IN_MEMORY_CHANNEL, key.name.clone()),
    };
    conditions.mark_true("ServiceReady");
    let parts = ["DispatcherReady", "EndpointsReady"];
    let why = trouble::mark_by(&draft, &mut conditions, (served.0, &served.1), &parts);
    let delivery = draft.object["spec"]["delivery"].clone();
    dead_letter_sink(&mut draft, &mut conditions, &delivery);
    let access = policies(&mut draft, &mut conditions, IN_MEMORY_CHANNEL);
    let name = service(&key.name);
    let host = format!("{name}.{}.svc.{}", key.namespace, cx.cluster_domain);
    if served.0 == IN_MEMORY_CHANNEL {
        let object = &draft.object;
        let (retention, bytes_max) = kept(object);
        let ingress = Ingress {
            uid: object.uid().into(),
            hosts: hosts(cx, world, object, &host),
            access,
            subscribers: subscribers(world, object),
            retention,
            bytes_max,
            makes_event_types: features(world).event_type_auto_create,
        };
        let key = DeliveryKey::new(IN_MEMORY_CHANNEL, &key.namespace, &key.name);
        draft.push(Action::Deliver(Change::Ingress(
            key,
            Some(Arc::new(ingress)),
        )));
    }
    report_subscribers(&mut draft, why.as_deref());
    let labels = json!({"messaging.knative.dev/role": "in-memory-channel"});
    if ensure_door(&mut draft, &name, labels, "imc-dispatcher") {
        conditions.mark_true("ChannelServiceReady");
    } else {
        let why = not_owned("Service", &name);
        conditions.mark_false("ChannelServiceReady", "ChannelServiceFailed", &why);
    }
    let dispatcher = format!(
        "imc-dispatcher.{SYSTEM_NAMESPACE}.svc.{}",
        cx.cluster_domain
    );
    let path = format!("/{}/{}", key.namespace, key.name);
    let place = Place {
        host: &host,
        path: "",
        secure: (&dispatcher, &path),
        certificate: Certificate::Shared(CERTIFICATE),
    };
    publish(&mut draft, &mut conditions, IN_MEMORY_CHANNEL, &place);
    draft.finish(conditions)
}

/// Its own host, and those of the Channel of 2018 that it stands for.
fn hosts(cx: &Context, world: &World, channel: &Value, own: &str) -> Vec<String> {
    let mut hosts = vec![own.to_owned()];
    hosts.extend(super::history::channel::hosts(cx, world, channel));
    hosts
}

/// `status.subscribers` repeats who is being served, or why nobody is.
fn report_subscribers(draft: &mut Draft<'_>, trouble: Option<&str>) {
    let listed: Vec<Value> = entries(&draft.object)
        .iter()
        .map(|entry| {
            let mut served = json!({
                "uid": entry["uid"],
                "observedGeneration": entry["generation"],
                "ready": if trouble.is_some() { "False" } else { "True" },
            });
            set_or_remove(&mut served, "message", trouble.map(Value::from));
            served
        })
        .collect();
    let listed = (!listed.is_empty()).then(|| Value::from(listed));
    set_or_remove(&mut draft.status, "subscribers", listed);
}

fn entries(channel: &Value) -> &[Value] {
    let list = channel["spec"]["subscribers"].as_array();
    list.map_or(&[], Vec::as_slice)
}

fn subscribers(world: &World, channel: &Value) -> Vec<Arc<Subscriber>> {
    let mut all: Vec<_> = entries(channel)
        .iter()
        .map(|entry| Arc::new(subscriber(world, channel, entry)))
        .collect();
    all.sort_by(|a, b| a.key.cmp(&b.key));
    all
}

/// One entry of `spec.subscribers`; order, parallelism and replay are the Subscription's to say.
fn subscriber(world: &World, channel: &Value, entry: &Value) -> Subscriber {
    let text = |key: &str| entry[key].as_str().unwrap_or_default();
    let (uid, namespace) = (text("uid"), channel.namespace());
    let endpoint = |prefix: &str| endpoint(entry, prefix);
    let sink = &entry["delivery"]["deadLetterSink"];
    let dead_letter = sink["uri"].as_str().map(|url| Endpoint {
        url: url.to_owned(),
        ca_certs: sink["CACerts"].as_str().map(str::to_owned),
        audience: sink["audience"].as_str().map(str::to_owned),
    });
    let subscription = match text("name") {
        "" => None,
        name => world.get(SUBSCRIPTION, namespace, name),
    };
    let subscription = subscription.filter(|subscription| subscription.uid() == uid);
    let says = subscription.as_deref().unwrap_or(&Value::Null);
    let account = entry["auth"]["serviceAccountName"].as_str();
    Subscriber {
        uid: uid.into(),
        key: DeliveryKey::new(SUBSCRIPTION, namespace, text("name")),
        filters: Vec::new(),
        target: endpoint("subscriber"),
        reply: endpoint("reply"),
        replies_to_ingress: false,
        policy: policy(&entry["delivery"], dead_letter),
        ordered: trigger::ordered(says),
        parallelism: trigger::parallelism(says),
        start: trigger::start(says).unwrap_or_default(),
        replay: own_annotation(says, "replay-from")
            .unwrap_or_default()
            .to_owned(),
        service_account: account.map(|account| format!("{namespace}/{account}")),
    }
}

fn endpoint(entry: &Value, prefix: &str) -> Option<Endpoint> {
    super::resolve::known(entry, prefix)
}
