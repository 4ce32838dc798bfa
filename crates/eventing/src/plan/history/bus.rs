//! Bus and ClusterBus: nothing to make. The dispatcher of every channel is this process, and what
//! it takes is in the durable log; the status says so.

use api::conditions::Set;
use api::draft::Draft;
use api::world::{BUS, CLUSTER_BUS, Context, Key, Kind, Plan, World};

const SET: Set = Set::living(&["Serviceable", "Provisioning", "Dispatching"]);

/// Plans one Bus.
pub(crate) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    plan_either(cx, key, world, BUS)
}

/// Plans one ClusterBus.
pub(crate) fn plan_cluster(cx: &Context, key: &Key, world: &World) -> Plan {
    plan_either(cx, key, world, CLUSTER_BUS)
}

fn plan_either(cx: &Context, key: &Key, world: &World, kind: Kind) -> Plan {
    let Some(draft) = Draft::of(cx, world, kind, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    for condition in SET.dependents {
        let why = "Channels of this bus are kept in the durable log of this installation; \
                   the containers of the spec are not run.";
        conditions.mark_true_because(condition, "BuiltIn", why);
    }
    draft.finish(conditions)
}
