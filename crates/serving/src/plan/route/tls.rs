//! The certificates of a Route: one for each name the world knows it by, unless its namespace has
//! one for all, and one for each group of names inside the cluster. Decides the schemes of its URLs.

use api::conditions::Conditions;
use api::config::Network;
use api::config::network::HttpProtocol;
use api::draft::Draft;
use api::networking::{CERTIFICATE_TYPE, CLUSTER_LOCAL_DOMAIN, EXTERNAL_DOMAIN, WILDCARD_DOMAIN};
use api::object::ObjectExt;
use api::serving;
use api::world::CERTIFICATE;
use serde_json::Value;

use super::CERTIFICATE_PROVISIONED;
use super::domain::Domains;
use super::ingress::expanded;
use crate::plan::tls::{self, Asked, State, Wish};

/// What the Ingress is told.
#[derive(Debug, Default)]
pub(super) struct Tls {
    /// `spec.tls`.
    pub(super) entries: Vec<Value>,
    /// The challenges of authorities.
    pub(super) challenges: Vec<Value>,
}

/// Sees to the certificates.
pub(super) fn provision(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    domains: &mut Domains,
    network: &Network,
) -> Tls {
    let enabled = tls::is_enabled(draft, network);
    // Who may be asked by plain HTTP is, until there is a certificate.
    let downgrade = network.http_protocol == HttpProtocol::Enabled;
    let tags: Vec<String> = domains.tags().map(str::to_owned).collect();
    let (mut outside, mut inside) = (Vec::new(), Vec::new());
    for tag in tags.iter().filter(|_| enabled) {
        let Some(host) = domains.external(tag).map(str::to_owned) else {
            continue;
        };
        let asked = ask_outside(draft, (tag, &host), domains.suffix(), network);
        domains.set_secure(tag, matches!(asked.state, State::Ready) || !downgrade);
        outside.push(asked);
    }
    for tag in tags.iter().filter(|_| network.cluster_local_domain_tls) {
        let asked = ask_inside(draft, tag, domains.local(tag), network);
        if let State::Ready = asked.state {
            domains.set_secure_inside(tag);
        }
        inside.push(asked);
    }
    if enabled {
        remove_others(draft, EXTERNAL_DOMAIN, &outside);
    }
    if network.cluster_local_domain_tls {
        remove_others(draft, CLUSTER_LOCAL_DOMAIN, &inside);
    }
    mark(conditions, (&outside, &inside), enabled, downgrade);
    let mut challenges: Vec<Value> = Vec::new();
    let mut entries = Vec::new();
    for asked in outside.into_iter().chain(inside) {
        challenges.extend(asked.challenges);
        entries.extend(asked.entry);
    }
    challenges.sort_by(|a, b| a["url"].as_str().cmp(&b["url"].as_str()));
    Tls {
        entries,
        challenges,
    }
}

/// The condition says the worst.
fn mark(
    conditions: &mut Conditions,
    (outside, inside): (&[Asked], &[Asked]),
    enabled: bool,
    downgrade: bool,
) {
    let both = || outside.iter().chain(inside);
    if both().next().is_none() {
        let text = match enabled {
            true => "TLS is not enabled for cluster-local",
            false => "external-domain-tls is not enabled",
        };
        return conditions.mark_true_because(CERTIFICATE_PROVISIONED, "TLSNotEnabled", text);
    }
    let foreign = both().find(|asked| matches!(asked.state, State::NotOwned));
    if let Some(Asked { name, .. }) = foreign {
        let text = format!("There is an existing certificate {name} that we don't own.");
        return conditions.mark_false(CERTIFICATE_PROVISIONED, "CertificateNotOwned", &text);
    }
    // A name outside that is served by plain HTTP meanwhile holds nothing up.
    let in_the_way = || {
        let outside = outside.iter().filter(|_| !downgrade);
        outside.chain(inside)
    };
    for asked in in_the_way() {
        if let State::Failed(why) = &asked.state {
            let text = format!("Certificate {} fails to be provisioned: {why}", asked.name);
            let reason = "CertificateProvisionFailed";
            return conditions.mark_false(CERTIFICATE_PROVISIONED, reason, &text);
        }
    }
    let pending = |asked: &&Asked| !matches!(asked.state, State::Ready);
    if let Some(asked) = in_the_way().find(pending) {
        let text = format!("Certificate {} is not ready.", asked.name);
        return conditions.mark_unknown(CERTIFICATE_PROVISIONED, "CertificateNotReady", &text);
    }
    match both().find(pending) {
        Some(Asked { name, .. }) => {
            let text = format!("Certificate {name} is not ready downgrade HTTP.");
            conditions.mark_true_because(CERTIFICATE_PROVISIONED, "HTTPDowngrade", &text);
        }
        None => conditions.mark_true(CERTIFICATE_PROVISIONED),
    }
}

fn ask_outside(
    draft: &mut Draft<'_>,
    (tag, host): (&str, &str),
    domain: &str,
    network: &Network,
) -> Asked {
    let hosts = [host.to_owned()];
    if let Some(asked) = for_all_names(draft, host, domain) {
        return Asked::of(&asked, &hosts);
    }
    let route = draft.name().to_owned();
    let class = tls::class(&draft.object, network).to_owned();
    let wish = Wish {
        name: &certificate_name(&draft.object, tag),
        names: hosts.into(),
        domain,
        owner: (serving::ROUTE, &route),
        kind: EXTERNAL_DOMAIN,
        class: &class,
    };
    tls::ask(draft, &wish)
}

/// The namespace's Certificate for all names of `domain`, if `host` is one of them.
fn for_all_names(draft: &Draft<'_>, host: &str, domain: &str) -> Option<std::sync::Arc<Value>> {
    let (_, rest) = host.split_once('.')?;
    let wildcard = format!("*.{rest}");
    let all = draft
        .world
        .labelled(CERTIFICATE, draft.namespace(), WILDCARD_DOMAIN, domain);
    all.into_iter().find(|certificate| {
        let names = certificate["spec"]["dnsNames"].as_array();
        names.is_some_and(|names| names.iter().any(|name| *name == wildcard))
    })
}

fn ask_inside(draft: &mut Draft<'_>, tag: &str, host: &str, network: &Network) -> Asked {
    let mut names = expanded(host, &draft.cx.cluster_domain);
    names.sort();
    let (route, domain) = (
        draft.name().to_owned(),
        format!("svc.{}", draft.cx.cluster_domain),
    );
    let class = tls::class(&draft.object, network).to_owned();
    let wish = Wish {
        name: &format!("{}-local", certificate_name(&draft.object, tag)),
        names,
        domain: &domain,
        owner: (serving::ROUTE, &route),
        kind: CLUSTER_LOCAL_DOMAIN,
        class: &class,
    };
    tls::ask(draft, &wish)
}

/// Certificates of tags that are no more go.
fn remove_others(draft: &mut Draft<'_>, kind: &str, asked: &[Asked]) {
    let all = draft
        .world
        .labelled(CERTIFICATE, draft.namespace(), serving::ROUTE, draft.name());
    for certificate in all {
        let owner = certificate.controller_owner();
        let owned = owner.is_some_and(|owner| owner["uid"] == *draft.object.uid());
        let wanted = asked.iter().any(|asked| asked.name == certificate.name());
        if owned && !wanted && certificate.label(CERTIFICATE_TYPE) == Some(kind) {
            let (namespace, name) = (draft.namespace(), certificate.name());
            let text = format!("Deleted orphaned Knative Certificate {namespace}/{name}");
            draft.event("Normal", "Deleted", text);
            draft.delete(CERTIFICATE, &certificate);
        }
    }
}

fn certificate_name(route: &Value, tag: &str) -> String {
    match tag {
        "" => format!("route-{}", route.uid()),
        tag => format!("route-{}-{}", route.uid(), adler32(tag.as_bytes())),
    }
}

/// RFC 1950 section 8.2: a digest that leaves room for a UID in 63 characters.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    (b << 16) | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adler32_is_that_of_zlib() {
        assert_eq!(adler32(b""), 1);
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
    }
}
