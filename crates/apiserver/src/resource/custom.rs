//! CustomResourceDefinitions as rows of the table.

use std::sync::Arc;

use serde_json::Value;

use super::{Resource, VERBS};
use crate::meta;
use crate::store::Store;

/// What a custom resource has in one version beyond the row.
#[derive(Debug)]
pub(crate) struct Version {
    /// The name of the CustomResourceDefinition.
    pub(crate) definition: String,
    /// `schema.openAPIV3Schema`, compiled.
    pub(crate) schema: Arc<schema::Schema>,
    /// `additionalPrinterColumns`.
    pub(crate) columns: Vec<Column>,
    /// `subresources.scale`.
    pub(crate) scale: Option<Scale>,
    /// JSON paths of `selectableFields`.
    pub(crate) fields: Vec<String>,
    /// Objects are converted by a webhook or in process, not by a change of `apiVersion` alone.
    pub(crate) converts: bool,
    /// `conversion.webhook`.
    pub(crate) webhook: Option<Value>,
    /// `deprecated` with its warning.
    pub(crate) deprecation: Option<String>,
    /// The definition is being deleted: nothing new may be created.
    pub(crate) terminating: bool,
}

/// One column kubectl prints.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    pub(crate) priority: i64,
    pub(crate) path: String,
}

/// Where the scale subresource finds its numbers.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub(crate) spec: String,
    pub(crate) status: String,
    pub(crate) selector: Option<String>,
}

/// The rows of a definition: one per served version; none before its names are accepted.
pub(super) fn resources(store: &Store, crd: &Value) -> Vec<Resource> {
    let established = crd["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Established" && c["status"] == "True");
    if !established {
        return Vec::new();
    }
    let versions = crd["spec"]["versions"].as_array().into_iter().flatten();
    let served = versions.clone().filter(|version| version["served"] == true);
    let storage = versions.clone().find(|version| version["storage"] == true);
    let storage = storage.map_or("", |version| text(&version["name"]));
    served
        .map(|version| resource(store, crd, version, storage))
        .collect()
}

fn resource(store: &Store, crd: &Value, version: &Value, storage: &str) -> Resource {
    let (spec, names) = (&crd["spec"], &crd["status"]["acceptedNames"]);
    let owned = |value: &Value| text(value).to_owned();
    let (group, plural, kind) = (
        owned(&spec["group"]),
        owned(&names["plural"]),
        owned(&names["kind"]),
    );
    let subresources = version["subresources"].as_object().into_iter().flatten();
    let subresources: Vec<String> = subresources.map(|(name, _)| name.clone()).collect();
    let id = store.resource(&format!("{group}/{plural}"));
    Resource {
        version: owned(&version["name"]),
        list_kind: names["listKind"]
            .as_str()
            .map_or_else(|| format!("{kind}List"), str::to_owned),
        singular: names["singular"]
            .as_str()
            .map_or_else(|| kind.to_lowercase(), str::to_owned),
        short_names: meta::strings(&names["shortNames"])
            .map(str::to_owned)
            .collect(),
        categories: meta::strings(&names["categories"])
            .map(str::to_owned)
            .collect(),
        namespaced: spec["scope"] == "Namespaced",
        verbs: VERBS,
        subresources,
        storage_version: storage.to_owned(),
        has_generation: true,
        id,
        row: None,
        custom: Some(custom(crd, version)),
        schema: std::sync::OnceLock::new(),
        group,
        plural,
        kind,
    }
}

fn custom(crd: &Value, version: &Value) -> Version {
    let scale = &version["subresources"]["scale"];
    let fields = version["selectableFields"].as_array().into_iter().flatten();
    let columns = version["additionalPrinterColumns"].as_array();
    let conversion = &crd["spec"]["conversion"];
    Version {
        definition: text(&crd["metadata"]["name"]).to_owned(),
        schema: Arc::new(compiled(version)),
        columns: columns.map_or_else(|| vec![age()], |c| c.iter().map(column).collect()),
        scale: scale.is_object().then(|| Scale {
            spec: text(&scale["specReplicasPath"]).to_owned(),
            status: text(&scale["statusReplicasPath"]).to_owned(),
            selector: scale["labelSelectorPath"].as_str().map(str::to_owned),
        }),
        fields: fields
            .map(|f| text(&f["jsonPath"]).trim_start_matches('.').to_owned())
            .collect(),
        converts: conversion["strategy"] == "Webhook",
        webhook: conversion.get("webhook").filter(|w| w.is_object()).cloned(),
        deprecation: (version["deprecated"] == true).then(|| deprecation(crd, version)),
        terminating: crd["metadata"]["deletionTimestamp"].is_string(),
    }
}

/// The compiled schema. One that is not structural was refused when the definition was written.
fn compiled(version: &Value) -> schema::Schema {
    let schema = schema::Schema::from_crd(&version["schema"]["openAPIV3Schema"]);
    schema.unwrap_or_else(|_| schema::Schema::any())
}

fn deprecation(crd: &Value, version: &Value) -> String {
    match version["deprecationWarning"].as_str() {
        Some(warning) => warning.to_owned(),
        None => format!(
            "{}/{} {} is deprecated",
            text(&crd["spec"]["group"]),
            text(&version["name"]),
            text(&crd["spec"]["names"]["kind"])
        ),
    }
}

fn column(column: &Value) -> Column {
    Column {
        name: text(&column["name"]).to_owned(),
        kind: text(&column["type"]).to_owned(),
        format: text(&column["format"]).to_owned(),
        description: text(&column["description"]).to_owned(),
        priority: column["priority"].as_i64().unwrap_or_default(),
        path: text(&column["jsonPath"]).to_owned(),
    }
}

/// The column a version without columns gets.
fn age() -> Column {
    Column {
        name: "Age".to_owned(),
        kind: "date".to_owned(),
        format: String::new(),
        description: String::new(),
        priority: 0,
        path: ".metadata.creationTimestamp".to_owned(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
