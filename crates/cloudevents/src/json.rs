//! The JSON event format: one event, and batches of them. Called by `http` alone.
//!
//! Reading copies no data: what JSON holds verbatim stays a slice of the body.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::{Event, Mode, SpecVersion, Value};
use crate::{Error, Limits, Text, validate};

/// Reads Base64 with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An object's members, unread, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object with the event's attributes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(10);
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Json(error.to_string()))
}

/// Reads one event.
pub(crate) fn decode(body: &Bytes, limits: &Limits) -> Result<Event, Error> {
    let Members(members) = parse(body)?;
    let raw_version = members
        .iter()
        .find(|(name, _)| name == "specversion")
        .ok_or(Error::Missing("specversion"))?;
    let version: String = parse(raw_version.1.get().as_bytes())
        .map_err(|_| Error::Version(raw_version.1.get().to_owned()))?;
    let mut event = Event::bare(SpecVersion::parse(&version)?, Mode::Structured);
    let mut data = Members(Vec::new());
    for (name, raw) in members {
        match &*name {
            "specversion" => {}
            "data" | "data_base64" => data.0.push((name, raw)),
            _ => {
                if let Some(value) = attribute(body, event.version, &name, raw)? {
                    event.push(name_of(body, name), value);
                }
            }
        }
        if event.attributes.len() > limits.attributes_max {
            break;
        }
    }
    validate::limits(&event, limits)?;
    validate::event(&event)?;
    read_data(body, &mut event, &data)?;
    Ok(event)
}

/// Reads an array of events; an empty one is legal.
pub(crate) fn decode_batch(body: &Bytes, limits: &Limits) -> Result<Vec<Event>, Error> {
    let items: Vec<&RawValue> = parse(body)?;
    if items.len() > limits.batch_events_max {
        return Err(Error::TooLarge {
            what: "the number of events in the batch",
            max: limits.batch_events_max,
        });
    }
    let one = |(at, raw): (usize, &RawValue)| {
        let item = body.slice_ref(raw.get().as_bytes());
        decode(&item, limits).map_err(|source| Error::Item {
            at,
            source: Box::new(source),
        })
    };
    items.into_iter().enumerate().map(one).collect()
}

/// Attribute names are lower case; other SDKs' capitals are taken as such.
fn name_of(body: &Bytes, name: Cow<'_, str>) -> Text {
    match name {
        Cow::Borrowed(part) if !part.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Text::slice_of(body, part)
        }
        _ => name.to_ascii_lowercase().into(),
    }
}

/// A member's value; null is an absent attribute.
fn attribute(
    body: &Bytes,
    version: SpecVersion,
    name: &str,
    raw: &RawValue,
) -> Result<Option<Value>, Error> {
    let json = raw.get();
    Ok(Some(match json.as_bytes().first() {
        Some(b'n') => return Ok(None),
        Some(b't') => Value::Boolean(true),
        Some(b'f') => Value::Boolean(false),
        Some(b'"') => Value::Text(string(body, raw)?),
        Some(b'{' | b'[') => Value::Json(Text::slice_of(body, json)),
        _ => match json.parse() {
            Ok(number) => Value::Integer(number),
            Err(_) if version == SpecVersion::V03 => Value::Json(Text::slice_of(body, json)),
            Err(_) => {
                return Err(Error::Attribute {
                    name: name.to_owned(),
                    problem: "is a number beyond 32 bits or with a fraction: send it as a string",
                });
            }
        },
    }))
}

/// A JSON string's content, a slice of the body where nothing is escaped.
fn string(body: &Bytes, raw: &RawValue) -> Result<Text, Error> {
    let Name(text) = parse(raw.get().as_bytes())?;
    Ok(match text {
        Cow::Borrowed(part) => Text::slice_of(body, part),
        Cow::Owned(text) => text.into(),
    })
}

fn read_data(body: &Bytes, event: &mut Event, data: &Members<'_>) -> Result<(), Error> {
    let (name, raw) = match data.0.as_slice() {
        [] => return Ok(()),
        [(name, raw)] => (name, *raw),
        _ => return Err(Error::Twice("data (or data_base64)".to_owned())),
    };
    if raw.get() == "null" {
        return Ok(());
    }
    let is_string = raw.get().starts_with('"');
    let coded = event.version == SpecVersion::V03 && event.get("datacontentencoding").is_some();
    if name == "data_base64" && event.version == SpecVersion::V03 {
        return Err(Error::Name("data_base64".to_owned()));
    }
    if name == "data_base64" || coded {
        let problem = |problem| Error::Attribute {
            name: name.to_string(),
            problem,
        };
        if !is_string {
            return Err(problem("must be a string with Base64"));
        }
        let decoded = LENIENT.decode(string(body, raw)?.as_bytes());
        event.data = Some(decoded.map_err(|_| problem("is not Base64"))?.into());
        event.base64 = true;
    } else if is_string && !validate::is_json(event.data_content_type()) {
        event.data = Some(string(body, raw)?.into_bytes());
    } else {
        event.data = Some(body.slice_ref(raw.get().as_bytes()));
    }
    Ok(())
}

/// Writes one event.
pub(crate) fn encode(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.size() + 128);
    write(event, &mut out);
    out
}

/// Writes an array of events.
pub(crate) fn encode_batch<'e>(events: impl IntoIterator<Item = &'e Event>) -> Vec<u8> {
    let mut out = vec![b'['];
    for (at, event) in events.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(event, &mut out);
    }
    out.push(b']');
    out
}

fn write(event: &Event, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"specversion\":");
    write_string(event.version.as_str(), out);
    for attribute in &event.attributes {
        write_name(&attribute.name, out);
        match &attribute.value {
            Value::Text(text) => write_string(text, out),
            other => out.extend_from_slice(other.as_text().as_bytes()),
        }
    }
    if let Some(data) = &event.data {
        write_data(event, data, out);
    }
    out.push(b'}');
}

fn write_data(event: &Event, data: &Bytes, out: &mut Vec<u8>) {
    let text = std::str::from_utf8(data).ok();
    let coded = event.get("datacontentencoding").is_some() && !event.base64;
    if let (Some(text), true) = (text, coded) {
        // 0.3 in binary mode: the body is Base64 already.
        write_name("data", out);
        return write_string(text, out);
    }
    let embeds = validate::is_json(event.data_content_type());
    match text {
        Some(text) if !event.base64 && !embeds => {
            write_name("data", out);
            write_string(text, out);
        }
        Some(text) if !event.base64 && parse::<serde::de::IgnoredAny>(data).is_ok() => {
            write_name("data", out);
            out.extend_from_slice(text.as_bytes());
        }
        _ => {
            if event.version == SpecVersion::V1 {
                write_name("data_base64", out);
            } else {
                if event.get("datacontentencoding").is_none() {
                    write_name("datacontentencoding", out);
                    write_string("base64", out);
                }
                write_name("data", out);
            }
            write_string(&STANDARD.encode(data), out);
        }
    }
}

fn write_name(name: &str, out: &mut Vec<u8>) {
    out.push(b',');
    write_string(name, out);
    out.push(b':');
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a Vec takes every string");
}
