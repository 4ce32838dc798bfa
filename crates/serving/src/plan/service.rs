//! Knative Service → a Configuration and a Route of the same name.

use api::annotation;
use api::conditions::{self, Conditions};
use api::convert::{FORM, is_manual};
use api::object::ObjectExt;
use api::serving::{self, sets};
use api::world::{CONFIGURATION, Context, KNATIVE_SERVICE, Key, Plan, ROUTE, World};
use serde_json::{Value, json};

use super::configuration;
use api::draft::{Agree, equal};
use api::draft::{Child, Draft, not_owned, set_or_remove, strings};

const CONFIGURATIONS_READY: &str = "ConfigurationsReady";
const ROUTES_READY: &str = "RoutesReady";

/// Plans one Knative Service.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, KNATIVE_SERVICE, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(sets::SERVICE);
    if is_manual(&draft.object) {
        for condition in sets::SERVICE.dependents {
            let text = "The Service is manual: it leaves Configuration and Route alone.";
            conditions.mark_unknown(condition, "Manual", text);
        }
        return draft.finish(conditions);
    }
    if let Some(configuration) = reconcile_configuration(&mut draft, &mut conditions) {
        reconcile_route(&mut draft, &mut conditions, &configuration);
    }
    draft.finish(conditions)
}

/// Returns the Configuration as far as it is known, or `None` if the Route must wait.
fn reconcile_configuration(draft: &mut Draft<'_>, conditions: &mut Conditions) -> Option<Value> {
    let want = wanted_configuration(draft);
    let template_name = want["spec"]["template"]["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let child = draft.ensure(CONFIGURATION, want.clone(), Agree::Exactly);
    match child {
        Child::Foreign => {
            let text = not_owned("Configuration", want.name());
            conditions.mark_false(CONFIGURATIONS_READY, "NotOwned", &text);
            return None;
        }
        Child::Have(have) if is_current(&have, &want) => {
            propagate(conditions, CONFIGURATIONS_READY, &have);
            for field in ["latestCreatedRevisionName", "latestReadyRevisionName"] {
                let value = have["status"].get(field).cloned();
                set_or_remove(&mut draft.status, field, value);
            }
            if configuration::name_is_taken(draft.world, &have) {
                let text = format!(
                    "The revision name {template_name:?} is taken by a conflicting Revision, so \
                     traffic will not be migrated"
                );
                conditions.mark_false(ROUTES_READY, "RevisionNameTaken", &text);
                return None;
            }
            return Some((*have).clone());
        }
        Child::Created => {
            draft.event(
                "Normal",
                "Created",
                format!("Created Configuration {:?}", want.name()),
            );
        }
        Child::Have(_) => {}
    }
    out_of_date(conditions, CONFIGURATIONS_READY, "Configuration");
    // A Revision named by the user must exist before the Route may point at it.
    template_name.is_empty().then_some(want)
}

fn reconcile_route(draft: &mut Draft<'_>, conditions: &mut Conditions, configuration: &Value) {
    let want = wanted_route(draft);
    match draft.ensure(ROUTE, want.clone(), Agree::Exactly) {
        Child::Foreign => {
            let text = not_owned("Route", want.name());
            conditions.mark_false(ROUTES_READY, "NotOwned", &text);
        }
        Child::Have(have) if is_current(&have, &want) => {
            propagate(conditions, ROUTES_READY, &have);
            for field in ["url", "address", "traffic"] {
                set_or_remove(&mut draft.status, field, have["status"].get(field).cloned());
            }
            if conditions.is_true(ROUTES_READY) && !is_migrated(&have, configuration) {
                let text = "Traffic is not yet migrated to the latest revision.";
                conditions.mark_unknown(ROUTES_READY, "TrafficNotMigrated", text);
            }
        }
        Child::Created => {
            draft.event(
                "Normal",
                "Created",
                format!("Created Route {:?}", want.name()),
            );
            out_of_date(conditions, ROUTES_READY, "Route");
        }
        Child::Have(_) => out_of_date(conditions, ROUTES_READY, "Route"),
    }
}

/// Whether the child has the wanted spec and its controller has seen it.
fn is_current(have: &Value, want: &Value) -> bool {
    conditions::is_observed(have) && equal(&have["spec"], &want["spec"])
}

/// The child exists since just now, or has a new spec.
fn out_of_date(conditions: &mut Conditions, condition: &str, kind: &str) {
    let text = format!("The {kind} is still working to reflect the latest desired specification.");
    conditions.mark_unknown(condition, "OutOfDate", &text);
}

fn propagate(conditions: &mut Conditions, condition: &str, child: &Value) {
    if let Some(ready) = conditions::get(child, "Ready") {
        conditions.mirror(condition, &ready);
    }
}

/// Whether the Route's traffic is what its spec and the Configuration's latest revision ask for.
fn is_migrated(route: &Value, configuration: &Value) -> bool {
    let list = |value: &Value| value["traffic"].as_array().cloned().unwrap_or_default();
    let (want, got) = (list(&route["spec"]), list(&route["status"]));
    want.len() == got.len()
        && want.iter().zip(&got).all(|(want, got)| {
            let revision = if want["configurationName"] == *configuration.name() {
                &configuration["status"]["latestReadyRevisionName"]
            } else {
                &want["revisionName"]
            };
            *revision == got["revisionName"]
                && want["tag"] == got["tag"]
                && want["percent"].as_i64().unwrap_or(0) == got["percent"].as_i64().unwrap_or(0)
        })
}

fn wanted_configuration(draft: &Draft<'_>) -> Value {
    let service = &draft.object;
    let labels = strings(
        &service["metadata"]["labels"],
        &[],
        &[
            (serving::SERVICE, service.name()),
            (serving::SERVICE_UID, service.uid()),
        ],
    );
    let existing = draft.get(CONFIGURATION, service.name());
    let routes = existing
        .as_ref()
        .and_then(|c| c.annotation(serving::ROUTES))
        .unwrap_or_default();
    let routes = super::with_name(routes, service.name());
    let annotations = strings(
        &service["metadata"]["annotations"],
        &excluded(annotation::serving::ROLLOUT_DURATION),
        &[(serving::ROUTES, &routes)],
    );
    json!({
        "apiVersion": CONFIGURATION.api_version(),
        "kind": CONFIGURATION.kind,
        "metadata": draft.child_meta(service.name(), labels, annotations),
        "spec": {"template": service["spec"]["template"]},
    })
}

fn wanted_route(draft: &Draft<'_>) -> Value {
    let service = &draft.object;
    let labels = strings(
        &service["metadata"]["labels"],
        &[],
        &[(serving::SERVICE, service.name())],
    );
    let annotations = strings(&service["metadata"]["annotations"], &excluded(&[]), &[]);
    let mut traffic = service["spec"]["traffic"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if traffic.is_empty() {
        traffic.push(json!({"latestRevision": true, "percent": 100}));
    }
    for target in &mut traffic {
        if target["revisionName"]
            .as_str()
            .unwrap_or_default()
            .is_empty()
        {
            target["configurationName"] = json!(service.name());
        }
    }
    json!({
        "apiVersion": ROUTE.api_version(),
        "kind": ROUTE.kind,
        "metadata": draft.child_meta(service.name(), labels, annotations),
        "spec": {"traffic": traffic},
    })
}

/// Annotations that say something of the Service's own text, not of its children.
fn excluded<'a>(also: &[&'a str]) -> Vec<&'a str> {
    let mut keys = vec![serving::LAST_APPLIED, FORM];
    keys.extend(also);
    keys
}
