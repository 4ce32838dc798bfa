//! What the broker says it cannot do, in the conditions that promise it: a log that cannot be opened
//! or written, a source that does not run, an addressable that does not answer.

use api::conditions::Conditions;
use api::draft::Draft;
use api::world::{Fact, Kind};

/// The reason of a condition that is false for the data plane's sake.
const REASON: &str = "DataPlaneUnavailable";

/// Marks conditions that are true unless the broker has trouble with the object; gives its words.
pub(super) fn mark(
    draft: &Draft<'_>,
    conditions: &mut Conditions,
    kind: Kind,
    names: &[&str],
) -> Option<String> {
    mark_by(draft, conditions, (kind, draft.name()), names)
}

/// The same where another object of the namespace is what is served.
pub(super) fn mark_by(
    draft: &Draft<'_>,
    conditions: &mut Conditions,
    (kind, name): (Kind, &str),
    names: &[&str],
) -> Option<String> {
    let why = of(draft, kind, name);
    for condition in names {
        match &why {
            Some(why) => conditions.mark_false(condition, REASON, why),
            None => conditions.mark_true(condition),
        }
    }
    why
}

/// Marks a condition false if the broker has trouble; otherwise it stays as it is.
pub(super) fn note(draft: &Draft<'_>, conditions: &mut Conditions, kind: Kind, condition: &str) {
    if let Some(why) = of(draft, kind, draft.name()) {
        conditions.mark_false(condition, REASON, &why);
    }
}

fn of(draft: &Draft<'_>, kind: Kind, name: &str) -> Option<String> {
    let found = draft.world.fact(&Fact::Trouble {
        kind,
        namespace: draft.namespace().to_owned(),
        name: name.to_owned(),
    });
    found?["message"].as_str().map(str::to_owned)
}
