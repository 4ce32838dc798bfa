//! Which objects a list or watch wants: label and field selectors.

mod field;
mod label;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub(crate) use field::FieldSelector;
pub(crate) use label::LabelSelector;

use crate::meta;
use crate::store::Entry;

/// A label and a field selector together.
#[derive(Clone, Default, Debug)]
pub(crate) struct Filter {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Filter {
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether a stored object is wanted. Reads as little of it as it can.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        if !self.fields.matches_path(entry.namespace(), entry.name()) {
            return false;
        }
        if !self.labels.is_empty() && !self.labels.matches(&meta::labels_of(&entry.bytes())) {
            return false;
        }
        !self.fields.needs_object()
            || serde_json::from_slice(&entry.bytes())
                .is_ok_and(|object: Value| self.fields.matches_object(&object))
    }
}
