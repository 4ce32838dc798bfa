//! What a Go server says of a built-in object it cannot decode.
//!
//! Built-in kinds are Go structs: a value of the wrong type is no violation of a schema (422) but
//! an undecodable body (400), with the text of Go's JSON decoder. String types with names of their
//! own (`v1.RestartPolicy`) show as `string` here: the schemas do not know them.

use std::sync::Arc;

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use serde_json::Value;

use super::{Kind, Node};
use crate::field::go_quote;
use crate::format;

/// The first value that does not decode, in field order.
pub(super) fn error(root: &Arc<Node>, object: &Value) -> Option<String> {
    check(root, object).map(Wrong::text)
}

/// Why a value does not decode; the place is added on the way up, so that values which do decode
/// cost nothing.
enum Wrong {
    /// The whole sentence.
    Text(String),
    /// A value of another type.
    Type {
        found: String,
        wanted: String,
        /// The names of the struct fields on the way, the innermost first; keys of maps and
        /// indices do not count.
        fields: Vec<Box<str>>,
        /// The innermost struct's type.
        holder: String,
    },
}

impl Wrong {
    fn found(found: &str, node: &Node) -> Self {
        Self::Type {
            found: found.to_owned(),
            wanted: type_name(node),
            fields: Vec::new(),
            holder: String::new(),
        }
    }

    /// The same, found in a field of `node`.
    fn within(mut self, field: &str, node: &Node) -> Self {
        if let Self::Type { fields, holder, .. } = &mut self {
            if fields.is_empty() {
                *holder = short_name(node);
            }
            fields.push(field.into());
        }
        self
    }

    fn text(self) -> String {
        let (found, wanted, mut fields, holder) = match self {
            Self::Text(text) => return text,
            Self::Type {
                found,
                wanted,
                fields,
                holder,
            } => (found, wanted, fields, holder),
        };
        if fields.is_empty() {
            return format!("json: cannot unmarshal {found} into Go value of type {wanted}");
        }
        fields.reverse();
        let path = fields.join(".");
        format!(
            "json: cannot unmarshal {found} into Go struct field {holder}.{path} of type {wanted}"
        )
    }
}

fn check(node: &Arc<Node>, value: &Value) -> Option<Wrong> {
    let node = node.resolved();
    // Null leaves everything as it is.
    if value.is_null() {
        return None;
    }
    match (&node.kind, value) {
        (Kind::Any | Kind::Recursive(_), _) | (Kind::Bool, Value::Bool(_)) => None,
        (Kind::Struct(shape), Value::Object(fields)) => {
            // Both are ordered by name, and a value has fewer fields than its kind.
            let wrong = |(name, value): (&String, &Value)| {
                let field = shape.fields.get(name.as_str())?;
                check(&field.node, value).map(|wrong| wrong.within(name, &node))
            };
            fields.iter().find_map(wrong)
        }
        (Kind::Map { values }, Value::Object(fields)) => {
            fields.values().find_map(|value| check(values, value))
        }
        (Kind::List { items, .. }, Value::Array(list)) => {
            list.iter().find_map(|item| check(items, item))
        }
        (Kind::String, Value::String(text)) => check_text(&node, text).map(Wrong::Text),
        (Kind::Integer, Value::Number(number)) => {
            let fits = number
                .as_i64()
                .is_some_and(|number| type_name(&node) != "int32" || i32::try_from(number).is_ok());
            (!fits).then(|| Wrong::found(&format!("number {number}"), &node))
        }
        (Kind::Number, Value::Number(_)) => None,
        (Kind::IntOrString, _) => check_int_or_string(&node, value).map(Wrong::Text),
        _ => Some(Wrong::found(json_name(value), &node)),
    }
}

fn json_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// `PodSpec` of `io.k8s.api.core.v1.PodSpec`.
fn short_name(node: &Node) -> String {
    let name = node.name.as_deref().unwrap_or_default();
    name.rsplit('.').next().unwrap_or_default().to_owned()
}

/// The Go type: `int32`, `[]v1.Container`, `map[string]string`.
fn type_name(node: &Node) -> String {
    let format = || node.checks.as_ref()?.format.as_deref();
    match &node.kind {
        Kind::Bool => "bool".to_owned(),
        Kind::Integer => format().unwrap_or("int64").to_owned(),
        Kind::Number => "float64".to_owned(),
        Kind::String if format() == Some("byte") => "[]uint8".to_owned(),
        Kind::String => "string".to_owned(),
        Kind::List { items, .. } => format!("[]{}", type_name(&items.resolved())),
        Kind::Map { values } => format!("map[string]{}", type_name(&values.resolved())),
        Kind::IntOrString | Kind::Struct(_) | Kind::Any | Kind::Recursive(_) => {
            let name = node.name.as_deref().unwrap_or("interface {}");
            let mut parts = name.rsplitn(3, '.');
            match (parts.next(), parts.next()) {
                (Some(short), Some(package)) => format!("{package}.{short}"),
                _ => name.to_owned(),
            }
        }
    }
}

/// Times and bytes are strings that must parse.
fn check_text(node: &Node, text: &str) -> Option<String> {
    let format = node.checks.as_ref()?.format.as_deref()?;
    match format {
        "date-time" if !format::holds(format, text) => {
            let text = go_quote(text);
            Some(format!(
                "parsing time {text} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text} as \"2006\""
            ))
        }
        "byte" => match STANDARD.decode(text) {
            Ok(_) => None,
            Err(DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _)) => {
                Some(format!("illegal base64 data at input byte {at}"))
            }
            Err(_) => {
                let at = text.len() / 4 * 4;
                Some(format!("illegal base64 data at input byte {at}"))
            }
        },
        _ => None,
    }
}

fn check_int_or_string(node: &Node, value: &Value) -> Option<String> {
    if short_name(node) == "Quantity" {
        let fits = match value {
            Value::String(text) => is_quantity(text.trim()),
            Value::Number(number) => is_quantity(&number.to_string()),
            _ => false,
        };
        return (!fits).then(|| {
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".to_owned()
        });
    }
    let whole = value
        .as_i64()
        .is_some_and(|number| i32::try_from(number).is_ok());
    let found = match value {
        Value::String(_) => return None,
        Value::Number(_) if whole => return None,
        Value::Number(number) => format!("number {number}"),
        other => json_name(other).to_owned(),
    };
    Some(format!(
        "json: cannot unmarshal {found} into Go value of type int32"
    ))
}

/// A number with a decimal, binary or exponent suffix: `1500m`, `2Gi`, `1e3`.
fn is_quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 16] = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ];
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let exponent = || {
        let digits = suffix.strip_prefix(['e', 'E'])?;
        let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
        Some(!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    number.bytes().any(|byte| byte.is_ascii_digit())
        && number.matches('.').count() <= 1
        && (SUFFIXES.contains(&suffix) || exponent() == Some(true))
}
