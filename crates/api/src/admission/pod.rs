//! The Pod part of a revision: which fields users may set, containers, security contexts. The
//! rules of Knative's `pkg/apis/serving/k8s_validation.go` and `fieldmask.go`. What is in a volume
//! or a container is checked by their own files.

use serde_json::Value;

use super::container::{self, Role};
use super::disallowed;
use super::errors::Errors;
use super::names;
use super::volume;
use crate::config::{Features, Flag};

/// The largest user and group id.
const ID_MAX: i64 = i32::MAX as i64;

/// Checks a PodSpec.
pub(super) fn validate(spec: &Value, features: &Features) -> Errors {
    let mut errors = disallowed::check(spec, &allowed_fields(spec, features));
    let security = &spec["securityContext"];
    if !security.is_null() {
        errors.add(validate_security(security, features).via_field("securityContext"));
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in items(&spec[list]).iter().enumerate() {
            let warnings = insecure_defaults(security, &container["securityContext"], features);
            errors.add(
                warnings
                    .via_field("securityContext")
                    .via_field_index(list, index),
            );
        }
    }
    errors.add(volume::validate_all(spec, features).via_field("volumes"));
    errors.add(validate_init_containers(spec, features));
    errors.add(validate_containers(spec, features));
    let account = spec["serviceAccountName"].as_str().unwrap_or_default();
    if !account.is_empty() {
        for problem in names::dns_1123_subdomain(account) {
            errors.add(Errors::invalid_because(
                account,
                "serviceAccountName",
                &problem,
            ));
        }
    }
    errors
}

/// The entries of a list that may be missing.
pub(super) fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn allowed_fields(spec: &Value, features: &Features) -> Vec<&'static str> {
    let mut allowed = vec![
        "serviceAccountName",
        "containers",
        "volumes",
        "imagePullSecrets",
        "enableServiceLinks",
        // What a RevisionSpec adds to a PodSpec.
        "containerConcurrency",
        "timeoutSeconds",
        "responseStartTimeoutSeconds",
        "idleTimeoutSeconds",
    ];
    if spec["automountServiceAccountToken"] == Value::Bool(false) {
        allowed.push("automountServiceAccountToken");
    }
    let security = [features.security_context, features.secure_pod_defaults];
    let by_feature = [
        ("affinity", features.affinity.is_on()),
        (
            "topologySpreadConstraints",
            features.topology_spread_constraints.is_on(),
        ),
        ("hostAliases", features.host_aliases.is_on()),
        ("nodeSelector", features.node_selector.is_on()),
        ("runtimeClassName", features.runtime_class_name.is_on()),
        ("tolerations", features.tolerations.is_on()),
        ("securityContext", security.into_iter().any(Flag::is_on)),
        (
            "shareProcessNamespace",
            features.share_process_namespace.is_on(),
        ),
        ("hostIPC", features.host_ipc.is_on()),
        ("hostPID", features.host_pid.is_on()),
        ("hostNetwork", features.host_network.is_on()),
        ("priorityClassName", features.priority_class_name.is_on()),
        ("schedulerName", features.scheduler_name.is_on()),
        ("initContainers", features.init_containers.is_on()),
        ("dnsPolicy", features.dns_policy.is_on()),
        ("dnsConfig", features.dns_config.is_on()),
    ];
    allowed.extend(
        by_feature
            .iter()
            .filter(|(_, on)| *on)
            .map(|(field, _)| *field),
    );
    allowed
}

fn validate_security(context: &Value, features: &Features) -> Errors {
    let mut allowed = Vec::new();
    if features.secure_pod_defaults.is_on() {
        // Ways out of the secure defaults.
        if matches!(
            context["seccompProfile"]["type"].as_str(),
            Some("RuntimeDefault" | "Unconfined")
        ) {
            allowed.push("seccompProfile");
        }
        if context["runAsNonRoot"] == Value::Bool(false) {
            allowed.push("runAsNonRoot");
        }
    }
    if features.security_context.is_on() {
        allowed.extend([
            "runAsUser",
            "runAsGroup",
            "runAsNonRoot",
            "fsGroup",
            "supplementalGroups",
            "seccompProfile",
        ]);
    }
    let mut errors = disallowed::check(context, &allowed);
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        errors.add(validate_id(&context[field], field));
    }
    for (index, group) in items(&context["supplementalGroups"]).iter().enumerate() {
        errors.add(validate_id(group, "").via_field_index("supplementalGroups", index));
    }
    errors
}

/// Checks a user or group id.
pub(super) fn validate_id(id: &Value, path: &str) -> Errors {
    match id.as_i64() {
        Some(id) if !(0..=ID_MAX).contains(&id) => Errors::out_of_bounds(id, 0, ID_MAX, path),
        _ => Errors::NONE,
    }
}

/// Warns of what Kubernetes leaves insecure and the user did not decide.
fn insecure_defaults(pod: &Value, container: &Value, features: &Features) -> Errors {
    let insecure = |field: &str| {
        let message = "Kubernetes default value is insecure, Knative may default this to secure \
                       in a future release";
        Errors::new(message, &[field]).warning()
    };
    let mut warnings = Errors::NONE;
    // Root is what AllowRootBounded is there for.
    let root_allowed = features.secure_pod_defaults == Flag::AllowRootBounded;
    let unset = pod["runAsNonRoot"].is_null() && container["runAsNonRoot"].is_null();
    if unset && !root_allowed {
        warnings.add(insecure("runAsNonRoot"));
    }
    if container["allowPrivilegeEscalation"].is_null() {
        warnings.add(insecure("allowPrivilegeEscalation"));
    }
    let profiles = [&pod["seccompProfile"], &container["seccompProfile"]];
    if profiles.iter().all(|profile| profile.is_null()) {
        warnings.add(insecure("seccompProfile"));
    } else if profiles.iter().all(|profile| profile["type"].is_null()) {
        warnings.add(insecure("seccompProfile.type"));
    }
    let capabilities = &container["capabilities"];
    let drop = &capabilities["drop"];
    if capabilities.is_null() {
        warnings.add(insecure("capabilities"));
    } else if drop.is_null() {
        warnings.add(insecure("capabilities.drop"));
    } else if drop[0] == "all" {
        let why = "Must be spelled as 'ALL'";
        warnings.add(Errors::invalid_because("all", "capabilities.drop", why).warning());
    }
    warnings
}

fn validate_init_containers(spec: &Value, features: &Features) -> Errors {
    let inits = items(&spec["initContainers"]);
    if inits.is_empty() {
        return Errors::NONE;
    }
    if !features.init_containers.is_enabled() {
        return Errors::new(
            format!(
                "pod spec support for init-containers is off, but found {} init containers",
                inits.len()
            ),
            &[],
        );
    }
    let others = items(&spec["containers"]);
    let mut errors = Errors::NONE;
    for (index, init) in inits.iter().enumerate() {
        // Knative calls init containers `containers` here, and moves what it found before along.
        if others.iter().any(|other| other["name"] == init["name"]) {
            errors = errors
                .also(duplicate_name(init))
                .via_field_index("containers", index);
        }
        let found = container::validate(init, Role::Init, spec, features);
        errors.add(found.via_field_index("containers", index));
    }
    errors
}

fn validate_containers(spec: &Value, features: &Features) -> Errors {
    let containers = items(&spec["containers"]);
    let mut errors = validate_port_count(containers).via_field("containers[*]");
    match containers {
        [] => errors.add(Errors::missing(&["containers"])),
        [only] => {
            let found = container::validate(only, Role::Serving, spec, features);
            errors.add(found.via_field_index("containers", 0));
        }
        several if features.multi_container.is_enabled() => {
            errors.add(validate_several(several, spec, features));
        }
        several => errors.add(Errors::new(
            format!(
                "multi-container is off, but found {} containers",
                several.len()
            ),
            &[],
        )),
    }
    errors
}

fn validate_several(containers: &[Value], spec: &Value, features: &Features) -> Errors {
    let mut errors = Errors::NONE;
    for (index, container) in containers.iter().enumerate() {
        if containers[..index]
            .iter()
            .any(|other| other["name"] == container["name"])
        {
            // As with init containers, what was found before moves along.
            errors = errors
                .also(duplicate_name(container))
                .via_field_index("containers", index);
        }
        let serves = !items(&container["ports"]).is_empty();
        let role = if serves { Role::Serving } else { Role::Sidecar };
        let found = container::validate(container, role, spec, features);
        errors.add(found.via_field_index("containers", index));
    }
    errors
}

fn duplicate_name(container: &Value) -> Errors {
    let name = crate::gotext::quote(container["name"].as_str().unwrap_or_default());
    Errors::new(format!("duplicate container name {name}"), &["name"])
}

fn validate_port_count(containers: &[Value]) -> Errors {
    let count: usize = containers.iter().map(|c| items(&c["ports"]).len()).sum();
    if count == 0 && containers.len() > 1 {
        return Errors::missing(&["ports"]);
    }
    if count > 1 {
        let why = "Only a single port is allowed across all containers";
        return Errors::detailed("more than one container port is set", &["ports"], why);
    }
    Errors::NONE
}
