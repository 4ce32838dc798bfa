//! The rules single kinds have beyond the generic path: defaults, what the server decides, what is
//! valid. One file per family; everything else is in `crate::write`.

mod access;
mod api_access;
mod autoscaler;
mod config;
mod container;
pub(crate) mod crd;
mod ephemeral;
mod metadata;
mod namespace;
mod network;
mod pod;
mod policy;
mod selector;
mod service;
mod storage;
#[cfg(test)]
mod tests;
mod workload;

use serde_json::Value;

use crate::field::{self, Error};
use crate::resource::Resource;
use crate::status::{Result, Status};
use crate::write::Call;

/// Errors found so far.
pub(crate) type Errors = Vec<Error>;

/// The rules of one built-in kind.
#[derive(Clone, Copy)]
struct Rules {
    /// Fills in what the object leaves out.
    default: fn(&mut Value),
    /// What the server decides about a new object (with the old one, about a changed one).
    prepare: fn(&Call<'_>, &mut Value, Option<&Value>) -> Result<()>,
    /// What is wrong with the object.
    validate: fn(&Value, Option<&Value>, &mut Errors),
}

const NONE: Rules = Rules {
    default: |_| {},
    prepare: |_, _, _| Ok(()),
    validate: |_, _, _| {},
};

fn rules(resource: &Resource) -> Rules {
    if resource.row.is_none() {
        return NONE;
    }
    match (&*resource.group, &*resource.kind) {
        ("", "Pod") => pod::RULES,
        ("", "Service") => service::RULES,
        ("", "Namespace") => namespace::RULES,
        ("", "Secret") => config::SECRET,
        ("", "ConfigMap") => config::CONFIG_MAP,
        ("apps", "Deployment") => workload::DEPLOYMENT,
        ("apps", "ReplicaSet") | ("", "ReplicationController") => workload::REPLICA_SET,
        ("apps", "StatefulSet") => workload::STATEFUL_SET,
        ("apps", "DaemonSet") => workload::DAEMON_SET,
        ("batch", "Job") => workload::JOB,
        ("batch", "CronJob") => workload::CRON_JOB,
        ("", "PersistentVolumeClaim") => storage::CLAIM,
        ("", "PersistentVolume") => storage::VOLUME,
        ("autoscaling", _) => autoscaler::RULES,
        ("networking.k8s.io" | "extensions", "Ingress") => network::INGRESS,
        ("networking.k8s.io", "IngressClass") => network::INGRESS_CLASS,
        ("networking.k8s.io", "NetworkPolicy") => network::NETWORK_POLICY,
        ("policy", "PodDisruptionBudget") => policy::DISRUPTION_BUDGET,
        ("scheduling.k8s.io", "PriorityClass") => policy::PRIORITY_CLASS,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crd::RULES,
        ("rbac.authorization.k8s.io", _) => access::RULES,
        ("", "LimitRange") => Rules {
            default: crate::quota::default_limits,
            ..NONE
        },
        _ => NONE,
    }
}

/// Drops fields nobody knows.
pub(crate) fn prune(resource: &Resource, object: &mut Value) {
    if let Some(schema) = resource.schema() {
        schema.prune(object);
    }
}

/// Fills in defaults.
pub(crate) fn default(resource: &Resource, object: &mut Value) {
    if let (Some(schema), None) = (resource.schema(), resource.row) {
        schema.default(object);
    }
    let is_typed =
        resource.row.is_some() && !resource.is("apiextensions.k8s.io", "customresourcedefinitions");
    if let Some(spec) = object.get_mut("spec").filter(|_| is_typed) {
        prune_nulls(spec);
    }
    (rules(resource).default)(object);
}

/// Removes what is null: in Kubernetes' own kinds it says the same as what is absent.
fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(prune_nulls);
            map.retain(|_, value| !value.is_null());
        }
        Value::Array(list) => list.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

/// What the server decides about a new object.
pub(crate) fn prepare_create(call: &Call<'_>, object: &mut Value) -> Result<()> {
    (rules(call.resource).prepare)(call, object, None)
}

/// What the server decides about a changed object.
pub(crate) fn prepare_update(call: &Call<'_>, object: &mut Value, old: &Value) -> Result<()> {
    (rules(call.resource).prepare)(call, object, Some(old))
}

/// The last touch after admission: metadata without empty leftovers.
pub(crate) fn finish(_resource: &Resource, mut object: Value, _old: Option<&Value>) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for key in [
            "labels",
            "annotations",
            "finalizers",
            "ownerReferences",
            "managedFields",
        ] {
            let empty = metadata.get(key).is_some_and(|value| match value {
                Value::Null => true,
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            });
            if empty {
                metadata.remove(key);
            }
        }
        metadata.retain(|_, value| !value.is_null());
    }
    object
}

/// Judges an object.
pub(crate) fn validate(
    call: &Call<'_>,
    name: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<()> {
    let mut errors = Errors::new();
    check_schema(call.resource, object, old, &mut errors)?;
    if call.subresource.is_empty() {
        metadata::validate(call.resource, object, old, &mut errors);
        (rules(call.resource).validate)(object, old, &mut errors);
    }
    if call.subresource == "ephemeralcontainers" {
        ephemeral::validate(object, old, &mut errors);
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(call.resource, name, &errors))
    }
}

/// Types of all fields; for custom resources whatever else their schema demands.
fn check_schema(
    resource: &Resource,
    object: &Value,
    old: Option<&Value>,
    errors: &mut Errors,
) -> Result<()> {
    let Some(schema) = resource.schema() else {
        return Ok(());
    };
    if resource.row.is_none() {
        errors.extend(schema.validate(object, old).into_iter().map(Error::from));
        return Ok(());
    }
    match schema.decode_error(object) {
        Some(why) => Err(crate::apply::undecodable(resource, &why)),
        None => Ok(()),
    }
}

/// Sets a field that is absent or null.
fn set(object: &mut Value, key: &str, value: impl Into<Value>) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    if fields.get(key).is_none_or(Value::is_null) {
        fields.insert(key.to_owned(), value.into());
    }
}

/// The entries of a list, empty when it is absent.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The entries of a list, to be changed.
fn items_mut(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_array_mut().into_iter().flatten()
}

/// What every reference to an object says.
fn kind_and_name(reference: &Value, field: &str, errors: &mut Errors) {
    for key in ["kind", "name"] {
        let field = format!("{field}.{key}");
        if text(&reference[key]).is_empty() {
            errors.push(Error::required(&*field, ""));
        }
        for wrong in field::path_segment(text(&reference[key])) {
            errors.push(Error::invalid(&*field, &reference[key], &wrong));
        }
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What is wrong with a new object of a built-in kind, as its creation with strict validation of
/// fields would say it. Defaults are filled in first.
pub(crate) fn trouble(resource: &Resource, object: &Value) -> Option<String> {
    if let Some(schema) = resource.schema() {
        if let Some(why) = schema.decode_error(object) {
            return Some(crate::apply::undecodable(resource, &why).message);
        }
        let unknown = schema.unknown_fields(object);
        if !unknown.is_empty() {
            let unknown = unknown
                .iter()
                .map(|path| format!("unknown field \"{path}\""));
            let unknown: Vec<_> = unknown.collect();
            let why = format!("strict decoding error: {}", unknown.join(", "));
            return Some(crate::apply::undecodable(resource, &why).message);
        }
    }
    let mut object = object.clone();
    default(resource, &mut object);
    let mut errors = Errors::new();
    metadata::validate(resource, &object, None, &mut errors);
    (rules(resource).validate)(&object, None, &mut errors);
    let name = text(&object["metadata"]["name"]);
    (!errors.is_empty()).then(|| Status::invalid(resource, name, &errors).message)
}

/// What is wrong with a Pod of this specification, as its creation would say it; `None` when it
/// could be created. Defaults are filled in first.
pub(crate) fn pod_trouble(spec: &Value) -> Option<String> {
    let mut spec = spec.clone();
    pod::default_spec(&mut spec);
    let mut errors = Vec::new();
    pod::validate_spec(&spec, "spec", &mut errors);
    (!errors.is_empty()).then(|| field::join(&errors))
}
