//! `/openapi/v2` and `/openapi/v3`, made by the `schema` crate from the resource table.
//!
//! The documents are large and rarely asked for: they are made anew each time rather than kept.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::ACCEPT;
use schema::openapi::{self, Resource, V2_PROTOBUF, V2_PROTOBUF_DOTTED};
use serde_json::Value;

use super::{Body, Reply};
use crate::core::{Core, decode_stored};
use crate::status::Status;

/// The document at `path`, if it is one of these.
pub(super) fn answer(core: &Core, path: &str, headers: &HeaderMap) -> Option<Reply> {
    let rest = path.strip_prefix("/openapi/")?;
    let table = core.table();
    let schemas = custom_schemas(core);
    let resources: Vec<Resource<'_>> = table
        .all()
        .map(|resource| {
            let key = (
                resource.group.clone(),
                resource.plural.clone(),
                resource.version.clone(),
            );
            Resource {
                group: &resource.group,
                version: &resource.version,
                kind: &resource.kind,
                plural: &resource.plural,
                namespaced: resource.namespaced,
                verbs: resource.verbs.to_vec(),
                schema: schemas.get(&key),
            }
        })
        .collect();
    let version = super::health::VERSION;
    let segments: Vec<&str> = rest.split('/').collect();
    let document = match &*segments {
        ["v2"] => return Some(v2(&openapi::v2(&resources, version), headers)),
        ["v3"] => Some(openapi::v3_index(&resources)),
        ["v3", "api", of] => openapi::v3(&resources, "", of, version),
        ["v3", "apis", group, of] => openapi::v3(&resources, group, of, version),
        _ => None,
    };
    Some(document.map_or_else(
        || Status::no_such_path().into(),
        |document| Reply::value(200, &document),
    ))
}

fn v2(document: &Value, headers: &HeaderMap) -> Reply {
    let accept = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let protobuf = [V2_PROTOBUF_DOTTED, V2_PROTOBUF]
        .iter()
        .any(|media| accept.contains(media));
    match protobuf {
        // Go's parser of media types refuses the spelling with `@` that it asks for.
        true => Reply::new(
            200,
            V2_PROTOBUF_DOTTED,
            Body::full(openapi::encode_v2(document)),
        ),
        false => Reply::value(200, document),
    }
}

/// The schemas of custom resources by group, plural and version.
fn custom_schemas(core: &Core) -> BTreeMap<(String, String, String), Value> {
    let crds = core.builtin("apiextensions.k8s.io", "customresourcedefinitions");
    let mut schemas = BTreeMap::new();
    for crd in core
        .store
        .list(crds.id, "")
        .iter()
        .filter_map(|entry| decode_stored(entry).ok())
    {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for version in crate::kinds::items(&crd["spec"]["versions"]) {
            let key = (
                text(&crd["spec"]["group"]),
                text(&crd["spec"]["names"]["plural"]),
                text(&version["name"]),
            );
            schemas.insert(key, version["schema"]["openAPIV3Schema"].clone());
        }
    }
    schemas
}
