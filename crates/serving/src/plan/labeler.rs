//! Which Routes lead to a Revision: kept on the Revision (and its Configuration) as annotation
//! `routes` and label `routingState`, by which the autoscaler and the garbage collector go.
//!
//! A Route writes its name onto what it refers to; a Revision strikes out the Routes that no
//! longer do. Neither needs a finalizer, nor to look through a namespace.

use std::collections::BTreeSet;

use api::conditions::{is_observed, rfc3339};
use api::object::ObjectExt;
use api::serving::{self, ROUTES, ROUTING_STATE, ROUTING_STATE_MODIFIED};
use api::world::{
    Action, CONFIGURATION, Context, INGRESS, Key, Kind, Plan, REVISION, ROUTE, World,
};
use serde_json::{Value, json};

use super::configuration::generation_of;
use api::draft::Draft;

/// Plans what one Route writes onto the Revisions and Configurations it refers to.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, ROUTE, key) else {
        return Plan::default();
    };
    let (revisions, configurations) = referred(&draft);
    for (kind, names) in [(REVISION, revisions), (CONFIGURATION, configurations)] {
        for name in names {
            let Some(object) = draft.get(kind, &name).filter(|o| !o.is_terminating()) else {
                continue;
            };
            let routes = super::with_name(routes_of(&object), draft.name());
            rewrite(&mut draft, kind, &object, &routes);
        }
    }
    draft.finish_without_status()
}

/// Plans which Routes one Revision strikes out.
pub fn plan_revision(cx: &Context, key: &Key, world: &World) -> Plan {
    strike_out(cx, key, world, REVISION, |draft, route| {
        leads_to(draft, route) || is_next(draft, route)
    })
}

/// Plans which Routes one Configuration strikes out.
pub fn plan_configuration(cx: &Context, key: &Key, world: &World) -> Plan {
    strike_out(cx, key, world, CONFIGURATION, |draft, route| {
        let mut targets = targets(route);
        targets.any(|target| {
            let revision = target["revisionName"].as_str().unwrap_or_default();
            target["configurationName"] == *draft.name()
                || draft.get(REVISION, revision).is_some_and(|revision| {
                    revision.label(serving::CONFIGURATION) == Some(draft.name())
                })
        })
    })
}

fn strike_out(
    cx: &Context,
    key: &Key,
    world: &World,
    kind: Kind,
    is_referred: fn(&Draft<'_>, &Value) -> bool,
) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, kind, key) else {
        return Plan::default();
    };
    let object = draft.object.clone();
    let names = routes_of(&object);
    if names.is_empty() {
        return Plan::default();
    }
    // The Route of a Service may come later than its Configuration; it goes with it.
    let of_service = object.label(serving::SERVICE).unwrap_or_default();
    let kept: Vec<&str> = names
        .split(',')
        .filter(|name| match draft.get(ROUTE, name) {
            None => *name == of_service,
            Some(route) => !is_observed(&route) || is_referred(&draft, &route),
        })
        .collect();
    rewrite(&mut draft, kind, &object, &kept.join(","));
    draft.finish_without_status()
}

fn routes_of(object: &Value) -> &str {
    object.annotation(ROUTES).unwrap_or_default()
}

/// The entries of a Route's traffic, as wanted and as it is.
fn targets(route: &Value) -> impl Iterator<Item = &Value> {
    let list = |part: &'static str| route[part]["traffic"].as_array().into_iter().flatten();
    list("spec").chain(list("status"))
}

/// Names of Revisions and of Configurations. A Configuration brings its latest Revision along, so
/// that this is kept up before it gets traffic.
fn referred(draft: &Draft<'_>) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut revisions, mut configurations) = (BTreeSet::new(), BTreeSet::new());
    for target in targets(&draft.object) {
        if let Some(name) = target["revisionName"].as_str() {
            revisions.insert(name.to_owned());
            let revision = draft.get(REVISION, name);
            let owner = revision
                .as_deref()
                .and_then(|revision| revision.label(serving::CONFIGURATION))
                .unwrap_or_default();
            configurations.insert(owner.to_owned());
        }
        if let Some(name) = target["configurationName"].as_str() {
            configurations.insert(name.to_owned());
            let latest = draft.get(CONFIGURATION, name);
            let latest = latest
                .as_deref()
                .and_then(|c| c["status"]["latestCreatedRevisionName"].as_str())
                .unwrap_or_default();
            revisions.insert(latest.to_owned());
        }
    }
    (revisions, configurations)
}

/// Whether a Route names this Revision, or its Ingress still sends requests here.
fn leads_to(draft: &Draft<'_>, route: &Value) -> bool {
    if targets(route).any(|target| target["revisionName"] == *draft.name()) {
        return true;
    }
    let Some(ingress) = draft.get(INGRESS, route.name()) else {
        return false;
    };
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    list(&ingress["spec"], "rules")
        .iter()
        .flat_map(|rule| list(&rule["http"], "paths"))
        .flat_map(|path| list(&path, "splits"))
        .any(|split| split["serviceName"] == *draft.name())
}

/// Whether this Revision is the latest of a Configuration that the Route follows.
fn is_next(draft: &Draft<'_>, route: &Value) -> bool {
    let configuration = draft.object.label(serving::CONFIGURATION);
    let follows = targets(route).any(|target| {
        target["configurationName"].as_str() == configuration && configuration.is_some()
    });
    follows
        && draft
            .get(CONFIGURATION, configuration.unwrap_or_default())
            .is_some_and(|configuration| {
                configuration["status"]["latestCreatedRevisionName"] == *draft.name()
                    || generation_of(&draft.object) >= configuration.generation()
            })
}

/// Writes the list of Routes onto an object if it differs, and the state that follows from it.
fn rewrite(draft: &mut Draft<'_>, kind: Kind, object: &Value, routes: &str) {
    let mut new = object.clone();
    let annotations = &mut new["metadata"]["annotations"];
    if routes.is_empty() {
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.remove(ROUTES);
        }
    } else {
        annotations[ROUTES] = json!(routes);
    }
    let state = if routes.is_empty() {
        "reserve"
    } else {
        "active"
    };
    if kind == REVISION && object.label(ROUTING_STATE) != Some(state) {
        annotations[ROUTING_STATE_MODIFIED] = json!(rfc3339(draft.now()));
        new["metadata"]["labels"][ROUTING_STATE] = json!(state);
    }
    if new != *object {
        draft.push(Action::Update(new));
    }
}
