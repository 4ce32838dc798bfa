//! `transport-encryption`: the certificates by which this process' addressables show who they are,
//! under the names of Secrets that cert-manager fills on a cluster, and whom senders trust. A Secret
//! that is somebody else's is shown as it is; the others are filled by the installation's own
//! authority and renewed in time.

use std::sync::Arc;

use api::binding::BUNDLE_LABEL;
use api::certificate::{self, AUTHORITY, TRUST, Verdict};
use api::config::SYSTEM_NAMESPACE as SERVING_NAMESPACE;
use api::config::eventing::Features;
use api::config::eventing::features::Encryption;
use api::delivery::{Change, Key as DeliveryKey, Shown};
use api::draft::{Agree, Draft};
use api::object::ObjectExt;
use api::world::{Action, CONFIG_MAP, Context, Fact, Key, Plan, SECRET, World};
use serde_json::{Value, json};

use super::config::{SYSTEM_NAMESPACE, features};

/// How long a certificate holds, in seconds: as cert-manager's do.
const LIFETIME_S: u64 = 90 * 24 * 3600;
/// The ConfigMap by which the installation's own authority is trusted.
const BUNDLE: &str = "knative-eventing-bundle";
/// Secrets and the Services whose names their certificates are for.
const SHARED: &[(&str, &str)] = &[
    ("mt-broker-ingress-server-tls", "broker-ingress"),
    ("mt-broker-filter-server-tls", "broker-filter"),
    ("imc-dispatcher-server-tls", "imc-dispatcher"),
    ("job-sink-server-tls", "job-sink"),
    ("request-reply-server-tls", "request-reply"),
];

/// Plans `config-features`: what all addressables share.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    if (key.namespace.as_str(), key.name.as_str()) != (SYSTEM_NAMESPACE, Features::NAME) {
        return Plan::default();
    }
    let Some(mut draft) = Draft::of(cx, world, CONFIG_MAP, key) else {
        return Plan::default();
    };
    if features(world).transport_encryption == Encryption::Disabled {
        return Plan::default();
    }
    for (secret, service) in SHARED {
        show(&mut draft, secret, (service, SYSTEM_NAMESPACE));
    }
    if let Some(authority) = world.get(SECRET, SERVING_NAMESPACE, AUTHORITY)
        && let Some(trust) = certificate::entry(&authority, TRUST)
    {
        let bundle = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": draft.child_meta(BUNDLE, json!({BUNDLE_LABEL: "true"}), Value::Null),
            "data": {TRUST: trust},
        });
        draft.ensure(CONFIG_MAP, bundle, Agree::AtLeast);
    }
    draft.finish_without_status()
}

/// Plans one ConfigMap: if it is labelled as a bundle, what it holds is trusted.
pub(super) fn plan_bundle(_: &Context, key: &Key, world: &World) -> Plan {
    let mut plan = Plan::default();
    if key.namespace != SYSTEM_NAMESPACE {
        return plan;
    }
    let Some(map) = world.get(CONFIG_MAP, &key.namespace, &key.name) else {
        return plan;
    };
    if map.label(BUNDLE_LABEL) == Some("true") {
        let entries = map["data"].as_object().into_iter().flatten();
        let texts = entries.filter_map(|(_, value)| value.as_str());
        let trust: Vec<&str> = texts.map(str::trim).collect();
        let key = DeliveryKey::new(CONFIG_MAP, &key.namespace, &key.name);
        let change = Change::Trust(key, Some(trust.join("\n").into()));
        plan.actions.push(Action::Deliver(change));
    }
    plan
}

/// Sees to the certificate in Secret `name` of the draft's namespace, for `service` of
/// `namespace`, and to its being shown; gives whom to trust, once it can be.
pub(super) fn show(
    draft: &mut Draft<'_>,
    name: &str,
    (service, namespace): (&str, &str),
) -> Option<String> {
    let short = format!("{service}.{namespace}.svc");
    let mut hosts = vec![format!("{short}.{}", draft.cx.cluster_domain), short];
    hosts.sort();
    let secret = draft.get(SECRET, name);
    let foreign = secret.as_deref().filter(|secret| {
        let owner = secret.controller_owner();
        owner.is_none_or(|owner| owner["uid"] != *draft.object.uid())
    });
    let body = match foreign {
        Some(secret) => Some(secret.clone()),
        None => own(draft, name, secret.as_deref(), &hosts),
    }?;
    let identity = certificate::identity(&body)?;
    let key = DeliveryKey::new(SECRET, draft.namespace(), name);
    let shown = Shown {
        hosts,
        identity,
        is_strict: features(draft.world).transport_encryption == Encryption::Strict,
    };
    draft.push(Action::Deliver(Change::Identity(
        key,
        Some(Arc::new(shown)),
    )));
    certificate::entry(&body, TRUST)
}

/// A Secret of ours: as it is if it will do, else as it is going to be.
fn own(
    draft: &mut Draft<'_>,
    name: &str,
    secret: Option<&Value>,
    hosts: &[String],
) -> Option<Value> {
    let authority = draft.world.get(SECRET, SERVING_NAMESPACE, AUTHORITY);
    let mark = certificate::authority_mark(authority.as_deref());
    let expected = (!mark.is_empty()).then_some(mark.as_str());
    let verdict = certificate::judge(secret, hosts, expected, draft.now());
    if let Verdict::Good(facts) = &verdict {
        draft.push(Action::At(facts.renew_at()));
        return secret.cloned();
    }
    let found = draft.need(Fact::Issued {
        holder: format!("{}/{name}", draft.namespace()),
        names: hosts.to_vec(),
        lifetime_s: LIFETIME_S,
        authority: mark,
    });
    let Some(pems) = found.filter(|found| found["error"].is_null()) else {
        // What there is still holds, if there is anything.
        return secret
            .filter(|_| matches!(verdict, Verdict::Renew(_)))
            .cloned();
    };
    let mut want = certificate::secret_body(&pems);
    want["apiVersion"] = json!("v1");
    want["kind"] = json!("Secret");
    want["metadata"] = draft.child_meta(name, Value::Null, Value::Null);
    draft.ensure(SECRET, want.clone(), Agree::AtLeast);
    Some(want)
}
