//! Which events a subscriber wants: the filters of Triggers, EventPolicies and ApiServerSources.
//!
//! [`Filter::of_trigger`] and [`Filter::compile`] are called by the broker when a subscriber
//! changes; [`Filter::matches`] for every event, [`Index::matching`] for every event and all
//! subscribers of one broker at once. Admission's own checks of the names and dialects are with the
//! kinds; what does not compile here says so in the subscriber's status.

mod compile;
mod index;

pub use compile::FilterError;
pub use index::Index;

use std::borrow::Cow;

use crate::cesql::Expression;
use crate::display::utc;
use crate::event::{Event, Value};

/// A compiled filter; the one of [`Filter::default`] lets everything pass.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    root: Option<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    /// One attribute against one text.
    Attribute {
        name: String,
        how: How,
        text: String,
    },
    Cesql(Box<Expression>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    /// The attribute is there and not empty.
    Exists,
    Exact,
    Prefix,
    Suffix,
}

impl Filter {
    /// Whether the event passes.
    pub fn matches(&self, event: &Event) -> bool {
        self.root.as_ref().is_none_or(|root| root.matches(event))
    }

    /// Whether every event passes.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }
}

impl Node {
    fn matches(&self, event: &Event) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.matches(event)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(event)),
            Self::Not(node) => !node.matches(event),
            Self::Attribute { name, how, text } => {
                lookup(event, name).is_some_and(|value| how.holds(&value, text))
            }
            Self::Cesql(expression) => expression.matches(event),
        }
    }
}

impl How {
    fn holds(self, value: &str, text: &str) -> bool {
        match self {
            Self::Exists => !value.is_empty(),
            Self::Exact => value == text,
            Self::Prefix => value.starts_with(text),
            Self::Suffix => value.ends_with(text),
        }
    }
}

/// An attribute by the names Knative's filters know, as text. Times are in UTC.
fn lookup<'e>(event: &'e Event, name: &str) -> Option<Cow<'e, str>> {
    match name {
        "specversion" => Some(Cow::Borrowed(event.version().as_str())),
        "time" => event.time().map(|time| Cow::Owned(utc(time))),
        "dataschema" | "schemaurl" => match event.data_schema() {
            Some(schema) => Some(Cow::Borrowed(schema)),
            None => event.get(name).map(Value::as_text),
        },
        "datamediatype" => {
            let content_type = event.data_content_type()?;
            Some(Cow::Borrowed(content_type.split(';').next()?.trim()))
        }
        _ => event.get(name).map(Value::as_text),
    }
}
