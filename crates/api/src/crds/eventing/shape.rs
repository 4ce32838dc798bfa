//! Structural schemas out of the types that admission reads.

use serde_json::{Map, Value, json};

use super::text;
use crate::admission::shape::{Field, Type, fields};
use crate::crds::schema;

/// Types whose schema is left open, as Knative leaves it: the Pods of a source.
const OPEN: &[&str] = &["PodTemplateSpec"];

/// The schema of a kind's `spec`.
pub(super) fn spec(kind: &str) -> Value {
    let mut schema = of_type(&format!("{kind}Spec"), &mut Vec::new());
    schema["description"] = json!("What is wanted.");
    schema
}

/// The schema of a kind's `status`.
pub(super) fn status(kind: &str) -> Value {
    let own = of_type(&format!("{kind}Status"), &mut Vec::new());
    let mut status = schema::status([]);
    for (name, field) in own["properties"].as_object().into_iter().flatten() {
        status["properties"][name] = field.clone();
    }
    status
}

/// `within` holds the types around this one: a filter may hold filters, and a schema has an end.
fn of_type(name: &str, within: &mut Vec<String>) -> Value {
    if OPEN.contains(&name) || within.iter().any(|outer| outer == name) {
        return json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    }
    within.push(name.to_owned());
    let mut properties = Map::new();
    collect(name, within, &mut properties);
    within.pop();
    json!({"type": "object", "properties": properties})
}

fn collect(name: &str, within: &mut Vec<String>, into: &mut Map<String, Value>) {
    for field in fields(name) {
        match field.of {
            Type::Struct(inlined) if field.inline => collect(inlined, within, into),
            _ => {
                let mut schema = of_field(field, within);
                if let Some(about) = text::field(name, field.json) {
                    schema["description"] = json!(about);
                }
                into.insert(field.json.to_owned(), schema);
            }
        }
    }
}

fn of_field(field: &Field, within: &mut Vec<String>) -> Value {
    let one = match field.of {
        Type::String => json!({"type": "string"}),
        Type::Int if field.json.to_lowercase().ends_with("generation") => {
            json!({"type": "integer", "format": "int64"})
        }
        Type::Int => json!({"type": "integer", "format": "int32"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::IntOrString | Type::Quantity => json!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
        }),
        Type::StringMap => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Type::Struct(name) => of_type(name, within),
        Type::Quantities | Type::Any | Type::Opaque => {
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
        }
    };
    if field.list {
        json!({"type": "array", "items": one})
    } else {
        one
    }
}
