//! Volumes. The rules of Knative's `pkg/apis/serving/k8s_validation.go`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::disallowed;
use super::errors::Errors;
use super::names;
use super::pod::items;
use crate::config::{Features, Flag};
use crate::gotext::quote;
use crate::quantity::Quantity;

/// Sources that need a feature: the field, its feature, the words of the complaint.
fn gated(features: &Features) -> [(&'static str, Flag, &'static str); 5] {
    [
        ("emptyDir", features.empty_dir, "EmptyDir"),
        ("hostPath", features.host_path, "HostPath"),
        ("csi", features.csi, "CSI"),
        ("image", features.image_volume, "Image"),
        ("ephemeral", features.ephemeral, "Ephemeral"),
    ]
}

/// Whether containers may write to the volume.
pub(super) fn is_writable(volume: &Value) -> bool {
    ["emptyDir", "persistentVolumeClaim", "ephemeral"]
        .iter()
        .any(|source| !volume[*source].is_null())
}

/// Checks the volumes of a PodSpec.
pub(super) fn validate_all(spec: &Value, features: &Features) -> Errors {
    let containers = items(&spec["initContainers"])
        .iter()
        .chain(items(&spec["containers"]));
    let mounted: BTreeSet<&str> = containers
        .flat_map(|container| items(&container["volumeMounts"]))
        .map(|mount| mount["name"].as_str().unwrap_or_default())
        .collect();
    let mut seen = BTreeSet::new();
    let mut errors = Errors::NONE;
    for (index, volume) in items(&spec["volumes"]).iter().enumerate() {
        let name = volume["name"].as_str().unwrap_or_default();
        let mut found = Errors::NONE;
        if !seen.insert(name) {
            let message = format!("duplicate volume name {}", quote(name));
            found.add(Errors::new(message, &["name"]));
        }
        if !mounted.contains(name) {
            let message = format!("volume with name {} not mounted", quote(name));
            found.add(Errors::new(message, &["name"]));
        }
        errors.add(found.also(validate(volume, features)).via_index(index));
    }
    errors
}

fn validate(volume: &Value, features: &Features) -> Errors {
    let name = volume["name"].as_str().unwrap_or_default();
    // A bad name takes the place of what the features say.
    let mut errors = if name.is_empty() {
        Errors::missing(&["name"])
    } else if !names::dns_1123_label(name).is_empty() {
        Errors::invalid(name, "name")
    } else {
        validate_features(volume, name, features)
    };
    let claims = features.persistent_volume_claim;
    let gated = gated(features);
    let gates = || gated.iter().map(|(field, flag, _)| (*field, *flag));
    let gates = || gates().chain([("persistentVolumeClaim", claims)]);
    let plain = ["secret", "configMap", "projected"];
    let mut allowed = vec!["name"];
    allowed.extend(plain);
    allowed.extend(
        gates()
            .filter(|(_, flag)| flag.is_on())
            .map(|(field, _)| field),
    );
    errors.add(disallowed::check(volume, &allowed));
    errors.add(validate_sources(volume));
    let known = plain.into_iter().chain(gates().map(|(field, _)| field));
    let set: Vec<&str> = known.filter(|field| !volume[*field].is_null()).collect();
    match set.len() {
        0 => {
            let enabled = gates()
                .filter(|(_, flag)| flag.is_enabled())
                .map(|(field, _)| field);
            let choices: Vec<&str> = plain.into_iter().chain(enabled).collect();
            errors.also(Errors::none_of(&choices))
        }
        1 => errors,
        _ => errors.also(Errors::several_of(&set)),
    }
}

fn validate_features(volume: &Value, name: &str, features: &Features) -> Errors {
    let mut errors = Errors::NONE;
    for (field, flag, words) in gated(features) {
        if !volume[field].is_null() && !flag.is_enabled() {
            let message =
                format!("{words} volume support is disabled, but found {words} volume {name}");
            errors.add(Errors::new(message, &[]));
        }
    }
    let claim = &volume["persistentVolumeClaim"];
    if claim.is_null() {
        return errors;
    }
    let claimed = claim["claimName"].as_str().unwrap_or_default();
    if !features.persistent_volume_claim.is_enabled() {
        let message = format!(
            "Persistent volume claim support is disabled, but found persistent volume claim \
             {claimed}"
        );
        errors.add(Errors::new(message, &[]));
    }
    if claim["readOnly"] != Value::Bool(true) && !features.persistent_volume_write.is_enabled() {
        let message = format!(
            "Persistent volume write support is disabled, but found persistent volume claim \
             {claimed} that is not read-only"
        );
        errors.add(Errors::new(message, &[]));
    }
    errors
}

fn validate_sources(volume: &Value) -> Errors {
    let mut errors = Errors::NONE;
    for source in ["secret", "configMap"] {
        errors.add(validate_keys(&volume[source]["items"]));
    }
    for (index, source) in items(&volume["projected"]["sources"]).iter().enumerate() {
        errors.add(validate_projection(source).via_field_index("projected", index));
    }
    errors.also(validate_empty_dir(&volume["emptyDir"]).via_field("emptyDir"))
}

fn validate_empty_dir(source: &Value) -> Errors {
    let mut errors = Errors::NONE;
    match source["medium"].as_str() {
        None | Some("Memory") => {}
        Some(other) => errors.add(Errors::invalid(other, "medium")),
    }
    let limit = source["sizeLimit"].as_str();
    if let Some(limit) = limit.filter(|l| Quantity::parse(l).is_ok_and(|q| q.ceil() < 0)) {
        errors.add(Errors::invalid(limit, "sizeLimit"));
    }
    errors
}

fn validate_projection(source: &Value) -> Errors {
    let kinds = ["secret", "configMap", "serviceAccountToken", "downwardAPI"];
    let mut errors = disallowed::check(source, &kinds);
    for kind in ["secret", "configMap"] {
        let projected = &source[kind];
        if projected.is_null() {
            continue;
        }
        let mut found = validate_keys(&projected["items"]);
        if projected["name"].is_null() {
            found.add(Errors::missing(&["name"]));
        }
        errors.add(found.via_field(kind));
    }
    let token = &source["serviceAccountToken"];
    if !token.is_null() && token["path"].is_null() {
        errors.add(Errors::missing(&["path"]).via_field("serviceAccountToken"));
    }
    for (index, file) in items(&source["downwardAPI"]["items"]).iter().enumerate() {
        let found = validate_downward_file(file).via_field_index("items", index);
        errors.add(found.via_field("downwardAPI"));
    }
    let set: Vec<&str> = kinds
        .into_iter()
        .filter(|kind| !source[*kind].is_null())
        .collect();
    match set.len() {
        0 => errors.also(Errors::none_of(&kinds)),
        1 => errors,
        _ => errors.also(Errors::several_of(&set)),
    }
}

fn validate_downward_file(file: &Value) -> Errors {
    let refs = ["fieldRef", "resourceFieldRef"];
    let mut errors = match refs.iter().filter(|field| !file[**field].is_null()).count() {
        0 => Errors::none_of(&refs),
        1 => Errors::NONE,
        _ => Errors::new("Within a single item, cannot set both", &refs),
    };
    if file["path"].is_null() {
        errors.add(Errors::missing(&["path"]));
    }
    errors
}

fn validate_keys(keys: &Value) -> Errors {
    let mut errors = Errors::NONE;
    for (index, item) in items(keys).iter().enumerate() {
        for field in ["key", "path"] {
            if item[field].is_null() {
                errors.add(Errors::missing(&[field]).via_field_index("items", index));
            }
        }
    }
    errors
}
