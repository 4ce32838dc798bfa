//! v1alpha1 → v1.

use serde_json::{Map, Value, json};

use super::{FORM, Form, take, take_all, write_form};
use crate::object::ObjectExt;

/// The name that stood for the latest ready Revision in `release.revisions`.
pub(super) const LATEST: &str = "@latest";
/// Fields of a Configuration's spec that v1 has not.
const OF_CONFIGURATION: &[&str] = &["build", "generation"];
/// Fields of a Revision's spec that v1 has not.
const OF_REVISION: &[&str] = &[
    "buildName",
    "buildRef",
    "concurrencyModel",
    "generation",
    "servingState",
];

pub(super) fn to_v1(object: &mut Value) -> Result<(), String> {
    let mut form = Form::new();
    match object.kind() {
        "Service" => service(&mut object["spec"], &mut form)?,
        "Configuration" => configuration(&mut object["spec"], &mut form)?,
        "Revision" => revision(&mut object["spec"], &mut form)?,
        "Route" => traffic(&mut object["spec"], &mut form),
        _ => {}
    }
    if object["status"].is_object() {
        status(&mut object["status"]);
    }
    if let Some(map) = object.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    write_form(object, FORM, form);
    Ok(())
}

fn service(spec: &mut Value, form: &mut Form) -> Result<(), String> {
    if spec.get("manual").is_some() {
        return Err(
            "spec.manual: not supported any more; write the Configuration and the Route \
                    yourself instead of a Service"
                .to_owned(),
        );
    }
    let generation = take_all(spec, &["generation"]);
    let modes: Vec<&str> = ["runLatest", "pinned", "release"]
        .into_iter()
        .filter(|mode| spec.get(*mode).is_some())
        .collect();
    match modes.as_slice() {
        [] => {
            configuration(spec, form)?;
            traffic(spec, form);
        }
        [mode] => {
            let mut said = take(spec, mode).unwrap_or_default();
            let mut inner = take(&mut said, "configuration").unwrap_or_default();
            configuration(&mut inner, form)?;
            spec["template"] = inner["template"].take();
            spec["traffic"] = match *mode {
                "pinned" => json!([{"revisionName": said["revisionName"], "percent": 100}]),
                "release" => release(&said)?,
                _ => json!([{"latestRevision": true, "percent": 100}]),
            };
            form.insert("mode".to_owned(), json!(mode));
        }
        _ => {
            return Err(format!(
                "expected exactly one, got both: spec.{}",
                modes.join(", spec.")
            ));
        }
    }
    form.extend(generation);
    Ok(())
}

/// One or two Revisions, and where the latest is to be seen before it gets traffic.
fn release(said: &Value) -> Result<Value, String> {
    let revisions: Vec<&str> = said["revisions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let candidate = said["rolloutPercent"].as_i64().unwrap_or(0);
    let target = |name: &str, tag: &str, percent: i64| {
        if name == LATEST {
            json!({"latestRevision": true, "tag": tag, "percent": percent})
        } else {
            json!({"revisionName": name, "tag": tag, "percent": percent})
        }
    };
    let mut traffic = match revisions.as_slice() {
        [current] => vec![target(current, "current", 100)],
        [current, next] => vec![
            target(current, "current", 100 - candidate),
            target(next, "candidate", candidate),
        ],
        _ => {
            let count = revisions.len();
            return Err(format!(
                "expected 1 <= {count} <= 2: spec.release.revisions"
            ));
        }
    };
    traffic.push(target(LATEST, "latest", 0));
    Ok(json!(traffic))
}

fn configuration(spec: &mut Value, form: &mut Form) -> Result<(), String> {
    if let Some(template) = take(spec, "revisionTemplate") {
        spec["template"] = template;
        form.insert("revisionTemplate".to_owned(), json!(true));
    }
    let extra = take_all(spec, OF_CONFIGURATION);
    insert_some(form, "configuration", extra);
    if spec["template"]["spec"].is_object() {
        revision(&mut spec["template"]["spec"], form)?;
    }
    // Indexing a field that is not there has left a null.
    if let Some(map) = spec.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    Ok(())
}

fn revision(spec: &mut Value, form: &mut Form) -> Result<(), String> {
    if let Some(container) = take(spec, "container") {
        if spec.get("containers").is_some() {
            return Err("expected exactly one, got both: container, containers".to_owned());
        }
        spec["containers"] = json!([container]);
        form.insert("container".to_owned(), json!(true));
    }
    let extra = take_all(spec, OF_REVISION);
    if extra
        .get("concurrencyModel")
        .is_some_and(|model| model == "Single")
        && spec.get("containerConcurrency").is_none()
    {
        spec["containerConcurrency"] = json!(1);
    }
    insert_some(form, "revision", extra);
    Ok(())
}

/// `name` became `tag`.
fn traffic(spec: &mut Value, form: &mut Form) {
    let Some(targets) = spec.get_mut("traffic").and_then(Value::as_array_mut) else {
        return;
    };
    for target in targets {
        if let Some(name) = take(target, "name") {
            target["tag"] = name;
            form.insert("name".to_owned(), json!(true));
        }
    }
}

fn insert_some(form: &mut Form, key: &str, extra: Map<String, Value>) {
    if !extra.is_empty() {
        form.insert(key.to_owned(), Value::Object(extra));
    }
}

/// What the old status had besides can be worked out from the rest.
fn status(status: &mut Value) {
    take_all(status, &["domain", "domainInternal"]);
    if let Some(address) = status.get_mut("address") {
        take(address, "hostname");
    }
    for target in status["traffic"].as_array_mut().into_iter().flatten() {
        if let Some(name) = take(target, "name") {
            target["tag"] = name;
        }
    }
    if let Some(digest) = take(status, "imageDigest")
        && status.get("containerStatuses").is_none()
    {
        status["containerStatuses"] = json!([{"name": "user-container", "imageDigest": digest}]);
    }
    if let Some(map) = status.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
}
