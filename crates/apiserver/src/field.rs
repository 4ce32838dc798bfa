//! Errors about single fields of an object, worded as `k8s.io/apimachinery/.../field` words them.

use std::fmt;

use serde_json::{Value, json};

/// One thing that is wrong with one field.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Error {
    /// The path, e.g. `spec.containers[0].name`.
    pub field: String,
    /// The reason clients match on.
    pub reason: &'static str,
    /// The text behind the field.
    pub text: String,
}

impl Error {
    fn new(field: impl Into<String>, reason: &'static str, text: String) -> Self {
        Self {
            field: field.into(),
            reason,
            text,
        }
    }

    /// The field has to be there.
    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new(
            field,
            "FieldValueRequired",
            with_detail("Required value".into(), detail),
        )
    }

    /// The value breaks a rule.
    pub(crate) fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        let text = with_detail(format!("Invalid value: {}", show(value)), detail);
        Self::new(field, "FieldValueInvalid", text)
    }

    /// The same of a structure, shown as Go prints it.
    pub(crate) fn invalid_shown(field: impl Into<String>, shown: &str, detail: &str) -> Self {
        let text = with_detail(format!("Invalid value: {shown}"), detail);
        Self::new(field, "FieldValueInvalid", text)
    }

    /// The value is not one of those allowed.
    pub(crate) fn not_supported(field: impl Into<String>, value: &Value, allowed: &[&str]) -> Self {
        let mut text = format!("Unsupported value: {}", show(value));
        if !allowed.is_empty() {
            let quoted: Vec<_> = allowed.iter().map(|a| format!("\"{a}\"")).collect();
            text = format!("{text}: supported values: {}", quoted.join(", "));
        }
        Self::new(field, "FieldValueNotSupported", text)
    }

    /// The value occurs twice.
    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new(
            field,
            "FieldValueDuplicate",
            format!("Duplicate value: {}", show(value)),
        )
    }

    /// The field may not be set or changed.
    pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new(
            field,
            "FieldValueForbidden",
            with_detail("Forbidden".into(), detail),
        )
    }

    /// The text is too long.
    pub(crate) fn too_long(field: impl Into<String>, max: usize) -> Self {
        let text = format!("Too long: may not be more than {max} bytes");
        Self::new(field, "FieldValueTooLong", text)
    }

    /// What the field refers to does not exist.
    pub(crate) fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::new(
            field,
            "FieldValueNotFound",
            format!("Not found: {}", show(value)),
        )
    }

    /// The entry of `status.details.causes`.
    pub(crate) fn cause(&self) -> Value {
        json!({"reason": self.reason, "message": self.text, "field": self.field})
    }
}

impl From<schema::FieldError> for Error {
    fn from(error: schema::FieldError) -> Self {
        let (reason, text) = (error.reason(), error.body());
        Self {
            field: error.field,
            reason,
            text,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

/// All errors as one text: a single one bare, several in brackets, repetitions left out.
pub(crate) fn join(errors: &[Error]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match &*texts {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// Lower-case RFC 1123 subdomain: most names.
pub(crate) fn dns_subdomain(name: &str) -> Vec<String> {
    let mut errors = too_long(name, 253);
    if name.is_empty() || !name.split('.').all(is_label) {
        errors.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
             '-' or '.', and must start and end with an alphanumeric character (e.g. \
             'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        );
    }
    errors
}

/// Lower-case RFC 1123 label: namespaces, container and volume names.
pub(crate) fn dns_label(name: &str) -> Vec<String> {
    let mut errors = too_long(name, 63);
    if !is_label(name) {
        errors.push(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or \
             '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
             '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
                .to_owned(),
        );
    }
    errors
}

/// RFC 1035 label: names of Services.
pub(crate) fn dns1035_label(name: &str) -> Vec<String> {
    let mut errors = too_long(name, 63);
    if !is_label(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        errors.push(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start \
             with an alphabetic character, and end with an alphanumeric character (e.g. \
             'my-name',  or 'abc-123', regex used for validation is \
             '[a-z]([-a-z0-9]*[a-z0-9])?')"
                .to_owned(),
        );
    }
    errors
}

/// `*.` and a subdomain: hosts of Ingresses.
pub(crate) fn wildcard_subdomain(host: &str) -> Vec<String> {
    let mut errors = too_long(host, 253);
    let below = host.strip_prefix("*.").unwrap_or_default();
    if below.is_empty() || !below.split('.').all(is_label) {
        errors.push(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS \
             subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and \
             end with an alphanumeric character (e.g. '*.example.com', regex used for validation \
             is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        );
    }
    errors
}

/// Names of ports.
pub(crate) fn port_name(name: &str) -> Vec<String> {
    const BYTES_MAX: usize = 15;
    let all = |test: fn(char) -> bool| name.chars().all(test);
    let edge = |name: &str| name.starts_with('-') || name.ends_with('-');
    let rules = [
        (name.len() > BYTES_MAX, "must be no more than 15 characters"),
        (
            name.is_empty() || !all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (
            !name.contains(|c: char| c.is_ascii_lowercase()),
            "must contain at least one letter (a-z)",
        ),
        (name.contains("--"), "must not contain consecutive hyphens"),
        (edge(name), "must not begin or end with a hyphen"),
    ];
    let broken = rules.into_iter().filter(|(is_broken, _)| *is_broken);
    broken.map(|(_, rule)| rule.to_owned()).collect()
}

/// Anything that can be one segment of a path: names of RBAC objects.
pub(crate) fn path_segment(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    let bad = name.chars().filter(|c| matches!(c, '/' | '%'));
    bad.map(|c| format!("may not contain '{c}'")).collect()
}

/// `prefix/name` keys of labels, annotations, finalizers.
pub(crate) fn qualified_name(name: &str) -> Vec<String> {
    const PART: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start \
                        and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
                        '123-abc', regex used for validation is \
                        '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let mut errors = Vec::new();
    let parts: Vec<&str> = name.split('/').collect();
    let last = match &*parts {
        [last] => last,
        [prefix, last] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                let wrong = dns_subdomain(prefix);
                errors.extend(wrong.into_iter().map(|e| format!("prefix part {e}")));
            }
            last
        }
        _ => {
            return vec![format!(
                "a qualified name {PART} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
            )];
        }
    };
    if last.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if last.len() > 63 {
        errors.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_qualified_part(last) {
        errors.push(format!("name part {PART}"));
    }
    errors
}

/// Values of labels.
pub(crate) fn label_value(value: &str) -> Vec<String> {
    let mut errors = too_long(value, 63);
    if !value.is_empty() && !is_qualified_part(value) {
        errors.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', \
             '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  \
             or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .to_owned(),
        );
    }
    errors
}

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(inner)
}

fn is_qualified_part(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(inner)
}

fn too_long(text: &str, max: usize) -> Vec<String> {
    let long = text.len() > max;
    long.then(|| format!("must be no more than {max} bytes"))
        .into_iter()
        .collect()
}

/// How Go's `field.Error` prints a bad value: maps and lists of strings with their Go type, other
/// structures as JSON.
fn show(value: &Value) -> String {
    match value {
        Value::Object(map) if map.values().all(Value::is_string) => {
            let entries: Vec<_> = map
                .iter()
                .map(|(key, value)| format!("{key:?}:{value}"))
                .collect();
            format!("map[string]string{{{}}}", entries.join(", "))
        }
        Value::Array(list) if list.iter().all(Value::is_string) => {
            let entries: Vec<_> = list.iter().map(Value::to_string).collect();
            format!("[]string{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

fn with_detail(text: String, detail: &str) -> String {
    if detail.is_empty() {
        text
    } else {
        format!("{text}: {detail}")
    }
}
