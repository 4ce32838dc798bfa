//! The definitions (v2) or component schemas (v3) of resources.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Map, Value, json};

use super::{Format, Resource};
use crate::builtin;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
const LIST_METADATA: &str = "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// Every definition the resources need, by name.
pub(super) fn of(resources: &[Resource<'_>], format: Format) -> Value {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    let (_, list_meta) = builtin::list_meta_documents();
    let (_, object_meta) = builtin::object_meta_documents();
    let shared = list_meta.into_iter().chain(object_meta);
    add(&mut found, shared, format);
    for resource in resources {
        let name = match resource.schema {
            Some(schema) => {
                let name = definition_name(resource);
                found.insert(name.clone(), custom(schema, format));
                name
            }
            None => {
                let documents = builtin::documents(resource.group, resource.version, resource.kind);
                let Some((name, definitions)) = documents else {
                    continue;
                };
                add(&mut found, definitions, format);
                name
            }
        };
        if let Some(definition) = found.get_mut(&name) {
            definition[GROUP_VERSION_KIND] = json!([group_version_kind(resource, "")]);
        }
        found.insert(format!("{name}List"), list(resource, &name, format));
    }
    let all: Map<String, Value> = found.into_iter().collect();
    Value::Object(all)
}

/// The extension that says which kind a definition or operation is about.
pub(super) const GROUP_VERSION_KIND: &str = "x-kubernetes-group-version-kind";

pub(super) fn group_version_kind(resource: &Resource<'_>, suffix: &str) -> Value {
    json!({
        "group": resource.group,
        "version": resource.version,
        "kind": format!("{}{suffix}", resource.kind),
    })
}

/// The definition's name: the group backwards, `dev.knative.serving.v1.Service`.
pub(super) fn definition_name(resource: &Resource<'_>) -> String {
    if resource.schema.is_none()
        && let Some(name) = builtin::definition(resource.group, resource.version, resource.kind)
    {
        return name;
    }
    let mut parts: Vec<&str> = resource.group.split('.').rev().collect();
    parts.extend([resource.version, resource.kind]);
    parts.join(".")
}

/// A reference to definition `name`.
pub(super) fn reference(name: &str, format: Format) -> Value {
    let prefix = match format {
        Format::V2 => "#/definitions/",
        Format::V3 => "#/components/schemas/",
    };
    json!({"$ref": format!("{prefix}{name}")})
}

fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}

/// A field that refers to definition `name`.
fn reference_field(name: &str, description: &str, format: Format) -> Value {
    let mut field = described(reference(name, format), description);
    wrap_reference(&mut field, format);
    field
}

fn list(resource: &Resource<'_>, item: &str, format: Format) -> Value {
    let text = |description| json!({"type": "string", "description": description});
    json!({
        "description": format!("{0}List is a list of {0}", resource.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text(API_VERSION),
            "kind": text(KIND),
            "metadata": reference_field(LIST_META, LIST_METADATA, format),
            "items": {
                "description": format!("List of {}.", resource.plural),
                "type": "array",
                "items": reference(item, format),
            },
        },
        GROUP_VERSION_KIND: [group_version_kind(resource, "List")],
    })
}

fn add(
    found: &mut BTreeMap<String, Value>,
    definitions: impl IntoIterator<Item = (String, Value)>,
    format: Format,
) {
    for (name, mut definition) in definitions {
        if let Entry::Vacant(vacant) = found.entry(name) {
            scalar_definition(vacant.key(), &mut definition, format);
            convert_references(&mut definition, format);
            vacant.insert(definition);
        }
    }
}

/// Definitions of values that are not what their structure says.
fn scalar_definition(name: &str, definition: &mut Value, format: Format) {
    let Some(fields) = definition.as_object_mut() else {
        return;
    };
    fields.remove("x-kubernetes-int-or-string");
    let short = name.rsplit('.').next().unwrap_or_default();
    match (short, format) {
        ("Quantity", _) => {
            fields.insert("type".to_owned(), "string".into());
        }
        ("IntOrString", Format::V2) => {
            fields.insert("type".to_owned(), "string".into());
            fields.insert("format".to_owned(), "int-or-string".into());
        }
        ("IntOrString", Format::V3) => {
            let choices = json!([{"type": "integer"}, {"type": "string"}]);
            fields.insert("oneOf".to_owned(), choices);
            fields.insert("format".to_owned(), "int-or-string".into());
        }
        ("JSON" | "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool", _)
        | ("JSONSchemaPropsOrStringArray", _) => {
            fields.retain(|name, _| name == "description");
        }
        _ => {}
    }
}

/// Points the references at where definitions are in this format.
fn convert_references(schema: &mut Value, format: Format) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get("$ref") {
                let name = builtin::definition_name(target).to_owned();
                fields.extend(match reference(&name, format) {
                    Value::Object(reference) => reference,
                    _ => Map::new(),
                });
            }
            fields
                .values_mut()
                .for_each(|value| convert_references(value, format));
            wrap_reference(schema, format);
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| convert_references(item, format)),
        _ => {}
    }
}

/// In v3 nothing may stand beside a reference: it goes into an `allOf`.
fn wrap_reference(schema: &mut Value, format: Format) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    if format == Format::V2 || fields.len() < 2 || !fields.get("$ref").is_some_and(Value::is_string)
    {
        return;
    }
    if let Some(target) = fields.remove("$ref") {
        fields.insert("allOf".to_owned(), json!([{"$ref": target}]));
    }
}

/// The definition of a custom resource.
fn custom(schema: &Value, format: Format) -> Value {
    let mut definition = schema.clone();
    if format == Format::V2 {
        restrict_to_v2(&mut definition);
    }
    if !definition["properties"].is_object() {
        definition["properties"] = json!({});
    }
    definition["type"] = "object".into();
    let properties = &mut definition["properties"];
    properties["apiVersion"] = json!({"type": "string", "description": API_VERSION});
    properties["kind"] = json!({"type": "string", "description": KIND});
    properties["metadata"] = reference_field(OBJECT_META, METADATA, format);
    definition
}

/// Takes out what v2 cannot say, so that clients which believe it refuse nothing valid.
fn restrict_to_v2(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    for name in [
        "oneOf",
        "anyOf",
        "allOf",
        "not",
        "nullable",
        "x-kubernetes-validations",
    ] {
        let nullable = name == "nullable" && fields.get(name) == Some(&Value::Bool(true));
        fields.remove(name);
        if nullable {
            fields.retain(|name, _| name == "description" || name.starts_with("x-kubernetes"));
        }
    }
    if fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        fields.remove("type");
    }
    if fields.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        fields.remove("properties");
        fields.remove("items");
        fields.remove("type");
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(restrict_to_v2);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(name) {
            restrict_to_v2(inner);
        }
    }
}
