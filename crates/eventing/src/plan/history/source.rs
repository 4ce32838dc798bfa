//! The sources of 2019 → those of today, one function for all kinds.

use api::conditions::Set;
use api::draft::{Draft, set_or_remove};
use api::world::{Context, Key, Kind, Plan, World};
use history::sources::translate;

use super::keep;

const SET: Set = Set::living(&["SinkProvided", "Deployed"]);

/// Plans one source of `kind`.
pub(crate) fn plan(kind: Kind, cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, kind, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    match translate(&draft.object) {
        Ok((today, want)) => {
            let child = keep(&mut draft, &mut conditions, "Deployed", today, want);
            let status = child
                .map(|child| child["status"].clone())
                .unwrap_or_default();
            for field in ["sinkUri", "ceAttributes"] {
                let value = Some(status[field].clone()).filter(|value| !value.is_null());
                set_or_remove(&mut draft.status, field, value);
            }
            match status["sinkUri"].is_string() {
                true => conditions.mark_true("SinkProvided"),
                false => {
                    let why = "The sink is being looked up.";
                    conditions.mark_unknown("SinkProvided", "Resolving", why);
                }
            }
        }
        Err((reason, why)) => conditions.mark_false("Deployed", reason, &why),
    }
    draft.finish(conditions)
}
