//! The addressables that answer each event themselves: JobSink, IntegrationSink, EventTransform
//! and RequestReply. One shape: an address, policies, a handler in the delivery graph; what the
//! kinds differ in is in their functions here.

use std::sync::Arc;

use api::conditions::{self, Conditions, Set};
use api::delivery::{Change, Endpoint, Handler, Key as DeliveryKey};
use api::draft::{Agree, Child, Draft, not_owned};
use api::names::child_name;
use api::object::ObjectExt;
use api::world::{
    Action, BROKER, Context, EVENT_TRANSFORM, Fact, INTEGRATION_SINK, JOB_SINK, Key, Kind, Plan,
    REQUEST_REPLY, TRIGGER, World,
};
use serde_json::{Value, json};

use super::addressable::{Certificate, Place, ensure_door, policies, publish};
use super::config::SYSTEM_NAMESPACE;
use super::policy::whole_delivery;
use super::{identity, source, trouble};

/// Plans one JobSink.
pub(super) fn plan_job_sink(cx: &Context, key: &Key, world: &World) -> Plan {
    const SET: Set = Set::living(&["Addressable", "EventPoliciesReady"]);
    let Some(mut draft) = Draft::of(cx, world, JOB_SINK, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let selector = format!("sinks.knative.dev/job-sink-name={}", key.name);
    draft.status["job"] = json!({"selector": selector});
    let host = format!("job-sink.{SYSTEM_NAMESPACE}.svc.{}", cx.cluster_domain);
    let path = format!("/{}/{}", key.namespace, key.name);
    let place = Place {
        host: &host,
        path: &path,
        secure: (&host, &path),
        certificate: Certificate::Shared("job-sink-server-tls"),
    };
    answer(&mut draft, &mut conditions, JOB_SINK, &place, To::default());
    draft.finish(conditions)
}

/// Plans one IntegrationSink.
pub(super) fn plan_integration_sink(cx: &Context, key: &Key, world: &World) -> Plan {
    const SET: Set = Set::living(&[
        "Addressable",
        "DeploymentReady",
        "EventPoliciesReady",
        "TrustBundlePropagated",
    ]);
    let Some(mut draft) = Draft::of(cx, world, INTEGRATION_SINK, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    conditions.mark_true("TrustBundlePropagated");
    if draft.object["spec"]["log"].is_object() {
        conditions.mark_true("DeploymentReady");
    } else {
        let why = "Only spec.log runs here: the other kinds need a cloud's own client.";
        conditions.mark_false("DeploymentReady", "NotSupported", why);
    }
    let service = child_name(&key.name, "-deployment");
    let labels = json!({"app.kubernetes.io/name": key.name});
    at_door(
        &mut draft,
        &mut conditions,
        INTEGRATION_SINK,
        (&service, labels),
        To::default(),
    );
    draft.finish(conditions)
}

/// Plans one EventTransform.
pub(super) fn plan_event_transform(cx: &Context, key: &Key, world: &World) -> Plan {
    const SET: Set = Set::living(&["TransformationReady", "Addressable", "EventPoliciesReady"]);
    let Some(mut draft) = Draft::of(cx, world, EVENT_TRANSFORM, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let (mut sink, mut account) = (None, None);
    conditions.mark_true(JSONATA_SINK);
    if draft.object["spec"]["sink"].is_object() {
        let mut inner = draft.conditions(Set::living(&["SinkProvided", "OIDCIdentityCreated"]));
        account = identity::establish(&mut draft, &mut inner, EVENT_TRANSFORM);
        sink = source::sink(&mut draft, &mut inner);
        if let Some(ready) = inner.get("Ready") {
            conditions.mirror(JSONATA_SINK, ready);
        }
    } else {
        super::resolve::note(&mut draft.status, "sink", None);
    }
    jsonata(&mut draft, &mut conditions);
    for part in [JSONATA_SINK, JSONATA_RUNS] {
        let ready = conditions.get(part).cloned();
        if let Some(ready) = ready {
            conditions.mirror("TransformationReady", &ready);
            if !ready.is_true() {
                break;
            }
        }
    }
    let service = child_name(&key.name, "-jsonata");
    let labels = json!({"eventing.knative.dev/event-transform-jsonata": "true"});
    at_door(
        &mut draft,
        &mut conditions,
        EVENT_TRANSFORM,
        (&service, labels),
        To { sink, account },
    );
    draft.finish(conditions)
}

/// The parts of `TransformationReady`, as Knative names them: its sink, its Deployment.
const JSONATA_SINK: &str = "JsonataSinkBindingReady";
const JSONATA_RUNS: &str = "JsonataDeploymentReady";

/// Marks whether the expressions are such.
fn jsonata(draft: &mut Draft<'_>, conditions: &mut Conditions) {
    let spec = draft.object["spec"].clone();
    conditions.mark_true(JSONATA_RUNS);
    for (field, of) in [
        ("jsonata.expression", &spec["jsonata"]),
        ("reply.jsonata.expression", &spec["reply"]["jsonata"]),
    ] {
        let Some(expression) = of["expression"].as_str() else {
            continue;
        };
        let fact = Fact::Jsonata {
            expression: expression.to_owned(),
        };
        match draft.need(fact) {
            None => {
                let why = "The expression is being read.";
                conditions.mark_unknown(JSONATA_RUNS, "Resolving", why);
            }
            Some(found) => {
                if let Some(error) = found["error"].as_str() {
                    let why = format!("{field} is not valid JSONata: {error}");
                    conditions.mark_false(JSONATA_RUNS, "JsonataDeploymentUnavailable", &why);
                    return;
                }
            }
        }
    }
}

/// Plans one RequestReply.
pub(super) fn plan_request_reply(cx: &Context, key: &Key, world: &World) -> Plan {
    const SET: Set = Set::living(&[
        "TriggersReady",
        "Addressable",
        "EventPoliciesReady",
        "BrokerReady",
    ]);
    let Some(mut draft) = Draft::of(cx, world, REQUEST_REPLY, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let broker = draft.object["spec"]["brokerRef"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let sink = broker_address(&draft, &mut conditions, &broker);
    let host = format!("request-reply.{SYSTEM_NAMESPACE}.svc.{}", cx.cluster_domain);
    let path = format!("/{}/{}", key.namespace, key.name);
    trigger(
        &mut draft,
        &mut conditions,
        &broker,
        &format!("http://{host}{path}/reply"),
    );
    draft.status["desiredReplicas"] = json!(1);
    draft.status["readyReplicas"] = json!(1);
    let place = Place {
        host: &host,
        path: &path,
        secure: (&host, &path),
        certificate: Certificate::Shared("request-reply-server-tls"),
    };
    let to = To {
        sink,
        account: None,
    };
    answer(&mut draft, &mut conditions, REQUEST_REPLY, &place, to);
    draft.finish(conditions)
}

fn broker_address(draft: &Draft<'_>, conditions: &mut Conditions, name: &str) -> Option<Endpoint> {
    let Some(broker) = draft.get(BROKER, name) else {
        let why = format!("Broker {name:?} does not exist");
        conditions.mark_false("BrokerReady", "BrokerDoesNotExist", &why);
        return None;
    };
    match conditions::get(&broker, "Ready") {
        Some(ready) => conditions.mirror("BrokerReady", &ready),
        None => conditions.mark_unknown(
            "BrokerReady",
            "BrokerNotConfigured",
            "Broker has not yet been reconciled.",
        ),
    }
    let address = &broker["status"]["address"];
    let text = |key: &str| address[key].as_str().map(str::to_owned);
    Some(Endpoint {
        url: text("url")?,
        ca_certs: text("CACerts"),
        audience: text("audience"),
    })
}

/// The Trigger that brings the answers back: whatever has the reply attribute.
fn trigger(draft: &mut Draft<'_>, conditions: &mut Conditions, broker: &str, reply: &str) {
    const READY: &str = "TriggersReady";
    let name = child_name(draft.name(), "-request-reply");
    let attribute = draft.object["spec"]["replyAttribute"]
        .as_str()
        .unwrap_or("replyid")
        .to_owned();
    let want = json!({
        "apiVersion": TRIGGER.api_version(),
        "kind": TRIGGER.kind,
        "metadata": draft.child_meta(&name, Value::Null, Value::Null),
        "spec": {
            "broker": broker,
            "filter": {"attributes": {attribute: ""}},
            "subscriber": {"uri": reply},
            "delivery": whole_delivery(&draft.object["spec"]["delivery"]),
        },
    });
    match draft.ensure(TRIGGER, want, Agree::AtLeast) {
        Child::Have(trigger) => match conditions::get(&trigger, "Ready") {
            Some(ready) => conditions.mirror(READY, &ready),
            None => conditions.mark_unknown(READY, "TriggerNotConfigured", ""),
        },
        Child::Created => conditions.mark_unknown(READY, "TriggerNotConfigured", ""),
        Child::Foreign => {
            conditions.mark_false(READY, "NotOwned", &not_owned("Trigger", &name));
        }
    }
}

/// Where results go, and whose token goes with them.
#[derive(Default)]
struct To {
    sink: Option<Endpoint>,
    account: Option<String>,
}

/// A handler behind a Service of its own in the namespace.
fn at_door(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    kind: Kind,
    (service, labels): (&str, Value),
    to: To,
) {
    if !ensure_door(draft, service, labels, "broker-ingress") {
        conditions.mark_false("Addressable", "NotOwned", &not_owned("Service", service));
        return;
    }
    let host = format!(
        "{service}.{}.svc.{}",
        draft.namespace(),
        draft.cx.cluster_domain
    );
    let certificate = format!("{service}-server-tls");
    let place = Place {
        host: &host,
        path: "",
        secure: (&host, ""),
        certificate: Certificate::Own(&certificate, service),
    };
    answer(draft, conditions, kind, &place, to);
}

/// Publishes the address and states the handler.
fn answer(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    kind: Kind,
    place: &Place<'_>,
    to: To,
) {
    publish(draft, conditions, kind, place);
    trouble::note(draft, conditions, kind, "Addressable");
    let access = policies(draft, conditions, kind);
    let object = &draft.object;
    let hosts = match place.path {
        "" => vec![place.host.to_owned()],
        _ => Vec::new(),
    };
    let handler = Handler {
        uid: object.uid().into(),
        hosts,
        access,
        object: Arc::new(source::unmanaged(object)),
        sink: to.sink,
        service_account: to.account,
    };
    let key = DeliveryKey::new(kind, object.namespace(), object.name());
    draft.push(Action::Deliver(Change::Handler(
        key,
        Some(Arc::new(handler)),
    )));
}
