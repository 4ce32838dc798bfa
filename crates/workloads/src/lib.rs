//! Kubernetes' own controllers as pure plans, for the shape in which nobody else runs them:
//! Deployments make ReplicaSets, ReplicaSets make Pods, Services get their endpoints.
//!
//! Each planner is one file with one function `plan(context, key, world) -> Plan`; a second plan
//! over the result of the first is empty. Knative's kinds are not known here. Namespaces, owner
//! garbage collection and ServiceAccounts are the API server's own business.

mod condition;
mod deployment;
mod endpoints;
mod fit;
pub mod horizontal;
mod job;
mod pods;
mod replica_set;
mod scheduler;
#[cfg(test)]
mod tests;

use api::world::{self as kinds, Planner};

/// All planners, for the driver to register.
pub fn planners() -> Vec<Planner> {
    vec![
        Planner {
            name: "Deployment",
            root: kinds::DEPLOYMENT,
            watches: &[kinds::REPLICA_SET, kinds::POD],
            is_urgent: true,
            plan: deployment::plan,
        },
        Planner {
            name: "ReplicaSet",
            root: kinds::REPLICA_SET,
            watches: &[kinds::POD, kinds::NODE],
            is_urgent: true,
            plan: replica_set::plan,
        },
        Planner {
            name: "Job",
            root: kinds::JOB,
            watches: &[kinds::POD, kinds::NODE],
            is_urgent: false,
            plan: job::plan,
        },
        Planner {
            name: "Endpoints",
            root: kinds::SERVICE,
            watches: &[kinds::POD, kinds::ENDPOINTS, kinds::ENDPOINT_SLICE],
            is_urgent: false,
            plan: endpoints::plan,
        },
        Planner {
            name: "Scheduler",
            root: kinds::POD,
            watches: &[kinds::NODE],
            is_urgent: true,
            plan: scheduler::plan,
        },
    ]
}
