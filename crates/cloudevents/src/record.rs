//! An event's bytes in the log; described in docs/events.md. Called by the broker.
//!
//! Reading copies nothing: attributes and data are slices of the record. The log keeps length and
//! checksum; what is wrong here was written wrong or by a later version.

use bytes::{Buf, Bytes};

use crate::event::{Attribute, Event, Mode, SpecVersion, Value};
use crate::http::KNOWN_NAMES;
use crate::{Error, Text};

/// The first byte of every record; raised with every change of the bytes below.
const FORMAT: u8 = 1;

/// A name that is none of [`KNOWN_NAMES`] follows as text.
const OTHER_NAME: u8 = 0xff;

const TEXT: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INTEGER: u8 = 3;
const JSON: u8 = 4;
/// Added to the value's tag: the header's own bytes follow the value.
const WITH_WIRE: u8 = 0x80;

impl Event {
    /// The bytes to append to a log.
    pub fn to_record(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size() + 8 + 4 * self.attributes.len());
        out.push(FORMAT);
        out.push(match self.version {
            SpecVersion::V03 => 0,
            SpecVersion::V1 => 1,
        });
        out.push(match self.mode {
            Mode::Binary => 0,
            Mode::Structured => 1,
        });
        out.push(match (&self.data, self.base64) {
            (None, _) => 0,
            (Some(_), false) => 1,
            (Some(_), true) => 2,
        });
        put_length(&mut out, self.attributes.len());
        for attribute in &self.attributes {
            put_attribute(&mut out, attribute);
        }
        out.extend_from_slice(self.data.as_deref().unwrap_or_default());
        out
    }

    /// The event of a record, sharing its bytes.
    pub fn from_record(record: &Bytes) -> Result<Self, Error> {
        let mut rest = record.clone();
        if take_byte(&mut rest)? != FORMAT {
            return Err(Error::Record("written by another version of the format"));
        }
        let version = match take_byte(&mut rest)? {
            0 => SpecVersion::V03,
            1 => SpecVersion::V1,
            _ => return Err(Error::Record("unknown specversion")),
        };
        let mode = match take_byte(&mut rest)? {
            0 => Mode::Binary,
            1 => Mode::Structured,
            _ => return Err(Error::Record("unknown mode")),
        };
        let data = take_byte(&mut rest)?;
        let count = take_length(&mut rest)?;
        // Every attribute has two bytes at least; a damaged count must not reserve memory.
        let mut attributes = Vec::with_capacity(count.min(rest.len() / 2));
        for _ in 0..count {
            attributes.push(take_attribute(&mut rest)?);
        }
        let event = Self {
            version,
            mode,
            attributes,
            data: match data {
                0 if rest.is_empty() => None,
                1 | 2 => Some(rest),
                _ => return Err(Error::Record("unknown form of data")),
            },
            base64: data == 2,
        };
        // The accessors rely on these; the rest was checked before it was written.
        let whole = ["id", "source", "type"]
            .into_iter()
            .all(|name| event.get(name).and_then(Value::as_str).is_some());
        whole
            .then_some(event)
            .ok_or(Error::Record("a required attribute is absent"))
    }
}

fn put_attribute(out: &mut Vec<u8>, attribute: &Attribute) {
    let known = KNOWN_NAMES
        .iter()
        .position(|known| attribute.name == *known)
        .and_then(|at| u8::try_from(at).ok());
    match known {
        Some(code) => out.push(code),
        None => {
            out.push(OTHER_NAME);
            put_bytes(out, attribute.name.as_bytes());
        }
    }
    let wired = if attribute.wire.is_some() {
        WITH_WIRE
    } else {
        0
    };
    match &attribute.value {
        Value::Text(text) => {
            out.push(TEXT | wired);
            put_bytes(out, text.as_bytes());
        }
        Value::Json(text) => {
            out.push(JSON | wired);
            put_bytes(out, text.as_bytes());
        }
        Value::Boolean(flag) => out.push(wired | if *flag { TRUE } else { FALSE }),
        Value::Integer(number) => {
            out.push(INTEGER | wired);
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    if let Some(wire) = &attribute.wire {
        put_bytes(out, wire);
    }
}

fn take_attribute(rest: &mut Bytes) -> Result<Attribute, Error> {
    let name = match take_byte(rest)? {
        OTHER_NAME => take_text(rest)?,
        code => KNOWN_NAMES
            .get(usize::from(code))
            .map(|known| Text::from_static(known))
            .ok_or(Error::Record("unknown name code"))?,
    };
    let tag = take_byte(rest)?;
    let value = match tag & !WITH_WIRE {
        TEXT => Value::Text(take_text(rest)?),
        JSON => Value::Json(take_text(rest)?),
        FALSE => Value::Boolean(false),
        TRUE => Value::Boolean(true),
        INTEGER => Value::Integer(rest.try_get_i32_le().map_err(|_| SHORT)?),
        _ => return Err(Error::Record("unknown kind of value")),
    };
    let wire = (tag & WITH_WIRE != 0)
        .then(|| take_bytes(rest))
        .transpose()?;
    Ok(Attribute { name, value, wire })
}

const SHORT: Error = Error::Record("ends too early");

/// Seven bits a byte, the lowest first, the top bit says that more follow.
fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).expect("below 0x80"));
}

fn take_length(rest: &mut Bytes) -> Result<usize, Error> {
    let mut length = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = take_byte(rest)?;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(length).map_err(|_| SHORT);
        }
    }
    Err(Error::Record("a length is too long"))
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn take_byte(rest: &mut Bytes) -> Result<u8, Error> {
    rest.try_get_u8().map_err(|_| SHORT)
}

fn take_bytes(rest: &mut Bytes) -> Result<Bytes, Error> {
    let length = take_length(rest)?;
    if length > rest.len() {
        return Err(SHORT);
    }
    Ok(rest.split_to(length))
}

fn take_text(rest: &mut Bytes) -> Result<Text, Error> {
    Text::from_utf8(take_bytes(rest)?).ok_or(Error::Record("text is not UTF-8"))
}
