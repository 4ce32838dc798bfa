//! The ConfigMaps Knative is configured with, parsed into types: defaults, legacy names, exact
//! error texts. Read by the controllers, the autoscaler and admission.
//!
//! Each has the same shape: `NAME`, `Default` (what an empty ConfigMap means) and `parse`.
//! [`validate`] is the rule of `config.webhook.serving.knative.dev`, [`stock`] what a fresh
//! installation holds.

pub mod autoscaler;
pub mod certificates;
mod data;
pub mod defaults;
pub mod deployment;
pub mod domain;
pub mod eventing;
pub mod features;
pub mod gc;
pub mod leader_election;
pub mod logging;
pub mod network;
pub mod observability;
pub mod stock;
mod webhook;

pub use autoscaler::Autoscaler;
pub use certificates::Certificates;
pub use data::{Data, Error, Selector};
pub use defaults::Defaults;
pub use deployment::Deployment;
pub use domain::Domain;
pub use eventing::Eventing;
pub use features::{Features, Flag};
pub use gc::Gc;
pub use leader_election::LeaderElection;
pub use logging::Logging;
pub use network::Network;
pub use observability::Observability;
pub use webhook::{checksum, validate};

use serde_json::Value;

/// The namespace of the system's own objects.
pub const SYSTEM_NAMESPACE: &str = "knative-serving";
/// The DNS domain of the cluster's Services.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// The ConfigMap objects of a fresh installation, of all namespaces.
pub fn stock() -> Vec<Value> {
    let mut all = stock::stock();
    all.extend(eventing::stock());
    all
}

/// All of them, for those who need more than one.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Configs {
    /// `config-autoscaler`.
    pub autoscaler: Autoscaler,
    /// `config-defaults`.
    pub defaults: Defaults,
    /// `config-deployment`.
    pub deployment: Deployment,
    /// `config-domain`.
    pub domain: Domain,
    /// `config-features`.
    pub features: Features,
    /// `config-gc`.
    pub gc: Gc,
    /// `config-network`.
    pub network: Network,
    /// `config-observability`.
    pub observability: Observability,
    /// Those of Knative Eventing, which live in a namespace of their own.
    pub eventing: Eventing,
}

impl Configs {
    /// Takes over ConfigMap `name` of [`SYSTEM_NAMESPACE`] with `data`; one of another name is ignored. After an error
    /// the former settings stay.
    ///
    /// # Errors
    /// What [`validate`] says of it.
    pub fn apply(&mut self, name: &str, data: &Data) -> Result<(), Error> {
        match name {
            Autoscaler::NAME => self.autoscaler = Autoscaler::parse(data)?,
            Defaults::NAME => self.defaults = Defaults::parse(data)?,
            Deployment::NAME => self.deployment = Deployment::parse(data)?,
            Domain::NAME => self.domain = Domain::parse(data)?,
            Features::NAME => self.features = Features::parse(data)?,
            Gc::NAME => self.gc = Gc::parse(data)?,
            Network::NAME => self.network = Network::parse(data)?,
            Observability::NAME => self.observability = Observability::parse(data)?,
            _ => {}
        }
        Ok(())
    }
}

/// The `data` of a ConfigMap object.
pub fn data_of(config_map: &Value) -> Data {
    let entries = config_map["data"].as_object().into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests;
