//! EventType: what are attributes now were fields of their own.

use serde_json::{Map, Value, json};

use super::changes::Change;
use crate::convert::{Form, read_form, take, take_all, write_form};

/// Fields and the attributes they became, with whether all events have these.
const FIELDS: [(&str, &str, bool); 3] = [
    ("type", "type", true),
    ("schema", "schemadata", false),
    ("source", "source", true),
];
/// Attributes all events have; their values are not known.
const BARE: [&str; 2] = ["specversion", "id"];
/// On an object of an older version: attributes that version has no fields for.
const BESIDES: &str = "rekindle.dev/attributes";

pub(super) const ATTRIBUTES: Change = Change { up, down };

fn up(object: &mut Value, form: &mut Form) -> Result<(), String> {
    let mut besides = read_form(object, BESIDES);
    write_form(object, BESIDES, Form::new());
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return Ok(());
    };
    let mut attributes: Vec<Value> = Vec::new();
    for (field, name, required) in FIELDS {
        if let Some(value) = take(spec, field).filter(|value| !value.is_null()) {
            attributes.push(json!({"name": name, "required": required, "value": value}));
        }
    }
    if let Some(Value::Array(rest)) = besides.remove("attributes") {
        attributes.extend(rest);
    } else {
        attributes.extend(BARE.map(|name| json!({"name": name, "required": true})));
    }
    spec["attributes"] = Value::Array(attributes);
    if let Some(broker) = take(spec, "broker").filter(|broker| !broker.is_null()) {
        if spec.get("reference").is_none() {
            spec["reference"] =
                json!({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": broker});
        }
        form.insert("broker".to_owned(), broker);
    }
    form.extend(take_all(spec, &["schemaData"]));
    Ok(())
}

fn down(object: &mut Value, form: &Form) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    let attributes = take(spec, "attributes").unwrap_or_default();
    let mut besides: Vec<Value> = Vec::new();
    for attribute in attributes.as_array().into_iter().flatten() {
        let field = FIELDS
            .iter()
            .find(|(_, name, _)| attribute["name"] == *name);
        match field {
            Some((field, _, _)) if !attribute["value"].is_null() => {
                spec[*field] = attribute["value"].clone();
            }
            _ => besides.push(attribute.clone()),
        }
    }
    if let Some(broker) = form.get("broker")
        && spec["reference"]["name"] == *broker
    {
        spec["broker"] = broker.clone();
        let reference = spec["reference"].as_object().cloned().unwrap_or_default();
        let own = ["apiVersion", "kind", "name", "namespace"];
        if reference.keys().all(|key| own.contains(&key.as_str())) {
            take(spec, "reference");
        }
    }
    if let Some(schema) = form.get("schemaData") {
        spec["schemaData"] = schema.clone();
    }
    let bare: Vec<Value> = BARE
        .map(|name| json!({"name": name, "required": true}))
        .to_vec();
    if besides != bare {
        let said = Map::from_iter([("attributes".to_owned(), Value::Array(besides))]);
        if !object["metadata"]["annotations"].is_object() {
            object["metadata"]["annotations"] = json!({});
        }
        write_form(object, BESIDES, said);
    }
}
