//! The part of a Pod that a Revision may say: Kubernetes' own schema, cut down to Knative's list.

use k8s_openapi::api::core::v1 as core;
use serde_json::{Map, Value, json};

use super::schema::{boolean, int64, list, open, requiring};

/// The fields of a container.
const CONTAINER: &[&str] = &[
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "volumeMounts",
    "workingDir",
];
/// The fields of a container's security context.
const SECURITY_CONTEXT: &[&str] = &[
    "allowPrivilegeEscalation",
    "capabilities",
    "privileged",
    "readOnlyRootFilesystem",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "seccompProfile",
];
/// The sources of a volume that have a schema.
const VOLUME: &[&str] = &[
    "configMap",
    "emptyDir",
    "image",
    "name",
    "projected",
    "secret",
];
/// The sources of a volume behind a feature flag.
const FLAGGED_VOLUMES: &[&str] = &["csi", "ephemeral", "hostPath", "persistentVolumeClaim"];
/// Fields of the Pod behind a feature flag `kubernetes.podspec-…`, and their types.
const FLAGGED: &[(&str, &str, &str)] = &[
    ("affinity", "object", "affinity"),
    ("dnsConfig", "object", "dnsconfig"),
    ("dnsPolicy", "string", "dnspolicy"),
    ("hostAliases", "array", "hostaliases"),
    ("hostIPC", "boolean", "hostipc"),
    ("hostNetwork", "boolean", "hostnetwork"),
    ("hostPID", "boolean", "hostpid"),
    ("nodeSelector", "object", "nodeselector"),
    ("priorityClassName", "string", "priorityclassname"),
    ("runtimeClassName", "string", "runtimeclassname"),
    ("schedulerName", "string", "schedulername"),
    ("securityContext", "object", "securitycontext"),
    ("shareProcessNamespace", "boolean", "shareprocessnamespace"),
    ("tolerations", "array", "tolerations"),
    (
        "topologySpreadConstraints",
        "array",
        "topologyspreadconstraints",
    ),
];

/// The schema of `spec` of a Revision, or of the template that makes it.
pub(super) fn revision_spec() -> Value {
    let definitions = definitions();
    let take = |name: &str, fields: &[&str]| {
        let reference = json!({"$ref": format!("#/$defs/io.k8s.api.core.v1.{name}")});
        only(resolve(&reference, &definitions), fields)
    };
    let mut container = take("Container", CONTAINER);
    // Admission names the containers that the user does not.
    if let Some(fields) = container.as_object_mut() {
        fields.remove("required");
    }
    let security = &mut container["properties"]["securityContext"];
    *security = only(security.take(), SECURITY_CONTEXT);
    let mut volume = take("Volume", VOLUME);
    for source in FLAGGED_VOLUMES {
        let text = "Only where the feature flag of this kind of volume is on.";
        volume["properties"][*source] = open(text);
    }
    let references = take("PodSpec", &["imagePullSecrets", "serviceAccountName"]);
    let mut properties = limits();
    properties.extend(
        FLAGGED
            .iter()
            .map(|(name, kind, flag)| ((*name).to_owned(), flagged(kind, flag))),
    );
    properties.extend(
        references["properties"]
            .as_object()
            .cloned()
            .unwrap_or_default(),
    );
    let containers = "The containers of each Pod; one of them takes the requests.";
    for (name, schema) in [
        ("containers", list(containers, container)),
        ("initContainers", flagged("array", "init-containers")),
        (
            "volumes",
            list("The volumes that containers may mount.", volume),
        ),
    ] {
        properties.insert(name.to_owned(), schema);
    }
    let text = "What each Pod of the Revision is: parts of a Kubernetes PodSpec, and limits on \
                requests.";
    requiring(
        json!({"type": "object", "description": text, "properties": properties}),
        &["containers"],
    )
}

/// The fields that are numbers and switches.
fn limits() -> Map<String, Value> {
    let fields = [
        (
            "automountServiceAccountToken",
            boolean("Whether the token of the service account is mounted."),
        ),
        (
            "enableServiceLinks",
            boolean("Whether the addresses of Services are put into the environment."),
        ),
        (
            "containerConcurrency",
            int64("How many requests each Pod serves at once; 0 is without limit."),
        ),
        (
            "timeoutSeconds",
            int64("How long a request may take altogether."),
        ),
        (
            "responseStartTimeoutSeconds",
            int64("How long the application may take to begin its response."),
        ),
        (
            "idleTimeoutSeconds",
            int64("How long a request may stay open without a byte from the application."),
        ),
    ];
    fields
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

fn flagged(kind: &str, flag: &str) -> Value {
    let description = format!("Only where the feature flag kubernetes.podspec-{flag} is on.");
    match kind {
        "object" => open(&description),
        "array" => list(&description, open("Checked when Pods are made.")),
        _ => json!({"type": kind, "description": description}),
    }
}

/// The schemas of PodSpec and of all it consists of, by name.
fn definitions() -> Map<String, Value> {
    let mut generator = schemars::SchemaGenerator::default();
    generator.subschema_for::<core::PodSpec>();
    generator.take_definitions(true)
}

/// Puts the definition in place of each reference. Pods do not refer to themselves.
fn resolve(schema: &Value, definitions: &Map<String, Value>) -> Value {
    match schema {
        Value::Object(fields) => {
            let target = fields
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|path| definitions.get(path.strip_prefix("#/$defs/")?));
            if let Some(target) = target {
                let mut resolved = special(fields).unwrap_or_else(|| resolve(target, definitions));
                if let Some(description) = fields.get("description") {
                    resolved["description"] = first_sentence(description);
                }
                return resolved;
            }
            fields
                .iter()
                .map(|(key, value)| {
                    let value = match key.as_str() {
                        "description" if value.is_string() => first_sentence(value),
                        _ => resolve(value, definitions),
                    };
                    (key.clone(), value)
                })
                .collect()
        }
        Value::Array(items) => items
            .iter()
            .map(|item| resolve(item, definitions))
            .collect(),
        other => other.clone(),
    }
}

/// Types that are a number or a text in JSON.
fn special(reference: &Map<String, Value>) -> Option<Value> {
    let name = reference["$ref"].as_str()?.rsplit('.').next()?;
    let quantity = "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$";
    let alternatives = json!([{"type": "integer"}, {"type": "string"}]);
    match name {
        "Quantity" => Some(json!({
            "anyOf": alternatives,
            "pattern": quantity,
            "x-kubernetes-int-or-string": true,
        })),
        "IntOrString" => Some(json!({
            "anyOf": alternatives,
            "x-kubernetes-int-or-string": true,
        })),
        _ => None,
    }
}

/// Kubernetes' descriptions run to pages; their first sentence is what `explain` is read for.
fn first_sentence(text: &Value) -> Value {
    let text = text.as_str().unwrap_or_default();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    match paragraph.find(". ") {
        Some(end) => json!(paragraph[..=end]),
        None => json!(paragraph),
    }
}

/// An object schema with only some of its fields.
fn only(mut schema: Value, fields: &[&str]) -> Value {
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| fields.contains(&name.as_str()));
    }
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|name| name.as_str().is_some_and(|name| fields.contains(&name)));
    }
    if schema["required"].is_null() {
        schema
            .as_object_mut()
            .map(|fields| fields.remove("required"));
    }
    schema
}
