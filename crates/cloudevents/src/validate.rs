//! The rules of the specifications for names and values. Every decoder ends here.

use crate::event::{Event, SpecVersion, Value};
use crate::{Error, Limits};

/// Checks a whole event: required attributes, then each attribute.
pub(crate) fn event(event: &Event) -> Result<(), Error> {
    for required in ["id", "source", "type"] {
        match event.get(required) {
            Some(Value::Text(text)) if !text.trim().is_empty() => {}
            Some(Value::Text(_)) | None => return Err(Error::Missing(required)),
            Some(_) => return Err(problem(required, "must be a string")),
        }
    }
    for (at, one) in event.attributes.iter().enumerate() {
        name(event.version, &one.name)?;
        attribute(event.version, &one.name, &one.value)?;
        if event.attributes[..at]
            .iter()
            .any(|other| other.name == one.name)
        {
            return Err(Error::Twice(one.name.to_string()));
        }
    }
    Ok(())
}

/// Checks an event against what the listener accepts.
pub(crate) fn limits(event: &Event, limits: &Limits) -> Result<(), Error> {
    if event.attributes.len() > limits.attributes_max {
        return Err(Error::TooLarge {
            what: "the number of attributes",
            max: limits.attributes_max,
        });
    }
    let longest = event
        .attributes
        .iter()
        .map(|attribute| match &attribute.value {
            Value::Text(text) | Value::Json(text) => text.as_bytes().len(),
            Value::Boolean(_) | Value::Integer(_) => 0,
        })
        .max();
    if longest.is_some_and(|bytes| bytes > limits.attribute_bytes_max) {
        return Err(Error::TooLarge {
            what: "the value of an attribute",
            max: limits.attribute_bytes_max,
        });
    }
    Ok(())
}

/// Lower-case letters and digits. 0.3 also has `-`, from maps that were flattened into headers.
pub(crate) fn name(version: SpecVersion, name: &str) -> Result<(), Error> {
    let legal = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || (version == SpecVersion::V03 && matches!(byte, b'-' | b'_'))
    };
    // `specversion` and `data` are members of the event, not attributes one can add.
    let reserved = matches!(name, "specversion" | "data" | "data_base64");
    if name.is_empty() || reserved || !name.bytes().all(legal) {
        return Err(Error::Name(name.to_owned()));
    }
    Ok(())
}

/// The rule of one attribute.
pub(crate) fn attribute(version: SpecVersion, name: &str, value: &Value) -> Result<(), Error> {
    if crate::event::is_extension(version, name) {
        return match value {
            Value::Json(_) if version == SpecVersion::V1 => Err(problem(
                name,
                "must be a string, a boolean or an integer of 32 bits: put structured values into the data",
            )),
            _ => Ok(()),
        };
    }
    let Value::Text(text) = value else {
        return Err(problem(name, "must be a string"));
    };
    let text = text.as_str();
    match name {
        "id" | "type" | "subject" if text.trim().is_empty() => {
            Err(problem(name, "must not be empty: leave it out instead"))
        }
        "source" => uri_reference(name, text),
        "dataschema" | "schemaurl" => uri_reference(name, text),
        "time" if text.parse::<jiff::Timestamp>().is_err() => Err(problem(
            name,
            "is not an RFC 3339 timestamp such as 2018-04-05T17:31:00Z",
        )),
        "datacontenttype" if !is_media_type(text) => Err(problem(
            name,
            "is not a media type (RFC 2046) such as application/json",
        )),
        "datacontentencoding" if !text.eq_ignore_ascii_case("base64") => {
            Err(problem(name, "must be base64 or left out"))
        }
        _ => Ok(()),
    }
}

fn problem(name: &str, problem: &'static str) -> Error {
    Error::Attribute {
        name: name.to_owned(),
        problem,
    }
}

/// RFC 3986, as far as Go's URL parser insists: no control characters, whole percent codes, no
/// colon before the first slash unless a scheme precedes it.
fn uri_reference(name: &str, text: &str) -> Result<(), Error> {
    if text.trim().is_empty() {
        return Err(problem(name, "must not be empty"));
    }
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(problem(
            name,
            "is not a URI reference: it has a control character",
        ));
    }
    let bytes = text.as_bytes();
    let half_code = |at: usize| {
        bytes[at] == b'%'
            && !bytes
                .get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if (0..bytes.len()).any(half_code) {
        return Err(problem(
            name,
            "is not a URI reference: two hexadecimal digits must follow each %",
        ));
    }
    let first_segment = text.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some((scheme, _)) = first_segment.split_once(':') {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let starts_well = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
        if !starts_well || !scheme.bytes().all(legal) {
            return Err(problem(
                name,
                "is not a URI reference: what stands before the first colon is no scheme",
            ));
        }
    }
    Ok(())
}

/// `type/subtype` or, as Go has it, a single token; parameters are not looked at.
fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim();
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    match essence.split_once('/') {
        Some((kind, subtype)) => token(kind) && token(subtype),
        None => token(essence),
    }
}

/// Whether data of this media type is JSON: `application/json`, `…/json`, `…+json`; without a media
/// type it is.
pub(crate) fn is_json(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else {
        return true;
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let ends = |end: &str| {
        essence
            .len()
            .checked_sub(end.len())
            .and_then(|start| essence.get(start..))
            .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    ends("/json") || ends("+json")
}
