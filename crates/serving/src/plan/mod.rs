//! What to make of what the user wrote: the reconcilers of Knative Serving as pure plans.
//!
//! Each planner is one file with one function of the same shape, `plan(cx, key, world) -> Plan`,
//! where the key names an object of its root kind. It states what should
//! differ from the world it sees; a second plan over the result of the first writes nothing. The
//! driver in `controller` runs them and performs the actions; nothing here waits or retries.
//!
//! The way of one Service through these files: [`service`] makes a Configuration and a Route;
//! [`configuration`] a Revision; [`revision`] a Deployment and a PodAutoscaler; autoscaler a
//! ServerlessService and the scale; serverless_service the Services and their endpoints;
//! route the Ingress and the placeholder Services; ingress and backend tell the
//! gateway; labeler and gc keep the Revisions' books; certificate, namespace_certificate and
//! internal_tls see to what TLS needs.

pub mod autoscaler;
pub mod backend;
mod build;

pub mod certificate;
mod config;
pub mod configuration;
pub mod domain_mapping;

pub mod gc;
pub mod ingress;
pub mod internal_tls;
pub mod kubernetes_ingress;
pub mod labeler;
pub mod namespace_certificate;
pub mod revision;
pub mod route;
pub mod serverless_service;
pub mod service;
mod tls;

use std::collections::BTreeSet;

use api::world::{self as kinds, Context, Key, Kind, Plan, Planner, World};

/// All planners of Knative Serving, for the driver to register.
pub fn planners() -> Vec<Planner> {
    rows(|_| true)
}

/// Those that tell the gateway what it must know; they run where it runs.
pub fn gateway_planners() -> Vec<Planner> {
    rows(|name| GATEWAY.contains(&name))
}

/// Those that run where the gateway does not.
pub fn controller_planners() -> Vec<Planner> {
    rows(|name| !GATEWAY.contains(&name))
}

fn rows(wanted: impl Fn(&str) -> bool) -> Vec<Planner> {
    TABLE
        .iter()
        .filter(|(name, ..)| wanted(name))
        .map(|&(name, root, watches, plan)| Planner {
            name,
            root,
            watches,
            is_urgent: URGENT.contains(&name),
            plan,
        })
        .collect()
}

/// What lies between a request that waits for a Pod and the Pod.
const URGENT: [&str; 3] = ["PodAutoscaler", "Backend", "Ingress"];

/// What only the process of the gateway can do: its routes come from nowhere else, so that it goes
/// on by itself when the controllers, in another process, are gone.
const GATEWAY: [&str; 4] = ["Backend", "Ingress", "InternalTrust", "KubernetesIngress"];

/// Name, root kind, the other kinds the plan reads, the plan.
type Row = (
    &'static str,
    Kind,
    &'static [Kind],
    fn(&Context, &Key, &World) -> Plan,
);

const TABLE: &[Row] = &[
    (
        "DomainMapping",
        kinds::DOMAIN_MAPPING,
        &[
            kinds::CLUSTER_DOMAIN_CLAIM,
            kinds::KNATIVE_SERVICE,
            kinds::ROUTE,
            kinds::SERVICE,
            kinds::INGRESS,
            kinds::CERTIFICATE,
            kinds::CONFIG_MAP,
        ],
        domain_mapping::plan,
    ),
    (
        "Certificate",
        kinds::CERTIFICATE,
        &[kinds::SECRET, kinds::INGRESS, kinds::CONFIG_MAP],
        certificate::plan,
    ),
    (
        "NamespaceCertificate",
        kinds::NAMESPACE,
        &[kinds::CERTIFICATE, kinds::CONFIG_MAP],
        namespace_certificate::plan,
    ),
    (
        "InternalTls",
        kinds::CONFIG_MAP,
        &[kinds::CERTIFICATE, kinds::NAMESPACE],
        internal_tls::plan,
    ),
    (
        "InternalTrust",
        kinds::CONFIG_MAP,
        &[kinds::SECRET],
        internal_tls::plan_gateway,
    ),
    (
        "Labeler",
        kinds::ROUTE,
        &[kinds::REVISION, kinds::CONFIGURATION],
        labeler::plan,
    ),
    (
        "RevisionLabeler",
        kinds::REVISION,
        &[kinds::ROUTE, kinds::INGRESS, kinds::CONFIGURATION],
        labeler::plan_revision,
    ),
    (
        "ConfigurationLabeler",
        kinds::CONFIGURATION,
        &[kinds::ROUTE, kinds::REVISION],
        labeler::plan_configuration,
    ),
    (
        "GarbageCollector",
        kinds::CONFIGURATION,
        &[kinds::REVISION, kinds::CONFIG_MAP],
        gc::plan,
    ),
    (
        "Service",
        kinds::KNATIVE_SERVICE,
        &[kinds::CONFIGURATION, kinds::ROUTE, kinds::REVISION],
        service::plan,
    ),
    (
        "Configuration",
        kinds::CONFIGURATION,
        &[kinds::REVISION, kinds::BUILD],
        configuration::plan,
    ),
    (
        "Revision",
        kinds::REVISION,
        &[
            kinds::DEPLOYMENT,
            kinds::POD,
            kinds::POD_AUTOSCALER,
            kinds::IMAGE,
            kinds::CONFIG_MAP,
            kinds::BUILD,
            kinds::CERTIFICATE,
            kinds::NAMESPACE,
        ],
        revision::plan,
    ),
    (
        "Route",
        kinds::ROUTE,
        &[
            kinds::CONFIGURATION,
            kinds::REVISION,
            kinds::INGRESS,
            kinds::SERVICE,
            kinds::CERTIFICATE,
            kinds::CONFIG_MAP,
        ],
        route::plan,
    ),
    (
        "Ingress",
        kinds::INGRESS,
        &[
            kinds::SERVICE,
            kinds::ENDPOINT_SLICE,
            kinds::SECRET,
            kinds::CONFIG_MAP,
        ],
        ingress::plan,
    ),
    (
        "KubernetesIngress",
        kinds::KUBERNETES_INGRESS_CLASS,
        &[
            kinds::KUBERNETES_INGRESS,
            kinds::SERVICE,
            kinds::ENDPOINT_SLICE,
            kinds::SECRET,
        ],
        kubernetes_ingress::plan,
    ),
    (
        "ServerlessService",
        kinds::SERVERLESS_SERVICE,
        &[kinds::SERVICE, kinds::ENDPOINTS, kinds::ENDPOINT_SLICE],
        serverless_service::plan,
    ),
    (
        "PodAutoscaler",
        kinds::POD_AUTOSCALER,
        &[
            kinds::SERVERLESS_SERVICE,
            kinds::METRIC,
            kinds::DEPLOYMENT,
            kinds::POD,
            kinds::HPA,
            kinds::CONFIG_MAP,
        ],
        autoscaler::plan,
    ),
    ("Metric", kinds::METRIC, &[], autoscaler::plan_metric),
    (
        "Backend",
        kinds::REVISION,
        &[kinds::POD, kinds::SERVERLESS_SERVICE],
        backend::plan,
    ),
];

/// Adds a name to a comma-separated list, which is kept sorted.
fn with_name(list: &str, name: &str) -> String {
    let names: BTreeSet<&str> = list
        .split(',')
        .chain([name])
        .filter(|n| !n.is_empty())
        .collect();
    names.into_iter().collect::<Vec<_>>().join(",")
}

/// The gateway as Pods see it: what placeholder Services of Routes are names for.
fn local_gateway(cx: &Context) -> String {
    format!(
        "knative-local-gateway.istio-system.svc.{}",
        cx.cluster_domain
    )
}

/// The gateway as the outside sees it.
fn public_gateway(cx: &Context) -> String {
    format!(
        "istio-ingressgateway.istio-system.svc.{}",
        cx.cluster_domain
    )
}

#[cfg(test)]
mod tests;
