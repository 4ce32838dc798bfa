//! Validation of values, in the words of Kubernetes' validator for custom resources.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Checks, Kind, Node, Struct, Topology};
use crate::field::{FieldError, Violation, go_quote, join};
use crate::format;

pub(super) fn validate(root: &Arc<Node>, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    root.check(object, old, "", &mut errors);
    errors
}

impl Node {
    fn check(
        self: &Arc<Self>,
        value: &Value,
        old: Option<&Value>,
        path: &str,
        errors: &mut Vec<FieldError>,
    ) {
        // What did not change was accepted before, perhaps by another schema.
        if old == Some(value) {
            return;
        }
        self.resolved().check_value(value, old, path, errors);
    }

    fn check_value(
        &self,
        value: &Value,
        old: Option<&Value>,
        path: &str,
        errors: &mut Vec<FieldError>,
    ) {
        if value.is_null() && self.nullable {
            return;
        }
        if let Some(expected) = self.mismatch(value) {
            errors.push(type_error(path, value, expected));
            return;
        }
        if let Some(checks) = &self.checks {
            checks.check(value, path, errors);
        }
        match (value, &self.kind) {
            (Value::Object(fields), Kind::Struct(shape)) => {
                shape.check(fields, old, path, errors);
            }
            (Value::Object(fields), Kind::Map { values }) => {
                for (name, value) in fields {
                    let old = old.and_then(|old| old.get(name));
                    values.check(value, old, &join(path, name), errors);
                }
            }
            (
                Value::Array(list),
                Kind::List {
                    items, topology, ..
                },
            ) => {
                for (index, item) in list.iter().enumerate() {
                    let old = topology.counterpart(item, old);
                    items.check(item, old, &format!("{path}[{index}]"), errors);
                }
                topology.check_unique(list, path, errors);
            }
            _ => {}
        }
    }

    /// The type the node wants, when `value` is not of it.
    fn mismatch(&self, value: &Value) -> Option<&'static str> {
        let (expected, fits) = match &self.kind {
            Kind::Any | Kind::Recursive(_) => return None,
            Kind::Bool => ("boolean", value.is_boolean()),
            Kind::Integer => ("integer", is_integer(value)),
            Kind::Number => ("number", value.is_number()),
            Kind::String => ("string", value.is_string()),
            Kind::IntOrString => ("integer,string", is_integer(value) || value.is_string()),
            Kind::List { .. } => ("array", value.is_array()),
            Kind::Map { .. } | Kind::Struct(_) => ("object", value.is_object()),
        };
        (!fits).then_some(expected)
    }

    /// What this node, a branch, has to complain about.
    fn outcome(&self, value: &Value, path: &str) -> Vec<FieldError> {
        let mut errors = Vec::new();
        self.check_value(value, None, path, &mut errors);
        errors
    }
}

impl Struct {
    fn check(
        &self,
        fields: &Map<String, Value>,
        old: Option<&Value>,
        path: &str,
        errors: &mut Vec<FieldError>,
    ) {
        for (name, field) in &self.fields {
            if let Some(value) = fields.get(&**name) {
                let old = old.and_then(|old| old.get(&**name));
                field.node.check(value, old, &join(path, name), errors);
            }
        }
        for name in &self.required {
            if !fields.contains_key(&**name) {
                errors.push(FieldError::required(join(path, name), ""));
            }
        }
    }
}

impl Topology {
    /// The element of the `old` list with the keys of `item`.
    pub(super) fn counterpart<'a>(
        &self,
        item: &Value,
        old: Option<&'a Value>,
    ) -> Option<&'a Value> {
        let Self::Map(keys) = self else {
            return None;
        };
        let same = |other: &&Value| keys.iter().all(|key| other.get(&**key) == item.get(&**key));
        old?.as_array()?.iter().find(same)
    }

    fn check_unique(&self, list: &[Value], path: &str, errors: &mut Vec<FieldError>) {
        let identity = |item: &Value| match self {
            Self::Atomic => None,
            Self::Set => Some(item.clone()),
            Self::Map(keys) => {
                let fields = keys
                    .iter()
                    .filter_map(|key| Some((key.to_string(), item.get(&**key)?.clone())));
                Some(Value::Object(fields.collect()))
            }
        };
        let mut seen = BTreeSet::new();
        for (index, item) in list.iter().enumerate() {
            let Some(identity) = identity(item) else {
                return;
            };
            if !seen.insert(identity.to_string()) {
                let path = format!("{path}[{index}]");
                errors.push(FieldError::duplicate(path, &identity));
            }
        }
    }
}

impl Checks {
    fn check(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        match value {
            Value::String(text) => self.check_string(text, value, path, errors),
            Value::Number(number) => {
                self.check_number(number.as_f64().unwrap_or_default(), value, path, errors);
            }
            Value::Array(items) => self.check_list(items, path, errors),
            Value::Object(fields) => self.check_object(fields, path, errors),
            Value::Null | Value::Bool(_) => {}
        }
        if let Some(choices) = &self.choices
            && !choices.contains(value)
        {
            errors.push(FieldError::not_supported(path, value, choices));
        }
        self.check_branches(value, path, errors);
    }

    fn check_string(&self, text: &str, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        let length = text.chars().count() as u64;
        if let Some(max) = self.length_max.filter(|max| length > *max) {
            errors.push(FieldError::too_long(path, max));
        }
        let mut invalid = |detail| errors.push(FieldError::invalid(path, value, detail));
        if let Some(min) = self.length_min.filter(|min| length < *min) {
            invalid(format!(
                "{path} in body should be at least {min} chars long"
            ));
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|it| !it.matches(text)) {
            invalid(format!("{path} in body should match '{}'", pattern.text));
        }
        if let Some(format) = &self.format
            && !format::holds(format, text)
        {
            let detail = format!(
                "{path} in body must be of type {format}: {}",
                go_quote(text)
            );
            errors.push(FieldError::with(
                Violation::TypeInvalid,
                path,
                value,
                detail,
            ));
        }
    }

    fn check_number(&self, number: f64, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        let mut invalid = |relation: &str, limit: f64| {
            let detail = format!("{path} in body should be {relation} {limit}");
            errors.push(FieldError::invalid(path, value, detail));
        };
        match self.maximum {
            Some((max, false)) if number > max => invalid("less than or equal to", max),
            Some((max, true)) if number >= max => invalid("less than", max),
            _ => {}
        }
        match self.minimum {
            Some((min, false)) if number < min => invalid("greater than or equal to", min),
            Some((min, true)) if number <= min => invalid("greater than", min),
            _ => {}
        }
        if let Some(factor) = self.multiple_of
            && (number / factor).fract() != 0.0
        {
            invalid("a multiple of", factor);
        }
        if self.format.as_deref() == Some("int32") && i32::try_from(number as i64).is_err() {
            let detail = format!(
                "{path} in body must be of type int32: {}",
                go_quote("int64")
            );
            errors.push(FieldError::invalid(path, value, detail));
        }
    }

    fn check_list(&self, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
        let count = items.len() as u64;
        if let Some(max) = self.items_max.filter(|max| count > *max) {
            errors.push(FieldError::too_many(path, items.len(), max));
        }
        if let Some(min) = self.items_min.filter(|min| count < *min) {
            let detail = format!("{path} in body should have at least {min} items");
            errors.push(FieldError::invalid(path, &count.into(), detail));
        }
        let distinct: BTreeSet<String> = items.iter().map(Value::to_string).collect();
        if self.unique_items && distinct.len() < items.len() {
            let detail = format!("{path} in body shouldn't contain duplicates");
            errors.push(FieldError::invalid(path, &Value::from(""), detail));
        }
    }

    fn check_object(&self, fields: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
        let count = fields.len() as u64;
        if let Some(max) = self.properties_max.filter(|max| count > *max) {
            errors.push(FieldError::too_many(path, fields.len(), max));
        }
        if let Some(min) = self.properties_min.filter(|min| count < *min) {
            let detail = format!("{path} in body should have at least {min} properties");
            errors.push(FieldError::invalid(path, &count.into(), detail));
        }
        if let Some(branch) = &self.branch {
            branch.check(fields, None, path, errors);
        }
    }

    /// `anyOf`, `oneOf`, `allOf` and `not`, with the complaints of the branch that nearly held.
    fn check_branches(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        let outcomes = |branches: &[Node]| -> Vec<Vec<FieldError>> {
            let outcome = |branch: &Node| branch.outcome(value, path);
            branches.iter().map(outcome).collect()
        };
        let any = outcomes(&self.any_of);
        if !any.is_empty() && any.iter().all(|errors| !errors.is_empty()) {
            errors.push(composite(path, "must validate at least one schema (anyOf)"));
            errors.extend(nearest(any));
        }
        let one = outcomes(&self.one_of);
        let holding = one.iter().filter(|errors| errors.is_empty()).count();
        if !one.is_empty() && holding != 1 {
            let found = match holding {
                0 => "Found none valid".to_owned(),
                several => format!("Found {several} valid alternatives"),
            };
            let text = format!("must validate one and only one schema (oneOf). {found}");
            errors.push(composite(path, &text));
            if holding == 0 {
                errors.extend(nearest(one));
            }
        }
        let all = outcomes(&self.all_of);
        let failing = all.iter().filter(|errors| !errors.is_empty()).count();
        let none = if failing == all.len() {
            ". None validated"
        } else {
            ""
        };
        errors.extend(all.into_iter().flatten());
        if failing > 0 {
            let text = format!("must validate all the schemas (allOf){none}");
            errors.push(composite(path, &text));
        }
        if let Some(not) = &self.not
            && not.outcome(value, path).is_empty()
        {
            errors.push(composite(path, "must not validate the schema (not)"));
        }
    }
}

/// The complaints of the first branch with the fewest.
fn nearest(outcomes: Vec<Vec<FieldError>>) -> Vec<FieldError> {
    let fewest = outcomes.into_iter().min_by_key(Vec::len);
    fewest.unwrap_or_default()
}

/// Complaints about branches name the field only in their text.
fn composite(path: &str, text: &str) -> FieldError {
    FieldError::invalid(
        "<nil>",
        &Value::from(""),
        format!("{} {text}", go_quote(path)),
    )
}

fn type_error(path: &str, value: &Value, expected: &str) -> FieldError {
    let actual = Value::from(match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    });
    let name = if path.is_empty() { "" } else { path };
    let detail = format!("{name} in body must be of type {expected}: {actual}");
    FieldError::with(Violation::TypeInvalid, path, &actual, detail)
}

/// Whether `value` is a whole number, whichever way it is written.
fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}
