//! PersistentVolumeClaim → Bound: the node gives every claim a directory of its own, so there is
//! nothing to wait for.

use api::object::ObjectExt;
use api::world::{Action, Context, Key, PERSISTENT_VOLUME_CLAIM, Plan, World};
use serde_json::{Value, json};

/// Plans one claim.
pub(crate) fn plan(_: &Context, key: &Key, world: &World) -> Plan {
    let mut plan = Plan::default();
    let claim = world.get(PERSISTENT_VOLUME_CLAIM, &key.namespace, &key.name);
    let Some(claim) = claim.filter(|claim| claim["status"]["phase"] != "Bound") else {
        return plan;
    };
    if claim.is_terminating() {
        return plan;
    }
    let mut object = Value::clone(&claim);
    let spec = &claim["spec"];
    let mut status = json!({"phase": "Bound"});
    for (key, value) in [
        ("accessModes", &spec["accessModes"]),
        ("capacity", &spec["resources"]["requests"]),
    ] {
        if !value.is_null() {
            status[key] = value.clone();
        }
    }
    object["status"] = status;
    plan.actions.push(Action::Status(object));
    plan
}
