//! v1 → v1alpha1, in the shape the object was written in, if it still fits.

use serde_json::{Map, Value, json};

use super::up::LATEST;
use super::{FORM, Form, read_form, take, write_form};
use crate::object::ObjectExt;

pub(super) fn to_v1alpha1(object: &mut Value) {
    let form = read_form(object, FORM);
    write_form(object, FORM, Form::new());
    let kind = object.kind().to_owned();
    if let Some(spec) = object.get_mut("spec") {
        match kind.as_str() {
            "Service" => service(spec, &form),
            "Configuration" => configuration(spec, &form),
            "Revision" => revision(spec, &form),
            "Route" => traffic(spec, &form),
            _ => {}
        }
    }
    if let Some(status_of) = object.get_mut("status").filter(|status| status.is_object()) {
        status(status_of, &kind);
    }
}

fn is_set(form: &Form, key: &str) -> bool {
    form.get(key).is_some_and(|value| value == true)
}

fn service(spec: &mut Value, form: &Form) {
    let mode = form.get("mode").and_then(Value::as_str).unwrap_or_default();
    let said = match mode {
        "runLatest" => run_latest(&spec["traffic"]),
        "pinned" => pinned(&spec["traffic"]),
        "release" => release(&spec["traffic"]),
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

fn release(traffic: &Value) -> Option<Map<String, Value>> {
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
        if names.len() == 2 {
            said.insert("rolloutPercent".to_owned(), json!(percent));
        }
        said
    })
}

fn configuration(spec: &mut Value, form: &Form) {
    if let Some(inner) = spec.get_mut("template").and_then(|t| t.get_mut("spec")) {
        revision(inner, form);
    }
    if is_set(form, "revisionTemplate")
        && let Some(template) = take(spec, "template")
    {
        spec["revisionTemplate"] = template;
    }
    put_back(spec, form.get("configuration"));
}

fn revision(spec: &mut Value, form: &Form) {
    let one = spec["containers"]
        .as_array()
        .is_some_and(|list| list.len() == 1);
    if is_set(form, "container") && one {
        let container = take(spec, "containers").map(|mut list| list[0].take());
        spec["container"] = container.unwrap_or_default();
    }
    put_back(spec, form.get("revision"));
}

fn traffic(spec: &mut Value, form: &Form) {
    if !is_set(form, "name") {
        return;
    }
    for target in spec["traffic"].as_array_mut().into_iter().flatten() {
        if let Some(tag) = take(target, "tag") {
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
