//! Namespace → one Certificate for all names its Routes can have, where
//! `namespace-wildcard-cert-selector` selects it. Routes take it instead of asking for their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::config::{Domain, Network};
use api::draft::{Draft, controller_reference, equal};
use api::networking::{CERTIFICATE_CLASS, CERTIFICATE_TYPE, EXTERNAL_DOMAIN, WILDCARD_DOMAIN};
use api::object::ObjectExt;
use api::selector::selects;
use api::world::{Action, CERTIFICATE, Context, Key, NAMESPACE, Plan, World};
use serde_json::{Value, json};

use super::config::load;
use super::tls::class;

/// Plans one Namespace.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, NAMESPACE, key) else {
        return Plan::default();
    };
    let network = load(cx, world, Network::NAME, Network::parse);
    let selector = &network.namespace_wildcard_cert_selector;
    // Without certificates in this namespace there is nothing to take back.
    let existing = existing(&draft, &key.name);
    let uid = draft.object.uid().to_owned();
    let is_ours = |certificate: &Value| {
        let owner = certificate.controller_owner();
        owner.is_some_and(|owner| owner["uid"] == *uid)
    };
    if selector.is_null() || !selects(selector, &draft.object) {
        for certificate in existing.iter().filter(|have| is_ours(have)) {
            let text = format!(
                "Deleted Knative Certificate {}/{}",
                key.name,
                certificate.name()
            );
            draft.event("Normal", "Deleted", text);
            draft.delete(CERTIFICATE, certificate);
        }
        return draft.finish_without_status();
    }
    let want = match wanted(&draft, &network, &key.name) {
        Ok(want) => want,
        Err(text) => {
            draft.event("Warning", "InternalError", text);
            return draft.finish_without_status();
        }
    };
    let names = &want["spec"]["dnsNames"];
    if existing
        .iter()
        .any(|have| have["spec"]["dnsNames"] == *names)
    {
        return draft.finish_without_status();
    }
    match existing.iter().find(|have| is_ours(have)) {
        Some(have) if !equal(&have["spec"], &want["spec"]) => {
            let mut new = (**have).clone();
            new["spec"] = want["spec"].clone();
            new["metadata"]["labels"] = want["metadata"]["labels"].clone();
            draft.push(Action::Update(new));
        }
        Some(_) => {}
        None => {
            let name = want.name();
            let text = format!("Created Knative Certificate {}/{name}", key.name);
            draft.event("Normal", "Created", text);
            draft.push(Action::Create(want));
        }
    }
    draft.finish_without_status()
}

fn existing(draft: &Draft<'_>, namespace: &str) -> Vec<Arc<Value>> {
    let all = draft.world.list(CERTIFICATE, namespace);
    let wildcard = |have: &Arc<Value>| have.label(WILDCARD_DOMAIN).is_some();
    all.into_iter().filter(wildcard).collect()
}

/// The Certificate, or what is wrong with the template of domains.
fn wanted(draft: &Draft<'_>, network: &Network, namespace: &str) -> Result<Value, String> {
    let domains = load(draft.cx, draft.world, Domain::NAME, Domain::parse);
    // Routes with labels of their own may be elsewhere; they ask for themselves.
    let domain = domains.lookup(&BTreeMap::new());
    let host = network.host((namespace, "*"), domain, &Value::Null)?;
    let name = host.strip_prefix("*.").filter(|rest| !rest.is_empty());
    let name = name.ok_or_else(|| format!("invalid DomainTemplate: {host}"))?;
    Ok(json!({
        "apiVersion": CERTIFICATE.api_version(),
        "kind": CERTIFICATE.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "ownerReferences": [controller_reference(&draft.object)],
            "labels": {WILDCARD_DOMAIN: domain, CERTIFICATE_TYPE: EXTERNAL_DOMAIN},
            "annotations": {CERTIFICATE_CLASS[0]: class(&draft.object, network)},
        },
        "spec": {"dnsNames": [host], "domain": domain, "secretName": name},
    }))
}
