//! v1 → v1alpha1, in the shape the object was written in, if it still fits.

use serde_json::{Map, Value, json};

use super::up::LATEST;
use super::{BUILD, BUILD_REF, FORM, Form, MANUAL, MODE, is_manual, read_form, take, write_form};
use crate::object::ObjectExt;

pub(super) fn to_v1alpha1(object: &mut Value) {
    let form = read_form(object, FORM);
    if object.kind() == "Service" && is_manual(object) {
        object["spec"] = json!({MANUAL: {}});
    }
    write_form(object, FORM, Form::new());
    let kind = object.kind().to_owned();
    if let Some(spec) = object.get_mut("spec") {
        match kind.as_str() {
            "Service" => service(spec, &form),
            "Configuration" => configuration(spec, &form),
            "Route" => {
                traffic(spec, &form);
                if let Some(generation) = form.get("generation") {
                    spec["generation"] = generation.clone();
                }
            }
            _ => {}
        }
    }
    if kind == "Revision" {
        revision(object, &form);
    }
    if let Some(status_of) = object.get_mut("status").filter(|status| status.is_object()) {
        status(status_of, &kind);
    }
}

fn is_set(form: &Form, key: &str) -> bool {
    form.get(key).is_some_and(|value| value == true)
}

fn service(spec: &mut Value, form: &Form) {
    let mode = form.get(MODE).and_then(Value::as_str).unwrap_or_default();
    let said_zero = is_set(form, "rolloutPercent");
    let said = match mode {
        "runLatest" => run_latest(&spec["traffic"]),
        "pinned" => pinned(&spec["traffic"]),
        "release" => release(&spec["traffic"], said_zero),
        _ => None,
    };
    match said {
        Some(mut said) => {
            let mut inner = json!({});
            if let Some(template) = take(spec, "template") {
                inner["template"] = template;
            }
            configuration(&mut inner, form);
            take(spec, "traffic");
            said.insert("configuration".to_owned(), inner);
            spec[mode] = Value::Object(said);
        }
        None => {
            configuration(spec, form);
            traffic(spec, form);
        }
    }
    if let Some(generation) = form.get("generation") {
        spec["generation"] = generation.clone();
    }
}

/// The targets of a traffic block.
fn targets(traffic: &Value) -> &[Value] {
    traffic.as_array().map_or(&[], Vec::as_slice)
}

fn name_of(target: &Value) -> &str {
    target["revisionName"].as_str().unwrap_or(LATEST)
}

fn run_latest(traffic: &Value) -> Option<Map<String, Value>> {
    match targets(traffic) {
        [only] if name_of(only) == LATEST && only["tag"].is_null() => Some(Map::new()),
        [] => Some(Map::new()),
        _ => None,
    }
}

fn pinned(traffic: &Value) -> Option<Map<String, Value>> {
    match targets(traffic) {
        [only] if only["tag"].is_null() => {
            let name = only["revisionName"].as_str()?;
            Some(Map::from_iter([("revisionName".to_owned(), json!(name))]))
        }
        _ => None,
    }
}

fn release(traffic: &Value, said_zero: bool) -> Option<Map<String, Value>> {
    let (latest, revisions) = targets(traffic).split_last()?;
    let tags: Vec<_> = revisions.iter().filter_map(|t| t["tag"].as_str()).collect();
    let fits = latest["tag"] == "latest"
        && latest["percent"].as_i64().unwrap_or(0) == 0
        && (tags == ["current"] || tags == ["current", "candidate"]);
    let percent = match revisions.get(1) {
        Some(candidate) => candidate["percent"].as_i64()?,
        None => 0,
    };
    let names: Vec<_> = revisions.iter().map(name_of).collect();
    fits.then(|| {
        let mut said = Map::from_iter([("revisions".to_owned(), json!(names))]);
        if percent > 0 || said_zero {
            said.insert("rolloutPercent".to_owned(), json!(percent));
        }
        said
    })
}

fn configuration(spec: &mut Value, form: &Form) {
    if let Some(template) = spec.get_mut("template") {
        revision(template, form);
        let build = take_annotation(template, BUILD);
        if template.as_object().is_some_and(Map::is_empty) {
            take(spec, "template");
        }
        if let Some(build) = build {
            spec["build"] = build;
        }
    }
    if is_set(form, "revisionTemplate")
        && let Some(template) = take(spec, "template")
    {
        spec["revisionTemplate"] = template;
    }
    put_back(spec, form.get("configuration"));
}

/// A Revision or the template of one.
fn revision(object: &mut Value, form: &Form) {
    let build = take_annotation(object, BUILD_REF);
    let Some(spec) = object.get_mut("spec") else {
        return;
    };
    let one = spec["containers"]
        .as_array()
        .is_some_and(|list| list.len() == 1);
    if is_set(form, "container") && one {
        let container = take(spec, "containers").map(|mut list| list[0].take());
        spec["container"] = container.unwrap_or_default();
    }
    if is_set(form, "single") && spec["containerConcurrency"] == 1 {
        take(spec, "containerConcurrency");
    }
    put_back(spec, form.get("revision"));
    // Where it was given by name, the form says so by `true`.
    let named = spec.get("buildName").is_some_and(|name| name == true);
    match build {
        Some(build) if named => spec["buildName"] = build["name"].clone(),
        Some(build) => spec["buildRef"] = build,
        None if named => {
            take(spec, "buildName");
        }
        None => {}
    }
}

/// Takes JSON out of an annotation; what is left empty goes as well.
fn take_annotation(object: &mut Value, key: &str) -> Option<Value> {
    let annotations = object.get_mut("metadata")?.get_mut("annotations")?;
    let text = take(annotations, key)?;
    if annotations.as_object().is_some_and(Map::is_empty) {
        take(&mut object["metadata"], "annotations");
    }
    if object["metadata"].as_object().is_some_and(Map::is_empty) {
        take(object, "metadata");
    }
    serde_json::from_str(text.as_str()?).ok()
}

fn traffic(spec: &mut Value, form: &Form) {
    let Some(names) = form.get("name") else {
        return;
    };
    // What was stored before names were listed says `true`: all of them.
    let is_name = |tag: &Value| names.as_array().is_none_or(|names| names.contains(tag));
    for target in spec["traffic"].as_array_mut().into_iter().flatten() {
        if target.get("tag").is_some_and(is_name)
            && let Some(tag) = take(target, "tag")
        {
            target["name"] = tag;
        }
    }
}

fn put_back(spec: &mut Value, extra: Option<&Value>) {
    for (field, value) in extra.and_then(Value::as_object).into_iter().flatten() {
        spec[field] = value.clone();
    }
}

/// Fields that tools of the time look for.
fn status(status: &mut Value, kind: &str) {
    let host = |url: &Value| {
        let (_, rest) = url.as_str()?.split_once("://")?;
        Some(rest.split(['/', ':']).next().unwrap_or(rest).to_owned())
    };
    if let Some(host) = status.get("url").and_then(host) {
        status["domain"] = json!(host);
    }
    if let Some(address) = status.get_mut("address")
        && let Some(host) = address.get("url").and_then(host)
    {
        address["hostname"] = json!(host);
        status["domainInternal"] = json!(host);
    }
    if kind == "Revision"
        && let Some(first) = status.get("containerStatuses").and_then(|list| list.get(0))
    {
        status["imageDigest"] = first["imageDigest"].clone();
    }
}
