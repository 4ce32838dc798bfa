//! The event: attributes in the order they came, and data as bytes.
//!
//! Made by the decoders (`http`, `record`) and by sources with [`Event::new`]; read by filters, the
//! broker and the encoders.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::{Error, Text, validate};

/// The CloudEvents specification an event follows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SpecVersion {
    /// 0.3 of 2019, as the older tutorials send it.
    V03,
    /// 1.0 and its patches.
    V1,
}

impl SpecVersion {
    /// The value of `specversion`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V03 => "0.3",
            Self::V1 => "1.0",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        match text.trim() {
            "0.3" => Ok(Self::V03),
            "1.0" => Ok(Self::V1),
            _ => Err(Error::Version(text.to_owned())),
        }
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one event travels over HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Attributes as headers, data as the body.
    #[default]
    Binary,
    /// Attributes and data in one JSON body.
    Structured,
}

/// An attribute's value. Attributes of the specification and everything from headers are strings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A string, a URI, a timestamp: whatever JSON has as string.
    Text(Text),
    /// Only from the JSON format.
    Boolean(bool),
    /// Only from the JSON format; 32 bits by specification.
    Integer(i32),
    /// Any other JSON, which extensions of 0.3 may have; the text as it came.
    Json(Text),
}

impl Value {
    /// The canonical string form: what headers carry and filters compare.
    pub fn as_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) | Self::Json(text) => Cow::Borrowed(text.as_str()),
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
            Self::Integer(number) => Cow::Owned(number.to_string()),
        }
    }

    /// The string without a copy, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Boolean(flag)
    }
}

/// One attribute of the specification or an extension.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribute {
    /// In lower case, without the prefix `ce-`.
    pub name: Text,
    /// The value, decoded.
    pub value: Value,
    /// The header's bytes where they are not what [`crate::encode`] would write: they are sent on
    /// unchanged.
    pub(crate) wire: Option<Bytes>,
}

/// A checked CloudEvent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    pub(crate) version: SpecVersion,
    pub(crate) mode: Mode,
    /// All but `specversion`.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) data: Option<Bytes>,
    /// The data came, or should go, as Base64 where the format is JSON.
    pub(crate) base64: bool,
}

/// The attributes the specifications define; the rest are extensions.
pub(crate) fn is_extension(version: SpecVersion, name: &str) -> bool {
    match name {
        "id" | "source" | "type" | "specversion" | "subject" | "time" | "datacontenttype" => false,
        "dataschema" => version == SpecVersion::V03,
        "schemaurl" | "datacontentencoding" => version == SpecVersion::V1,
        _ => true,
    }
}

impl Event {
    /// An event of version 1.0 without data, in binary mode.
    pub fn new(id: &str, source: &str, kind: &str) -> Result<Self, Error> {
        Self::with_version(SpecVersion::V1, id, source, kind)
    }

    /// An event of a given version.
    pub fn with_version(
        version: SpecVersion,
        id: &str,
        source: &str,
        kind: &str,
    ) -> Result<Self, Error> {
        let mut event = Self::bare(version, Mode::Binary);
        for (name, value) in [("id", id), ("source", source), ("type", kind)] {
            event.push(Text::from_static(name), value.into());
        }
        validate::event(&event)?;
        Ok(event)
    }

    pub(crate) fn bare(version: SpecVersion, mode: Mode) -> Self {
        Self {
            version,
            mode,
            attributes: Vec::with_capacity(8),
            data: None,
            base64: false,
        }
    }

    pub(crate) fn push(&mut self, name: Text, value: Value) {
        self.attributes.push(Attribute {
            name,
            value,
            wire: None,
        });
    }

    /// The version it came in.
    pub fn version(&self) -> SpecVersion {
        self.version
    }

    /// The mode it came in.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Unique per source.
    pub fn id(&self) -> &str {
        self.required("id")
    }

    /// Where it happened: a URI reference.
    pub fn source(&self) -> &str {
        self.required("source")
    }

    /// What happened: the attribute `type`.
    pub fn kind(&self) -> &str {
        self.required("type")
    }

    /// What in the source it is about.
    pub fn subject(&self) -> Option<&str> {
        self.get("subject").and_then(Value::as_str)
    }

    /// When it happened, in RFC 3339.
    pub fn time(&self) -> Option<&str> {
        self.get("time").and_then(Value::as_str)
    }

    /// The media type of the data: `Content-Type` in binary mode.
    pub fn data_content_type(&self) -> Option<&str> {
        self.get("datacontenttype").and_then(Value::as_str)
    }

    /// The schema of the data: `dataschema`, in 0.3 `schemaurl`.
    pub fn data_schema(&self) -> Option<&str> {
        let name = match self.version {
            SpecVersion::V03 => "schemaurl",
            SpecVersion::V1 => "dataschema",
        };
        self.get(name).and_then(Value::as_str)
    }

    fn required(&self, name: &str) -> &str {
        self.get(name)
            .and_then(Value::as_str)
            .expect("no event is made without its required attributes")
    }

    /// An attribute or extension by its name; `specversion` is [`Event::version`].
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
            .map(|attribute| &attribute.value)
    }

    /// All attributes but `specversion`, in the order they came.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter()
    }

    /// The extensions, in the order they came.
    pub fn extensions(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes
            .iter()
            .filter(|attribute| is_extension(self.version, &attribute.name))
    }

    /// Adds an attribute or puts another value in its place.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) -> Result<(), Error> {
        let value = value.into();
        validate::name(self.version, name)?;
        validate::attribute(self.version, name, &value)?;
        match self.attributes.iter_mut().find(|known| known.name == name) {
            Some(known) => {
                known.value = value;
                known.wire = None;
            }
            None => self.push(name.into(), value),
        }
        Ok(())
    }

    /// Removes an optional attribute or an extension; required ones stay.
    pub fn remove(&mut self, name: &str) {
        if !matches!(name, "id" | "source" | "type") {
            self.attributes.retain(|attribute| attribute.name != name);
        }
    }

    /// The data as the producer meant it: the body of binary mode, the JSON of structured mode as
    /// it came, Base64 undone.
    pub fn data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }

    /// Whether the data came as Base64 in the JSON format.
    pub fn is_base64(&self) -> bool {
        self.base64
    }

    /// Puts other data in, with its media type.
    pub fn set_data(&mut self, content_type: &str, data: Bytes) -> Result<(), Error> {
        self.set("datacontenttype", content_type)?;
        self.remove("datacontentencoding");
        self.base64 = false;
        self.data = Some(data);
        Ok(())
    }

    /// Takes the data away; `datacontenttype` goes with it.
    pub fn clear_data(&mut self) {
        self.remove("datacontenttype");
        self.remove("datacontentencoding");
        self.base64 = false;
        self.data = None;
    }

    /// About how much memory or disk it takes, in bytes.
    pub fn size(&self) -> usize {
        let attributes: usize = self
            .attributes
            .iter()
            .map(|attribute| attribute.name.as_bytes().len() + attribute.value.as_text().len())
            .sum();
        attributes + self.data.as_ref().map_or(0, Bytes::len)
    }
}
