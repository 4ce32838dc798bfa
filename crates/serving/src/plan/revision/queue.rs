//! The queue-proxy container of a Revision's Pods: its ports, probe, resources and environment.
//! The environment is the whole interface between the control plane and queue-proxy.

use std::time::Duration;

use api::config::observability::REQUEST_LOG_TEMPLATE;
use api::networking::{
    AUTOSCALING_METRICS_PORT, H2C_PORT, HTTP_PORT, HTTPS_PORT, PROFILING_PORT, QUEUE_ADMIN_PORT,
    SERVING_CERTIFICATE_PATH, USER_METRICS_PORT,
};
use api::object::ObjectExt;
use api::serving;
use api::serving::revision::{
    container_concurrency, containers, idle_timeout, is_h2c, response_start_timeout,
    serving_container, timeout, user_port,
};
use serde_json::{Map, Value, json};

use super::deployment;
use crate::plan::config::Config;
use crate::plan::internal_tls;
use api::draft::Draft;

/// The image by which the embedded node knows its own queue-proxy.
const IMAGE_DEFAULT: &str = api::config::stock::QUEUE_IMAGE;
/// The sidecar's CPU request, where nothing else is said.
const CPU_REQUEST_DEFAULT: &str = "25m";
const RESOURCES: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// The container as it should be.
pub(super) fn container(draft: &Draft<'_>, config: &Config, observability: &Config) -> Value {
    let revision = &draft.object;
    let serving_port = if is_h2c(revision) {
        H2C_PORT
    } else {
        HTTP_PORT
    };
    let image = config.text(&["queue-sidecar-image", "queueSidecarImage"]);
    let has_defaults =
        Config::read(draft.cx, draft.world, "features").is_on("queueproxy.resource-defaults");
    let mut ports = vec![
        json!({"name": "http-queueadm", "containerPort": QUEUE_ADMIN_PORT}),
        json!({"name": "http-autometric", "containerPort": AUTOSCALING_METRICS_PORT}),
        json!({"name": "http-usermetric", "containerPort": USER_METRICS_PORT}),
        json!({"name": "queue-port", "containerPort": serving_port}),
        json!({"name": "https-port", "containerPort": HTTPS_PORT}),
    ];
    if observability.is_on("runtime-profiling") {
        ports.push(json!({"name": "profiling-port", "containerPort": PROFILING_PORT}));
    }
    let mut container = json!({
        "name": "queue-proxy",
        "image": image.unwrap_or(IMAGE_DEFAULT),
        "resources": resources(revision, config, has_defaults),
        "ports": ports,
        "readinessProbe": own_probe(revision, serving_port),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "env": env(draft, config, observability, serving_port),
    });
    if internal_tls::is_enabled(draft.cx, draft.world) {
        container["volumeMounts"] = json!([{
            "name": deployment::CERTIFICATE, "mountPath": SERVING_CERTIFICATE_PATH, "readOnly": true,
        }]);
    } else if deployment::is_there(draft) {
        container["volumeMounts"] = Value::Null;
    }
    container
}

/// queue-proxy is ready when the application is: it is asked as often as the user wants the
/// application asked.
fn own_probe(revision: &Value, port: u16) -> Value {
    let user = &serving_container(revision)["readinessProbe"];
    let mut probe = json!({
        "httpGet": {
            "port": port,
            "httpHeaders": [{"name": "K-Network-Probe", "value": "queue"}],
        },
    });
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        if user[field].as_i64().is_some_and(|value| value > 0) {
            probe[field] = user[field].clone();
        }
    }
    probe
}

/// The user's readiness probe as queue-proxy will make it: against the application's port on the
/// loopback address. A command runs in the user's container; queue-proxy then looks at the port.
fn user_probe(container: &Value, port: u16) -> Value {
    let mut probe = container["readinessProbe"].clone();
    if !probe.is_object() {
        probe = json!({"tcpSocket": {}, "successThreshold": 1});
    }
    if !probe["exec"].is_null() {
        probe["tcpSocket"] = json!({});
        if let Some(fields) = probe.as_object_mut() {
            fields.remove("exec");
        }
    }
    for handler in ["httpGet", "tcpSocket", "grpc"] {
        let Some(fields) = probe.get_mut(handler).and_then(Value::as_object_mut) else {
            continue;
        };
        let named = fields.get("port").and_then(Value::as_u64).unwrap_or(0);
        fields.insert(
            "port".to_owned(),
            json!(if named == 0 { u64::from(port) } else { named }),
        );
        if handler != "grpc" {
            fields.insert("host".to_owned(), json!("127.0.0.1"));
        }
        if handler == "httpGet" {
            fields.entry("scheme").or_insert_with(|| json!("HTTP"));
            let marker = json!({"name": "K-Kubelet-Probe", "value": "queue"});
            if let Some(headers) = fields
                .entry("httpHeaders")
                .or_insert_with(|| json!([]))
                .as_array_mut()
            {
                headers.push(marker);
            }
        }
    }
    let positive = |field: &str| probe[field].as_i64().is_some_and(|value| value > 0);
    if positive("periodSeconds") && !positive("timeoutSeconds") {
        probe["timeoutSeconds"] = json!(1);
    }
    probe
}

fn readiness_probes(revision: &Value, multi: bool) -> String {
    let port = user_port(revision);
    let serving = serving_container(revision);
    if !multi {
        return user_probe(serving, port).to_string();
    }
    let probed = containers(revision).iter().filter_map(|container| {
        let is_serving = std::ptr::eq(container, serving);
        let has_probe = !container["readinessProbe"].is_null();
        (is_serving || has_probe).then(|| user_probe(container, port))
    });
    Value::from_iter(probed).to_string()
}

fn env(draft: &Draft<'_>, config: &Config, observability: &Config, port: u16) -> Value {
    let values = of_revision(&draft.object, port)
        .into_iter()
        .chain(of_configuration(draft, config, observability))
        .map(|(name, value)| json!({"name": name, "value": value}));
    let fields = [
        ("SERVING_POD", "metadata.name"),
        ("SERVING_POD_IP", "status.podIP"),
        ("HOST_IP", "status.hostIP"),
    ];
    let fields = fields
        .into_iter()
        .map(|(name, path)| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}));
    values.chain(fields).collect()
}

fn of_revision(revision: &Value, port: u16) -> Vec<(&'static str, String)> {
    let owner = revision.controller_owner();
    let configuration = owner.and_then(|owner| owner["name"].as_str());
    let seconds = |limit: Option<Duration>| limit.map_or(0, |limit| limit.as_secs()).to_string();
    let full_duplex = revision.annotation("features.knative.dev/http-full-duplex");
    let service = revision.label(serving::SERVICE);
    vec![
        ("SERVING_NAMESPACE", revision.namespace().to_owned()),
        ("SERVING_SERVICE", service.unwrap_or_default().to_owned()),
        (
            "SERVING_CONFIGURATION",
            configuration.unwrap_or_default().to_owned(),
        ),
        ("SERVING_REVISION", revision.name().to_owned()),
        ("QUEUE_SERVING_PORT", port.to_string()),
        ("QUEUE_SERVING_TLS_PORT", HTTPS_PORT.to_string()),
        ("USER_PORT", user_port(revision).to_string()),
        (
            "CONTAINER_CONCURRENCY",
            container_concurrency(revision).to_string(),
        ),
        ("REVISION_TIMEOUT_SECONDS", seconds(Some(timeout(revision)))),
        (
            "REVISION_RESPONSE_START_TIMEOUT_SECONDS",
            seconds(response_start_timeout(revision)),
        ),
        (
            "REVISION_IDLE_TIMEOUT_SECONDS",
            seconds(idle_timeout(revision)),
        ),
        (
            "ENABLE_HTTP_FULL_DUPLEX",
            (full_duplex == Some("Enabled")).to_string(),
        ),
    ]
}

fn of_configuration(
    draft: &Draft<'_>,
    config: &Config,
    observability: &Config,
) -> Vec<(&'static str, String)> {
    let revision = &draft.object;
    let features = Config::read(draft.cx, draft.world, "features");
    let logging = Config::read(draft.cx, draft.world, "logging");
    let multi = features.is_on("multi-container-probing") && containers(revision).len() > 1;
    let said = |config: &Config, key: &str| config.text(&[key]).unwrap_or_default().to_owned();
    let flag = |on: bool| on.to_string();
    vec![
        ("SYSTEM_NAMESPACE", draft.cx.system_namespace.clone()),
        (
            "SERVING_LOGGING_CONFIG",
            said(&logging, "zap-logger-config"),
        ),
        (
            "SERVING_LOGGING_LEVEL",
            said(&logging, "loglevel.queueproxy"),
        ),
        (
            "SERVING_REQUEST_LOG_TEMPLATE",
            match said(observability, "logging.request-log-template") {
                unsaid if unsaid.is_empty() => REQUEST_LOG_TEMPLATE.to_owned(),
                said => said,
            },
        ),
        (
            "SERVING_ENABLE_REQUEST_LOG",
            flag(observability.is_on("logging.enable-request-log")),
        ),
        (
            "SERVING_ENABLE_PROBE_REQUEST_LOG",
            flag(observability.is_on("logging.enable-probe-request-log")),
        ),
        ("SERVING_READINESS_PROBE", readiness_probes(revision, multi)),
        ("ENABLE_MULTI_CONTAINER_PROBES", flag(multi)),
        (
            "ENABLE_HTTP2_AUTO_DETECTION",
            flag(features.is_on("autodetect-http2")),
        ),
        ("ROOT_CA", said(config, "queue-sidecar-rootca")),
    ]
}

/// What the sidecar asks for by default, where that feature is on.
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("cpu", "limit", "1000m"),
    ("memory", "request", "400Mi"),
    ("memory", "limit", "800Mi"),
];

/// What the sidecar asks for: annotations, else configuration, else a CPU request alone or, with
/// `has_defaults`, all of it.
fn resources(revision: &Value, config: &Config, has_defaults: bool) -> Value {
    let mut resources = json!({});
    for (field, word) in [("requests", "request"), ("limits", "limit")] {
        let mut amounts = Map::new();
        for resource in RESOURCES {
            let suffix = format!(
                "{resource}-{}",
                if word == "request" {
                    "resource-request"
                } else {
                    "resource-limit"
                }
            );
            let annotated =
                revision.annotation(&format!("queue.sidecar.serving.knative.dev/{suffix}"));
            let configured = format!("queue-sidecar-{resource}-{word}");
            let of_feature = DEFAULTS
                .iter()
                .find(|(r, w, _)| has_defaults && r == resource && *w == word)
                .map(|(_, _, amount)| *amount);
            let is_cpu_request = *resource == "cpu" && word == "request";
            let default = of_feature.or_else(|| is_cpu_request.then_some(CPU_REQUEST_DEFAULT));
            if let Some(amount) = annotated
                .or_else(|| config.text(&[&configured]))
                .or(default)
            {
                amounts.insert((*resource).to_owned(), json!(amount));
            }
        }
        scale_with_user(revision, field, &mut amounts);
        if !amounts.is_empty() {
            resources[field] = Value::Object(amounts);
        }
    }
    resources
}

/// The old way: a percentage of the user container's resources, within bounds.
fn scale_with_user(revision: &Value, field: &str, amounts: &mut Map<String, Value>) {
    let percentage = [
        "queue.sidecar.serving.knative.dev/resource-percentage",
        "queue.sidecar.serving.knative.dev/resourcePercentage",
    ]
    .iter()
    .find_map(|key| revision.annotation(key)?.parse::<f64>().ok());
    let Some(percentage) = percentage else { return };
    let user = &serving_container(revision)["resources"][field];
    // In thousandths of a core, and in bytes.
    let mi = f64::from(1 << 20);
    let (cpu, memory) = match field {
        "requests" => ((25.0, 100.0), (50.0 * mi, 200.0 * mi)),
        _ => ((40.0, 500.0), (200.0 * mi, 500.0 * mi)),
    };
    let share = |resource: &str, unit: f64, (least, most): (f64, f64)| {
        let amount = api::draft::quantity(&user[resource])?;
        let share = (amount * unit * percentage / 100.0).clamp(least, most);
        Some(share.floor())
    };
    if let Some(millis) = share("cpu", 1000.0, cpu) {
        amounts.insert("cpu".to_owned(), json!(format!("{millis}m")));
    }
    if let Some(bytes) = share("memory", 1.0, memory) {
        amounts.insert("memory".to_owned(), json!(format!("{bytes}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(probe: Value, expected: Value) {
        let container = json!({"readinessProbe": probe});
        assert_eq!(user_probe(&container, 8080), expected);
    }

    #[test]
    fn the_application_is_probed_on_the_loopback_address() {
        check(
            json!({"httpGet": {"path": "/ready"}, "periodSeconds": 5}),
            json!({
                "httpGet": {
                    "path": "/ready",
                    "host": "127.0.0.1",
                    "port": 8080,
                    "scheme": "HTTP",
                    "httpHeaders": [{"name": "K-Kubelet-Probe", "value": "queue"}],
                },
                "periodSeconds": 5,
                "timeoutSeconds": 1,
            }),
        );
        check(
            json!({"exec": {"command": ["true"]}}),
            json!({"tcpSocket": {"host": "127.0.0.1", "port": 8080}}),
        );
        check(
            json!({"grpc": {"service": "x", "port": 0}}),
            json!({"grpc": {"service": "x", "port": 8080}}),
        );
        check(
            Value::Null,
            json!({"tcpSocket": {"host": "127.0.0.1", "port": 8080}, "successThreshold": 1}),
        );
    }

    #[test]
    fn resources_are_said_in_three_places() {
        let config = Config::of(json!({"data": {"queue-sidecar-memory-limit": "300Mi"}}));
        let revision = json!({
            "metadata": {"annotations": {
                "queue.sidecar.serving.knative.dev/cpu-resource-limit": "1",
            }},
        });
        let expected = json!({
            "requests": {"cpu": "25m"},
            "limits": {"cpu": "1", "memory": "300Mi"},
        });
        assert_eq!(resources(&revision, &config, false), expected);
        let revision = json!({
            "metadata": {"annotations": {
                "queue.sidecar.serving.knative.dev/resource-percentage": "20",
            }},
            "spec": {"containers": [{"resources": {"requests": {"cpu": "200m", "memory": "4Gi"}}}]},
        });
        let expected = json!({
            "requests": {"cpu": "40m", "memory": "209715200"},
            "limits": {"memory": "300Mi"},
        });
        assert_eq!(resources(&revision, &config, false), expected);
    }
}
