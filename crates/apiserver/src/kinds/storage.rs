//! PersistentVolumes and the claims to them.

use api::quantity::Quantity;
use serde_json::Value;

use super::{Errors, NONE, Rules, items, set, text};
use crate::field::{self, Error};

pub(super) const CLAIM: Rules = Rules {
    default: claim_default,
    validate: claim_validate,
    ..NONE
};
pub(super) const VOLUME: Rules = Rules {
    default: volume_default,
    validate: volume_validate,
    ..NONE
};

const ACCESS_MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
const RECLAIM_POLICIES: [&str; 3] = ["Delete", "Recycle", "Retain"];
const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];
/// What of a volume's specification is not its source.
const BESIDE_SOURCE: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn claim_default(claim: &mut Value) {
    if claim["spec"].is_object() {
        set(&mut claim["spec"], "volumeMode", "Filesystem");
    }
}

fn volume_default(volume: &mut Value) {
    let Some(spec) = volume.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    set(spec, "persistentVolumeReclaimPolicy", "Retain");
    set(spec, "volumeMode", "Filesystem");
}

fn claim_validate(claim: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &claim["spec"];
    let modes = items(&spec["accessModes"]);
    if modes.is_empty() {
        let detail = "at least 1 access mode is required";
        errors.push(Error::required("spec.accessModes", detail));
    }
    super::selector::validate(&spec["selector"], "spec.selector", errors);
    access_modes(modes, errors);
    let requested = &spec["resources"]["requests"]["storage"];
    if requested.is_null() {
        errors.push(Error::required("spec.resources[storage]", ""));
    } else {
        positive(requested, "spec.resources[storage]", errors);
    }
    class_and_mode(spec, errors);
    if spec["dataSource"].is_object() {
        data_source(&spec["dataSource"], "spec.dataSource", errors);
    }
    if spec["dataSourceRef"].is_object() {
        data_source(&spec["dataSourceRef"], "spec.dataSourceRef", errors);
    }
    if let Some(old) = old {
        claim_change(claim, old, errors);
    }
}

/// After it was made, a claim gets its volume, once, and may grow.
fn claim_change(claim: &Value, old: &Value, errors: &mut Errors) {
    let (mut new, mut before) = (claim["spec"].clone(), old["spec"].clone());
    for spec in [&mut new, &mut before] {
        set(spec, "volumeMode", "Filesystem");
    }
    let storage = "/resources/requests/storage";
    let size = |spec: &Value| number(spec.pointer(storage).unwrap_or(&Value::Null));
    let (new_size, old_size) = (size(&new), size(&before));
    let mode = new["volumeMode"] != before["volumeMode"];
    if text(&before["volumeName"]).is_empty() {
        before["volumeName"] = new["volumeName"].clone();
    }
    if before["storageClassName"].is_null() {
        before["storageClassName"] = new["storageClassName"].clone();
    }
    before["volumeAttributesClassName"] = new["volumeAttributesClassName"].clone();
    if old["status"]["phase"] == "Bound" && new["resources"]["requests"].is_object() {
        new["resources"]["requests"]["storage"] =
            before["resources"]["requests"]["storage"].clone();
    }
    super::prune_nulls(&mut new);
    super::prune_nulls(&mut before);
    if new != before {
        let detail = "spec is immutable after creation except resources.requests and \
                      volumeAttributesClassName for bound claims";
        errors.push(Error::forbidden("spec", detail));
    }
    let capacity = number(&old["status"]["capacity"]["storage"]);
    if new_size < old_size && new_size <= capacity {
        let field = "spec.resources.requests.storage";
        let detail = "field can not be less than status.capacity";
        errors.push(Error::forbidden(field, detail));
    }
    if mode {
        let detail = "field is immutable";
        errors.push(Error::invalid(
            "volumeMode",
            &claim["spec"]["volumeMode"],
            detail,
        ));
    }
}

fn volume_validate(volume: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &volume["spec"];
    let modes = items(&spec["accessModes"]);
    if modes.is_empty() {
        errors.push(Error::required("spec.accessModes", ""));
    }
    access_modes(modes, errors);
    capacity(&spec["capacity"], errors);
    let policy = &spec["persistentVolumeReclaimPolicy"];
    if policy.is_string() && !RECLAIM_POLICIES.contains(&text(policy)) {
        let field = "spec.persistentVolumeReclaimPolicy";
        errors.push(Error::not_supported(field, policy, &RECLAIM_POLICIES));
    }
    sources(spec, errors);
    if text(&spec["hostPath"]["path"]) == "/" && policy == "Recycle" {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        errors.push(Error::forbidden(
            "spec.persistentVolumeReclaimPolicy",
            detail,
        ));
    }
    class_and_mode(spec, errors);
    let Some(old) = old else {
        return;
    };
    if source(&old["spec"]) != source(spec) {
        let detail = "spec.persistentvolumesource is immutable after creation";
        errors.push(Error::forbidden("spec.persistentvolumesource", detail));
    }
    let before = &old["spec"]["volumeMode"];
    if !before.is_null() && *before != spec["volumeMode"] {
        let detail = "field is immutable";
        errors.push(Error::invalid("volumeMode", &spec["volumeMode"], detail));
    }
}

fn capacity(capacity: &Value, errors: &mut Errors) {
    let amounts = capacity.as_object().map_or(0, serde_json::Map::len);
    if amounts == 0 {
        errors.push(Error::required("spec.capacity", ""));
    }
    if amounts != 1 || capacity["storage"].is_null() {
        let mut error = Error::not_supported("spec.capacity", capacity, &["storage"]);
        if amounts == 0 {
            // Go's name of it.
            error.text = error.text.replace("null", "core.ResourceList(nil)");
        }
        errors.push(error);
    } else {
        positive(&capacity["storage"], "spec.capacity[storage]", errors);
    }
}

/// A volume has one source.
fn sources(spec: &Value, errors: &mut Errors) {
    let given: Vec<String> = source(spec).into_iter().map(|(kind, _)| kind).collect();
    if given.is_empty() {
        errors.push(Error::required("spec", "must specify a volume type"));
    }
    for second in given.iter().skip(1) {
        let detail = "may not specify more than 1 volume type";
        errors.push(Error::forbidden(format!("spec.{second}"), detail));
    }
    for kind in ["hostPath", "local"] {
        let path = &spec[kind]["path"];
        let field = format!("spec.{kind}.path");
        if !spec[kind].is_object() {
            continue;
        }
        if text(path).is_empty() {
            errors.push(Error::required(field, ""));
        } else if text(path).split('/').any(|part| part == "..") {
            errors.push(Error::invalid(field, path, "must not contain '..'"));
        }
    }
    if spec["local"].is_object() && !spec["nodeAffinity"]["required"].is_object() {
        let detail = "Local volume requires node affinity";
        errors.push(Error::required("spec.local.nodeAffinity", detail));
    }
}

/// The sources of a volume: what it is made of.
fn source(spec: &Value) -> Vec<(String, Value)> {
    let fields = spec.as_object().into_iter().flatten();
    let sources =
        fields.filter(|(key, value)| !BESIDE_SOURCE.contains(&key.as_str()) && value.is_object());
    sources
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn access_modes(modes: &[Value], errors: &mut Errors) {
    for mode in modes {
        if !ACCESS_MODES.contains(&text(mode)) {
            errors.push(Error::not_supported(
                "spec.accessModes",
                mode,
                &ACCESS_MODES,
            ));
        }
    }
    let alone = |mode: &&Value| **mode == "ReadWriteOncePod";
    let known = |mode: &&Value| ACCESS_MODES.contains(&text(mode)) && !alone(mode);
    if modes.iter().any(|mode| alone(&mode)) && modes.iter().any(|mode| known(&mode)) {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(Error::forbidden("spec.accessModes", detail));
    }
}

fn class_and_mode(spec: &Value, errors: &mut Errors) {
    let class = &spec["storageClassName"];
    if !text(class).is_empty() {
        for wrong in field::dns_subdomain(text(class)) {
            errors.push(Error::invalid("spec.storageClassName", class, &wrong));
        }
    }
    let mode = &spec["volumeMode"];
    if mode.is_string() && !VOLUME_MODES.contains(&text(mode)) {
        errors.push(Error::not_supported("spec.volumeMode", mode, &VOLUME_MODES));
    }
}

fn data_source(source: &Value, field: &str, errors: &mut Errors) {
    for key in ["name", "kind"] {
        if text(&source[key]).is_empty() {
            errors.push(Error::required(format!("{field}.{key}"), ""));
        }
    }
    let group = text(&source["apiGroup"]);
    if group.is_empty() {
        if source["kind"] != "PersistentVolumeClaim" {
            let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(Error::invalid(field, &source["kind"], detail));
        }
        return;
    }
    for wrong in field::dns_subdomain(group) {
        errors.push(Error::invalid(
            format!("{field}.apiGroup"),
            &source["apiGroup"],
            &wrong,
        ));
    }
}

fn positive(quantity: &Value, field: &str, errors: &mut Errors) {
    if number(quantity) <= 0.0 {
        errors.push(Error::invalid(field, quantity, "must be greater than zero"));
    }
}

/// A quantity's number; zero for none. Whether it is one has been checked before.
fn number(quantity: &Value) -> f64 {
    match quantity {
        Value::Number(number) => number.as_f64().unwrap_or(0.0),
        other => Quantity::parse(text(other)).map_or(0.0, |quantity| quantity.as_f64()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::check;
    use super::*;

    fn claim(more: Value) -> Value {
        let mut spec = json!({
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        let mut claim = json!({"spec": spec, "status": {"phase": "Bound",
            "capacity": {"storage": "1Gi"}}});
        claim_default(&mut claim);
        claim
    }

    #[test]
    fn claims_say_how_much_and_how() {
        let says = |claim: &Value, old: Option<&Value>, expected: &str| {
            check(claim_validate, claim, old, expected);
        };
        let whole = claim(json!({}));
        says(&whole, None, "");
        says(
            &json!({"spec": {}}),
            None,
            "[spec.accessModes: Required value: at least 1 access mode is required, \
             spec.resources[storage]: Required value]",
        );
        says(
            &claim(json!({"accessModes": ["Mine"]})),
            None,
            "spec.accessModes: Unsupported value: \"Mine\": supported values: \"ReadOnlyMany\", \
             \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
        );
        says(
            &claim(json!({"resources": {"requests": {"storage": "0"}}})),
            None,
            "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
        );
        let size = |size: &str| claim(json!({"resources": {"requests": {"storage": size}}}));
        says(&size("2Gi"), Some(&whole), "");
        says(
            &size("1Mi"),
            Some(&whole),
            "spec.resources.requests.storage: Forbidden: field can not be less than \
             status.capacity",
        );
        says(
            &claim(json!({"accessModes": ["ReadWriteMany"]})),
            Some(&whole),
            "spec: Forbidden: spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims",
        );
        says(&claim(json!({"volumeName": "v"})), Some(&whole), "");
    }

    #[test]
    fn volumes_have_one_source_that_stays() {
        let volume = |more: Value| {
            let mut spec =
                json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}});
            for (key, value) in more.as_object().into_iter().flatten() {
                spec[key] = value.clone();
            }
            json!({"spec": spec})
        };
        let says = |volume: &Value, old: Option<&Value>, expected: &str| {
            check(volume_validate, volume, old, expected);
        };
        let whole = volume(json!({"hostPath": {"path": "/a"}}));
        says(&whole, Some(&whole), "");
        says(
            &volume(json!({})),
            None,
            "spec: Required value: must specify a volume type",
        );
        says(
            &volume(json!({"hostPath": {"path": "/a"}, "nfs": {"server": "a", "path": "/"}})),
            None,
            "spec.nfs: Forbidden: may not specify more than 1 volume type",
        );
        says(
            &volume(json!({"local": {"path": "/a"}})),
            None,
            "spec.local.nodeAffinity: Required value: Local volume requires node affinity",
        );
        says(
            &volume(json!({"hostPath": {"path": "/b"}})),
            Some(&whole),
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable \
             after creation",
        );
    }
}
