//! The Deployment of a Revision: the user's Pod with Knative's environment, and queue-proxy.

use api::config::Deployment;
use api::networking::{QUEUE_ADMIN_PORT, SERVING_CERTIFICATE};
use api::object::ObjectExt;
use api::serving::revision::{containers, init_containers, is_serving, timeout, user_port};
use api::world::DEPLOYMENT;
use api::{annotation, names, serving};
use serde_json::{Map, Value, json};

use super::{annotations, digest, labels, queue};
use crate::plan::config::{self, Config};
use crate::plan::internal_tls;
use api::draft::Draft;

/// How long Pods may take to become ready, where nothing else is said.
const PROGRESS_DEADLINE_DEFAULT_S: u64 = 600;
/// The fields of a Revision's spec that a Pod does not have.
const NOT_OF_A_POD: &[&str] = &[
    "containerConcurrency",
    "timeoutSeconds",
    "responseStartTimeoutSeconds",
    "idleTimeoutSeconds",
    "containers",
    "initContainers",
];
const VAR_LOG: &str = "knative-var-log";
/// The volume with queue-proxy's certificate.
pub(super) const CERTIFICATE: &str = "server-certs";

/// The Deployment as it should be. Once it exists, its scale is the autoscaler's.
pub(super) fn wanted(draft: &Draft<'_>) -> Value {
    let revision = &draft.object;
    let name = names::deployment(revision.name());
    let config = Config::read(draft.cx, draft.world, "deployment");
    let mut spec = json!({
        "selector": {"matchLabels": {serving::REVISION_UID: revision.uid()}},
        "progressDeadlineSeconds": progress_deadline(revision, &config),
        "revisionHistoryLimit": 0,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}},
        "template": {
            "metadata": {"labels": labels(revision), "annotations": annotations(revision)},
            "spec": pod_spec(draft, &config),
        },
    });
    if !is_there(draft) {
        spec["replicas"] = json!(initial_scale(draft));
    }
    json!({
        "apiVersion": DEPLOYMENT.api_version(),
        "kind": DEPLOYMENT.kind,
        "metadata": draft.child_meta(&name, labels(revision), annotations(revision)),
        "spec": spec,
    })
}

/// Whether the Deployment exists.
pub(super) fn is_there(draft: &Draft<'_>) -> bool {
    let name = names::deployment(draft.object.name());
    draft.get(DEPLOYMENT, &name).is_some()
}

fn progress_deadline(revision: &Value, config: &Config) -> u64 {
    annotation::get(revision, annotation::serving::PROGRESS_DEADLINE)
        .and_then(|(_, text)| config::duration(text))
        .or_else(|| config.duration("progress-deadline"))
        .map_or(PROGRESS_DEADLINE_DEFAULT_S, |deadline| deadline.as_secs())
}

/// The Pods a new Revision starts with: the annotation or the configuration, and at least the
/// minimum (so that a high minimum is not reached in two steps).
fn initial_scale(draft: &Draft<'_>) -> u64 {
    let config = Config::read(draft.cx, draft.world, "autoscaler");
    let annotated = |key| annotation::get(&draft.object, key)?.1.parse::<u64>().ok();
    annotated(annotation::autoscaling::INITIAL_SCALE)
        .or_else(|| config.text(&["initial-scale"])?.parse().ok())
        .unwrap_or(1)
        .max(annotated(annotation::autoscaling::MIN_SCALE).unwrap_or(0))
}

fn pod_spec(draft: &Draft<'_>, config: &Config) -> Value {
    let revision = &draft.object;
    let observability = Config::read(draft.cx, draft.world, "observability");
    let var_log = observability.is_on("logging.enable-var-log-collection");
    let user = revision["spec"].as_object();
    let mut spec: Map<String, Value> = user
        .into_iter()
        .flatten()
        .filter(|(key, _)| !NOT_OF_A_POD.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let statuses = &draft.status["containerStatuses"];
    let mut all: Vec<Value> = containers(revision)
        .iter()
        .enumerate()
        .map(|(index, c)| user_container(revision, c, &statuses[index], var_log))
        .collect();
    all.push(queue::container(draft, config, &observability));
    spec.insert("containers".to_owned(), json!(all));
    let statuses = &draft.status["initContainerStatuses"];
    let init: Vec<Value> = init_containers(revision)
        .iter()
        .enumerate()
        .map(|(index, c)| init_container(c, &statuses[index]))
        .collect();
    if !init.is_empty() {
        spec.insert("initContainers".to_owned(), json!(init));
    }
    let grace = timeout(revision).as_secs();
    spec.insert("terminationGracePeriodSeconds".to_owned(), json!(grace));
    let mut volumes = spec.remove("volumes").unwrap_or_default();
    if var_log {
        append(&mut volumes, json!({"name": VAR_LOG, "emptyDir": {}}));
    }
    if internal_tls::is_enabled(draft.cx, draft.world) {
        let source = json!({"secretName": SERVING_CERTIFICATE});
        append(&mut volumes, json!({"name": CERTIFICATE, "secret": source}));
    }
    // A Deployment that is there may have volumes that are not wanted any more.
    if !volumes.is_null() || is_there(draft) {
        spec.insert("volumes".to_owned(), volumes);
    }
    let spread = config.text(&["default-affinity-type"]) != Some("none");
    if spread && !spec.contains_key("affinity") {
        spec.insert("affinity".to_owned(), spread_over_nodes(revision));
    }
    if !spec.contains_key("runtimeClassName")
        && let Some(class) = runtime_class(draft, config)
    {
        spec.insert("runtimeClassName".to_owned(), json!(class));
    }
    Value::Object(spec)
}

/// The runtime class the administrator has chosen for Pods with these labels.
fn runtime_class(draft: &Draft<'_>, config: &Config) -> Option<String> {
    config.text(&["runtime-class-name"])?;
    let config = config::load(draft.cx, draft.world, Deployment::NAME, Deployment::parse);
    let labels = labels(&draft.object);
    let labels = labels.as_object().into_iter().flatten();
    let labels = labels
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    config.runtime_class(&labels).map(str::to_owned)
}

fn spread_over_nodes(revision: &Value) -> Value {
    json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "podAffinityTerm": {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {serving::REVISION: revision.name()}},
        },
    }]}})
}

fn append(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}

fn init_container(container: &Value, status: &Value) -> Value {
    let mut container = container.clone();
    container["image"] = digest::image(&container, status).clone();
    default_termination_message(&mut container);
    container
}

fn user_container(revision: &Value, user: &Value, status: &Value, var_log: bool) -> Value {
    let mut container = user.clone();
    container["image"] = digest::image(user, status).clone();
    // queue-proxy answers once no request is under way, so the application outlives them all.
    container["lifecycle"] = json!({
        "preStop": {"httpGet": {"port": QUEUE_ADMIN_PORT, "path": "/wait-for-drain"}},
    });
    default_termination_message(&mut container);
    let owner = revision.controller_owner();
    let configuration = owner
        .and_then(|owner| owner["name"].as_str())
        .unwrap_or_default();
    let env = &mut container["env"];
    for (name, value) in [
        ("K_REVISION", revision.name()),
        ("K_CONFIGURATION", configuration),
        (
            "K_SERVICE",
            revision.label(serving::SERVICE).unwrap_or_default(),
        ),
    ] {
        append(env, json!({"name": name, "value": value}));
    }
    if is_serving(revision, user) {
        let port = user_port(revision);
        append(env, json!({"name": "PORT", "value": port.to_string()}));
        container["ports"] = json!([{"name": "user-port", "containerPort": port}]);
        for probe in ["livenessProbe", "startupProbe"] {
            fill_in_port(&mut container[probe], port);
        }
    }
    if var_log {
        let name = user["name"].as_str().unwrap_or_default();
        let path = format!("$(K_INTERNAL_POD_NAMESPACE)_$(K_INTERNAL_POD_NAME)_{name}");
        let mount = json!({"name": VAR_LOG, "mountPath": "/var/log", "subPathExpr": path});
        append(&mut container["volumeMounts"], mount);
    }
    if let Some(fields) = container.as_object_mut() {
        // The network probes are made by queue-proxy; a command has to run in the container.
        if fields
            .get("readinessProbe")
            .is_some_and(|probe| probe["exec"].is_null())
        {
            fields.remove("readinessProbe");
        }
        fields.retain(|_, value| !value.is_null());
    }
    container
}

fn default_termination_message(container: &mut Value) {
    if container["terminationMessagePolicy"].is_null() {
        container["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    }
}

/// A probe without a port means the application's.
fn fill_in_port(probe: &mut Value, port: u16) {
    for handler in ["httpGet", "tcpSocket", "grpc"] {
        if probe[handler].is_object() {
            let given = &probe[handler]["port"];
            if given.is_null() || *given == 0 {
                probe[handler]["port"] = json!(port);
            }
        }
    }
}
