//! The HTTP protocol binding: headers and a body in, events out, and back.
//!
//! Called by the broker, channels and sinks for requests, for replies and for what they deliver.
//! Methods, paths and status codes are theirs.

use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::event::{Attribute, Event, Mode, SpecVersion, Value};
use crate::{Error, Limits, Text, header, json, validate};

/// The content type of structured mode. Without a charset, as the Go SDK writes it: the JavaScript
/// SDK knows this spelling and one with `charset=utf-8` in lower case, and refuses all others.
pub const JSON_CONTENT_TYPE: &str = "application/cloudevents+json";
/// The content type of a batch.
pub const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";

const PREFIX: &str = "ce-";

/// How a message says that it carries events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContentMode {
    /// One event, attributes in headers.
    Binary,
    /// One event as JSON.
    Structured,
    /// A JSON array of events.
    Batch,
}

/// An encoded event: what goes into a request or a response.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// `Content-Type` and, in binary mode, the `ce-` headers.
    pub headers: HeaderMap,
    /// The data or the JSON.
    pub body: Bytes,
}

/// Header lines, in whatever the server keeps them.
pub trait Headers {
    /// Names in any case, values as received.
    fn lines(&self) -> impl Iterator<Item = (&str, &[u8])>;
}

impl Headers for HeaderMap {
    fn lines(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for [(N, V)] {
    fn lines(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

/// Which mode these headers announce (HTTP binding §3, by the content type first).
pub fn content_mode(headers: &(impl Headers + ?Sized)) -> Result<ContentMode, Error> {
    let (mut has_version, mut has_attribute) = (false, false);
    for (name, value) in headers.lines() {
        if name.eq_ignore_ascii_case("content-type") {
            if let Some(mode) = announced(value)? {
                return Ok(mode);
            }
        } else if let Some(attribute) = attribute_of(name) {
            has_attribute = true;
            has_version |= attribute.eq_ignore_ascii_case("specversion");
        }
    }
    match (has_version, has_attribute) {
        (true, _) => Ok(ContentMode::Binary),
        (false, true) => Err(Error::Missing("specversion")),
        (false, false) => Err(Error::NotAnEvent),
    }
}

/// What a content type says by itself; `None` for one that is not CloudEvents' own.
fn announced(content_type: &[u8]) -> Result<Option<ContentMode>, Error> {
    let content_type = String::from_utf8_lossy(content_type);
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let Some(rest) = essence.strip_prefix("application/cloudevents") else {
        return Ok(None);
    };
    match rest {
        "" | "+json" => Ok(Some(ContentMode::Structured)),
        "-batch" | "-batch+json" => Ok(Some(ContentMode::Batch)),
        _ => Err(Error::Format(essence)),
    }
}

fn attribute_of(name: &str) -> Option<&str> {
    let prefix = name.get(..PREFIX.len())?;
    prefix
        .eq_ignore_ascii_case(PREFIX)
        .then(|| &name[PREFIX.len()..])
        .filter(|attribute| !attribute.is_empty())
}

/// Reads a message of any mode. A batch may be empty.
pub fn decode(
    headers: &(impl Headers + ?Sized),
    body: Bytes,
    limits: &Limits,
) -> Result<Vec<Event>, Error> {
    if content_mode(headers)? == ContentMode::Batch {
        check_size(&body, limits)?;
        return json::decode_batch(&body, limits);
    }
    Ok(vec![decode_one(headers, body, limits)?])
}

/// Reads a message that must be one event; a batch is [`Error::Batch`].
pub fn decode_one(
    headers: &(impl Headers + ?Sized),
    body: Bytes,
    limits: &Limits,
) -> Result<Event, Error> {
    let mode = content_mode(headers)?;
    check_size(&body, limits)?;
    match mode {
        ContentMode::Batch => Err(Error::Batch),
        ContentMode::Structured => json::decode(&body, limits),
        ContentMode::Binary => decode_binary(headers, body, limits),
    }
}

fn check_size(body: &Bytes, limits: &Limits) -> Result<(), Error> {
    if body.len() > limits.body_bytes_max {
        return Err(Error::TooLarge {
            what: "the body, in bytes,",
            max: limits.body_bytes_max,
        });
    }
    Ok(())
}

/// Names that come with nearly every event cost no memory.
pub(crate) const KNOWN_NAMES: [&str; 20] = [
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "schemaurl",
    "datacontentencoding",
    "knativearrivaltime",
    "knativebrokerttl",
    "knativeerrordest",
    "knativeerrorcode",
    "knativeerrordata",
    "knativehistory",
    "partitionkey",
    "traceparent",
    "tracestate",
    "sequence",
    "correlationid",
];

/// A binary event while its headers are read: all of them land in one buffer, which the event's
/// attributes are slices of afterwards.
#[derive(Default)]
struct Reader {
    buffer: Vec<u8>,
    found: Vec<Found>,
}

struct Found {
    name: Result<&'static str, Range<usize>>,
    value: Range<usize>,
    wire: Option<Range<usize>>,
}

impl Reader {
    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        start..self.buffer.len()
    }

    fn read(&mut self, name: &str, raw: &[u8]) -> Result<(), Error> {
        let raw = raw.trim_ascii();
        let Some(value) = header::decode(raw) else {
            return Err(Error::Attribute {
                name: name.to_ascii_lowercase(),
                problem: "is not UTF-8, after percent-decoding",
            });
        };
        let as_sent = header::encode(&value).as_bytes() == raw;
        let known = KNOWN_NAMES
            .iter()
            .find(|known| known.eq_ignore_ascii_case(name));
        let name = known
            .copied()
            .ok_or_else(|| self.put(name.to_ascii_lowercase().as_bytes()));
        let value = self.put(value.as_bytes());
        // What no header may hold is coded when it is sent on.
        let may_be_sent = HeaderValue::from_bytes(raw).is_ok();
        let wire = (!as_sent && may_be_sent).then(|| self.put(raw));
        self.found.push(Found { name, value, wire });
        Ok(())
    }

    fn finish(self, event: &mut Event) {
        let buffer = Bytes::from(self.buffer);
        let text = |range: Range<usize>| {
            Text::from_utf8(buffer.slice(range)).expect("only text was put in")
        };
        for found in self.found {
            let name = match found.name {
                Ok(known) => Text::from_static(known),
                Err(range) => text(range),
            };
            // Of a header that is repeated the first counts, as in the Go SDK.
            if event.get(&name).is_none() {
                event.attributes.push(Attribute {
                    name,
                    value: Value::Text(text(found.value)),
                    wire: found.wire.map(|range| buffer.slice(range)),
                });
            }
        }
    }
}

fn decode_binary(
    headers: &(impl Headers + ?Sized),
    body: Bytes,
    limits: &Limits,
) -> Result<Event, Error> {
    let mut reader = Reader::default();
    let (mut version, mut content_type) = (None, None);
    for (name, value) in headers.lines() {
        if name.eq_ignore_ascii_case("content-type") {
            content_type = content_type.or(Some(value));
        } else if let Some(name) = attribute_of(name) {
            if name.eq_ignore_ascii_case("specversion") {
                let text = String::from_utf8_lossy(value);
                version = version.or(Some(SpecVersion::parse(&text)?));
            } else {
                check_room(&reader, value, limits)?;
                reader.read(name, value)?;
            }
        }
    }
    let mut event = Event::bare(version.ok_or(Error::Missing("specversion"))?, Mode::Binary);
    reader.finish(&mut event);
    if let Some(content_type) = content_type {
        // The header is the attribute; a ce-datacontenttype beside it says nothing.
        event.remove("datacontenttype");
        let mut whole = Reader::default();
        let value = whole.put(content_type);
        let text = Text::from_utf8(Bytes::from(whole.buffer).slice(value));
        let text = text.ok_or_else(|| Error::Attribute {
            name: "datacontenttype".to_owned(),
            problem: "is not UTF-8",
        })?;
        event.push(Text::from_static("datacontenttype"), Value::Text(text));
    }
    event.data = (!body.is_empty()).then_some(body);
    validate::limits(&event, limits)?;
    validate::event(&event)?;
    Ok(event)
}

fn check_room(reader: &Reader, value: &[u8], limits: &Limits) -> Result<(), Error> {
    if reader.found.len() >= limits.attributes_max {
        return Err(Error::TooLarge {
            what: "the number of attributes",
            max: limits.attributes_max,
        });
    }
    if value.len() > limits.attribute_bytes_max {
        return Err(Error::TooLarge {
            what: "the value of an attribute",
            max: limits.attribute_bytes_max,
        });
    }
    Ok(())
}

/// Writes one event in the given mode. The version stays what it is.
pub fn encode(event: &Event, mode: Mode) -> Message {
    let mut headers = HeaderMap::with_capacity(event.attributes.len() + 1);
    match mode {
        Mode::Binary => {
            binary_headers(event, |name, value| {
                let name = HeaderName::from_bytes(name.as_bytes());
                let value = HeaderValue::from_bytes(value);
                if let (Ok(name), Ok(value)) = (name, value) {
                    headers.insert(name, value);
                }
            });
            Message {
                headers,
                body: event.data.clone().unwrap_or_default(),
            }
        }
        Mode::Structured => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON_CONTENT_TYPE));
            Message {
                headers,
                body: json::encode(event).into(),
            }
        }
    }
}

/// Writes events as a batch.
pub fn encode_batch<'e>(events: impl IntoIterator<Item = &'e Event>) -> Message {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(BATCH_CONTENT_TYPE));
    Message {
        headers,
        body: json::encode_batch(events).into(),
    }
}

/// The header lines of binary mode, for writers that need no [`HeaderMap`]. Names are in lower
/// case, values hold what a header may hold.
pub fn binary_headers(event: &Event, mut put: impl FnMut(&str, &[u8])) {
    put("ce-specversion", event.version.as_str().as_bytes());
    let mut name = String::with_capacity(32);
    for attribute in &event.attributes {
        let one = attribute.name.as_str();
        if one == "datacontenttype" {
            put("content-type", attribute.value.as_text().as_bytes());
            continue;
        }
        if one == "datacontentencoding" && event.base64 {
            // The body is the data itself; only JSON needs it as Base64.
            continue;
        }
        name.clear();
        name.push_str(PREFIX);
        name.push_str(one);
        match (&attribute.wire, &attribute.value) {
            (Some(wire), _) => put(&name, wire),
            (None, Value::Json(text)) => put_json(&mut name, text, &mut put),
            (None, value) => put(&name, header::encode(&value.as_text()).as_bytes()),
        }
    }
}

/// A map of 0.3 becomes a header per key (HTTP binding 0.3, §3.1.3.1), other JSON its text.
fn put_json(name: &mut String, text: &str, put: &mut impl FnMut(&str, &[u8])) {
    let Ok(serde_json::Value::Object(members)) = serde_json::from_str(text) else {
        put(name, header::encode(text).as_bytes());
        return;
    };
    let stem = name.len();
    for (key, member) in members {
        name.truncate(stem);
        name.push('-');
        name.push_str(&key.to_ascii_lowercase());
        let member = match member {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        // Keys of a map are any text; one that no header can be named after stays behind.
        if HeaderName::from_bytes(name.as_bytes()).is_ok() {
            put(name, header::encode(&member).as_bytes());
        }
    }
}
