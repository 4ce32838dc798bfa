//! Request bodies of type `application/vnd.kubernetes.protobuf`, decoded to the JSON the client
//! would have sent otherwise.
//!
//! Table driven: the shape of a message is the schema of its kind, the field numbers are those of
//! `builtin/facts.txt`; there are no generated types. client-go sends such bodies for built-in kinds
//! and `DeleteOptions` when it is told to; answers may always be JSON.

#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use self::wire::{Payload, entries};
use crate::builtin::{self, facts};
use crate::structural::{Field, Kind, Node, Struct};

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// How deep messages may nest: deeper bodies are refused. Only schemas nest without bound.
const DEPTH_MAX: usize = 128;

/// Why a body cannot be decoded. The fault is the client's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body is no Kubernetes protobuf.
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    Magic,
    /// A message ends in the middle of a field.
    #[error("unexpected EOF: a protobuf field is cut short")]
    Truncated,
    /// A wire type protobuf has not, or no longer.
    #[error("proto: illegal wireType {0}")]
    WireType(u64),
    /// A field is encoded in another way than its type is.
    #[error("proto: wrong wireType for field {field} of {message}")]
    Mismatch {
        /// The OpenAPI definition.
        message: String,
        /// The field's JSON name.
        field: String,
    },
    /// There is no such kind among those that travel as protobuf.
    #[error(
        "no kind {kind:?} is registered for version {api_version:?}: send it as application/json"
    )]
    Kind {
        /// The body's `apiVersion`.
        api_version: String,
        /// The body's `kind`.
        kind: String,
    },
    /// A string is not UTF-8.
    #[error("proto: string field contains invalid UTF-8")]
    Utf8,
    /// An embedded object is not JSON.
    #[error("embedded raw object is not JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// Messages nest too deep.
    #[error("proto: messages nest deeper than {DEPTH_MAX}")]
    Depth,
    /// A time is outside what RFC 3339 can express.
    #[error("proto: timestamp of {0} s is out of range")]
    Time(i64),
}

/// Decodes a request body.
///
/// # Errors
/// When it is malformed, or of a kind that is not built in.
pub fn decode(body: &[u8]) -> Result<Value, Error> {
    let envelope = body.strip_prefix(MAGIC).ok_or(Error::Magic)?;
    let (mut api_version, mut kind, mut raw, mut content_type) = ("", "", &[][..], "");
    for entry in entries(envelope) {
        let entry = entry?;
        match (entry.number, entry.payload) {
            (1, Payload::Bytes(type_meta)) => {
                for entry in entries(type_meta) {
                    let entry = entry?;
                    match (entry.number, entry.payload) {
                        (1, Payload::Bytes(text)) => api_version = utf8(text)?,
                        (2, Payload::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Payload::Bytes(bytes)) => raw = bytes,
            (4, Payload::Bytes(text)) => content_type = utf8(text)?,
            _ => {}
        }
    }
    if content_type == "application/json" {
        return serde_json::from_slice(raw).map_err(Error::Json);
    }
    let root = root(api_version, kind)?;
    let mut fields = message(&root, raw, 0)?;
    fields.insert("apiVersion".to_owned(), api_version.into());
    fields.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(fields))
}

fn root(api_version: &str, kind: &str) -> Result<Arc<Node>, Error> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    // Options travel under the group of what they are about.
    let schema = match kind {
        "DeleteOptions" => builtin::builtin("", "v1", kind),
        _ => builtin::builtin(group, version, kind),
    };
    let schema = schema.ok_or_else(|| Error::Kind {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
    })?;
    Ok(Arc::clone(&schema.root))
}

fn utf8(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| Error::Utf8)
}

/// The fields of a message of definition `node`.
fn message(node: &Node, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, Error> {
    let mut fields = Map::new();
    let name = node.name.as_deref().unwrap_or_default();
    if let Kind::Struct(shape) = &node.kind {
        Decoder { name, shape, depth }.fill(name, bytes, &mut fields)?;
    }
    Ok(fields)
}

/// Fills the JSON object of one message.
struct Decoder<'a> {
    /// The definition, for errors.
    name: &'a str,
    shape: &'a Struct,
    depth: usize,
}

impl Decoder<'_> {
    /// Decodes a message with the numbers of definition `numbers`: the decoder's own, or one that
    /// JSON shows inline.
    fn fill(&self, numbers: &str, bytes: &[u8], out: &mut Map<String, Value>) -> Result<(), Error> {
        if self.depth > DEPTH_MAX {
            return Err(Error::Depth);
        }
        let Some(facts) = facts::message(numbers) else {
            return Ok(());
        };
        for entry in entries(bytes) {
            let entry = entry?;
            // Fields newer than the table are left out, as older servers do.
            let fact = facts.fields.iter().find(|fact| fact.number == entry.number);
            match (fact.map(|fact| &fact.content), entry.payload) {
                (Some(facts::Content::Inline(name)), Payload::Bytes(bytes)) => {
                    self.fill(name, bytes, out)?;
                }
                (Some(facts::Content::Field { name, pointer, .. }), payload) => {
                    if let Some(field) = self.shape.fields.get(*name) {
                        self.field(name, field, *pointer, payload, out)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn field(
        &self,
        name: &str,
        field: &Field,
        pointer: bool,
        payload: Payload<'_>,
        out: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let node = field.node.resolved();
        let mismatch = || Error::Mismatch {
            message: self.name.to_owned(),
            field: name.to_owned(),
        };
        match &node.kind {
            Kind::List { items, .. } => {
                let list = out
                    .entry(name)
                    .or_insert_with(|| Value::Array(Vec::new()))
                    .as_array_mut()
                    .ok_or_else(mismatch)?;
                let items = items.resolved();
                match (&items.kind, payload) {
                    (Kind::Integer, Payload::Bytes(mut packed)) => {
                        while !packed.is_empty() {
                            list.push(integer(wire::varint(&mut packed)?));
                        }
                    }
                    _ => list.extend(self.value(&items, payload)?.ok_or_else(mismatch)?),
                }
            }
            Kind::Map { values } => {
                let Payload::Bytes(bytes) = payload else {
                    return Err(mismatch());
                };
                let (key, value) = self.map_entry(&values.resolved(), bytes)?;
                let map = out
                    .entry(name)
                    .or_insert_with(|| Value::Object(Map::new()))
                    .as_object_mut()
                    .ok_or_else(mismatch)?;
                map.insert(key, value);
            }
            _ => {
                let value = self.value(&node, payload)?.ok_or_else(mismatch)?;
                let required = self.shape.required.iter().any(|it| &**it == name);
                // Go sends the zero of what is no pointer even where JSON leaves it out.
                if let Some(value) = value.filter(|it| pointer || required || !is_zero(it)) {
                    out.insert(name.to_owned(), value);
                }
            }
        }
        Ok(())
    }

    fn map_entry(&self, values: &Arc<Node>, bytes: &[u8]) -> Result<(String, Value), Error> {
        let mut key = String::new();
        let mut value = None;
        for entry in entries(bytes) {
            let entry = entry?;
            match (entry.number, entry.payload) {
                (1, Payload::Bytes(text)) => utf8(text)?.clone_into(&mut key),
                // The values of `extra` are messages that hold one list.
                (2, Payload::Bytes(bytes)) if values.items().is_some() => {
                    value = Some(strings(bytes)?);
                }
                (2, payload) => value = self.value(values, payload)?.flatten(),
                _ => {}
            }
        }
        let empty = || match values.kind {
            Kind::String => Value::from(""),
            Kind::List { .. } => Value::Array(Vec::new()),
            _ => Value::Object(Map::new()),
        };
        Ok((key, value.unwrap_or_else(empty)))
    }

    /// The JSON of one value: `None` when the payload is not of the node's type, `Some(None)` for
    /// one that JSON leaves out.
    fn value(
        &self,
        node: &Arc<Node>,
        payload: Payload<'_>,
    ) -> Result<Option<Option<Value>>, Error> {
        let short = node
            .name
            .as_deref()
            .and_then(|name| name.rsplit('.').next());
        let value = match (&node.kind, payload) {
            (_, Payload::Bytes(bytes)) if short.is_some_and(is_special) => {
                self.special(short.unwrap_or_default(), bytes)?
            }
            (Kind::Bool, Payload::Varint(number)) => Some(Value::Bool(number != 0)),
            (Kind::Integer, Payload::Varint(number)) => Some(integer(number)),
            (Kind::Number, Payload::Fixed64(bits)) => Some(number(f64::from_bits(bits))),
            (Kind::String, Payload::Bytes(bytes)) if is_base64(node) => {
                Some(STANDARD.encode(bytes).into())
            }
            (Kind::String, Payload::Bytes(bytes)) => Some(utf8(bytes)?.into()),
            (Kind::Struct(_), Payload::Bytes(bytes)) => {
                Some(Value::Object(message(node, bytes, self.depth + 1)?))
            }
            _ => return Ok(None),
        };
        Ok(Some(value))
    }

    /// Messages whose JSON is no object of their fields.
    fn special(&self, short: &str, bytes: &[u8]) -> Result<Option<Value>, Error> {
        match short {
            "Quantity" => Ok(Some(utf8(bytes_of(bytes, 1)?)?.into())),
            "IntOrString" => int_or_string(bytes).map(Some),
            "Time" | "MicroTime" => time(bytes, short == "MicroTime"),
            "RawExtension" | "JSON" | "FieldsV1" => raw(bytes_of(bytes, 1)?),
            _ => self.schema_or(short, bytes),
        }
    }

    /// `JSONSchemaPropsOrArray`, `…OrBool`, `…OrStringArray`.
    fn schema_or(&self, short: &str, bytes: &[u8]) -> Result<Option<Value>, Error> {
        let node = builtin::json_schema_props();
        let schema = |bytes| message(&node, bytes, self.depth + 1).map(Value::Object);
        let mut list = Vec::new();
        let mut allows = None;
        for entry in entries(bytes) {
            let entry = entry?;
            match (short, entry.number, entry.payload) {
                ("JSONSchemaPropsOrBool", 1, Payload::Varint(number)) => {
                    allows = Some(number != 0);
                }
                ("JSONSchemaPropsOrBool", 2, Payload::Bytes(bytes))
                | (
                    "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrStringArray",
                    1,
                    Payload::Bytes(bytes),
                ) => {
                    return schema(bytes).map(Some);
                }
                ("JSONSchemaPropsOrArray", 2, Payload::Bytes(bytes)) => list.push(schema(bytes)?),
                (_, 2, Payload::Bytes(text)) => list.push(utf8(text)?.into()),
                _ => {}
            }
        }
        Ok(Some(allows.map_or(Value::Array(list), Value::Bool)))
    }
}

fn is_special(short: &str) -> bool {
    matches!(
        short,
        "Quantity"
            | "IntOrString"
            | "Time"
            | "MicroTime"
            | "RawExtension"
            | "JSON"
            | "FieldsV1"
            | "JSONSchemaPropsOrArray"
            | "JSONSchemaPropsOrBool"
            | "JSONSchemaPropsOrStringArray"
    )
}

fn is_base64(node: &Node) -> bool {
    let checks = node.checks.as_deref();
    checks.and_then(|checks| checks.format.as_deref()) == Some("byte")
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Protobuf's integers are two's complement in 64 bits, whatever their width.
fn integer(number: u64) -> Value {
    Value::from(number.cast_signed())
}

fn number(number: f64) -> Value {
    /// Whole numbers up to here are exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[allow(clippy::cast_possible_truncation)]
        return Value::from(number as i64);
    }
    Value::from(number)
}

/// The payload of bytes field `wanted`, empty when absent.
fn bytes_of(message: &[u8], wanted: u32) -> Result<&[u8], Error> {
    let mut found = &[][..];
    for entry in entries(message) {
        let entry = entry?;
        if let (true, Payload::Bytes(bytes)) = (entry.number == wanted, entry.payload) {
            found = bytes;
        }
    }
    Ok(found)
}

fn strings(message: &[u8]) -> Result<Value, Error> {
    let mut list = Vec::new();
    for entry in entries(message) {
        if let Payload::Bytes(text) = entry?.payload {
            list.push(Value::from(utf8(text)?));
        }
    }
    Ok(Value::Array(list))
}

fn int_or_string(message: &[u8]) -> Result<Value, Error> {
    let (mut is_string, mut int, mut text) = (false, 0, "");
    for entry in entries(message) {
        let entry = entry?;
        match (entry.number, entry.payload) {
            (1, Payload::Varint(kind)) => is_string = kind == 1,
            (2, Payload::Varint(number)) => int = number,
            (3, Payload::Bytes(bytes)) => text = utf8(bytes)?,
            _ => {}
        }
    }
    Ok(if is_string { text.into() } else { integer(int) })
}

/// RFC 3339 in UTC; nothing for the zero time, whose message is empty.
fn time(message: &[u8], micro: bool) -> Result<Option<Value>, Error> {
    let (mut seconds, mut nanos) = (None, 0);
    for entry in entries(message) {
        let entry = entry?;
        match (entry.number, entry.payload) {
            (1, Payload::Varint(number)) => seconds = Some(number.cast_signed()),
            (2, Payload::Varint(number)) => nanos = i32::try_from(number).unwrap_or_default(),
            _ => {}
        }
    }
    let Some(seconds) = seconds else {
        return Ok(None);
    };
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| Error::Time(seconds))?;
    let format = match micro {
        true => "%Y-%m-%dT%H:%M:%S.%6fZ",
        false => "%Y-%m-%dT%H:%M:%SZ",
    };
    Ok(Some(time.strftime(format).to_string().into()))
}

fn raw(bytes: &[u8]) -> Result<Option<Value>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(bytes).map(Some).map_err(Error::Json)
}
