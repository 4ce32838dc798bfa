//! Probes. The rules of Knative's `pkg/apis/serving/k8s_validation.go`, its odd paths included:
//! what is found in a handler moves what was found before along.

use serde_json::Value;

use super::disallowed;
use super::errors::Errors;
use super::pod::items;
use crate::probe::{HANDLERS, TIMES};

const MOST: i64 = i32::MAX as i64;

/// The port of the serving container that probes may name.
pub(super) struct ServingPort(String);

/// The port the containers serve on.
pub(super) fn serving_port(containers: &[Value]) -> ServingPort {
    let ports = containers
        .iter()
        .rev()
        .find_map(|c| items(&c["ports"]).first());
    let name = ports
        .and_then(|port| port["name"].as_str())
        .unwrap_or("http");
    ServingPort(name.to_owned())
}

/// Checks the probes of a container; without a serving port, those of a sidecar.
pub(super) fn validate_all(container: &Value, port: Option<&ServingPort>) -> Errors {
    let readiness = &container["readinessProbe"];
    let mut errors = Errors::NONE;
    for name in ["livenessProbe", "startupProbe"] {
        errors.add(validate(&container[name], port).via_field(name));
    }
    let found = validate(readiness, port).also(validate_timing(readiness));
    errors.also(found.via_field("readinessProbe"))
}

/// What is reported for a probe where none may be.
pub(super) fn refuse(probe: &Value) -> Errors {
    let Some(entries) = probe.as_object() else {
        return Errors::NONE;
    };
    let mut fields: Vec<&str> = entries
        .keys()
        .map(String::as_str)
        // Handlers are inlined, so that the probe itself is named for them.
        .map(|field| if HANDLERS.contains(&field) { "" } else { field })
        .collect();
    fields.dedup();
    if fields.is_empty() {
        Errors::NONE
    } else {
        Errors::disallowed(&fields)
    }
}

fn validate(probe: &Value, port: Option<&ServingPort>) -> Errors {
    if probe.is_null() {
        return Errors::NONE;
    }
    let allowed: Vec<&str> = TIMES.into_iter().chain(HANDLERS).collect();
    let mut errors = disallowed::check(probe, &allowed);
    for handler in HANDLERS {
        let value = &probe[handler];
        if value.is_null() {
            continue;
        }
        errors = errors.via_field(handler);
        if matches!(handler, "httpGet" | "tcpSocket") {
            errors.add(validate_port(
                &value["port"],
                &format!("{handler}.port"),
                port,
            ));
        }
    }
    let mut set: Vec<&str> = HANDLERS
        .into_iter()
        .filter(|handler| !probe[*handler].is_null())
        .collect();
    match set.len() {
        0 => errors.also(Errors::none_of(&HANDLERS)),
        1 => errors,
        _ => {
            for handler in &mut set {
                if *handler == "grpc" {
                    *handler = "gRPC";
                }
            }
            errors.also(Errors::several_of(&set))
        }
    }
}

fn validate_port(value: &Value, path: &str, port: Option<&ServingPort>) -> Errors {
    let name = value.as_str().unwrap_or_default();
    match port {
        Some(port) if !name.is_empty() && name != port.0 => {
            Errors::invalid_because(name, path, "Probe port must match container port")
        }
        None if name.is_empty() && value.as_i64().unwrap_or(0) == 0 => {
            Errors::invalid_because(0, path, "Probe port must be specified")
        }
        _ => Errors::NONE,
    }
}

/// The timing of a readiness probe; a period of zero is Knative's own aggressive probing.
fn validate_timing(probe: &Value) -> Errors {
    if probe.is_null() {
        return Errors::NONE;
    }
    let get = |field: &str| probe[field].as_i64().unwrap_or(0);
    let at_least = |field: &str, least: i64| {
        let value = get(field);
        if value < least {
            Errors::out_of_bounds(value, least, MOST, field)
        } else {
            Errors::NONE
        }
    };
    let mut errors = at_least("periodSeconds", 0)
        .also(at_least("initialDelaySeconds", 0))
        .also(at_least("successThreshold", 1));
    for field in ["failureThreshold", "timeoutSeconds"] {
        if get("periodSeconds") != 0 {
            errors.add(at_least(field, 1));
        } else if get(field) != 0 {
            let message = format!("{field} is disallowed when periodSeconds is zero");
            errors.add(Errors::new(message, &[field]));
        }
    }
    errors
}
