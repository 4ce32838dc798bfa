//! What every source states alike: its sink, its extensions, the events it makes, and its place
//! in the delivery graph.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::conditions::Conditions;
use api::delivery::{Change, Endpoint, Key as DeliveryKey, Source};
use api::draft::{Agree, Draft};
use api::names::event_type_of_source;
use api::object::ObjectExt;
use api::world::{Action, EVENT_TYPE, Kind};
use serde_json::{Value, json};

use super::resolve::{Unresolved, known, note, resolve};

/// Resolves `spec.sink` into `status.sink*` and marks `SinkProvided`.
pub(super) fn sink(draft: &mut Draft<'_>, conditions: &mut Conditions) -> Option<Endpoint> {
    let destination = draft.object["spec"]["sink"].clone();
    match resolve(draft, &destination) {
        Ok(endpoint) => {
            note(&mut draft.status, "sink", Some(&endpoint));
            conditions.mark_true("SinkProvided");
            Some(endpoint)
        }
        // Events go on to where the sink was: retries bridge the gap, if it is one.
        Err(Unresolved::Pending) => {
            conditions.mark_unknown("SinkProvided", "Resolving", "The sink is being looked up.");
            known(&draft.object["status"], "sink")
        }
        Err(Unresolved::Because(why)) => {
            conditions.mark_false("SinkProvided", "NotFound", &why);
            known(&draft.object["status"], "sink")
        }
    }
}

/// On EventTypes of a source: its name.
const SOURCE_NAME: &str = "eventing.knative.dev/sourceName";

/// Writes `status.ceAttributes`, and sees to the EventTypes of what goes to an object.
pub(super) fn attributes(draft: &mut Draft<'_>, kind: Kind, types: &[&str], source: &str) {
    draft.status["ceAttributes"] = types
        .iter()
        .map(|kind| json!({"type": kind, "source": source}))
        .collect();
    let reference = draft.object["spec"]["sink"]["ref"].clone();
    let mut names = Vec::new();
    if reference.is_object() {
        let about = api::crds::event_types(kind.kind);
        for event_type in types {
            let want = event_type_of(draft, &about, &reference, (event_type, source));
            names.push(want.name().to_owned());
            draft.ensure(EVENT_TYPE, want, Agree::AtLeast);
        }
    }
    for old in draft.world.list(EVENT_TYPE, draft.namespace()) {
        let owner = old.controller_owner();
        let ours = owner.is_some_and(|owner| owner["uid"] == *draft.object.uid());
        if ours && !names.iter().any(|name| name == old.name()) {
            draft.delete(EVENT_TYPE, &old);
        }
    }
}

fn event_type_of(
    draft: &Draft<'_>,
    about: &Value,
    reference: &Value,
    (kind, source): (&str, &str),
) -> Value {
    let name = event_type_of_source(kind, source, "", draft.object.uid());
    let all = about.as_array().into_iter().flatten();
    let described = all.into_iter().find(|known| known["type"] == *kind);
    let description = described.map_or("", |known| known["description"].as_str().unwrap_or(""));
    let labels = json!({SOURCE_NAME: draft.name()});
    json!({
        "apiVersion": EVENT_TYPE.api_version(),
        "kind": EVENT_TYPE.kind,
        "metadata": draft.child_meta(&name, labels, Value::Null),
        "spec": {
            "reference": reference,
            "description": description,
            "attributes": [
                {"name": "type", "required": true, "value": kind},
                {"name": "source", "required": true, "value": source},
                {"name": "specversion", "required": true},
                {"name": "id", "required": true},
            ],
        },
    })
}

/// States the source of this object: it runs in the broker's process.
pub(super) fn run(
    draft: &mut Draft<'_>,
    kind: Kind,
    sink: Option<Endpoint>,
    facts: BTreeMap<String, Value>,
) {
    let Some(sink) = sink else { return };
    let object = &draft.object;
    let extensions = object["spec"]["ceOverrides"]["extensions"].as_object();
    let extensions = extensions.into_iter().flatten();
    let source = Source {
        uid: object.uid().into(),
        object: Arc::new(unmanaged(object)),
        sink,
        extensions: extensions
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
        facts,
    };
    let key = DeliveryKey::new(kind, object.namespace(), object.name());
    draft.push(Action::Deliver(Change::Source(key, Some(Arc::new(source)))));
}

/// The object without what changes when nothing does: its status and version.
pub(super) fn unmanaged(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
        metadata.remove("managedFields");
    }
    object
}

/// The ServiceAccount as which a source sends, as a fact.
pub(super) fn account(facts: &mut BTreeMap<String, Value>, account: Option<String>) {
    if let Some(account) = account {
        facts.insert("serviceAccount".to_owned(), json!(account));
    }
}
