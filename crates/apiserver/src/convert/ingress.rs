//! Ingress between `networking.k8s.io/v1` and its two v1beta1 forms (`extensions` and
//! `networking.k8s.io`), which are alike: there a backend is `serviceName` and `servicePort`, and
//! the default backend is called `backend`.

use serde_json::{Map, Value, json};

/// What a path without a type means in v1beta1; v1 wants it said.
const PATH_TYPE: &str = "ImplementationSpecific";

/// From a v1beta1 to v1.
pub(crate) fn to_v1(object: &mut Value) {
    move_default(object, "backend", "defaultBackend", backend_to_v1);
    for path in paths(object) {
        path.entry("pathType").or_insert_with(|| PATH_TYPE.into());
        if let Some(backend) = path.get_mut("backend") {
            backend_to_v1(backend);
        }
    }
}

/// From v1 to a v1beta1.
pub(super) fn from_v1(object: &mut Value) {
    move_default(object, "defaultBackend", "backend", backend_from_v1);
    for path in paths(object) {
        if let Some(backend) = path.get_mut("backend") {
            backend_from_v1(backend);
        }
    }
}

fn move_default(object: &mut Value, from: &str, to: &str, change: fn(&mut Value)) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(mut backend) = spec.remove(from) {
        change(&mut backend);
        spec.insert(to.to_owned(), backend);
    }
}

/// Every path of every rule.
fn paths(object: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let rules = list(object.pointer_mut("/spec/rules"));
    rules
        .flat_map(|rule| list(rule.pointer_mut("/http/paths")))
        .filter_map(Value::as_object_mut)
}

fn list(value: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    value.and_then(Value::as_array_mut).into_iter().flatten()
}

fn backend_to_v1(backend: &mut Value) {
    let Some(fields) = backend.as_object_mut() else {
        return;
    };
    let name = fields.remove("serviceName");
    let port = fields.remove("servicePort");
    if name.is_none() && port.is_none() {
        return;
    }
    let mut service = json!({"name": name.unwrap_or_else(|| "".into())});
    match port {
        Some(Value::Number(number)) => service["port"] = json!({"number": number}),
        Some(Value::String(name)) if !name.is_empty() => service["port"] = json!({"name": name}),
        _ => {}
    }
    fields.insert("service".into(), service);
}

fn backend_from_v1(backend: &mut Value) {
    let Some(fields) = backend.as_object_mut() else {
        return;
    };
    let Some(mut service) = fields.remove("service") else {
        return;
    };
    fields.insert("serviceName".into(), service["name"].take());
    let port = service["port"].as_object();
    let port = port.and_then(|port| port.get("name").or_else(|| port.get("number")));
    if let Some(port) = port {
        fields.insert("servicePort".into(), port.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: Value, new: Value) {
        let mut object = json!({"spec": old});
        to_v1(&mut object);
        assert_eq!(object["spec"], new);
        from_v1(&mut object);
        let mut again = object.clone();
        to_v1(&mut again);
        assert_eq!(again["spec"], new, "by way of {object}");
    }

    #[test]
    fn backends_move() {
        check(
            json!({"rules": [{"http": {"paths": [
                {"path": "/apple", "backend": {"serviceName": "apple", "servicePort": 5678}},
            ]}}]}),
            json!({"rules": [{"http": {"paths": [{
                "path": "/apple",
                "pathType": "ImplementationSpecific",
                "backend": {"service": {"name": "apple", "port": {"number": 5678}}},
            }]}}]}),
        );
        check(
            json!({"backend": {"serviceName": "a", "servicePort": "http"}, "rules": [{"host": "h"}]}),
            json!({
                "defaultBackend": {"service": {"name": "a", "port": {"name": "http"}}},
                "rules": [{"host": "h"}],
            }),
        );
        let resource = json!({"resource": {"kind": "Bucket", "name": "b"}});
        check(
            json!({"backend": resource}),
            json!({"defaultBackend": resource}),
        );
    }
}
