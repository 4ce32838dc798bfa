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
//! gateway; labeler and gc keep the Revisions' books.

pub mod backend;
mod child;
mod config;
pub mod configuration;
mod draft;
pub mod ingress;
pub mod revision;
pub mod route;
pub mod serverless_service;
pub mod service;

use std::collections::BTreeSet;

use api::world::{self as kinds, Context, Planner};

/// All planners of Knative Serving.
pub fn planners() -> Vec<Planner> {
    vec![
        Planner {
            name: "Service",
            root: kinds::KNATIVE_SERVICE,
            watches: &[kinds::CONFIGURATION, kinds::ROUTE, kinds::REVISION],
            plan: service::plan,
        },
        Planner {
            name: "Configuration",
            root: kinds::CONFIGURATION,
            watches: &[kinds::REVISION],
            plan: configuration::plan,
        },
        Planner {
            name: "Revision",
            root: kinds::REVISION,
            watches: &[
                kinds::DEPLOYMENT,
                kinds::POD,
                kinds::POD_AUTOSCALER,
                kinds::IMAGE,
                kinds::CONFIG_MAP,
            ],
            plan: revision::plan,
        },
        Planner {
            name: "Route",
            root: kinds::ROUTE,
            watches: &[
                kinds::CONFIGURATION,
                kinds::REVISION,
                kinds::INGRESS,
                kinds::SERVICE,
                kinds::CONFIG_MAP,
            ],
            plan: route::plan,
        },
        Planner {
            name: "Ingress",
            root: kinds::INGRESS,
            watches: &[kinds::CONFIG_MAP],
            plan: ingress::plan,
        },
        Planner {
            name: "ServerlessService",
            root: kinds::SERVERLESS_SERVICE,
            watches: &[kinds::SERVICE, kinds::ENDPOINTS, kinds::ENDPOINT_SLICE],
            plan: serverless_service::plan,
        },
        Planner {
            name: "Backend",
            root: kinds::REVISION,
            watches: &[kinds::POD, kinds::SERVERLESS_SERVICE],
            plan: backend::plan,
        },
    ]
}

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
