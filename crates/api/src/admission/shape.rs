//! The shapes of the Go types behind the objects, so that an object reads and prints here as it
//! does in Knative: unknown fields are refused, empty ones vanish, quantities become canonical.
//! Called by `review` at its edges; in between validators can trust what they see.

mod build;
mod eventing;
mod history;
mod table;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Number, Value};

use crate::gotext::quote;
use crate::quantity::{Held, Quantity};

/// The type of a field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Type {
    String,
    Int,
    Bool,
    IntOrString,
    Quantity,
    /// Quantities by name.
    Quantities,
    /// Strings by name.
    StringMap,
    /// Not looked into.
    Any,
    /// An object that is always there and not looked into.
    Opaque,
    /// Fields of their own, by the name of the type.
    Struct(&'static str),
}

/// A field of a type.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) json: &'static str,
    pub(crate) go: String,
    pub(crate) of: Type,
    pub(crate) list: bool,
    pub(crate) pointer: bool,
    /// Written even when empty.
    pub(crate) always: bool,
    /// Its fields stand in the place of the field.
    pub(crate) inline: bool,
}

static SHAPES: LazyLock<BTreeMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let tables = [table::TABLE, eventing::TABLE, history::TABLE, build::TABLE];
    let lines = tables.into_iter().flat_map(str::lines);
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, fields) = line
                .split_once(": ")
                .expect("a line is `Type: fields`; tested");
            (name, fields.split(", ").map(Field::parse).collect())
        })
        .collect()
});

/// The fields of type `name`, inlined types as one field each.
pub(crate) fn fields(name: &str) -> &'static [Field] {
    SHAPES.get(name).map_or(&[], Vec::as_slice)
}

impl Field {
    fn parse(text: &'static str) -> Self {
        if let Some(name) = text.strip_prefix("...") {
            return Self {
                json: "",
                go: name.to_owned(),
                of: Type::Struct(name),
                list: false,
                pointer: false,
                always: true,
                inline: true,
            };
        }
        let (names, of) = text
            .split_once(' ')
            .expect("a field is `name type`; tested");
        let (json, go) = names.split_once('=').unwrap_or((names, ""));
        let always = json.ends_with('!');
        let json = json.trim_end_matches('!');
        let (list, of) = of.strip_prefix("[]").map_or((false, of), |of| (true, of));
        let (pointer, of) = of.strip_prefix('*').map_or((false, of), |of| (true, of));
        Self {
            json,
            go: if go.is_empty() {
                capitalized(json)
            } else {
                go.to_owned()
            },
            of: Type::parse(of),
            list,
            pointer,
            always,
            inline: false,
        }
    }

    /// Whether the field is there even if nothing is set in it.
    fn is_value_struct(&self) -> bool {
        !self.list && !self.pointer && matches!(self.of, Type::Struct(_) | Type::Opaque)
    }
}

fn capitalized(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

impl Type {
    fn parse(text: &'static str) -> Self {
        match text {
            "string" => Self::String,
            "int" => Self::Int,
            "bool" => Self::Bool,
            "intstr" => Self::IntOrString,
            "quantity" => Self::Quantity,
            "quantities" => Self::Quantities,
            "map" => Self::StringMap,
            "any" => Self::Any,
            "opaque" => Self::Opaque,
            name => Self::Struct(name),
        }
    }
}

/// Reads `value` as type `name`: what is not set is not there, structs that are always there are.
///
/// # Errors
/// An unknown field or a value of another type, in the words of Go's `encoding/json`.
pub(super) fn decode(name: &'static str, value: &Value) -> Result<Value, String> {
    let Value::Object(entries) = value else {
        return Err(mismatch(value, name, "", &format!("v1.{name}")));
    };
    let mut rest = entries.clone();
    let decoded = decode_known(name, &mut rest)?;
    match rest.keys().next() {
        None => Ok(Value::Object(decoded)),
        Some(unknown) => Err(format!("json: unknown field {}", quote(unknown))),
    }
}

fn decode_known(
    name: &'static str,
    rest: &mut Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let mut out = Map::new();
    for field in fields(name) {
        if let (true, Type::Struct(inlined)) = (field.inline, &field.of) {
            out.append(&mut decode_known(inlined, rest)?);
            continue;
        }
        let value = rest.remove(field.json).unwrap_or(Value::Null);
        if let Some(value) = decode_field(name, field, value)? {
            out.insert(field.json.to_owned(), value);
        }
    }
    Ok(out)
}

fn decode_field(owner: &str, field: &Field, value: Value) -> Result<Option<Value>, String> {
    if value.is_null() {
        let empty = || Value::Object(Map::new());
        return match field.of {
            Type::Struct(name) if field.is_value_struct() => decode(name, &empty()).map(Some),
            Type::Opaque => Ok(Some(empty())),
            _ => Ok(None),
        };
    }
    if field.list {
        let Value::Array(items) = value else {
            return Err(mismatch(
                &value,
                owner,
                field.json,
                &format!("[]{:?}", field.of),
            ));
        };
        let items: Result<Vec<Value>, String> = items
            .into_iter()
            .map(|item| decode_one(owner, field, item))
            .collect();
        return items.map(|items| Some(Value::Array(items)));
    }
    let value = decode_one(owner, field, value)?;
    let is_zero = !field.pointer && is_zero_scalar(&value);
    Ok((!is_zero).then_some(value))
}

fn decode_one(owner: &str, field: &Field, value: Value) -> Result<Value, String> {
    let wrong = |value: &Value, go: &str| Err(mismatch(value, owner, field.json, go));
    match &field.of {
        Type::Any | Type::Opaque => Ok(value),
        Type::Struct(name) => match &value {
            Value::Null => decode(name, &Value::Object(Map::new())),
            Value::Object(_) => decode(name, &value),
            _ => wrong(&value, &format!("v1.{name}")),
        },
        Type::String if value.is_string() => Ok(value),
        Type::String => wrong(&value, "string"),
        Type::Bool if value.is_boolean() => Ok(value),
        Type::Bool => wrong(&value, "bool"),
        Type::Int => match whole(&value) {
            Some(number) => Ok(Value::Number(number)),
            None => wrong(&value, "int64"),
        },
        Type::IntOrString => match whole(&value) {
            Some(number) => Ok(Value::Number(number)),
            None if value.is_string() => Ok(value),
            None => wrong(&value, "intstr.IntOrString"),
        },
        Type::Quantity => canonical(&value),
        Type::Quantities => match value {
            Value::Object(entries) => {
                let canonical = |(key, value): (String, Value)| Ok((key, canonical(&value)?));
                let entries: Result<Map<String, Value>, String> =
                    entries.into_iter().map(canonical).collect();
                entries.map(Value::Object)
            }
            other => wrong(&other, "v1.ResourceList"),
        },
        Type::StringMap => match value {
            Value::Object(entries) => match entries.values().find(|value| !value.is_string()) {
                None => Ok(Value::Object(entries)),
                Some(value) => wrong(value, "string"),
            },
            other => wrong(&other, "map[string]string"),
        },
    }
}

/// A whole number, even if it was written with a fraction of zero.
fn whole(value: &Value) -> Option<Number> {
    value.as_i64().map(Number::from)
}

fn canonical(value: &Value) -> Result<Value, String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let quantity = Quantity::parse(&text)?;
    let kept = Held::parse(&text).and_then(Held::text);
    Ok(Value::String(kept.unwrap_or_else(|| quantity.to_string())))
}

fn is_zero_scalar(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    }
}

fn mismatch(value: &Value, owner: &str, field: &str, go: &str) -> String {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {kind} into Go struct field {owner}.{field} of type {go}")
}

/// Prints a decoded value of type `name`: empty lists and maps vanish, fields that are always
/// written appear.
pub(super) fn encode(name: &'static str, value: &Value) -> Value {
    let mut out = Map::new();
    encode_into(name, value, &mut out);
    Value::Object(out)
}

fn encode_into(name: &'static str, value: &Value, out: &mut Map<String, Value>) {
    for field in fields(name) {
        match field.of {
            Type::Struct(inlined) if field.inline => encode_into(inlined, value, out),
            _ => {
                if let Some(encoded) = encode_field(field, &value[field.json]) {
                    out.insert(field.json.to_owned(), encoded);
                }
            }
        }
    }
}

fn encode_field(field: &Field, value: &Value) -> Option<Value> {
    let one = |value: &Value| match field.of {
        Type::Struct(name) => encode(name, value),
        _ => value.clone(),
    };
    match value {
        Value::Null if field.is_value_struct() => match field.of {
            Type::Struct(name) => Some(encode(name, value)),
            _ => Some(Value::Object(Map::new())),
        },
        Value::Null => field.always.then(|| zero(field)),
        Value::Array(items) if field.list => {
            let empty = items.is_empty() && !field.always;
            (!empty).then(|| items.iter().map(one).collect())
        }
        Value::Object(entries) if is_map(&field.of) => (!entries.is_empty()).then(|| value.clone()),
        _ => Some(one(value)),
    }
}

const fn is_map(of: &Type) -> bool {
    matches!(of, Type::Quantities | Type::StringMap)
}

fn zero(field: &Field) -> Value {
    if field.list || field.pointer {
        return Value::Null;
    }
    match field.of {
        Type::String => Value::from(""),
        Type::Int | Type::IntOrString => Value::from(0),
        Type::Bool => Value::from(false),
        Type::Quantity => Value::from("0"),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_type_the_table_names_is_in_it() {
        for (name, fields) in SHAPES.iter() {
            for field in fields {
                if let Type::Struct(of) = field.of {
                    assert!(SHAPES.contains_key(of), "{name}.{} is of {of}", field.go);
                }
            }
        }
    }

    #[test]
    fn reads_and_prints_as_go_does() {
        let read = |name, value| decode(name, &value).map(|value| encode(name, &value));
        let container = json!({"image": "i", "tty": false, "env": [], "ports": [{}],
            "readinessProbe": {"tcpSocket": {}}, "stdin": null,
            "resources": {"limits": {"cpu": "1000m", "memory": 1024}}});
        let expected = json!({"name": "", "image": "i", "ports": [{"containerPort": 0}],
            "readinessProbe": {"tcpSocket": {"port": 0}},
            "resources": {"limits": {"cpu": "1", "memory": "1024"}}});
        assert_eq!(read("Container", container), Ok(expected));
        let unknown = read("Container", json!({"imag": "i"})).unwrap_err();
        assert_eq!(unknown, "json: unknown field \"imag\"");
        let wrong = read("Container", json!({"tty": "x"})).unwrap_err();
        let text = "json: cannot unmarshal string into Go struct field Container.tty of type bool";
        assert_eq!(wrong, text);
    }
}
