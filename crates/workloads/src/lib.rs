//! Kubernetes' own controllers as pure plans, for the shape in which nobody else runs them:
//! Deployments make ReplicaSets, ReplicaSets, StatefulSets, DaemonSets and Jobs make Pods, CronJobs
//! make Jobs, Services get their endpoints.
//!
//! Each planner is one file with one function `plan(context, key, world) -> Plan`; a second plan
//! over the result of the first is empty. Knative's kinds are not known here. Namespaces, owner
//! garbage collection and ServiceAccounts are the API server's own business.

mod claim;
mod condition;
mod cron_job;
mod daemon_set;
mod deployment;
mod endpoints;
mod fit;
pub mod horizontal;
mod job;
mod pods;
mod replica_set;
mod revisions;
mod scheduler;
mod stateful_set;
#[cfg(test)]
mod tests;
mod told;
mod volume_claim;

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
            name: "StatefulSet",
            root: kinds::STATEFUL_SET,
            watches: &[
                kinds::POD,
                kinds::NODE,
                kinds::CONTROLLER_REVISION,
                kinds::PERSISTENT_VOLUME_CLAIM,
            ],
            is_urgent: false,
            plan: stateful_set::plan,
        },
        Planner {
            name: "DaemonSet",
            root: kinds::DAEMON_SET,
            watches: &[kinds::POD, kinds::NODE, kinds::CONTROLLER_REVISION],
            is_urgent: false,
            plan: daemon_set::plan,
        },
        Planner {
            name: "CronJob",
            root: kinds::CRON_JOB,
            watches: &[kinds::JOB],
            is_urgent: false,
            plan: cron_job::plan,
        },
        Planner {
            name: "PersistentVolumeClaim",
            root: kinds::PERSISTENT_VOLUME_CLAIM,
            watches: &[],
            is_urgent: false,
            plan: volume_claim::plan,
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
