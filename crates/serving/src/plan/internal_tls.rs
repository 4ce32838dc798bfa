//! `system-internal-tls`: the certificates by which the gateway and queue-proxies know each other, and
//! telling the gateway. Knative's names throughout: each namespace with Revisions has a Certificate
//! and a Secret `serving-certs`, which its queue-proxies mount; the system's namespace has
//! `routing-serving-certs`, by which the gateway is the activator.

use std::sync::Arc;

use api::binding::BUNDLE_LABEL;
use api::certificate::{self, AUTHORITY, TRUST};
use api::config::Network;
use api::draft::{Draft, controller_reference};
use api::networking::{
    CERTIFICATE_CLASS, CERTIFICATE_TYPE, INTERNAL_NAME, ROUTING_CERTIFICATE, ROUTING_NAME,
    SERVING_CERTIFICATE, SYSTEM_INTERNAL, internal_name,
};
use api::route::{Change, Internal};
use api::world::{Action, CERTIFICATE, CONFIG_MAP, Context, Key, NAMESPACE, Plan, SECRET, World};
use serde_json::{Value, json};

use super::certificate::{ACME, OWN};
use super::config::{Config, load};

/// Whether the parts of the system speak by TLS among themselves.
pub(super) fn is_enabled(cx: &Context, world: &World) -> bool {
    let config = Config::read(cx, world, "network");
    config.is_on("system-internal-tls") || config.is_on("internal-encryption")
}

/// Plans `config-network`: the gateway's own certificate. Like all these it stays when they are
/// switched off, for the Pods that still have theirs.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = draft(cx, key, world) else {
        return Plan::default();
    };
    if is_enabled(cx, world) {
        let names = json!([ROUTING_NAME, INTERNAL_NAME]);
        ask(&mut draft, ROUTING_CERTIFICATE, names);
    }
    draft.finish_without_status()
}

/// Plans `config-network` where the gateway runs: by what it and queue-proxies know each other.
pub fn plan_gateway(cx: &Context, key: &Key, world: &World) -> Plan {
    let mut plan = Plan::default();
    if draft(cx, key, world).is_none() {
        return plan;
    }
    let system = &cx.system_namespace;
    let Some(secret) = world.get(SECRET, system, ROUTING_CERTIFICATE) else {
        return plan;
    };
    let Some(identity) = certificate::identity(&secret) else {
        return plan;
    };
    // Whoever has signed is trusted besides the authority of today, and so is what the
    // administrator says: certificates are not exchanged all at once.
    let authority = world.get(SECRET, system, AUTHORITY);
    let secrets = [Some(secret), authority].into_iter().flatten();
    let mut trust: Vec<String> = secrets
        .filter_map(|secret| certificate::entry(&secret, TRUST))
        .collect();
    for bundle in world.labelled(CONFIG_MAP, system, BUNDLE_LABEL, "true") {
        let entries = bundle["data"].as_object().into_iter().flatten();
        trust.extend(entries.filter_map(|(_, text)| Some(text.as_str()?.to_owned())));
    }
    trust.dedup();
    let internal = Internal {
        identity,
        trust: trust.join("\n").into(),
    };
    let change = Change::Internal(Some(Arc::new(internal)));
    plan.actions.push(Action::Route(change));
    plan
}

/// Sees to it that the queue-proxies of the draft's namespace will have a certificate.
pub(super) fn ask_for_namespace(draft: &mut Draft<'_>) {
    let namespace = draft.namespace().to_owned();
    let names = json!([internal_name(&namespace), INTERNAL_NAME]);
    ask(draft, SERVING_CERTIFICATE, names);
}

fn draft<'a>(cx: &'a Context, key: &Key, world: &'a World) -> Option<Draft<'a>> {
    let is_network = key.name == Network::NAME && key.namespace == cx.system_namespace;
    is_network.then(|| Draft::of(cx, world, CONFIG_MAP, key))?
}

/// Asks for a certificate that is its namespace's.
fn ask(draft: &mut Draft<'_>, name: &str, names: Value) {
    let network = load(draft.cx, draft.world, Network::NAME, Network::parse);
    // Nobody outside would sign names that lead nowhere.
    let class = match network.certificate_class.as_str() {
        ACME => OWN[0],
        class => class,
    };
    let mut want = json!({
        "apiVersion": CERTIFICATE.api_version(),
        "kind": CERTIFICATE.kind,
        "metadata": {
            "name": name,
            "namespace": draft.namespace(),
            "labels": {CERTIFICATE_TYPE: SYSTEM_INTERNAL},
            "annotations": {CERTIFICATE_CLASS[1]: class},
        },
        "spec": {"dnsNames": names, "secretName": name},
    });
    if let Some(owner) = draft.world.get(NAMESPACE, "", draft.namespace()) {
        want["metadata"]["ownerReferences"] = json!([controller_reference(&owner)]);
    }
    draft.ensure_exists(CERTIFICATE, want);
}
