//! EventType → whether what it refers to exists.

use api::conditions::Set;
use api::draft::Draft;
use api::world::{Context, EVENT_TYPE, Key, Plan, World};

use super::resolve::{Found, find};

const SET: Set = Set::living(&["ReferenceExists"]);

/// Plans one EventType.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, EVENT_TYPE, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let reference = draft.object["spec"]["reference"].clone();
    if !reference.is_object() {
        conditions.mark_true_because("ReferenceExists", "ReferenceNotSet", "");
        return draft.finish(conditions);
    }
    match find(&mut draft, &reference) {
        Found::Object(_) => conditions.mark_true("ReferenceExists"),
        Found::Pending => conditions.mark_unknown(
            "ReferenceExists",
            "Resolving",
            "The reference is being looked up.",
        ),
        Found::Missing(why) => {
            conditions.mark_false("ReferenceExists", "ReferenceDoesNotExist", &why);
        }
    }
    draft.finish(conditions)
}
