//! Where in an object something is: the steps of structured-merge-diff's field paths.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use crate::field::go_quote;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    /// A field of a struct or key of a map.
    Field(Box<str>),
    /// An element of a keyed list: the JSON object of its keys, sorted.
    Key(Box<str>),
    /// An element of a set: its JSON.
    Value(Box<str>),
    /// An element of a list that has no identity.
    Index(i64),
}

impl Element {
    pub(crate) fn key(keys: &BTreeMap<&str, &Value>) -> Self {
        Self::Key(serialized(keys).into())
    }

    pub(crate) fn value(value: &Value) -> Self {
        Self::Value(value.to_string().into())
    }

    /// The step's name in FieldsV1: `f:name`, `k:{"name":"a"}`, `v:"x"`, `i:3`.
    pub(crate) fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// The step of that name; `None` for names of no kind known.
    pub(crate) fn decode(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest.into())),
            "k" => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Self::Key(serialized(&keys).into()))
            }
            "v" => Some(Self::value(&serde_json::from_str(rest).ok()?)),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }
}

/// Maps with string keys always serialize.
fn serialized<T: serde::Serialize>(keys: &T) -> String {
    serde_json::to_string(keys).unwrap_or_default()
}

/// `.name`, `[name="a",port=80]`, `[="x"]`, `[3]`.
impl Display for Element {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(out, ".{name}"),
            Self::Key(keys) => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let pairs: Vec<String> = keys
                    .iter()
                    .map(|(name, value)| format!("{name}={}", shown(value)))
                    .collect();
                write!(out, "[{}]", pairs.join(","))
            }
            Self::Value(value) => {
                let value = serde_json::from_str(value).unwrap_or(Value::Null);
                write!(out, "[={}]", shown(&value))
            }
            Self::Index(index) => write!(out, "[{index}]"),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => go_quote(text),
        other => other.to_string(),
    }
}

/// A whole path as messages show it: `.spec.containers[name="a"].image`.
pub(crate) fn display(path: &[Element]) -> String {
    path.iter().map(Element::to_string).collect()
}
