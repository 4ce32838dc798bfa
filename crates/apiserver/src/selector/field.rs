//! Field selectors: `metadata.name=a,status.phase!=Running`.

use serde_json::Value;

/// A conjunction of comparisons; empty selects everything.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct FieldSelector(Vec<Term>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Term {
    path: String,
    equal: bool,
    value: String,
}

impl FieldSelector {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses the query parameter's syntax. Backslash escapes `,`, `=` and itself.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let terms = split_unescaped(text)
            .into_iter()
            .filter(|term| !term.is_empty());
        terms
            .map(|term| Term::parse(&term))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The fields it compares, for the check that the kind supports them.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|term| &*term.path)
    }

    /// Whether comparisons remain that namespace and name do not answer.
    pub(super) fn needs_object(&self) -> bool {
        self.0
            .iter()
            .any(|term| !matches!(&*term.path, "metadata.name" | "metadata.namespace"))
    }

    /// Compares what namespace and name answer.
    pub(super) fn matches_path(&self, namespace: &str, name: &str) -> bool {
        self.0.iter().all(|term| match &*term.path {
            "metadata.name" => term.holds(name),
            "metadata.namespace" => term.holds(namespace),
            _ => true,
        })
    }

    /// Compares everything.
    pub(super) fn matches_object(&self, object: &Value) -> bool {
        self.0
            .iter()
            .all(|term| term.holds(&read(object, &term.path)))
    }
}

impl Term {
    fn parse(term: &str) -> Result<Self, String> {
        let split = ["!=", "==", "="].iter().find_map(|operator| {
            let (path, value) = term.split_once(operator)?;
            // `a==b` must not be taken for `a` `=` `=b`, nor `a=b!=c` for `a=b` `!=` `c`.
            (!path.contains('=')).then_some((path, *operator, value))
        });
        let Some((path, operator, value)) = split else {
            return Err(format!(
                "invalid selector: '{term}'; can't understand '{term}'"
            ));
        };
        let path = match path.trim() {
            "source" => "source.component",
            "reportingComponent" => "reportingComponent",
            other => other,
        };
        let value = unescape(value.trim());
        Ok(Self {
            path: path.to_owned(),
            equal: operator != "!=",
            value,
        })
    }

    fn holds(&self, actual: &str) -> bool {
        (actual == self.value) == self.equal
    }
}

fn read(object: &Value, path: &str) -> String {
    let value = path.split('.').fold(object, |value, key| &value[key]);
    match value {
        Value::Null if matches!(path, "spec.unschedulable" | "spec.hostNetwork") => "false".into(),
        Value::Null if path.starts_with("status.") && path.ends_with("replicas") => "0".into(),
        Value::Null if path == "status.successful" => "0".into(),
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn split_unescaped(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        let separates = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        match parts.last_mut() {
            Some(last) if !separates => last.push(c),
            _ => parts.push(String::new()),
        }
    }
    parts
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' {
            chars.next().unwrap_or(c)
        } else {
            c
        });
    }
    out
}
