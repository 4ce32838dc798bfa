//! What the driver needs to know of a planner, and what a planner is told besides the World.

use super::{Kind, Plan, World};

/// The object a plan is about. Planners of a cluster-scoped kind see an empty namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The namespace of the root object.
    pub namespace: String,
    /// The name of the root object.
    pub name: String,
}

impl Key {
    /// The key of object `name` in `namespace`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// What holds for every plan of this process and is not an object.
#[derive(Clone, PartialEq, Debug)]
pub struct Context {
    /// Different for every planning in production, fixed in tests: the source of generated name
    /// suffixes (`stdx::Rng::new(context.seed)`).
    pub seed: u64,
    /// There is exactly one node, so whoever creates a Pod may bind it in the same write. Off
    /// where somebody else schedules.
    pub binds_pods: bool,
    /// Where Knative's own ConfigMaps live.
    pub system_namespace: String,
    /// The DNS suffix of Services, `cluster.local` as a rule.
    pub cluster_domain: String,
    /// The port of plain HTTP as users reach it; part of URLs unless it is 80.
    pub http_port: u16,
    /// The port of HTTPS as users reach it; part of URLs unless it is 443.
    pub https_port: u16,
    /// Where Pods reach the gateway (activator): `IP:port` pairs.
    pub gateway_addresses: Vec<std::net::SocketAddr>,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            seed: 0,
            binds_pods: false,
            system_namespace: "knative-serving".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            http_port: 80,
            https_port: 443,
            gateway_addresses: Vec::new(),
        }
    }
}

/// One reconciler: a pure function for the objects of one kind.
///
/// The driver calls `plan` when the root object appears, changes or goes (then the World no
/// longer has it), and whenever the answer to a question the last planning asked may have
/// changed. It performs the actions in order.
///
/// [`super::Action::Route`] is level-triggered: every planning states all its key wants the
/// gateway to know. The driver passes on only what differs from the last time, and takes back
/// what is no longer stated, so that a plan for an object that is gone states nothing.
#[derive(Clone, Copy, Debug)]
pub struct Planner {
    /// For metrics and logs, CamelCase as Knative names its reconcilers, unique in a process.
    pub name: &'static str,
    /// The kind whose objects are the keys.
    pub root: Kind,
    /// The other kinds the plan reads.
    pub watches: &'static [Kind],
    /// Whether a request may be waiting for what it decides: its keys are planned before others.
    pub is_urgent: bool,
    /// Pure, total, quick: the same World gives the same Plan.
    pub plan: fn(&Context, &Key, &World) -> Plan,
}
