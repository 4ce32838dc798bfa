//! SinkBinding → what its subjects are told about the sink, in their environment, and whom they trust.
//!
//! New subjects are told by admission, before their first Pod; this plan tells those that are
//! there already, and takes it back when the binding goes.

use std::sync::Arc;

use api::binding::{Told, bind, unbind};
use api::conditions::{Conditions, Set};
use api::draft::{Draft, set_or_remove};
use api::object::ObjectExt;
use api::world::{
    Action, CRON_JOB, Context, DAEMON_SET, DEPLOYMENT, KNATIVE_SERVICE, Key, Kind, Plan,
    SINK_BINDING, STATEFUL_SET, World,
};
use serde_json::{Value, json};

use super::resolve::{group, selected};
use super::{bundles, source, token};

const SET: Set = Set::living(&[
    "SinkBindingAvailable",
    "SinkProvided",
    "OIDCIdentityCreated",
    "OIDCTokenSecretCreated",
    "TrustBundlePropagated",
]);
const AVAILABLE: &str = "SinkBindingAvailable";
/// Holds a binding until its subjects are as before.
const FINALIZER: &str = "sinkbindings.sources.knative.dev";
/// The kinds whose objects can be told when they are there. A Job's template never changes: it is
/// told when it is made.
const SUBJECTS: [Kind; 5] = [
    DEPLOYMENT,
    STATEFUL_SET,
    DAEMON_SET,
    CRON_JOB,
    KNATIVE_SERVICE,
];

/// Plans one SinkBinding.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    if let Some(binding) = world.get(SINK_BINDING, &key.namespace, &key.name)
        && binding.is_terminating()
    {
        return take_back(world, &binding);
    }
    let Some(mut draft) = Draft::of(cx, world, SINK_BINDING, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    hold(&mut draft);
    bundles::propagate(&mut draft);
    conditions.mark_true("TrustBundlePropagated");
    let sink = source::sink(&mut draft, &mut conditions);
    let audience = sink.as_ref().and_then(|sink| sink.audience.clone());
    let has_token = token::establish(&mut draft, &mut conditions, audience.as_deref());
    if sink.is_none() {
        conditions.mark_unknown(AVAILABLE, "SinkMissing", "The sink is not known yet.");
        return draft.finish(conditions);
    }
    if !has_token {
        let why = "The token for the sink is being made.";
        conditions.mark_unknown(AVAILABLE, "TokenMissing", why);
        return draft.finish(conditions);
    }
    let mut seen = (*draft.object).clone();
    seen["status"] = draft.status.clone();
    tell(&mut draft, &mut conditions, &seen);
    draft.finish(conditions)
}

fn hold(draft: &mut Draft<'_>) {
    let finalizers = draft.object["metadata"]["finalizers"].as_array();
    let mut finalizers = finalizers.cloned().unwrap_or_default();
    if finalizers.iter().any(|name| name == FINALIZER) {
        return;
    }
    finalizers.push(json!(FINALIZER));
    let mut new = (*draft.object).clone();
    new["metadata"]["finalizers"] = finalizers.into();
    draft.push(Action::Update(new));
}

fn tell(draft: &mut Draft<'_>, conditions: &mut Conditions, binding: &Value) {
    let bundles = bundles::names(draft.world, binding.namespace());
    let Some(told) = Told::of(binding, bundles) else {
        return;
    };
    let subject = &binding["spec"]["subject"];
    let subjects = subjects(draft.world, binding);
    let name = subject["name"].as_str().unwrap_or_default();
    if subjects.is_empty() && !name.is_empty() && kind_of(subject).is_some() {
        let kind = subject["kind"].as_str().unwrap_or_default();
        let why = format!("{kind} {name:?} not found");
        conditions.mark_false(AVAILABLE, "SubjectMissing", &why);
        return;
    }
    for subject in subjects {
        let mut new = (*subject).clone();
        bind(&mut new, &told);
        if new != *subject {
            draft.push(Action::Update(new));
        }
    }
    conditions.mark_true(AVAILABLE);
}

fn kind_of(subject: &Value) -> Option<Kind> {
    let text = |key: &str| subject[key].as_str().unwrap_or_default();
    let wanted = (group(text("apiVersion")), text("kind"));
    SUBJECTS
        .into_iter()
        .find(|kind| (kind.group, kind.kind) == wanted)
}

fn subjects(world: &World, binding: &Value) -> Vec<Arc<Value>> {
    let subject = &binding["spec"]["subject"];
    let Some(kind) = kind_of(subject) else {
        return Vec::new();
    };
    let namespace = subject["namespace"]
        .as_str()
        .filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or_else(|| binding.namespace());
    let mut found = match subject["name"].as_str().filter(|name| !name.is_empty()) {
        Some(name) => world.get(kind, namespace, name).into_iter().collect(),
        None => selected(world, kind, namespace, &subject["selector"]),
    };
    found.retain(|subject| !subject.is_terminating());
    found
}

/// The binding goes: its subjects are as before, and then nothing holds it.
fn take_back(world: &World, binding: &Value) -> Plan {
    let finalizers = binding["metadata"]["finalizers"].as_array();
    let mut finalizers = finalizers.cloned().unwrap_or_default();
    if !finalizers.iter().any(|name| name == FINALIZER) {
        return Plan::default();
    }
    let mut actions = Vec::new();
    for subject in subjects(world, binding) {
        let mut new = (*subject).clone();
        unbind(&mut new);
        if new != *subject {
            actions.push(Action::Update(new));
        }
    }
    finalizers.retain(|name| name != FINALIZER);
    let mut new = binding.clone();
    let left = (!finalizers.is_empty()).then(|| finalizers.into());
    set_or_remove(&mut new["metadata"], "finalizers", left);
    actions.push(Action::Update(new));
    Plan { actions }
}
