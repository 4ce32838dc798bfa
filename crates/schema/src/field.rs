//! Violations of a schema, in the words of Kubernetes' `field.Error`.
//!
//! Made by the structural validator; the API server turns them into a 422 Status: `Display` is the
//! whole text, `body` the text without the field, `reason` the cause's reason.

use std::fmt::{self, Display, Formatter, Write as _};

use serde_json::Value;

/// What kind of violation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// A required value is absent.
    Required,
    /// The value is not valid.
    Invalid,
    /// The value is not of the field's type.
    TypeInvalid,
    /// The value is not one of an enumeration.
    NotSupported,
    /// The value must be unique and is not.
    Duplicate,
    /// The value must not be there.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// There are too many values.
    TooMany,
}

impl Violation {
    /// Whether it says that a value is not of the form others may count on.
    pub(crate) const fn is_of_shape(self) -> bool {
        matches!(
            self,
            Self::Required | Self::TypeInvalid | Self::TooLong | Self::TooMany
        )
    }
}

/// One violation of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// What kind of violation it is.
    pub violation: Violation,
    /// The path of the field: `spec.containers[0].name`.
    pub field: String,
    /// The offending value as Kubernetes prints it, where the text shows one.
    pub value: Option<String>,
    /// The rest of the text, may be empty.
    pub detail: String,
}

impl FieldError {
    /// A required value is absent.
    #[must_use]
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::plain(Violation::Required, field, detail)
    }

    /// The value must not be there.
    #[must_use]
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::plain(Violation::Forbidden, field, detail)
    }

    /// The value is not valid.
    #[must_use]
    pub fn invalid(field: impl Into<String>, value: &Value, detail: impl Into<String>) -> Self {
        Self::with(Violation::Invalid, field, value, detail)
    }

    /// The value must be unique and is not.
    #[must_use]
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::with(Violation::Duplicate, field, value, "")
    }

    /// The value is longer than `max` bytes.
    #[must_use]
    pub fn too_long(field: impl Into<String>, max: u64) -> Self {
        let detail = format!("may not be more than {max} bytes");
        Self::plain(Violation::TooLong, field, detail)
    }

    /// There are `actual` values, more than `max`.
    #[must_use]
    pub fn too_many(field: impl Into<String>, actual: usize, max: u64) -> Self {
        let detail = format!("must have at most {max} items");
        Self::with(Violation::TooMany, field, &Value::from(actual), detail)
    }

    /// The value is none of `supported`.
    #[must_use]
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[Value]) -> Self {
        let quoted: Vec<String> = supported
            .iter()
            .map(|choice| match choice {
                Value::String(text) => go_quote(text),
                other => go_quote(&other.to_string()),
            })
            .collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        Self::with(Violation::NotSupported, field, value, detail)
    }

    pub(crate) fn with(
        violation: Violation,
        field: impl Into<String>,
        value: &Value,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            violation,
            field: field.into(),
            value: Some(go_value(value)),
            detail: detail.into(),
        }
    }

    fn plain(violation: Violation, field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            violation,
            field: field.into(),
            value: None,
            detail: detail.into(),
        }
    }

    /// The text without the field: what a Status cause carries as its message.
    #[must_use]
    pub fn body(&self) -> String {
        let mut text = String::from(match self.violation {
            Violation::Required => "Required value",
            Violation::Invalid | Violation::TypeInvalid => "Invalid value",
            Violation::NotSupported => "Unsupported value",
            Violation::Duplicate => "Duplicate value",
            Violation::Forbidden => "Forbidden",
            Violation::TooLong => "Too long",
            Violation::TooMany => "Too many",
        });
        for part in [self.value.as_deref().unwrap_or_default(), &self.detail] {
            if !part.is_empty() {
                text.push_str(": ");
                text.push_str(part);
            }
        }
        text
    }

    /// The reason of the Status cause.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.violation {
            Violation::Required => "FieldValueRequired",
            Violation::Invalid => "FieldValueInvalid",
            Violation::TypeInvalid => "FieldValueTypeInvalid",
            Violation::NotSupported => "FieldValueNotSupported",
            Violation::Duplicate => "FieldValueDuplicate",
            Violation::Forbidden => "FieldValueForbidden",
            Violation::TooLong => "FieldValueTooLong",
            Violation::TooMany => "FieldValueTooMany",
        }
    }
}

impl Display for FieldError {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() {
            "<nil>"
        } else {
            &self.field
        };
        write!(out, "{field}: {}", self.body())
    }
}

/// A path below `parent`: `spec.replicas`.
pub(crate) fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

/// `value` as Go's `%q` (strings), `%v` (numbers, booleans) or `%#v` prints it.
fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "\"null\"".to_owned(),
        Value::String(text) => go_quote(text),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => {
            let mut out = String::new();
            go_syntax(value, &mut out);
            out
        }
    }
}

fn go_syntax(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("interface {}(nil)"),
        Value::String(text) => out.push_str(&go_quote(text)),
        Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
        Value::Array(items) => {
            out.push_str("[]interface {}{");
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                go_syntax(item, out);
            }
            out.push('}');
        }
        Value::Object(fields) => {
            out.push_str("map[string]interface {}{");
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            for (index, name) in names.into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&go_quote(name));
                out.push(':');
                go_syntax(&fields[name], out);
            }
            out.push('}');
        }
    }
}

/// `text` in double quotes, as Go's `strconv.Quote`.
pub(crate) fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
