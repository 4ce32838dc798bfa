//! The Services by which a Route and its tags are called inside the cluster. They have no Pods:
//! their names stand for the gateway, which knows the Route by the host of the request.

use api::config::domain::VISIBILITY_LABEL;
use api::object::ObjectExt;
use api::serving;
use api::world::SERVICE;
use serde_json::{Value, json};

use super::domain::Domains;
use crate::plan::local_gateway;
use api::draft::Agree;
use api::draft::{Child, Draft, strings};

/// Sees to the Services. An error is the name of one that belongs to somebody else.
pub(super) fn reconcile(
    draft: &mut Draft<'_>,
    domains: &Domains,
    ingress: Option<&Value>,
) -> Result<(), String> {
    for name in domains.services() {
        let want = wanted(draft, name, ingress);
        match draft.ensure(SERVICE, want, Agree::AtLeast) {
            Child::Created => {
                let text = format!("Created placeholder service {name:?}");
                draft.event("Normal", "Created", text);
            }
            Child::Foreign => return Err(name.to_owned()),
            Child::Have(_) => {}
        }
    }
    let existing = draft
        .world
        .labelled(SERVICE, draft.namespace(), serving::ROUTE, draft.name());
    for service in existing {
        let owned = service
            .controller_owner()
            .is_some_and(|owner| owner["uid"] == *draft.object.uid());
        if owned && !domains.services().any(|name| name == service.name()) {
            draft.delete(SERVICE, &service);
        }
    }
    Ok(())
}

fn wanted(draft: &Draft<'_>, name: &str, ingress: Option<&Value>) -> Value {
    let route = &draft.object;
    // Visibility is the user's to set on each of these Services.
    let mut labels = strings(
        &route["metadata"]["labels"],
        &[VISIBILITY_LABEL],
        &[(serving::ROUTE, route.name())],
    );
    let have = draft.get(SERVICE, name);
    let have = have.iter().filter_map(|service| service.labels());
    for key in have.flatten().map(|(key, _)| key) {
        // A label the Route no longer has is taken off.
        if key != VISIBILITY_LABEL && labels[key].is_null() {
            labels[key] = Value::Null;
        }
    }
    let annotations = strings(
        &route["metadata"]["annotations"],
        &[serving::LAST_APPLIED],
        &[],
    );
    json!({
        "apiVersion": SERVICE.api_version(),
        "kind": SERVICE.kind,
        "metadata": draft.child_meta(name, labels, annotations),
        "spec": spec(draft, ingress),
    })
}

/// A name for the gateway, or an address of its own where a mesh does the gateway's work.
fn spec(draft: &Draft<'_>, ingress: Option<&Value>) -> Value {
    let balancer = ingress.map(|ingress| &ingress["status"]["privateLoadBalancer"]["ingress"][0]);
    let said = |key: &str| balancer?[key].as_str().filter(|text| !text.is_empty());
    let port = json!({"name": "http2", "port": 80, "targetPort": 80, "protocol": "TCP"});
    if balancer.is_some_and(|b| b["meshOnly"] == true) {
        return json!({"type": "ClusterIP", "externalName": null, "ports": [port]});
    }
    let default = local_gateway(draft.cx);
    let name = said("domainInternal")
        .or_else(|| said("domain"))
        .unwrap_or(&default);
    json!({
        "type": "ExternalName",
        "externalName": name,
        "sessionAffinity": "None",
        "ports": [port],
    })
}
