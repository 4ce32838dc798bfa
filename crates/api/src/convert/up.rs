//! v1alpha1 → v1.

use serde_json::{Map, Value, json};

use super::{BUILD, BUILD_REF, FORM, Form, MANUAL, MODE, take, take_all, write_form};
use crate::object::ObjectExt;

/// The name that stood for the latest ready Revision in `release.revisions`.
pub(super) const LATEST: &str = "@latest";
/// The styles of a Service's rollout.
const MODES: [&str; 4] = ["runLatest", "pinned", "release", MANUAL];
/// Fields of a Revision's spec that v1 has not, and that do nothing any more.
const OF_REVISION: &[&str] = &["concurrencyModel", "generation", "servingState"];

pub(super) fn to_v1(object: &mut Value) -> Result<(), String> {
    let mut form = Form::new();
    match object.kind() {
        "Service" => service(&mut object["spec"], &mut form)?,
        "Configuration" => configuration(&mut object["spec"], &mut form)?,
        "Revision" => revision(object, &mut form)?,
        "Route" => {
            let generation = take_all(&mut object["spec"], &["generation"]);
            traffic(&mut object["spec"], &mut form)?;
            form.extend(generation);
        }
        _ => {}
    }
    if object["status"].is_object() {
        status(&mut object["status"]);
    }
    remove_nulls(object);
    write_form(object, FORM, form);
    Ok(())
}

/// Indexing a field that is not there has left a null.
fn remove_nulls(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
}

fn service(spec: &mut Value, form: &mut Form) -> Result<(), String> {
    let generation = take_all(spec, &["generation"]);
    let modes: Vec<&str> = MODES
        .into_iter()
        .filter(|mode| spec.get(*mode).is_some())
        .collect();
    match modes.as_slice() {
        [] => {
            configuration(spec, form)?;
            traffic(spec, form)?;
        }
        [mode] => {
            let mut said = take(spec, mode).unwrap_or_default();
            if spec.as_object().is_some_and(|rest| !rest.is_empty()) {
                let rest: Vec<&str> = spec
                    .as_object()
                    .into_iter()
                    .flat_map(Map::keys)
                    .map(String::as_str)
                    .collect();
                let rest = rest.join(", spec.");
                return Err(format!(
                    "expected exactly one, got both: spec.{mode}, spec.{rest}"
                ));
            }
            form.insert(MODE.to_owned(), json!(mode));
            if *mode != MANUAL {
                rollout(spec, &mut said, mode, form)?;
            }
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

/// A template and the traffic that the style of rollout means.
fn rollout(spec: &mut Value, said: &mut Value, mode: &str, form: &mut Form) -> Result<(), String> {
    let mut inner = take(said, "configuration").unwrap_or_default();
    configuration(&mut inner, form)?;
    spec["template"] = inner["template"].take();
    remove_nulls(spec);
    spec["traffic"] = match mode {
        "pinned" => json!([{"revisionName": said["revisionName"], "percent": 100}]),
        "release" => release(said, form)?,
        _ => json!([{"latestRevision": true, "percent": 100}]),
    };
    Ok(())
}

/// One or two Revisions, and where the latest is to be seen before it gets traffic.
fn release(said: &Value, form: &mut Form) -> Result<Value, String> {
    let revisions: Vec<&str> = said["revisions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let percent = &said["rolloutPercent"];
    let candidate = percent.as_i64().unwrap_or(0);
    if !percent.is_null() && !(0..100).contains(&percent.as_i64().unwrap_or(-1)) {
        return Err(format!(
            "expected 0 <= {percent} <= 99: spec.release.rolloutPercent"
        ));
    }
    let target = |name: &str, tag: &str, percent: i64| {
        if name == LATEST {
            json!({"latestRevision": true, "tag": tag, "percent": percent})
        } else {
            json!({"revisionName": name, "tag": tag, "percent": percent})
        }
    };
    let mut traffic = match revisions.as_slice() {
        [current] if candidate == 0 => vec![target(current, "current", 100)],
        [_] => {
            return Err(format!(
                "invalid value: {candidate}: spec.release.rolloutPercent\n\
                 a share for a candidate needs a second entry in spec.release.revisions"
            ));
        }
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
    if percent == 0 {
        form.insert("rolloutPercent".to_owned(), json!(true));
    }
    Ok(json!(traffic))
}

fn configuration(spec: &mut Value, form: &mut Form) -> Result<(), String> {
    if let Some(template) = take(spec, "revisionTemplate") {
        if spec.get("template").is_some() {
            return Err("expected exactly one, got both: revisionTemplate, template".to_owned());
        }
        spec["template"] = template;
        form.insert("revisionTemplate".to_owned(), json!(true));
    }
    let extra = take_all(spec, &["generation"]);
    insert_some(form, "configuration", extra);
    if let Some(build) = take(spec, "build") {
        // A change of the build is a change of the template: it makes another Revision.
        annotate(&mut spec["template"], BUILD, &build);
    }
    if spec["template"]["spec"].is_object() {
        revision(&mut spec["template"], form)?;
    }
    remove_nulls(spec);
    Ok(())
}

/// A Revision or the template of one.
fn revision(object: &mut Value, form: &mut Form) -> Result<(), String> {
    let spec = &mut object["spec"];
    if let Some(container) = take(spec, "container") {
        if spec.get("containers").is_some() {
            return Err("expected exactly one, got both: container, containers".to_owned());
        }
        spec["containers"] = json!([container]);
        form.insert("container".to_owned(), json!(true));
    }
    let mut extra = take_all(spec, OF_REVISION);
    let model = extra.get("concurrencyModel");
    if model.is_some_and(|model| model == "Single") && spec.get("containerConcurrency").is_none() {
        spec["containerConcurrency"] = json!(1);
        form.insert("single".to_owned(), json!(true));
    }
    let name = take(spec, "buildName");
    let reference = take(spec, "buildRef");
    match (name, reference) {
        (Some(_), Some(_)) => {
            return Err("expected exactly one, got both: buildName, buildRef".to_owned());
        }
        (Some(name), None) => {
            extra.insert("buildName".to_owned(), json!(true));
            let build = json!({
                "apiVersion": "build.knative.dev/v1alpha1",
                "kind": "Build",
                "name": name,
            });
            annotate(object, BUILD_REF, &build);
        }
        (None, Some(reference)) => annotate(object, BUILD_REF, &reference),
        (None, None) => {}
    }
    insert_some(form, "revision", extra);
    Ok(())
}

fn annotate(object: &mut Value, key: &str, value: &Value) {
    object["metadata"]["annotations"][key] = json!(value.to_string());
}

/// `name` became `tag`.
fn traffic(spec: &mut Value, form: &mut Form) -> Result<(), String> {
    let Some(targets) = spec.get_mut("traffic").and_then(Value::as_array_mut) else {
        return Ok(());
    };
    let mut names = Vec::new();
    for (index, target) in targets.iter_mut().enumerate() {
        if let Some(name) = take(target, "name") {
            if target.get("tag").is_some() {
                return Err(format!(
                    "expected exactly one, got both: spec.traffic[{index}].name, \
                     spec.traffic[{index}].tag"
                ));
            }
            names.push(name.clone());
            target["tag"] = name;
        }
    }
    if !names.is_empty() {
        form.insert("name".to_owned(), names.into());
    }
    Ok(())
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
    remove_nulls(status);
}
