//! `config-domain`: under which domain a Route appears. The rules of Knative's
//! `pkg/reconciler/route/config/domain.go`.

use std::collections::BTreeMap;

use super::data::{Data, Error, Selector, most_specific};
use super::webhook::EXAMPLE_KEY;

/// The label that keeps a Route inside the cluster.
pub const VISIBILITY_LABEL: &str = "networking.knative.dev/visibility";
/// Its value.
pub const CLUSTER_LOCAL: &str = "cluster-local";
/// The domain inside the cluster, and the default one when no other is configured.
pub const LOCAL_DOMAIN: &str = "svc.cluster.local";

/// Domains and the labels of the Routes they are for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain {
    /// Selector by domain.
    pub domains: BTreeMap<String, Selector>,
}

impl Default for Domain {
    fn default() -> Self {
        Self {
            domains: BTreeMap::from([(LOCAL_DOMAIN.to_owned(), Selector::default())]),
        }
    }
}

impl Domain {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-domain";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// A selector that is no YAML map of strings.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut domains = BTreeMap::new();
        for (domain, yaml) in data.iter().filter(|(key, _)| *key != EXAMPLE_KEY) {
            let selector = Selector::parse(yaml).map_err(Error)?;
            domains.insert(domain.clone(), selector);
        }
        if domains
            .values()
            .all(|selector| !selector.selector.is_empty())
        {
            domains.insert(LOCAL_DOMAIN.to_owned(), Selector::default());
        }
        Ok(Self { domains })
    }

    /// The domain of a Route with `labels`.
    pub fn lookup(&self, labels: &BTreeMap<String, String>) -> &str {
        if labels.get(VISIBILITY_LABEL).map(String::as_str) == Some(CLUSTER_LOCAL) {
            return LOCAL_DOMAIN;
        }
        most_specific(&self.domains, labels).unwrap_or(LOCAL_DOMAIN)
    }
}
