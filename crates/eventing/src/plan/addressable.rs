//! What every addressable kind states alike: its address by plain HTTP and TLS, its audience, the
//! policies in force, and who may post.

use std::sync::Arc;

use api::certificate;
use api::conditions::{Conditions, is_ready};
use api::delivery::{Access, Allowed};
use api::draft::{Agree, Child, Draft, set_or_remove};
use api::object::ObjectExt;
use api::selector::selects;
use api::world::{CHANNEL, EVENT_POLICY, Kind, PARALLEL, SECRET, SEQUENCE, SERVICE, World};
use serde_json::{Value, json};

use super::config::{SYSTEM_NAMESPACE, features};
use super::flow::is_entrance;
use super::resolve::group;
use super::transport;
use api::config::eventing::features::{Authorization, Encryption};

/// Where an addressable listens.
pub(super) struct Place<'a> {
    /// Its host, for plain HTTP.
    pub(super) host: &'a str,
    /// Its path, for plain HTTP; empty or with a leading `/`.
    pub(super) path: &'a str,
    /// Host and path for HTTPS: what shares a certificate shares a host.
    pub(super) secure: (&'a str, &'a str),
    /// Its certificate.
    pub(super) certificate: Certificate<'a>,
}

/// Where the certificate of an addressable is.
#[derive(Clone, Copy)]
pub(super) enum Certificate<'a> {
    /// In this Secret of the system namespace, which `transport` sees to.
    Shared(&'a str),
    /// In this Secret of the object's own namespace, for this Service.
    Own(&'a str, &'a str),
}

/// The audience tokens for an object must name.
pub(super) fn audience(kind: Kind, object: &Value) -> String {
    let (namespace, name) = (object.namespace(), object.name());
    format!("{}/{}/{namespace}/{name}", kind.group, kind.kind).to_lowercase()
}

/// Writes `status.address` and `status.addresses` and marks `Addressable`.
pub(super) fn publish(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    kind: Kind,
    place: &Place<'_>,
) {
    let features = features(draft.world);
    let audience = features
        .authentication_oidc
        .then(|| audience(kind, &draft.object));
    let describe = |name: &str, (host, path): (&str, &str), ca_certs: Option<String>| {
        let mut address = json!({"name": name, "url": format!("{name}://{host}{path}")});
        set_or_remove(&mut address, "audience", audience.clone().map(Value::from));
        set_or_remove(&mut address, "CACerts", ca_certs.map(Value::from));
        address
    };
    let plain = describe("http", (place.host, place.path), None);
    let encryption = features.transport_encryption;
    if encryption == Encryption::Disabled {
        set_or_remove(&mut draft.status, "addresses", None);
        draft.status["address"] = plain;
        conditions.mark_true("Addressable");
        return;
    }
    let (ca_certs, namespace, secret) = match place.certificate {
        Certificate::Shared(secret) => {
            let found = draft.world.get(SECRET, SYSTEM_NAMESPACE, secret);
            let trust = found.and_then(|found| certificate::entry(&found, certificate::TRUST));
            (trust, SYSTEM_NAMESPACE.to_owned(), secret)
        }
        Certificate::Own(secret, service) => {
            let namespace = draft.namespace().to_owned();
            let trust = transport::show(draft, secret, (service, &namespace));
            (trust, namespace, secret)
        }
    };
    let Some(ca_certs) = ca_certs else {
        let why =
            format!("Secret {namespace}/{secret} has no ca.crt; transport-encryption needs it.");
        conditions.mark_unknown("Addressable", "CertificateNotFound", &why);
        return;
    };
    let secure = describe("https", place.secure, Some(ca_certs));
    let addresses = match encryption {
        Encryption::Permissive => json!([secure, plain]),
        _ => json!([secure]),
    };
    draft.status["address"] = secure;
    draft.status["addresses"] = addresses;
    conditions.mark_true("Addressable");
}

/// Sees to Service `name`, by which `target` of the system namespace is called under a name of the
/// object's own namespace; answers whether the name is the object's.
pub(super) fn ensure_door(draft: &mut Draft<'_>, name: &str, labels: Value, target: &str) -> bool {
    let domain = &draft.cx.cluster_domain;
    let want = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": draft.child_meta(name, labels, Value::Null),
        "spec": {
            "type": "ExternalName",
            "externalName": format!("{target}.{SYSTEM_NAMESPACE}.svc.{domain}"),
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80}],
        },
    });
    !matches!(draft.ensure(SERVICE, want, Agree::AtLeast), Child::Foreign)
}

/// Marks `EventPoliciesReady` and lists the policies that apply; answers who may post.
pub(super) fn policies(draft: &mut Draft<'_>, conditions: &mut Conditions, kind: Kind) -> Access {
    let features = features(draft.world);
    let applying = applying(draft.world, kind, &draft.object);
    let (ready, unready): (Vec<_>, Vec<_>) = applying.iter().partition(|policy| is_ready(policy));
    let listed: Vec<Value> = ready
        .iter()
        .map(|policy| json!({"apiVersion": EVENT_POLICY.api_version(), "name": policy.name()}))
        .collect();
    let listed = (!listed.is_empty()).then(|| Value::from(listed));
    set_or_remove(&mut draft.status, "policies", listed);
    if !unready.is_empty() {
        let names: Vec<_> = unready.iter().map(|policy| policy.name()).collect();
        let why = format!("event policies {} are not ready", names.join(", "));
        conditions.mark_false(POLICIES, "EventPoliciesNotReady", &why);
    } else if !applying.is_empty() {
        conditions.mark_true(POLICIES);
    } else if features.authentication_oidc {
        let mode = spelling(features.default_authorization);
        let why = format!("Default authz mode is {mode:?}");
        conditions.mark_true_because(POLICIES, "DefaultAuthorizationMode", &why);
    } else {
        let why = "Feature \"authentication-oidc\" must be enabled to support Authorization";
        conditions.mark_true_because(POLICIES, "OIDCDisabled", why);
    }
    access(draft.world, kind, &draft.object)
}

/// The condition.
pub(super) const POLICIES: &str = "EventPoliciesReady";

/// Who may post to `object`.
pub(super) fn access(world: &World, kind: Kind, object: &Value) -> Access {
    let features = features(world);
    if !features.authentication_oidc {
        return Access::default();
    }
    let mut applying = applying(world, kind, object);
    applying.extend(of_owner(world, object));
    let allowed = if !applying.is_empty() {
        let ready = applying.iter().filter(|policy| is_ready(policy));
        Some(ready.map(|policy| allowed(policy)).collect())
    } else {
        match features.default_authorization {
            Authorization::AllowAll => None,
            Authorization::DenyAll => Some(Vec::new()),
            Authorization::AllowSameNamespace => Some(vec![Allowed {
                subjects: vec![format!("system:serviceaccount:{}:*", object.namespace())],
                filters: Vec::new(),
            }]),
        }
    };
    Access {
        audience: Some(audience(kind, object)),
        allowed,
    }
}

/// The policies about what a channel is the entrance of: events for a Channel, a Sequence or a
/// Parallel are posted to a channel of theirs.
fn of_owner(world: &World, channel: &Value) -> Vec<Arc<Value>> {
    let Some(owner) = channel.controller_owner() else {
        return Vec::new();
    };
    let known = [CHANNEL, SEQUENCE, PARALLEL];
    let Some(kind) = known.into_iter().find(|kind| owner["kind"] == kind.kind) else {
        return Vec::new();
    };
    let name = owner["name"].as_str().unwrap_or_default();
    let Some(owner) = world.get(kind, channel.namespace(), name) else {
        return Vec::new();
    };
    if kind != CHANNEL && !is_entrance(&owner, channel.name()) {
        return Vec::new();
    }
    let mut policies = applying(world, kind, &owner);
    // A Channel may itself be the entrance of a Sequence.
    policies.extend(of_owner(world, &owner));
    policies
}

fn allowed(policy: &Value) -> Allowed {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let subjects = list(&policy["status"]["from"]);
    Allowed {
        subjects: subjects
            .iter()
            .filter_map(|subject| subject.as_str().map(str::to_owned))
            .collect(),
        filters: list(&policy["spec"]["filters"]),
    }
}

/// The EventPolicies of the object's namespace that are about it, ordered by name.
fn applying(world: &World, kind: Kind, object: &Value) -> Vec<Arc<Value>> {
    let mut all = world.list(EVENT_POLICY, object.namespace());
    all.retain(|policy| {
        let to = policy["spec"]["to"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        to.is_empty() || to.iter().any(|to| is_about(to, kind, object))
    });
    all
}

fn is_about(to: &Value, kind: Kind, object: &Value) -> bool {
    let same_kind = |reference: &Value| {
        let api_version = reference["apiVersion"].as_str().unwrap_or_default();
        reference["kind"] == kind.kind && group(api_version) == kind.group
    };
    let (reference, selector) = (&to["ref"], &to["selector"]);
    if reference.is_object() {
        return same_kind(reference) && reference["name"] == *object.name();
    }
    selector.is_object() && same_kind(selector) && selects(selector, object)
}

/// As the ConfigMap spells it.
const fn spelling(mode: Authorization) -> &'static str {
    match mode {
        Authorization::AllowAll => "allow-all",
        Authorization::DenyAll => "deny-all",
        Authorization::AllowSameNamespace => "allow-same-namespace",
    }
}
