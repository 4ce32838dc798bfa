//! Values of a schema as values of the expression language.

use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map};
use serde_json::Value;

use crate::structural::{Kind, Node};

/// Names that are words of the language.
const RESERVED: [&str; 19] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "void",
];
/// What cannot be written in a name, and what is written instead.
const ESCAPES: [(&str, &str); 4] = [
    ("__", "__underscores__"),
    (".", "__dot__"),
    ("-", "__dash__"),
    ("/", "__slash__"),
];

/// The value as expressions see it: what the schema does not know is not there, and of an object's
/// metadata only the name is.
pub(super) fn of(node: &Arc<Node>, value: &Value, is_root: bool) -> cel::Value {
    let node = node.resolved();
    match (value, &node.kind) {
        (Value::Object(fields), Kind::Struct(shape)) => {
            let known = fields.iter().filter_map(|(name, value)| {
                let field = shape.fields.get(&**name)?;
                let value = match name.as_str() {
                    "metadata" if is_root => named(value),
                    _ => of(&field.node, value, false),
                };
                Some((key(&escaped(name)), value))
            });
            map(known.collect())
        }
        (Value::Object(fields), kind) => {
            let entries = fields.iter().map(|(name, value)| {
                let value = match kind {
                    Kind::Map { values } => of(values, value, false),
                    _ => plain(value),
                };
                (key(name), value)
            });
            map(entries.collect())
        }
        (Value::Array(list), Kind::List { items, .. }) => {
            let items = list.iter().map(|item| of(items, item, false));
            cel::Value::List(Arc::new(items.collect()))
        }
        (Value::Number(number), Kind::Number) => {
            cel::Value::Float(number.as_f64().unwrap_or_default())
        }
        (value, _) => plain(value),
    }
}

/// A value without a schema.
fn plain(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => cel::Value::Int(whole),
            None => cel::Value::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(list) => cel::Value::List(Arc::new(list.iter().map(plain).collect())),
        Value::Object(fields) => {
            let entries = fields.iter().map(|(name, value)| (key(name), plain(value)));
            map(entries.collect())
        }
    }
}

/// What expressions see of an object's metadata.
fn named(metadata: &Value) -> cel::Value {
    let names = ["name", "generateName"].into_iter();
    let names = names.filter_map(|name| Some((key(name), plain(metadata.get(name)?))));
    map(names.collect())
}

fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

fn map(entries: HashMap<Key, cel::Value>) -> cel::Value {
    cel::Value::Map(Map {
        map: Arc::new(entries),
    })
}

/// A field's name as expressions write it.
fn escaped(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    let mut escaped = name.to_owned();
    for (from, to) in ESCAPES {
        escaped = escaped.replace(from, to);
    }
    escaped
}

/// The field an expression's name is of.
pub(super) fn unescaped(name: &str) -> String {
    let reserved = RESERVED.iter().find(|word| format!("__{word}__") == name);
    if let Some(word) = reserved {
        return (*word).to_owned();
    }
    let mut plain = name.to_owned();
    for (to, from) in ESCAPES.iter().rev() {
        plain = plain.replace(from, to);
    }
    plain
}

/// The type's name in a schema.
pub(super) const fn type_name(node: &Node) -> &'static str {
    match node.kind {
        Kind::Bool => "boolean",
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::String => "string",
        Kind::List { .. } => "array",
        Kind::Map { .. } | Kind::Struct(_) => "object",
        Kind::Any | Kind::IntOrString | Kind::Recursive(_) => "",
    }
}

/// How many entries the largest list or map in a value has.
pub(super) fn largest(value: &Value) -> u64 {
    let inner = |values: &mut dyn Iterator<Item = &Value>| values.map(largest).max().unwrap_or(0);
    match value {
        Value::Array(list) => (list.len() as u64).max(inner(&mut list.iter())),
        Value::Object(fields) => (fields.len() as u64).max(inner(&mut fields.values())),
        _ => 0,
    }
}
