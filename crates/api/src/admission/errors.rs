//! What is wrong with an object, told by field: Knative's `apis.FieldError` with its paths, its
//! merging and its order. Built up by every validator, turned into text once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use crate::gotext::quote;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    /// The object is refused.
    Error,
    /// The user is told.
    Warning,
}

/// One thing wrong, at one or several fields.
#[derive(Clone, PartialEq, Eq, Debug)]
struct FieldError {
    message: String,
    paths: Vec<String>,
    details: String,
    level: Level,
}

/// A collection of what is wrong; empty is good.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Errors(Vec<FieldError>);

impl Errors {
    /// Nothing wrong.
    pub(super) const NONE: Self = Self(Vec::new());

    /// An error with this message at these fields; `""` is the current field.
    pub(super) fn new(message: impl Into<String>, paths: &[&str]) -> Self {
        Self::detailed(message, paths, "")
    }

    /// The same with an explanation in lines of its own.
    pub(super) fn detailed(
        message: impl Into<String>,
        paths: &[&str],
        details: impl Into<String>,
    ) -> Self {
        Self(vec![FieldError {
            message: message.into(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            details: details.into(),
            level: Level::Error,
        }])
    }

    pub(super) fn missing(paths: &[&str]) -> Self {
        Self::new("missing field(s)", paths)
    }

    pub(super) fn disallowed(paths: &[&str]) -> Self {
        Self::new("must not set the field(s)", paths)
    }

    pub(super) fn invalid(value: impl Display, path: &str) -> Self {
        Self::new(format!("invalid value: {value}"), &[path])
    }

    pub(super) fn invalid_because(value: impl Display, path: &str, why: &str) -> Self {
        Self::detailed(format!("invalid value: {value}"), &[path], why)
    }

    pub(super) fn invalid_key(key: &str, path: &str, why: &str) -> Self {
        Self::detailed(format!("invalid key name {}", quote(key)), &[path], why)
    }

    pub(super) fn out_of_bounds(
        value: impl Display,
        least: impl Display,
        most: impl Display,
        path: &str,
    ) -> Self {
        Self::new(format!("expected {least} <= {value} <= {most}"), &[path])
    }

    pub(super) fn none_of(paths: &[&str]) -> Self {
        Self::new("expected exactly one, got neither", paths)
    }

    pub(super) fn several_of(paths: &[&str]) -> Self {
        Self::new("expected exactly one, got both", paths)
    }

    /// The same as a mere warning.
    pub(super) fn warning(mut self) -> Self {
        for error in &mut self.0 {
            error.level = Level::Warning;
        }
        self
    }

    /// These and those.
    pub(super) fn also(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Adds those.
    pub(super) fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Seen from the parent, whose field `prefix` this is.
    pub(super) fn via_field(mut self, prefix: &str) -> Self {
        for error in &mut self.0 {
            for path in &mut error.paths {
                *path = flatten(prefix, path);
            }
        }
        self
    }

    pub(super) fn via_index(self, index: usize) -> Self {
        self.via_field(&format!("[{index}]"))
    }

    pub(super) fn via_field_index(self, field: &str, index: usize) -> Self {
        self.via_index(index).via_field(field)
    }

    pub(super) fn via_key(self, key: &str) -> Self {
        self.via_field(&format!("[{key}]"))
    }

    /// The texts of one level: equal ones merged, their fields sorted, all sorted by message.
    pub(super) fn texts(&self, level: Level) -> Vec<String> {
        let mut merged: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for error in self.0.iter().filter(|error| error.level == level) {
            let key = (error.message.as_str(), error.details.as_str());
            let paths = error.paths.iter().map(String::as_str);
            merged.entry(key).or_default().extend(paths);
        }
        merged
            .into_iter()
            .map(|((message, details), paths)| {
                let paths: Vec<&str> = paths.into_iter().collect();
                let text = format!("{message}: {}", paths.join(", "));
                if details.is_empty() {
                    text
                } else {
                    format!("{text}\n{details}")
                }
            })
            .collect()
    }
}

/// `prefix` and `path` as one path: parts are joined by dots, indexes stick to what is before.
fn flatten(prefix: &str, path: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let pieces = prefix.split('.').chain(path.split('.'));
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        match parts.last_mut() {
            Some(last) if piece.starts_with('[') && piece.ends_with(']') => last.push_str(piece),
            _ => parts.push(piece.to_owned()),
        }
    }
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::{Errors, Level};

    #[test]
    fn paths_are_flattened_and_equal_errors_merged() {
        let at = |index| Errors::missing(&["name"]).via_field_index("env", index);
        let errors = at(1)
            .also(at(0))
            .also(Errors::invalid("x", ""))
            .via_field("spec");
        let errors = errors.also(Errors::new("a warning", &[]).warning());
        let texts = errors.texts(Level::Error);
        assert_eq!(
            texts,
            [
                "invalid value: x: spec",
                "missing field(s): spec.env[0].name, spec.env[1].name"
            ]
        );
        assert_eq!(errors.texts(Level::Warning), ["a warning: "]);
    }

    #[test]
    fn keys_with_dots_stay_parts_of_their_own() {
        let errors = Errors::invalid("x", "")
            .via_key("a.b/c")
            .via_field("metadata.annotations");
        let texts = errors.texts(Level::Error);
        assert_eq!(texts, ["invalid value: x: metadata.annotations.[a.b/c]"]);
    }
}
