//! Route → an Ingress that shares its requests out among Revisions, and a placeholder Service for
//! each name the Route answers to inside the cluster.

mod domain;
mod gradual;
mod ingress;
mod placeholder;
mod tls;
mod traffic;

use std::collections::BTreeSet;

use api::conditions::{self, Conditions};
use api::config::Network;
use api::serving::sets;
use api::world::{Context, INGRESS, Key, Plan, ROUTE, World};
use serde_json::{Value, json};

use self::domain::Domains;
use self::tls::Tls;
use self::traffic::{Targets, Trouble};
use super::config::load;
use crate::route::rollout::Rollout;
use api::draft::{Agree, equal};
use api::draft::{Child, Draft, not_owned, set_or_remove};

const ALL_TRAFFIC_ASSIGNED: &str = "AllTrafficAssigned";
const INGRESS_READY: &str = "IngressReady";
const CERTIFICATE_PROVISIONED: &str = "CertificateProvisioned";

/// Plans one Route.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, ROUTE, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(sets::ROUTE);
    let targets = match traffic::resolve(&draft) {
        Ok(targets) => targets,
        Err(trouble) => {
            // What the Route did so far it goes on doing.
            mark_trouble(&mut conditions, &trouble);
            return draft.finish(conditions);
        }
    };
    conditions.mark_true(ALL_TRAFFIC_ASSIGNED);
    let mut domains = match Domains::of(&draft, &tags(&targets)) {
        Ok(domains) => domains,
        Err(message) => {
            conditions.mark_unknown(INGRESS_READY, "Unknown", &message);
            return draft.finish(conditions);
        }
    };
    let network = load(cx, world, Network::NAME, Network::parse);
    let tls = tls::provision(&mut draft, &mut conditions, &mut domains, &network);
    set_addresses(&mut draft, &domains);
    draft.status["traffic"] = status_traffic(&targets, &Rollout::default(), &domains, draft.cx);
    let parts = Parts {
        targets: &targets,
        domains: &domains,
        network: &network,
        tls: &tls,
    };
    reconcile_children(&mut draft, &mut conditions, &parts);
    draft.finish(conditions)
}

fn mark_trouble(conditions: &mut Conditions, trouble: &Trouble) {
    let (reason, message) = (&trouble.reason, &trouble.message);
    if trouble.is_final {
        conditions.mark_false(ALL_TRAFFIC_ASSIGNED, reason, message);
    } else {
        conditions.mark_unknown(ALL_TRAFFIC_ASSIGNED, reason, message);
    }
}

/// The names of the groups of targets: the empty one for the Route itself, then its tags.
fn tags(targets: &Targets) -> BTreeSet<&str> {
    targets.groups.keys().map(String::as_str).collect()
}

fn set_addresses(draft: &mut Draft<'_>, domains: &Domains) {
    let cx = draft.cx;
    draft.status["address"] = json!({"url": domains.local_url("")});
    draft.status["url"] = json!(domains.url(cx, ""));
}

/// A target that is being rolled out has one entry for each Revision that takes part.
fn status_traffic(targets: &Targets, rollout: &Rollout, domains: &Domains, cx: &Context) -> Value {
    let entry = |target: &traffic::Target, revision: &str, percent: Option<i64>| {
        let mut value = json!({"revisionName": revision});
        let tag = target.tag.as_str();
        set_or_remove(&mut value, "percent", percent.map(|percent| json!(percent)));
        set_or_remove(&mut value, "latestRevision", Some(json!(target.latest)));
        set_or_remove(&mut value, "tag", (!tag.is_empty()).then(|| json!(tag)));
        let url = (!tag.is_empty()).then(|| json!(domains.url(cx, tag)));
        set_or_remove(&mut value, "url", url);
        value
    };
    let entries = targets.list.iter().flat_map(|target| {
        let shares = gradual::shares(rollout, &target.tag, target);
        let rolling = shares.len() > 1;
        shares.into_iter().map(move |(revision, percent)| {
            let percent = if rolling {
                Some(percent)
            } else {
                target.percent
            };
            entry(target, &revision, percent)
        })
    });
    entries.collect()
}

/// What a Route's children are made of.
struct Parts<'a> {
    targets: &'a Targets,
    domains: &'a Domains,
    network: &'a Network,
    tls: &'a Tls,
}

fn reconcile_children(draft: &mut Draft<'_>, conditions: &mut Conditions, parts: &Parts<'_>) {
    let have = draft.get(INGRESS, draft.name());
    if let Err(name) = placeholder::reconcile(draft, parts.domains, have.as_deref()) {
        conditions.mark_false(INGRESS_READY, "NotOwned", &not_owned("Service", &name));
        return;
    }
    let wanted = ingress::wanted(draft, parts, have.as_deref());
    draft.status["traffic"] =
        status_traffic(parts.targets, &wanted.rollout, parts.domains, draft.cx);
    match draft.ensure(INGRESS, wanted.object.clone(), Agree::Exactly) {
        Child::Created => {
            draft.event(
                "Normal",
                "Created",
                format!("Created Ingress {:?}", draft.name()),
            );
            not_configured(conditions);
        }
        Child::Foreign => {
            let text = not_owned("Ingress", draft.name());
            conditions.mark_false(INGRESS_READY, "NotOwned", &text);
        }
        Child::Have(have) => {
            let current =
                conditions::is_observed(&have) && equal(&have["spec"], &wanted.object["spec"]);
            match conditions::get(&have, "Ready") {
                Some(_) if current && !wanted.rollout.is_done() => {
                    let text = "A gradual rollout of the latest revision(s) is in progress.";
                    conditions.mark_unknown(INGRESS_READY, "RolloutInProgress", text);
                }
                Some(ready) if current => conditions.mirror(INGRESS_READY, &ready),
                _ => not_configured(conditions),
            }
        }
    }
}

fn not_configured(conditions: &mut Conditions) {
    let text = "Ingress has not yet been reconciled.";
    conditions.mark_unknown(INGRESS_READY, "IngressNotConfigured", text);
}
