//! Building blocks of structural schemas.

use serde_json::{Map, Value, json};

/// A string.
pub(super) fn string(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

/// A boolean.
pub(super) fn boolean(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

/// A whole number of 64 bits.
pub(super) fn int64(description: &str) -> Value {
    json!({"type": "integer", "format": "int64", "description": description})
}

/// A whole number of 32 bits.
pub(super) fn int32(description: &str) -> Value {
    json!({"type": "integer", "format": "int32", "description": description})
}

/// A list.
pub(super) fn list(description: &str, items: Value) -> Value {
    json!({"type": "array", "description": description, "items": items})
}

/// A map from strings to strings.
pub(super) fn strings(description: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "additionalProperties": {"type": "string"},
    })
}

/// An object with these fields.
pub(super) fn object<const N: usize>(description: &str, fields: [(&str, Value); N]) -> Value {
    let properties: Map<String, Value> = fields
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    json!({"type": "object", "description": description, "properties": properties})
}

/// `schema` with fields that must be there.
pub(super) fn requiring(mut schema: Value, fields: &[&str]) -> Value {
    schema["required"] = json!(fields);
    schema
}

/// An object whose fields are not looked at.
pub(super) fn open(description: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// A whole resource.
pub(super) fn resource(description: &str, spec: Value, status: Value) -> Value {
    object(
        description,
        [
            (
                "apiVersion",
                string("The version of the schema this representation of the object has."),
            ),
            (
                "kind",
                string("The kind of resource this object represents."),
            ),
            ("metadata", json!({"type": "object"})),
            ("spec", spec),
            ("status", status),
        ],
    )
}

/// `status` with the fields every Knative status has, and `fields`.
pub(super) fn status<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let condition = object(
        "One observation of the object's state.",
        [
            (
                "lastTransitionTime",
                string("When the condition last changed from one state to another."),
            ),
            ("message", string("The state in words, for people.")),
            (
                "reason",
                string("The reason of the last change, in CamelCase."),
            ),
            (
                "severity",
                string("How bad it is if the condition fails; empty means an error."),
            ),
            ("status", string("True, False or Unknown.")),
            ("type", string("What the condition is about.")),
        ],
    );
    let mut status = object("What the controller last saw.", fields);
    let common = [
        (
            "annotations",
            strings("Further facts about the state that have no field of their own."),
        ),
        (
            "conditions",
            list(
                "The latest observations of the object's state.",
                requiring(condition, &["status", "type"]),
            ),
        ),
        (
            "observedGeneration",
            int64("The generation of the object that was last processed."),
        ),
    ];
    for (name, schema) in common {
        status["properties"][name] = schema;
    }
    status
}

/// `status.address`.
pub(super) fn address() -> Value {
    object(
        "Where the object can be called inside the cluster.",
        [
            (
                "CACerts",
                string("Certification authorities of the address, as PEM."),
            ),
            ("audience", string("The OIDC audience of the address.")),
            ("name", string("The name of the address.")),
            ("url", string("The URL to call.")),
        ],
    )
}
