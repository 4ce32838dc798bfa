//! The scale subresource: a view of two numbers and a selector.

use serde_json::{Value, json};

use crate::resource::Resource;
use crate::status::{Result, Status};

/// The `autoscaling/v1` Scale of an object.
pub(crate) fn scale_of(resource: &Resource, object: &Value) -> Result<Value> {
    let metadata = &object["metadata"];
    let mut kept = json!({});
    for key in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = metadata.get(key) {
            kept[key] = value.clone();
        }
    }
    let paths = resource
        .custom
        .as_ref()
        .and_then(|custom| custom.scale.as_ref());
    let (spec, status) = paths.map_or((".spec.replicas", ".status.replicas"), |p| {
        (&p.spec, &p.status)
    });
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": kept,
        "spec": {},
        "status": {"replicas": number(at(object, status))},
    });
    if let Some(replicas) = at(object, spec).as_i64() {
        scale["spec"]["replicas"] = replicas.into();
    } else if resource.custom.is_some() {
        let why = format!("the spec replicas field \"{spec}\" does not exist");
        return Err(Status::internal(why));
    }
    let selector = match paths {
        Some(paths) => paths.selector.as_deref().map(|path| at(object, path)),
        None => Some(&object["spec"]["selector"]),
    };
    match selector {
        Some(Value::String(text)) => scale["status"]["selector"] = text.as_str().into(),
        Some(object @ Value::Object(_)) => {
            scale["status"]["selector"] = selector_text(object).into()
        }
        _ => {}
    }
    Ok(scale)
}

/// The number in a Scale's spec.
pub(crate) fn read_scale(scale: &Value) -> Result<i64> {
    let replicas = &scale["spec"]["replicas"];
    match replicas.as_i64() {
        Some(replicas) if replicas >= 0 => Ok(replicas),
        None if replicas.is_null() => Ok(0),
        _ => Err(Status::new(
            422,
            "Invalid",
            format!(
                "Scale.autoscaling \"{}\" is invalid: spec.replicas: Invalid value: {replicas}: must \
             be greater than or equal to 0",
                scale["metadata"]["name"].as_str().unwrap_or_default()
            ),
        )),
    }
}

/// The object with another number of replicas.
pub(crate) fn set_replicas(resource: &Resource, object: &Value, replicas: i64) -> Value {
    let paths = resource
        .custom
        .as_ref()
        .and_then(|custom| custom.scale.as_ref());
    let path = paths.map_or(".spec.replicas", |paths| &paths.spec);
    let mut object = object.clone();
    let keys = path.split('.').filter(|key| !key.is_empty());
    *keys.fold(&mut object, |value, key| &mut value[key]) = replicas.into();
    object
}

fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .filter(|key| !key.is_empty())
        .fold(object, |value, key| &value[key])
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// A label selector as text, as `Scale.status.selector` has it.
fn selector_text(selector: &Value) -> String {
    let is_plain =
        selector.get("matchLabels").is_none() && selector.get("matchExpressions").is_none();
    let labels = if is_plain {
        selector
    } else {
        &selector["matchLabels"]
    };
    let labels = labels.as_object().into_iter().flatten();
    let mut terms: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<_> = crate::meta::strings(&expression["values"]).collect();
        terms.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.sort();
    terms.join(",")
}
