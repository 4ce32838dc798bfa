//! The kinds of 2018 as plans: each keeps the objects of today that it stands for (what they are
//! is `history`'s to say) and shows their state in the conditions of its time.
//!
//! Flow → Channel, Subscription and Feed of the same groups and name; Channel and Subscription →
//! those of `messaging.knative.dev`; Feed → a source. A Bus is nothing to make. The sources of 2019 are
//! kept in the same way, and (`moved`) what is in another group since then.

pub(super) mod bus;
pub(super) mod channel;
pub(super) mod feed;
pub(super) mod flow;
pub(super) mod moved;
pub(super) mod source;
pub(super) mod subscription;

use std::sync::Arc;

use api::conditions::{self, Conditions};
use api::draft::{Agree, Child, Draft, controller_reference, not_owned};
use api::object::ObjectExt;
use api::world::Kind;
use serde_json::Value;

/// Sees to the child `want`; marks `condition` by what the child says of itself. Answers the child
/// when it is there.
fn keep(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    condition: &str,
    kind: Kind,
    want: Value,
) -> Option<Arc<Value>> {
    let name = want.name().to_owned();
    match draft.ensure(kind, owned(draft, want), Agree::AtLeast) {
        Child::Have(child) => {
            match conditions::get(&child, "Ready") {
                Some(ready) => conditions.mirror(condition, &ready),
                None => wait(conditions, condition, kind, &name),
            }
            Some(child)
        }
        Child::Created => {
            wait(conditions, condition, kind, &name);
            None
        }
        Child::Foreign => {
            let kind = format!("{} ({})", kind.kind, kind.group);
            conditions.mark_false(condition, "NotOwned", &not_owned(&kind, &name));
            None
        }
    }
}

fn wait(conditions: &mut Conditions, condition: &str, kind: Kind, name: &str) {
    let why = format!("{} {name:?} has not said yet how it is.", kind.kind);
    conditions.mark_unknown(condition, "Pending", &why);
}

/// `want` as a child of the draft's object.
fn owned(draft: &Draft<'_>, mut want: Value) -> Value {
    want["metadata"]["namespace"] = draft.namespace().into();
    want["metadata"]["ownerReferences"] = vec![controller_reference(&draft.object)].into();
    want
}
