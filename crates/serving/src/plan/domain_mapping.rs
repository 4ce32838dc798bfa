//! DomainMapping → a claim on the domain, and an Ingress that answers for it by the name of the
//! Service it stands for.

use api::annotation;
use api::conditions::{self, Conditions};
use api::config::Network;
use api::config::network::HttpProtocol;
use api::networking::{EXTERNAL_DOMAIN, INGRESS_CLASS};
use api::object::ObjectExt;
use api::serving::{self, sets};
use api::world::{
    Action, CLUSTER_DOMAIN_CLAIM, Context, DOMAIN_MAPPING, INGRESS, KNATIVE_SERVICE, Key, Plan,
    ROUTE, SERVICE, World,
};
use serde_json::{Value, json};

use super::config::load;
use super::tls::{self, State, Wish};
use api::draft::{Agree, equal};
use api::draft::{Child, Draft, not_owned, set_or_remove, strings};

const DOMAIN_CLAIMED: &str = "DomainClaimed";
const REFERENCE_RESOLVED: &str = "ReferenceResolved";
const INGRESS_READY: &str = "IngressReady";
const CERTIFICATE_PROVISIONED: &str = "CertificateProvisioned";
/// Gives an automatic claim back when its mapping goes.
const FINALIZER: &str = "domainmappings.serving.knative.dev";

/// Plans one DomainMapping.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let network = load(cx, world, Network::NAME, Network::parse);
    let Some(mut draft) = Draft::of(cx, world, DOMAIN_MAPPING, key) else {
        return release(key, world);
    };
    if network.autocreate_cluster_domain_claims && hold(&mut draft) {
        // The rest follows when this write has come back.
        return draft.finish_without_status();
    }
    let mut conditions = draft.conditions(sets::DOMAIN_MAPPING);
    let tls = provision(&mut draft, &mut conditions, &network);
    set_url(&mut draft, &tls.scheme);
    if claim(&mut draft, &mut conditions, &network)
        && let Some(host) = resolve(&mut draft, &mut conditions)
    {
        reconcile_ingress(&mut draft, &mut conditions, (&network, &tls), &host);
    }
    draft.finish(conditions)
}

/// What is known of TLS for the mapping.
struct Tls {
    scheme: String,
    /// `spec.tls` of the Ingress.
    entry: Option<Value>,
    /// The challenges of the authority.
    challenges: Vec<Value>,
}

/// Sees to the certificate: the one the user has given, or one that is asked for.
fn provision(draft: &mut Draft<'_>, conditions: &mut Conditions, network: &Network) -> Tls {
    let mut tls = Tls {
        scheme: network.default_external_scheme.clone(),
        entry: None,
        challenges: Vec::new(),
    };
    let host = draft.name().to_owned();
    if let Some(secret) = tls_secret(draft) {
        let text = "TLS certificate was provided externally";
        let reason = "CertificateExternallyProvided";
        conditions.mark_true_because(CERTIFICATE_PROVISIONED, reason, text);
        tls.scheme = "https".to_owned();
        tls.entry = Some(json!({
            "hosts": [host],
            "secretName": secret,
            "secretNamespace": draft.namespace(),
        }));
        return tls;
    }
    if !tls::is_enabled(draft, network) {
        let text = "external-domain-tls is not enabled";
        conditions.mark_true_because(CERTIFICATE_PROVISIONED, "TLSNotEnabled", text);
        return tls;
    }
    let class = tls::class(&draft.object, network).to_owned();
    let wish = Wish {
        name: &host,
        names: vec![host.clone()],
        domain: &host,
        owner: (serving::DOMAIN_MAPPING_UID, &host),
        kind: EXTERNAL_DOMAIN,
        class: &class,
    };
    let asked = tls::ask(draft, &wish);
    let downgrade = network.http_protocol == HttpProtocol::Enabled;
    tls.scheme = "https".to_owned();
    let kind = CERTIFICATE_PROVISIONED;
    match asked.state {
        State::Ready => conditions.mark_true(kind),
        State::NotOwned => {
            let text = format!("There is an existing certificate {host} that we don't own.");
            conditions.mark_false(kind, "CertificateNotOwned", &text);
        }
        State::Pending | State::Failed(_) if downgrade => {
            tls.scheme = "http".to_owned();
            let text = format!("Certificate {host} is not ready downgrade HTTP.");
            conditions.mark_true_because(kind, "HTTPDowngrade", &text);
        }
        State::Pending | State::Failed(_) => {
            let text = format!("Certificate {host} is not ready.");
            conditions.mark_unknown(kind, "CertificateNotReady", &text);
        }
    }
    tls.entry = asked.entry;
    tls.challenges = asked.challenges;
    tls
}

fn tls_secret<'a>(draft: &'a Draft<'_>) -> Option<&'a str> {
    draft.object["spec"]["tls"]["secretName"].as_str()
}

fn set_url(draft: &mut Draft<'_>, scheme: &str) {
    let url = tls::url(draft.cx, scheme, draft.name());
    draft.status["url"] = json!(url);
    draft.status["address"] = json!({"url": url});
}

/// Whether the domain is this namespace's.
fn claim(draft: &mut Draft<'_>, conditions: &mut Conditions, network: &Network) -> bool {
    let domain = draft.name().to_owned();
    let have = draft.world.get(CLUSTER_DOMAIN_CLAIM, "", &domain);
    if have.is_none() && network.autocreate_cluster_domain_claims {
        draft.push(Action::Create(json!({
            "apiVersion": CLUSTER_DOMAIN_CLAIM.api_version(),
            "kind": CLUSTER_DOMAIN_CLAIM.kind,
            "metadata": {"name": domain},
            "spec": {"namespace": draft.namespace()},
        })));
        conditions.mark_unknown(DOMAIN_CLAIMED, "", "");
        return false;
    }
    match have {
        Some(claim) if claim["spec"]["namespace"] == *draft.namespace() => {
            conditions.mark_true(DOMAIN_CLAIMED);
            true
        }
        Some(_) => {
            let text = "The domain name is already in use by another DomainMapping";
            conditions.mark_false(DOMAIN_CLAIMED, "DomainAlreadyClaimed", text);
            false
        }
        None => {
            let text = format!("no ClusterDomainClaim found for domain {domain:?}");
            conditions.mark_false(DOMAIN_CLAIMED, "DomainClaimFailed", &text);
            false
        }
    }
}

/// Puts the finalizer on; whether it was missing.
fn hold(draft: &mut Draft<'_>) -> bool {
    let mut new = (*draft.object).clone();
    let finalizers = &mut new["metadata"]["finalizers"];
    let mut list = finalizers.as_array().cloned().unwrap_or_default();
    if list.iter().any(|name| name == FINALIZER) {
        return false;
    }
    list.push(json!(FINALIZER));
    *finalizers = json!(list);
    draft.push(Action::Update(new));
    true
}

/// The mapping goes: so does the claim that was made for it.
fn release(key: &Key, world: &World) -> Plan {
    let mut plan = Plan::default();
    let Some(mapping) = world.get(DOMAIN_MAPPING, &key.namespace, &key.name) else {
        return plan;
    };
    let finalizers = mapping["metadata"]["finalizers"].as_array();
    let kept: Vec<_> = finalizers
        .into_iter()
        .flatten()
        .filter(|name| *name != FINALIZER)
        .cloned()
        .collect();
    if finalizers.map_or(0, Vec::len) == kept.len() {
        return plan;
    }
    if let Some(claim) = world.get(CLUSTER_DOMAIN_CLAIM, "", &key.name)
        && claim["spec"]["namespace"] == *key.namespace
        && !claim.is_terminating()
    {
        plan.actions.push(Action::Delete {
            kind: CLUSTER_DOMAIN_CLAIM,
            namespace: String::new(),
            name: key.name.clone(),
            uid: claim.uid().to_owned(),
        });
    }
    let mut new = (*mapping).clone();
    new["metadata"]["finalizers"] = json!(kept);
    plan.actions.push(Action::Update(new));
    plan
}

/// The host inside the cluster that the reference stands for.
fn resolve(draft: &mut Draft<'_>, conditions: &mut Conditions) -> Option<String> {
    match host_of_reference(draft) {
        Ok(host) => {
            conditions.mark_true(REFERENCE_RESOLVED);
            Some(host)
        }
        Err(message) => {
            conditions.mark_false(REFERENCE_RESOLVED, "ResolveFailed", &message);
            None
        }
    }
}

fn host_of_reference(draft: &Draft<'_>) -> Result<String, String> {
    let reference = &draft.object["spec"]["ref"];
    let text = |key: &str| reference[key].as_str().unwrap_or_default();
    let name = text("name");
    let group = text("apiVersion").split('/').next().unwrap_or_default();
    let kind = match (group, text("kind")) {
        (serving::GROUP, "Service") => KNATIVE_SERVICE,
        (serving::GROUP, "Route") => ROUTE,
        ("v1", "Service") => SERVICE,
        (group, kind) => {
            return Err(format!(
                "resolving reference: {kind} of {group:?} has no address"
            ));
        }
    };
    let object = draft.get(kind, name).ok_or_else(|| {
        let resource = format!("{}.{}", kind.plural, kind.group);
        format!(
            "failed to get object: {} {name:?} not found",
            resource.trim_end_matches('.')
        )
    })?;
    if kind == SERVICE {
        let domain = &draft.cx.cluster_domain;
        return Ok(format!("{name}.{}.svc.{domain}", draft.namespace()));
    }
    let url = object["status"]["address"]["url"]
        .as_str()
        .ok_or_else(|| format!("address not set for {} {name:?}", kind.kind))?;
    host_of_url(draft, url)
}

fn host_of_url(draft: &Draft<'_>, url: &str) -> Result<String, String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !path.trim_end_matches('/').is_empty() {
        return Err(format!("resolved URI {url:?} contains a path"));
    }
    let suffix = format!(".svc.{}", draft.cx.cluster_domain);
    let short = host
        .strip_suffix(&suffix)
        .and_then(|short| short.split_once('.'));
    match short {
        Some((_, namespace)) if namespace == draft.namespace() => Ok(host.to_owned()),
        Some(_) => Err(format!(
            "resolved URI {url:?} must be in same namespace as DomainMapping"
        )),
        None => Err(format!(
            "resolved URI {url:?} must be of the form {{name}}.{{namespace}}{suffix}"
        )),
    }
}

fn reconcile_ingress(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    (network, tls): (&Network, &Tls),
    host: &str,
) {
    let want = wanted_ingress(draft, network, tls, host);
    match draft.ensure(INGRESS, want.clone(), Agree::Exactly) {
        Child::Foreign => {
            let text = not_owned("Ingress", draft.name());
            conditions.mark_false(INGRESS_READY, "NotOwned", &text);
        }
        Child::Have(have)
            if conditions::is_observed(&have) && equal(&have["spec"], &want["spec"]) =>
        {
            if let Some(ready) = conditions::get(&have, "Ready") {
                conditions.mirror(INGRESS_READY, &ready);
            }
        }
        Child::Have(_) | Child::Created => {
            let text = "Ingress has not yet been reconciled.";
            conditions.mark_unknown(INGRESS_READY, "IngressNotConfigured", text);
        }
    }
}

fn wanted_ingress(draft: &Draft<'_>, network: &Network, tls: &Tls, host: &str) -> Value {
    let mapping = &draft.object;
    let service = host.split('.').next().unwrap_or_default();
    let split = json!({
        "serviceName": service,
        "serviceNamespace": mapping.namespace(),
        "servicePort": 80,
        "percent": 100,
    });
    let mut paths = tls::challenge_paths(&tls.challenges, mapping.name());
    paths.push(json!({"rewriteHost": host, "splits": [split]}));
    let rule = json!({
        "hosts": [mapping.name()],
        "visibility": "ExternalIP",
        "http": {"paths": paths},
    });
    let option = tls::http_option(mapping, network);
    let mut spec = json!({"httpOption": option, "rules": [rule]});
    let entry = tls.entry.as_ref().map(|entry| json!([entry]));
    set_or_remove(&mut spec, "tls", entry);
    let class = annotation::get(mapping, INGRESS_CLASS);
    let class = class.map_or(network.ingress_class.as_str(), |(_, class)| class);
    let annotations = strings(
        &mapping["metadata"]["annotations"],
        &[serving::LAST_APPLIED, INGRESS_CLASS[1]],
        &[(INGRESS_CLASS[0], class)],
    );
    let labels = strings(
        &mapping["metadata"]["labels"],
        &[],
        &[
            (serving::DOMAIN_MAPPING_UID, mapping.uid()),
            (serving::DOMAIN_MAPPING_NAMESPACE, mapping.namespace()),
        ],
    );
    json!({
        "apiVersion": INGRESS.api_version(),
        "kind": INGRESS.kind,
        "metadata": draft.child_meta(mapping.name(), labels, annotations),
        "spec": spec,
    })
}
