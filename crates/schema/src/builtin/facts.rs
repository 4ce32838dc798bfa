//! What `facts.txt` says of a message: protobuf numbers, list types, patch strategies, defaults.
//!
//! Parsed a line at a time when asked; only the index of lines stays in memory.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

static TEXT: &str = include_str!("facts.txt");

/// What is known of one message (an OpenAPI definition).
#[derive(Debug)]
pub(crate) struct Message {
    /// Owned and replaced as a whole.
    pub(crate) atomic: bool,
    pub(crate) fields: Vec<FieldFact>,
}

#[derive(Debug)]
pub(crate) struct FieldFact {
    /// The protobuf field number.
    pub(crate) number: u32,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    /// A message whose fields JSON shows beside the others: the definition's name.
    Inline(String),
    Field {
        name: &'static str,
        /// Zero is a value, not an absence.
        pointer: bool,
        topology: Option<&'static str>,
        strategies: Option<&'static str>,
        merge_key: Option<&'static str>,
        default: Option<Value>,
    },
}

/// The facts about definition `name` (`io.k8s.api.core.v1.PodSpec`).
pub(crate) fn message(name: &str) -> Option<Message> {
    let (package, short) = name.rsplit_once('.')?;
    let (head, fields) = index().get(&(package, short))?;
    let mut number = 0;
    let fields = fields
        .split_ascii_whitespace()
        .map(|token| {
            let (explicit, token) = match token.split_once(':') {
                Some((digits, rest)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    (digits.parse().ok(), rest)
                }
                _ => (None, token),
            };
            number = explicit.unwrap_or(number + 1);
            FieldFact {
                number,
                content: content(package, token),
            }
        })
        .collect();
    Some(Message {
        atomic: head.ends_with('!'),
        fields,
    })
}

fn content(package: &str, token: &'static str) -> Content {
    if let Some(inline) = token.strip_prefix('^') {
        return Content::Inline(format!("{package}.{inline}"));
    }
    let (token, default) = match token.split_once('=') {
        Some((rest, literal)) => (rest, serde_json::from_str(literal).ok()),
        None => (token, None),
    };
    let (token, patch) = match token.split_once('~') {
        Some((rest, patch)) => (rest, Some(patch)),
        None => (token, None),
    };
    let (strategies, merge_key) = match patch.map(|patch| patch.split_once(':').ok_or(patch)) {
        Some(Ok((strategies, key))) => (Some(strategies), Some(key)),
        Some(Err(strategies)) => (Some(strategies), None),
        None => (None, None),
    };
    let (token, topology) = match token.split_once('%') {
        Some((rest, topology)) => (rest, Some(topology)),
        None => (token, None),
    };
    let (name, pointer) = match token.strip_suffix('*') {
        Some(name) => (name, true),
        None => (token, false),
    };
    Content::Field {
        name,
        pointer,
        topology,
        strategies,
        merge_key,
        default,
    }
}

type Index = BTreeMap<(&'static str, &'static str), (&'static str, &'static str)>;

/// Package and message name to the line's head (`Name` or `Name!`) and fields.
fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut package = "";
        let mut index = BTreeMap::new();
        for line in TEXT.lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                package = name.trim_end_matches(']');
                continue;
            }
            let (head, fields) = line.split_once(' ').unwrap_or((line, ""));
            index.insert((package, head.trim_end_matches('!')), (head, fields));
        }
        index
    })
}

/// Writes the facts about definition `name` into its JSON schema as `x-kubernetes-…` extensions.
pub(crate) fn decorate(name: &str, schema: &mut Value) {
    let Some(message) = message(name) else {
        return;
    };
    if message.atomic {
        schema["x-kubernetes-map-type"] = "atomic".into();
    }
    decorate_fields(&message, schema);
}

fn decorate_fields(message: &Message, schema: &mut Value) {
    for fact in &message.fields {
        match &fact.content {
            Content::Inline(name) => {
                if let Some(inline) = self::message(name) {
                    decorate_fields(&inline, schema);
                }
            }
            Content::Field { name, .. } => {
                if let Some(property) = schema["properties"].get_mut(*name) {
                    decorate_property(&fact.content, property);
                }
            }
        }
    }
}

fn decorate_property(content: &Content, property: &mut Value) {
    let Content::Field {
        topology,
        strategies,
        merge_key,
        default,
        ..
    } = content
    else {
        return;
    };
    match *topology {
        Some(kind @ ("atomic" | "granular")) => property["x-kubernetes-map-type"] = kind.into(),
        Some("set") => property["x-kubernetes-list-type"] = "set".into(),
        Some(keys) => {
            property["x-kubernetes-list-type"] = "map".into();
            property["x-kubernetes-list-map-keys"] = keys.split('+').collect();
        }
        None if property["type"] == "array" => {
            property["x-kubernetes-list-type"] = "atomic".into();
        }
        None => {}
    }
    if let Some(strategies) = strategies {
        property["x-kubernetes-patch-strategy"] = (*strategies).into();
    }
    if let Some(key) = merge_key {
        property["x-kubernetes-patch-merge-key"] = (*key).into();
    }
    // An empty default is what absence means anyway.
    if let Some(default) = default.as_ref().filter(|default| *default != "") {
        property["default"] = default.clone();
    }
}
