//! ContainerSource → a Deployment of the user's containers and a SinkBinding that tells them where
//! to send events.

use api::binding::{Told, bind};
use api::conditions::{self, Conditions, Set};
use api::draft::{Agree, Child, Draft, not_owned, set_or_remove};
use api::names::child_name;
use api::world::{CONTAINER_SOURCE, Context, DEPLOYMENT, Key, Plan, SINK_BINDING, World};
use serde_json::{Value, json};

use super::api_server_source::{mark_by_deployment, unavailable};
use super::bundles;
use super::resolve::whole;

const SET: Set = Set::living(&["SinkBindingReady", "ReceiveAdapterReady"]);
const BINDING_READY: &str = "SinkBindingReady";
const ADAPTER_READY: &str = "ReceiveAdapterReady";

/// Plans one ContainerSource.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, CONTAINER_SOURCE, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let deployment = child_name(&key.name, "-deployment");
    let Some(binding) = sink_binding(&mut draft, &mut conditions, &deployment) else {
        return draft.finish(conditions);
    };
    for field in [
        "sinkUri",
        "sinkCACerts",
        "sinkAudience",
        "auth",
        "ceAttributes",
    ] {
        let value = Some(binding["status"][field].clone()).filter(|value| !value.is_null());
        set_or_remove(&mut draft.status, field, value);
    }
    match conditions::get(&binding, "Ready") {
        Some(ready) => conditions.mirror(BINDING_READY, &ready),
        None => conditions.mark_unknown(BINDING_READY, "", ""),
    }
    // Containers do not start before they can be told where to send events.
    let bundles = bundles::names(world, &key.namespace);
    if let Some(told) = Told::of(&binding, bundles) {
        let mut want = adapter(&draft, &deployment);
        bind(&mut want, &told);
        match draft.ensure(DEPLOYMENT, want, Agree::AtLeast) {
            Child::Have(have) => mark_by_deployment(&mut conditions, ADAPTER_READY, &have),
            Child::Created => unavailable(&mut conditions, ADAPTER_READY, &deployment),
            Child::Foreign => {
                let why = not_owned("Deployment", &deployment);
                conditions.mark_false(ADAPTER_READY, "NotOwned", &why);
            }
        }
    }
    draft.finish(conditions)
}

/// The SinkBinding, once it exists.
fn sink_binding(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    deployment: &str,
) -> Option<std::sync::Arc<Value>> {
    let name = child_name(draft.name(), "-sinkbinding");
    let spec = &draft.object["spec"];
    let want = json!({
        "apiVersion": SINK_BINDING.api_version(),
        "kind": SINK_BINDING.kind,
        "metadata": draft.child_meta(&name, Value::Null, Value::Null),
        "spec": {
            "sink": whole(&spec["sink"]),
            "ceOverrides": spec["ceOverrides"],
            "subject": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "namespace": draft.namespace(),
                "name": deployment,
            },
        },
    });
    match draft.ensure(SINK_BINDING, want, Agree::AtLeast) {
        Child::Have(binding) => Some(binding),
        Child::Created => {
            let message = format!("SinkBinding created {name:?}");
            draft.event("Normal", "ContainerSourceSinkBindingCreated", message);
            conditions.mark_unknown(BINDING_READY, "", "");
            None
        }
        Child::Foreign => {
            conditions.mark_false(BINDING_READY, "NotOwned", &not_owned("SinkBinding", &name));
            None
        }
    }
}

fn adapter(draft: &Draft<'_>, name: &str) -> Value {
    let labels = json!({
        "sources.knative.dev/containerSource": draft.name(),
        "sources.knative.dev/source": "container-source-controller",
    });
    let mut template = draft.object["spec"]["template"].clone();
    for (key, value) in labels.as_object().into_iter().flatten() {
        template["metadata"]["labels"][key] = value.clone();
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": draft.child_meta(name, labels.clone(), Value::Null),
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    })
}
