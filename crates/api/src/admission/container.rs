//! One container: image, environment, ports, mounts, security context. The rules of Knative's
//! `pkg/apis/serving/k8s_validation.go`; probes have a file of their own.

use std::collections::BTreeSet;

use serde_json::Value;

use super::disallowed;
use super::errors::Errors;
use super::image;
use super::pod::{items, validate_id};
use super::probe;
use super::volume;
use crate::config::Features;
use crate::gotext::quote;

const RESERVED_NAME: &str = "queue-proxy";
const RESERVED_ENV: [&str; 4] = ["PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"];
/// Profiling, queue-proxy's HTTP/1 and h2c ports, its administration and its two metrics ports.
const RESERVED_PORTS: [i64; 6] = [8008, 8012, 8013, 8022, 9090, 9091];
const PORT_MAX: i64 = 65_535;
const RESERVED_PATHS: [&str; 3] = ["/", "/dev", "/dev/log"];
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
const ALLOWED: [&str; 17] = [
    "name",
    "args",
    "command",
    "env",
    "workingDir",
    "envFrom",
    "image",
    "imagePullPolicy",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "volumeMounts",
];

/// What a container is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// It gets the requests.
    Serving,
    /// It runs beside.
    Sidecar,
    /// It runs before.
    Init,
}

/// Checks a container of `spec`.
pub(super) fn validate(container: &Value, role: Role, spec: &Value, features: &Features) -> Errors {
    let mut errors = match role {
        Role::Serving => {
            let port = probe::serving_port(items(&spec["containers"]));
            probe::validate_all(container, Some(&port))
        }
        Role::Sidecar if features.multi_container_probing.is_enabled() => {
            probe::validate_all(container, None)
        }
        Role::Sidecar => PROBES.iter().fold(Errors::NONE, |errors, name| {
            errors.also(probe::refuse(&container[*name]).via_field(name))
        }),
        Role::Init => not_in_init(container),
    };
    errors.add(validate_common(container, role, spec, features));
    errors
}

fn not_in_init(container: &Value) -> Errors {
    let fields = PROBES.iter().chain(&["lifecycle"]);
    fields
        .filter(|field| !container[**field].is_null())
        .fold(Errors::NONE, |errors, field| {
            errors.also(Errors::new(
                "field not allowed in an init container",
                &[field],
            ))
        })
}

fn validate_common(container: &Value, role: Role, spec: &Value, features: &Features) -> Errors {
    let mut errors = disallowed::check(container, &ALLOWED);
    if container["name"] == RESERVED_NAME {
        let message = format!("{} is a reserved container name", quote(RESERVED_NAME));
        errors.add(Errors::new(message, &["name"]));
    }
    errors.add(validate_env(&container["env"], role, features).via_field("env"));
    errors.add(validate_env_from(&container["envFrom"]).via_field("envFrom"));
    errors.add(validate_image(
        container["image"].as_str().unwrap_or_default(),
    ));
    errors.add(validate_ports(&container["ports"], role).via_field("ports"));
    let resources = disallowed::check(&container["resources"], &["limits", "requests"]);
    errors.add(resources.via_field("resources"));
    let security = validate_security(&container["securityContext"], features);
    errors.add(security.via_field("securityContext"));
    match container["terminationMessagePolicy"].as_str() {
        None | Some("File" | "FallbackToLogsOnError") => {}
        Some(other) => errors.add(Errors::invalid(other, "terminationMessagePolicy")),
    }
    let mounts = validate_mounts(&container["volumeMounts"], spec, features);
    errors.also(mounts.via_field("volumeMounts"))
}

fn validate_env(env: &Value, role: Role, features: &Features) -> Errors {
    let reserved = if role == Role::Serving {
        &RESERVED_ENV[..]
    } else {
        &RESERVED_ENV[1..]
    };
    let mut errors = Errors::NONE;
    for (index, variable) in items(env).iter().enumerate() {
        let name = variable["name"].as_str().unwrap_or_default();
        let mut found = Errors::NONE;
        if name.is_empty() {
            found.add(Errors::missing(&["name"]));
        } else if reserved.contains(&name) {
            let message = format!("{} is a reserved environment variable", quote(name));
            found.add(Errors::new(message, &["name"]));
        }
        let mut sources = vec!["configMapKeyRef", "secretKeyRef"];
        if features.field_ref.is_on() {
            sources.extend(["fieldRef", "resourceFieldRef"]);
        }
        found.add(disallowed::check(&variable["valueFrom"], &sources).via_field("valueFrom"));
        errors.add(found.via_index(index));
    }
    errors
}

fn validate_env_from(sources: &Value) -> Errors {
    let mut errors = Errors::NONE;
    for (index, source) in items(sources).iter().enumerate() {
        let (config_map, secret) = (&source["configMapRef"], &source["secretRef"]);
        // Knative moves what it found in the entries before into the one at hand.
        if !secret.is_null() {
            errors = errors.via_index(index).via_field("secretRef");
        }
        if !config_map.is_null() {
            errors = errors.via_index(index).via_field("configMapRef");
        }
        let both = ["configMapRef", "secretRef"];
        match (config_map.is_null(), secret.is_null()) {
            (false, false) => errors.add(Errors::several_of(&both)),
            (true, true) => errors.add(Errors::none_of(&both)),
            _ => {}
        }
    }
    errors
}

fn validate_image(reference: &str) -> Errors {
    if reference.is_empty() {
        return Errors::missing(&["image"]);
    }
    if image::is_reference(reference) {
        return Errors::NONE;
    }
    let quoted = quote(reference);
    Errors::detailed(
        "Failed to parse image reference",
        &["image"],
        format!("image: {quoted}, error: could not parse reference: {reference}"),
    )
}

fn validate_ports(ports: &Value, role: Role) -> Errors {
    let ports = items(ports);
    if role == Role::Init {
        return ports.iter().fold(Errors::NONE, |errors, port| {
            errors.also(validate_port(port))
        });
    }
    let Some(port) = ports.first() else {
        return Errors::NONE;
    };
    let mut errors = validate_port(port);
    match port["protocol"].as_str() {
        None | Some("TCP") => {}
        Some(other) => errors.add(Errors::invalid(other, "protocol")),
    }
    match port["name"].as_str() {
        None | Some("h2c" | "http1") => {}
        Some(other) => errors.add(Errors::detailed(
            format!("Port name {other} is not allowed"),
            &[""],
            "Name must be empty, or one of: 'h2c', 'http1'",
        )),
    }
    errors
}

fn validate_port(port: &Value) -> Errors {
    let mut errors = disallowed::check(port, &["containerPort", "name", "protocol"]);
    let number = port["containerPort"].as_i64().unwrap_or(0);
    if RESERVED_PORTS.contains(&number) {
        let reserved = format!("{number} is a reserved port");
        let why = format!("{reserved}, please use a different value");
        errors.add(Errors::invalid_because(reserved, "containerPort", &why));
    }
    if !(0..=PORT_MAX).contains(&number) {
        errors.add(Errors::out_of_bounds(number, 0, PORT_MAX, "containerPort"));
    }
    errors
}

fn validate_security(context: &Value, features: &Features) -> Errors {
    let mut allowed = vec![
        "capabilities",
        "readOnlyRootFilesystem",
        "runAsUser",
        "runAsGroup",
        "runAsNonRoot",
        "allowPrivilegeEscalation",
        "seccompProfile",
    ];
    if context["privileged"] == Value::Bool(false) {
        allowed.push("privileged");
    }
    let mut errors = disallowed::check(context, &allowed);
    let capabilities = &context["capabilities"];
    let mut kinds = vec!["drop"];
    let only_low_ports = matches!(items(&capabilities["add"]), [one] if one == "NET_BIND_SERVICE");
    let secure = features.secure_pod_defaults.is_on();
    if features.add_capabilities.is_on() || (secure && only_low_ports) {
        kinds.push("add");
    }
    errors.add(disallowed::check(capabilities, &kinds).via_field("capabilities"));
    for field in ["runAsUser", "runAsGroup"] {
        errors.add(validate_id(&context[field], field));
    }
    errors
}

fn validate_mounts(mounts: &Value, spec: &Value, features: &Features) -> Errors {
    let mut seen = BTreeSet::new();
    let mut errors = Errors::NONE;
    for (index, mount) in items(mounts).iter().enumerate() {
        let mut found = validate_mount(mount, spec, features);
        let path = mount["mountPath"].as_str().unwrap_or_default();
        let clean = clean_path(path);
        if path.is_empty() {
            found.add(Errors::missing(&["mountPath"]));
        } else if RESERVED_PATHS.contains(&clean.as_str()) {
            let message = format!("mountPath {} is a reserved path", quote(&clean));
            found.add(Errors::new(message, &["mountPath"]));
        } else if !path.starts_with('/') {
            found.add(Errors::invalid(path, "mountPath"));
        } else if seen.contains(&clean) {
            let told = format!("{} must be unique", quote(path));
            found.add(Errors::invalid(told, "mountPath"));
        }
        seen.insert(clean);
        errors.add(found.via_index(index));
    }
    errors
}

fn validate_mount(mount: &Value, spec: &Value, features: &Features) -> Errors {
    let mut allowed = vec!["name", "readOnly", "mountPath", "subPath"];
    let mut errors = Errors::NONE;
    if features.mount_propagation.is_on() {
        allowed.push("mountPropagation");
    }
    if !mount["mountPropagation"].is_null() && !features.mount_propagation.is_enabled() {
        let name = mount["name"].as_str().unwrap_or_default();
        let message = format!(
            "Volume Mount Propagation support is disabled, but found volume mount {name} with \
             mount propagation"
        );
        errors.add(Errors::new(message, &[]));
    }
    errors.add(disallowed::check(mount, &allowed));
    // Of several volumes of one name the last counts, as in Knative's map.
    let mut volumes = items(&spec["volumes"]).iter().rev();
    let volume = volumes.find(|volume| volume["name"] == mount["name"]);
    if volume.is_none() {
        errors.add(Errors::new("volumeMount has no matching volume", &["name"]));
    }
    let read_only = mount["readOnly"] == Value::Bool(true);
    let writable = volume.is_some_and(volume::is_writable);
    if !writable && !read_only {
        let message = "volume mount should be readOnly for this type of volume";
        errors.add(Errors::new(message, &["readOnly"]));
    }
    let claim_read_only = volume
        .is_some_and(|volume| volume["persistentVolumeClaim"]["readOnly"] == Value::Bool(true));
    if claim_read_only && !read_only {
        errors.add(Errors::new(
            "volume is readOnly but volume mount is not",
            &["readOnly"],
        ));
    }
    errors
}

/// The shortest equivalent path (Go's `path.Clean`).
fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            other => parts.push(other),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}
