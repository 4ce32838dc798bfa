//! The documents at `/openapi/v2` and `/openapi/v3`.
//!
//! Enough of them for kubectl: `explain`, client-side validation, the parameters a resource
//! understands (`fieldValidation`, `dryRun`), merge keys for strategic patches. Documents are made
//! when asked for, from the API server's table of resources, and are large (the v2 document of all
//! built-in kinds some megabytes): keep them encoded, or not at all.

mod definitions;
mod paths;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

pub use wire::encode as encode_v2;

/// What kubectl accepts of `/openapi/v2`, whatever its version: the protobuf of `encode_v2`.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The same in newer servers' spelling.
pub const V2_PROTOBUF_DOTTED: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Part of the hashes in the v3 index: changes whenever the built-in definitions do.
const EDITION: &str = "1.36-1";

/// One resource the API server serves.
#[derive(Clone, Debug)]
pub struct Resource<'a> {
    /// The API group, empty for core.
    pub group: &'a str,
    /// The version.
    pub version: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// The name in paths: `pods`.
    pub plural: &'a str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// The verbs served: `get`, `list`, `create`, …
    pub verbs: Vec<&'a str>,
    /// The `openAPIV3Schema` of a custom resource; `None` for built-in kinds.
    pub schema: Option<&'a Value>,
}

/// Which of the two document formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    V2,
    V3,
}

/// The v2 document of all `resources`, as JSON. `encode_v2` makes protobuf of it.
#[must_use]
pub fn v2(resources: &[Resource<'_>], server_version: &str) -> Value {
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": server_version},
        "paths": paths::of(resources, Format::V2),
        "definitions": definitions::of(resources, Format::V2),
    })
}

/// The v3 index: for every group and version the URL of its document, with a hash by which clients
/// cache it.
#[must_use]
pub fn v3_index(resources: &[Resource<'_>]) -> Value {
    let versions: BTreeSet<(&str, &str)> =
        resources.iter().map(|it| (it.group, it.version)).collect();
    let paths: Map<String, Value> = versions
        .into_iter()
        .map(|(group, version)| {
            let path = path(group, version);
            let hash = hash(&of_version(resources, group, version));
            let url = format!("/openapi/v3/{path}?hash={hash:016X}");
            (path, json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// The v3 document of one group and version; `None` when nothing of it is served.
#[must_use]
pub fn v3(
    resources: &[Resource<'_>],
    group: &str,
    version: &str,
    server_version: &str,
) -> Option<Value> {
    let resources = of_version(resources, group, version);
    if resources.is_empty() {
        return None;
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": server_version},
        "paths": paths::of(&resources, Format::V3),
        "components": {"schemas": definitions::of(&resources, Format::V3)},
    }))
}

fn of_version<'a>(resources: &[Resource<'a>], group: &str, version: &str) -> Vec<Resource<'a>> {
    resources
        .iter()
        .filter(|resource| resource.group == group && resource.version == version)
        .cloned()
        .collect()
}

/// `api/v1` or `apis/GROUP/VERSION`.
fn path(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

fn hash(resources: &[Resource<'_>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    EDITION.hash(&mut hasher);
    for resource in resources {
        (resource.group, resource.version, resource.kind).hash(&mut hasher);
        (resource.plural, resource.namespaced, &resource.verbs).hash(&mut hasher);
        resource.schema.map(Value::to_string).hash(&mut hasher);
    }
    hasher.finish()
}
