//! The paths of resources: which operations there are and what parameters they understand.

use serde_json::{Map, Value, json};

use super::definitions::{GROUP_VERSION_KIND, definition_name, group_version_kind, reference};
use super::{Format, Resource, path};

/// Verb, HTTP method, whether it is about one object by name, the action's name, and its
/// parameters.
const OPERATIONS: [(&str, &str, bool, &str, &[&str]); 7] = [
    ("get", "get", true, "get", &[]),
    ("list", "get", false, "list", LIST),
    ("create", "post", false, "post", WRITE),
    ("update", "put", true, "put", WRITE),
    ("patch", "patch", true, "patch", PATCH),
    ("delete", "delete", true, "delete", DELETE),
    (
        "deletecollection",
        "delete",
        false,
        "deletecollection",
        LIST,
    ),
];

const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETE: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "orphanDependents",
    "propagationPolicy",
];

/// The paths of all `resources`.
pub(super) fn of(resources: &[Resource<'_>], format: Format) -> Value {
    let mut paths = Map::new();
    for resource in resources {
        let base = format!("/{}", path(resource.group, resource.version));
        let collection = match resource.namespaced {
            true => format!("{base}/namespaces/{{namespace}}/{}", resource.plural),
            false => format!("{base}/{}", resource.plural),
        };
        add(&mut paths, &collection, resource, false, format);
        add(
            &mut paths,
            &format!("{collection}/{{name}}"),
            resource,
            true,
            format,
        );
        if resource.namespaced && resource.verbs.contains(&"list") {
            let everywhere = format!("{base}/{}", resource.plural);
            let mut item = item(&["list"], resource, false, format);
            item["parameters"] = json!([]);
            paths.insert(everywhere, item);
        }
    }
    Value::Object(paths)
}

fn add(
    paths: &mut Map<String, Value>,
    path: &str,
    resource: &Resource<'_>,
    named: bool,
    format: Format,
) {
    let mut item = item(&resource.verbs, resource, named, format);
    if item.as_object().is_none_or(Map::is_empty) {
        return;
    }
    let places = [("name", named), ("namespace", resource.namespaced)];
    item["parameters"] = places
        .iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| parameter(name, "path", "string", format))
        .collect();
    paths.insert(path.to_owned(), item);
}

fn item(verbs: &[&str], resource: &Resource<'_>, named: bool, format: Format) -> Value {
    let operations = OPERATIONS
        .iter()
        .filter(|(verb, _, by_name, _, _)| *by_name == named && verbs.contains(verb));
    let mut item = Map::new();
    for (verb, method, _, action, parameters) in operations {
        let suffix = if *verb == "list" { "List" } else { "" };
        let target = format!("{}{suffix}", definition_name(resource));
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| parameter(name, "query", type_of(name), format))
            .collect();
        let operation = json!({
            "description": format!("{verb} {}", resource.plural),
            "operationId": operation_id(verb, resource),
            "parameters": parameters,
            "responses": {"200": response(&target, format)},
            "x-kubernetes-action": action,
            GROUP_VERSION_KIND: group_version_kind(resource, ""),
        });
        // Listing and getting share the method but not the path.
        item.insert((*method).to_owned(), operation);
    }
    Value::Object(item)
}

fn operation_id(verb: &str, resource: &Resource<'_>) -> String {
    let group = resource.group.replace(['.', '-'], "_");
    format!("{verb}_{group}_{}_{}", resource.version, resource.plural)
}

fn type_of(parameter: &str) -> &'static str {
    match parameter {
        "limit" | "timeoutSeconds" | "gracePeriodSeconds" => "integer",
        "watch" | "allowWatchBookmarks" | "sendInitialEvents" | "force" | "orphanDependents" => {
            "boolean"
        }
        _ => "string",
    }
}

fn parameter(name: &str, place: &str, kind: &str, format: Format) -> Value {
    let mut parameter = json!({"name": name, "in": place, "uniqueItems": true});
    if place == "path" {
        parameter["required"] = true.into();
    }
    match format {
        Format::V2 => parameter["type"] = kind.into(),
        Format::V3 => {
            if let Some(fields) = parameter.as_object_mut() {
                fields.remove("uniqueItems");
            }
            parameter["schema"] = json!({"type": kind, "uniqueItems": true});
        }
    }
    parameter
}

fn response(definition: &str, format: Format) -> Value {
    let schema = reference(definition, format);
    match format {
        Format::V2 => json!({"description": "OK", "schema": schema}),
        Format::V3 => json!({
            "description": "OK",
            "content": {"application/json": {"schema": schema}},
        }),
    }
}
