//! The host names of a Route and of its tags, and who may use them.

use std::collections::{BTreeMap, BTreeSet};

use api::config::Network;
use api::config::domain::{CLUSTER_LOCAL, Domain, LOCAL_DOMAIN, VISIBILITY_LABEL};
use api::object::ObjectExt;
use api::serving;
use api::world::{Context, SERVICE};

use crate::plan::config::load;
use crate::plan::tls;
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
    /// The scheme outside.
    scheme: String,
    /// Whether it is asked by TLS inside.
    is_secure_inside: bool,
}

/// The names of all groups of targets, by tag; the empty tag is the Route itself.
#[derive(Debug)]
pub(super) struct Domains {
    by_tag: BTreeMap<String, Names>,
    suffix: String,
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
                scheme: network.default_external_scheme.clone(),
                is_secure_inside: false,
            };
            by_tag.insert(tag.to_owned(), names);
        }
        Ok(Self {
            by_tag,
            suffix: suffix.to_owned(),
        })
    }

    /// The tags, the empty one among them.
    pub(super) fn tags(&self) -> impl Iterator<Item = &str> {
        self.by_tag.keys().map(String::as_str)
    }

    /// The domain all names outside are of.
    pub(super) fn suffix(&self) -> &str {
        &self.suffix
    }

    /// Whether the world asks for `tag` by TLS.
    pub(super) fn set_secure(&mut self, tag: &str, is_secure: bool) {
        if let Some(names) = self.by_tag.get_mut(tag) {
            let scheme = if is_secure { "https" } else { "http" };
            scheme.clone_into(&mut names.scheme);
        }
    }

    /// From now on the cluster asks for `tag` by TLS.
    pub(super) fn set_secure_inside(&mut self, tag: &str) {
        if let Some(names) = self.by_tag.get_mut(tag) {
            names.is_secure_inside = true;
        }
    }

    /// The URL inside the cluster.
    pub(super) fn local_url(&self, tag: &str) -> String {
        let secure = self.by_tag.get(tag).is_some_and(|n| n.is_secure_inside);
        let scheme = if secure { "https" } else { "http" };
        format!("{scheme}://{}", self.local(tag))
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
        let names = self.by_tag.get(tag);
        match names.and_then(|names| Some((&names.scheme, names.external.as_ref()?))) {
            Some((scheme, host)) => tls::url(cx, scheme, host),
            None => self.local_url(tag),
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
