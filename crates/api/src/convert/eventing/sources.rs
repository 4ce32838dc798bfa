//! Sources: what was spelled otherwise before v1.

use serde_json::{Map, Value, json};

use super::changes::Change;
use crate::convert::{Form, take, take_all};

const JSON: &str = "application/json";

/// A PingSource's `jsonData` became `data` of a content type.
pub(super) const JSON_DATA: Change = Change {
    up: |object, form| data_up(object, "jsonData", form),
    down: |object, form| data_down(object, "jsonData", form),
};

/// The same when the field was called `data`.
pub(super) const DATA: Change = Change {
    up: |object, form| data_up(object, "data", form),
    down: |object, form| data_down(object, "data", form),
};

/// What was no JSON object became one: `{"body": TEXT}`.
fn data_up(object: &mut Value, field: &str, form: &mut Form) -> Result<(), String> {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return Ok(());
    };
    let Some(data) = take(spec, field).filter(|data| data.is_string()) else {
        return Ok(());
    };
    let text = data.as_str().unwrap_or_default();
    spec["contentType"] = json!(JSON);
    if serde_json::from_str::<Map<String, Value>>(text).is_ok() {
        spec["data"] = data;
    } else {
        spec["data"] = json!(json!({"body": text}).to_string());
        form.insert("data".to_owned(), data);
    }
    Ok(())
}

fn data_down(object: &mut Value, field: &str, form: &Form) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    if spec["contentType"] != JSON {
        return;
    }
    take(spec, "contentType");
    if let Some(data) = take(spec, "data") {
        let wrapped = form
            .get("data")
            .map(|text| json!(json!({"body": text}).to_string()));
        spec[field] = match wrapped {
            Some(wrapped) if wrapped == data => form["data"].clone(),
            _ => data,
        };
    }
}

/// What an ApiServerSource said of each kind of objects: labels under another name, and which
/// controller they must have, which is said once for all of them now.
pub(super) const RESOURCES: Change = Change {
    up: |object, form| {
        let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
            return Ok(());
        };
        if spec["mode"] == "Ref" {
            spec["mode"] = json!("Reference");
        }
        let mut controllers: Vec<Value> = Vec::new();
        for resource in spec["resources"].as_array_mut().into_iter().flatten() {
            if let Some(selector) = take(resource, "labelSelector")
                && selector != json!({})
            {
                resource["selector"] = selector;
            }
            let said = take_all(resource, &["controller", "controllerSelector"]);
            controllers.push(Value::Object(said));
        }
        let mut owners = controllers.iter().map(|said| &said["controllerSelector"]);
        let owner = owners.rfind(|selector| selector["kind"].is_string());
        if let Some(owner) = owner
            && spec.get("owner").is_none()
        {
            spec["owner"] = json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"]});
            form.insert("owner".to_owned(), json!(true));
        }
        if controllers.iter().any(|said| *said != json!({})) {
            form.insert("controllers".to_owned(), Value::Array(controllers));
        }
        drop_nulls(spec);
        Ok(())
    },
    down: |object, form| {
        let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
            return;
        };
        if spec["mode"] == "Reference" {
            spec["mode"] = json!("Ref");
        }
        if form.contains_key("owner") {
            take(spec, "owner");
        }
        let controllers = form.get("controllers").and_then(Value::as_array);
        let mut controllers = controllers.into_iter().flatten();
        for resource in spec["resources"].as_array_mut().into_iter().flatten() {
            if let Some(selector) = take(resource, "selector") {
                resource["labelSelector"] = selector;
            }
            let said = controllers.next().and_then(Value::as_object);
            for (field, value) in said.into_iter().flatten() {
                resource[field] = value.clone();
            }
        }
        drop_nulls(spec);
    },
};

/// Indexing a field that is not there leaves a null.
fn drop_nulls(spec: &mut Value) {
    if let Some(map) = spec.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
}
