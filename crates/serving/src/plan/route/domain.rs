//! The host names of a Route and of its tags, and who may use them.

use std::collections::{BTreeMap, BTreeSet};

use api::config::Network;
use api::config::domain::{CLUSTER_LOCAL, Domain, LOCAL_DOMAIN, VISIBILITY_LABEL};
use api::object::ObjectExt;
use api::serving;
use api::world::{Context, SERVICE};

use crate::plan::config::load;
use api::draft::Draft;

/// The names of one group of targets.
#[derive(Debug)]
struct Names {
    /// The name of the placeholder Service.
    service: String,
    /// The host inside the cluster.
    local: String,
    /// The host outside; `None` keeps it inside.
    external: Option<String>,
}

/// The names of all groups of targets, by tag; the empty tag is the Route itself.
#[derive(Debug)]
pub(super) struct Domains {
    by_tag: BTreeMap<String, Names>,
    scheme: String,
}

impl Domains {
    /// Works the names out. An error says which template does not fit.
    pub(super) fn of(draft: &Draft<'_>, tags: &BTreeSet<&str>) -> Result<Self, String> {
        let network = load(draft.cx, draft.world, Network::NAME, Network::parse);
        let domain = load(draft.cx, draft.world, Domain::NAME, Domain::parse);
        let labels: BTreeMap<String, String> = draft
            .object
            .labels()
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        let suffix = domain.lookup(&labels);
        let inside = suffix == LOCAL_DOMAIN;
        let hidden = hidden_services(draft);
        let (namespace, route) = (draft.namespace(), draft.name());
        let mut by_tag = BTreeMap::new();
        // The Route itself has a name even when all its traffic is tagged.
        for tag in tags.iter().copied().chain([""]) {
            let service = if tag.is_empty() {
                route.to_owned()
            } else {
                network.tag_host(route, tag)?
            };
            let local = format!("{service}.{namespace}.svc.{}", draft.cx.cluster_domain);
            let external = if inside || hidden.contains(&service) {
                None
            } else {
                let metadata = &draft.object["metadata"];
                Some(network.host((namespace, &service), suffix, metadata)?)
            };
            let names = Names {
                service,
                local,
                external,
            };
            by_tag.insert(tag.to_owned(), names);
        }
        Ok(Self {
            by_tag,
            scheme: network.default_external_scheme,
        })
    }

    /// The host inside the cluster.
    pub(super) fn local(&self, tag: &str) -> &str {
        self.by_tag.get(tag).map_or("", |names| &names.local)
    }

    /// The host outside the cluster, if there is one.
    pub(super) fn external(&self, tag: &str) -> Option<&str> {
        self.by_tag.get(tag)?.external.as_deref()
    }

    /// The names of the placeholder Services, and the hosts they stand for.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.by_tag.values().map(|names| names.service.as_str())
    }

    /// The URL people use: with the port when it is not the one of the scheme.
    pub(super) fn url(&self, cx: &Context, tag: &str) -> String {
        let Some(host) = self.external(tag) else {
            return format!("http://{}", self.local(tag));
        };
        let scheme = &self.scheme;
        let (port, usual) = match scheme.as_str() {
            "https" => (cx.https_port, 443),
            _ => (cx.http_port, 80),
        };
        if port == usual {
            format!("{scheme}://{host}")
        } else {
            format!("{scheme}://{host}:{port}")
        }
    }
}

/// Placeholder Services that somebody has labelled to be kept inside.
fn hidden_services(draft: &Draft<'_>) -> BTreeSet<String> {
    draft
        .world
        .labelled(SERVICE, draft.namespace(), serving::ROUTE, draft.name())
        .iter()
        .filter(|service| service.label(VISIBILITY_LABEL) == Some(CLUSTER_LOCAL))
        .map(|service| service.name().to_owned())
        .collect()
}
