//! What changed between two values of one type, in the words of Knative's `kmp.ShortDiff`: one
//! block per changed path, paths in Go's notation.

use serde_json::Value;

use super::shape::{Field, Type, fields};
use crate::gotext::quote;
use crate::quantity::{Held, Quantity};

/// The blocks of what changed from `old` to `new`, decoded values of type `name`; empty if
/// nothing did. `pointer` tells whether Knative compares pointers to it.
pub(super) fn short(name: &'static str, pointer: bool, old: &Value, new: &Value) -> String {
    let star = if pointer { "*" } else { "" };
    let mut blocks = String::new();
    let root = Path {
        stars: String::new(),
        text: format!("{{{star}v1.{name}}}"),
    };
    compare_fields(name, &root, old, new, &mut blocks);
    blocks
}

/// The same for two strings.
pub(super) fn strings(old: &str, new: &str) -> String {
    let mut blocks = String::new();
    if old != new {
        let root = Path {
            stars: String::new(),
            text: "{string}".to_owned(),
        };
        report(
            &root,
            "",
            Some(old.to_owned()),
            Some(new.to_owned()),
            &mut blocks,
        );
    }
    blocks
}

/// The same for two lists of type `name`; what is not there is an empty list.
pub(super) fn list(name: &'static str, old: &Value, new: &Value) -> String {
    let mut blocks = String::new();
    let root = Path {
        stars: String::new(),
        text: format!("{{[]v1.{name}}}"),
    };
    let field = Field {
        json: "",
        go: String::new(),
        of: Type::Struct(name),
        list: true,
        pointer: false,
        always: true,
        inline: false,
    };
    let [old, new] = [old, new].map(|value| value.as_array().map_or(&[][..], Vec::as_slice));
    compare_lists(&field, &root, old, new, &mut blocks);
    blocks
}

/// A value of type `name` as Go's `%v` prints it: no names of fields. What Go has behind a pointer,
/// and prints as an address, is printed itself.
pub(super) fn brief(name: &'static str, value: &Value) -> String {
    let one = |field: &Field, value: &Value| match field.of {
        Type::Struct(of) if value.is_object() && field.pointer => format!("&{}", brief(of, value)),
        Type::Struct(of) if !field.pointer => brief(of, value),
        _ => show_field(field, value),
    };
    let shown = fields(name).iter().map(|field| match field.of {
        Type::Struct(inlined) if field.inline => brief(inlined, value),
        _ => one(field, &value[field.json]),
    });
    let shown: Vec<String> = shown.collect();
    format!("{{{}}}", shown.join(" "))
}

/// A path; a pointer at its end is shown by a star in front of it.
struct Path {
    stars: String,
    text: String,
}

impl Path {
    fn then(&self, step: &str) -> Self {
        Self {
            stars: String::new(),
            text: format!("{}{step}", self.text),
        }
    }

    fn dereferenced(mut self) -> Self {
        self.stars.push('*');
        self
    }
}

fn compare_fields(name: &'static str, path: &Path, old: &Value, new: &Value, out: &mut String) {
    for field in fields(name) {
        let path = path.then(&format!(".{}", field.go));
        match field.of {
            Type::Struct(inlined) if field.inline => compare_fields(inlined, &path, old, new, out),
            _ => compare_field(field, path, &old[field.json], &new[field.json], out),
        }
    }
}

fn compare_field(field: &Field, path: Path, old: &Value, new: &Value, out: &mut String) {
    if old == new {
        return;
    }
    match (&field.of, old, new) {
        (_, Value::Array(old), Value::Array(new)) => compare_lists(field, &path, old, new, out),
        (Type::Struct(name), Value::Object(_), Value::Object(_)) => {
            compare_fields(name, &path, old, new, out);
        }
        (Type::StringMap | Type::Quantities, Value::Object(before), Value::Object(after)) => {
            let keys: std::collections::BTreeSet<&String> =
                before.keys().chain(after.keys()).collect();
            for key in keys {
                let (was, is) = (before.get(key), after.get(key));
                let path = path.then(&format!("[{}]", quote(key)));
                if field.of == Type::Quantities {
                    compare_quantities(&path, was, is, out);
                } else if was != is {
                    report(&path, "", was.map(show), is.map(show), out);
                }
            }
        }
        (Type::Quantity, Value::String(_), Value::String(_)) => {
            let path = if field.pointer {
                path.dereferenced()
            } else {
                path
            };
            compare_quantities(&path, Some(old), Some(new), out);
        }
        _ => {
            let both = !old.is_null() && !new.is_null();
            let path = if field.pointer && both {
                path.dereferenced()
            } else {
                path
            };
            report(
                &path,
                "",
                Some(show_field(field, old)),
                Some(show_field(field, new)),
                out,
            );
        }
    }
}

fn compare_quantities(path: &Path, old: Option<&Value>, new: Option<&Value>, out: &mut String) {
    let amount = |value: Option<&Value>| {
        let text = value.and_then(Value::as_str)?;
        Quantity::parse(text).ok().map(|quantity| quantity.nanos())
    };
    if amount(old) != amount(new) {
        let (old, new) = (old.map(show_quantity), new.map(show_quantity));
        report(path, "resource.Quantity", old, new, out);
    }
}

fn compare_lists(field: &Field, path: &Path, old: &[Value], new: &[Value], out: &mut String) {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[same..], &new[same..]);
    let ends = old_rest.iter().rev().zip(new_rest.iter().rev());
    let tail = ends.take_while(|(a, b)| a == b).count();
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    let kind = match field.of {
        Type::Struct(name) => format!("v1.{name}"),
        _ => String::new(),
    };
    for at in same..old_end.max(new_end) {
        match (old[..old_end].get(at), new[..new_end].get(at)) {
            (Some(was), Some(is)) => {
                let path = path.then(&format!("[{at}]"));
                match field.of {
                    Type::Struct(name) => compare_fields(name, &path, was, is, out),
                    _ => report(&path, "", Some(show(was)), Some(show(is)), out),
                }
            }
            (Some(was), None) => {
                let path = path.then(&format!("[{at}->?]"));
                report(&path, &kind, Some(show_one(field, was)), None, out);
            }
            (None, Some(is)) => {
                let path = path.then(&format!("[?->{at}]"));
                report(&path, &kind, None, Some(show_one(field, is)), out);
            }
            (None, None) => {}
        }
    }
}

fn report(path: &Path, kind: &str, old: Option<String>, new: Option<String>, out: &mut String) {
    out.push_str(&format!("{}{}:\n", path.stars, path.text));
    let kind = if kind.is_empty() {
        String::new()
    } else {
        format!("{kind}: ")
    };
    for (sign, value) in [('-', old), ('+', new)] {
        if let Some(value) = value {
            out.push_str(&format!("\t{sign}: {kind}\"{value}\"\n"));
        }
    }
}

/// A field's value as `%+v` prints it.
fn show_field(field: &Field, value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| show_one(field, item)).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Null if field.list => "[]".to_owned(),
        Value::Null if field.pointer => "<nil>".to_owned(),
        Value::Object(_) if field.pointer => format!("&{}", show_one(field, value)),
        _ => show_one(field, value),
    }
}

fn show_one(field: &Field, value: &Value) -> String {
    match (&field.of, value) {
        (Type::Struct(name), _) => show_struct(name, value),
        (Type::Int, Value::Null) => "0".to_owned(),
        (Type::Bool, Value::Null) => "false".to_owned(),
        (Type::String, Value::Null) => String::new(),
        (Type::StringMap | Type::Quantities, Value::Null) => "map[]".to_owned(),
        // A pointer to a quantity prints as its text.
        (Type::Quantity, Value::String(_)) if !field.pointer => show_quantity(value),
        (Type::Quantities, Value::Object(amounts)) => {
            let amounts: Vec<String> = amounts
                .iter()
                .map(|(name, amount)| format!("{name}:{}", show_quantity(amount)))
                .collect();
            format!("map[{}]", amounts.join(" "))
        }
        _ => show(value),
    }
}

fn show_struct(name: &'static str, value: &Value) -> String {
    let shown: Vec<String> = fields(name)
        .iter()
        .map(|field| match field.of {
            Type::Struct(inlined) if field.inline => {
                format!("{}:{}", field.go, show_struct(inlined, value))
            }
            _ => format!("{}:{}", field.go, show_field(field, &value[field.json])),
        })
        .collect();
    format!("{{{}}}", shown.join(" "))
}

/// A quantity as Go prints its parts.
fn show_quantity(value: &Value) -> String {
    let held = value.as_str().and_then(Held::parse);
    held.map_or_else(|| show(value), |held| held.to_string())
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{key}:{}", show(value)))
                .collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}
