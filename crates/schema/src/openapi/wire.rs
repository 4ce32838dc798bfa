//! The v2 document as protobuf (gnostic's `openapi.v2.Document`), the only form every version of
//! kubectl asks for.

use serde_json::{Map, Value};

/// How a JSON value is written.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Texts,
    Bool,
    Double,
    Int,
    /// Any JSON, as YAML text in a message.
    Any,
    Anys,
    Message(Fields),
    /// Parameters of operations.
    Parameters,
    /// An object, as name and value messages, which are this field of a message of their own.
    NamedIn(u32, Fields),
    /// A message that is this field of another.
    Wrapped(u32, Fields),
    /// `type`: one text or several, in a message.
    Types,
    /// `additionalProperties`: a schema or a boolean, in a message.
    SchemaOrBool,
}

/// The fields of a message by their JSON names. `x-` stands for all extensions, the empty name for
/// the value itself.
type Fields = &'static Table;

struct Table(&'static [(&'static str, u32, Form)]);

use Form::{
    Any, Anys, Bool, Double, Int, Message, NamedIn, Parameters, SchemaOrBool, Text, Texts, Types,
    Wrapped,
};

static DOCUMENT: Table = Table(&[
    ("swagger", 1, Text),
    ("info", 2, Message(&INFO)),
    ("paths", 8, NamedIn(2, &PATH_ITEM)),
    ("definitions", 9, NamedIn(1, &SCHEMA)),
]);

static INFO: Table = Table(&[("title", 1, Text), ("version", 2, Text)]);

static PATH_ITEM: Table = Table(&[
    ("get", 2, Message(&OPERATION)),
    ("put", 3, Message(&OPERATION)),
    ("post", 4, Message(&OPERATION)),
    ("delete", 5, Message(&OPERATION)),
    ("patch", 8, Message(&OPERATION)),
    ("parameters", 9, Parameters),
]);

static OPERATION: Table = Table(&[
    ("tags", 1, Texts),
    ("description", 3, Text),
    ("operationId", 5, Text),
    ("parameters", 8, Parameters),
    ("responses", 9, NamedIn(1, &RESPONSE_VALUE)),
    ("x-", 13, Any),
]);

static QUERY_PARAMETER: Table = Table(&[
    ("required", 1, Bool),
    ("in", 2, Text),
    ("description", 3, Text),
    ("name", 4, Text),
    ("type", 6, Text),
    ("uniqueItems", 20, Bool),
]);

static PATH_PARAMETER: Table = Table(&[
    ("required", 1, Bool),
    ("in", 2, Text),
    ("description", 3, Text),
    ("name", 4, Text),
    ("type", 5, Text),
    ("uniqueItems", 19, Bool),
]);

/// A response, or a reference to one: the choice is a message of its own.
static RESPONSE_VALUE: Table = Table(&[("", 1, Message(&RESPONSE))]);

static RESPONSE: Table = Table(&[("description", 1, Text), ("schema", 2, Wrapped(1, &SCHEMA))]);

static SCHEMA: Table = Table(&[
    ("$ref", 1, Text),
    ("format", 2, Text),
    ("title", 3, Text),
    ("description", 4, Text),
    ("default", 5, Any),
    ("multipleOf", 6, Double),
    ("maximum", 7, Double),
    ("exclusiveMaximum", 8, Bool),
    ("minimum", 9, Double),
    ("exclusiveMinimum", 10, Bool),
    ("maxLength", 11, Int),
    ("minLength", 12, Int),
    ("pattern", 13, Text),
    ("maxItems", 14, Int),
    ("minItems", 15, Int),
    ("uniqueItems", 16, Bool),
    ("maxProperties", 17, Int),
    ("minProperties", 18, Int),
    ("required", 19, Texts),
    ("enum", 20, Anys),
    ("additionalProperties", 21, SchemaOrBool),
    ("type", 22, Types),
    ("items", 23, Wrapped(1, &SCHEMA)),
    ("properties", 25, NamedIn(1, &SCHEMA)),
    ("x-", 31, Any),
]);

/// Encodes a v2 document.
#[must_use]
pub fn encode(document: &Value) -> Vec<u8> {
    message(document, &DOCUMENT)
}

fn message(value: &Value, fields: Fields) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, number, form) in fields.0 {
        if *name == "x-" {
            extensions(&mut out, *number, value);
        } else if name.is_empty() {
            field(&mut out, *number, *form, value);
        } else if let Some(value) = value.get(*name) {
            field(&mut out, *number, *form, value);
        }
    }
    out
}

fn field(out: &mut Vec<u8>, number: u32, form: Form, value: &Value) {
    match form {
        Text => bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Texts => texts(out, number, value),
        Bool => integer(out, number, u64::from(value == &Value::Bool(true))),
        Double => {
            varint(out, u64::from(number) << 3 | 1);
            out.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
        }
        Int => integer(out, number, value.as_u64().unwrap_or_default()),
        Any => bytes(out, number, &any(value)),
        Anys => items(value).for_each(|item| bytes(out, number, &any(item))),
        Message(fields) => bytes(out, number, &message(value, fields)),
        Parameters => items(value).for_each(|item| bytes(out, number, &parameter(item))),
        NamedIn(inner, fields) => {
            let mut body = Vec::new();
            named(&mut body, inner, fields, value);
            bytes(out, number, &body);
        }
        Wrapped(inner, fields) => bytes(out, number, &wrap(inner, &message(value, fields))),
        Types => {
            let mut body = Vec::new();
            match value {
                Value::String(text) => bytes(&mut body, 1, text.as_bytes()),
                several => texts(&mut body, 1, several),
            }
            bytes(out, number, &body);
        }
        SchemaOrBool => {
            let mut body = Vec::new();
            match value {
                Value::Bool(allowed) => integer(&mut body, 2, u64::from(*allowed)),
                schema => bytes(&mut body, 1, &message(schema, &SCHEMA)),
            }
            bytes(out, number, &body);
        }
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn texts(out: &mut Vec<u8>, number: u32, value: &Value) {
    items(value)
        .filter_map(Value::as_str)
        .for_each(|text| bytes(out, number, text.as_bytes()));
}

fn named(out: &mut Vec<u8>, number: u32, fields: Fields, value: &Value) {
    for (name, value) in value.as_object().into_iter().flat_map(Map::iter) {
        let mut pair = Vec::new();
        bytes(&mut pair, 1, name.as_bytes());
        bytes(&mut pair, 2, &message(value, fields));
        bytes(out, number, &pair);
    }
}

fn extensions(out: &mut Vec<u8>, number: u32, value: &Value) {
    let extensions = value.as_object().into_iter().flat_map(Map::iter);
    for (name, value) in extensions.filter(|(name, _)| name.starts_with("x-")) {
        let mut pair = Vec::new();
        bytes(&mut pair, 1, name.as_bytes());
        bytes(&mut pair, 2, &any(value));
        bytes(out, number, &pair);
    }
}

/// JSON is YAML.
fn any(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 2, value.to_string().as_bytes());
    out
}

/// A parameter of an operation, inside the choices it is one of.
fn parameter(value: &Value) -> Vec<u8> {
    let (place, fields) = match value["in"].as_str() {
        Some("path") => (4, &PATH_PARAMETER),
        _ => (3, &QUERY_PARAMETER),
    };
    [2, 1]
        .iter()
        .fold(wrap(place, &message(value, fields)), |body, at| {
            wrap(*at, &body)
        })
}

fn wrap(number: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, number, body);
    out
}

fn bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn integer(out: &mut Vec<u8>, number: u32, value: u64) {
    varint(out, u64::from(number) << 3);
    varint(out, value);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
