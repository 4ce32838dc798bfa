//! Filters of subscribers and policies, compiled: `cloudevents` does the work. What does not
//! compile matches nothing; admission and plans have told the user before.

use cloudevents::{Event, Index as ByMatch};
use serde_json::Value;
use tracing::warn;

/// The key of the older form of a Trigger's filter in [`api::delivery::Subscriber::filters`].
const OLDER: &str = "attributes";

/// One list of filters, all of which an event must pass.
pub(crate) struct Filter(Option<cloudevents::Filter>);

impl Filter {
    /// Compiles `filters`; an empty list passes everything.
    pub(crate) fn new(filters: &[Value]) -> Self {
        Self(compile(filters))
    }

    /// Whether `event` passes.
    pub(crate) fn passes(&self, event: &Event) -> bool {
        self.0.as_ref().is_some_and(|filter| filter.matches(event))
    }
}

fn compile(filters: &[Value]) -> Option<cloudevents::Filter> {
    let compiled = match filters {
        [Value::Object(only)] if only.contains_key(OLDER) => {
            cloudevents::Filter::attributes(&only[OLDER])
        }
        _ => cloudevents::Filter::compile(filters),
    };
    compiled
        .inspect_err(|error| warn!(%error, "a filter does not compile and matches nothing"))
        .ok()
}

/// The filters of many, asked at once.
pub(crate) struct Index(ByMatch<usize>);

impl Index {
    /// Of lists of filters; each is known by its place.
    pub(crate) fn new<'a>(lists: impl Iterator<Item = &'a [Value]>) -> Self {
        let mut index = ByMatch::default();
        for (place, filters) in lists.enumerate() {
            if let Some(filter) = compile(filters) {
                index.add(place, filter);
            }
        }
        Self(index)
    }

    /// The places of those that `event` passes.
    pub(crate) fn matching(&self, event: &Event) -> impl Iterator<Item = usize> {
        self.0.matching(event).into_iter().copied()
    }
}
