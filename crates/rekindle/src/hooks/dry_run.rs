//! What Knative's webhooks try to create, so that mistakes are told at once: the Pod of a Service that
//! is only tried (`dryRun=All`) itself, the Job of a JobSink always.

use api::admission::denied;
use api::convert::is_manual;
use apiserver::Review;
use serde_json::Value;

use super::EVENTING_WEBHOOK;

/// The webhook that speaks for Serving.
const WEBHOOK: &str = "validation.webhook.serving.knative.dev";
/// Random letters at the end of the name of a Job that is tried, as of a generated name.
const SUFFIX_LETTERS: usize = 5;
/// What comes before them, at most.
const BASE_BYTES_MAX: usize = 58;

/// Tries the Pod of a Service, or of a Configuration that no Service owns.
pub(super) fn check(review: &Review<'_>, object: &Value) -> Result<(), String> {
    if !review.dry_run || !has_template(object) {
        return Ok(());
    }
    let spec = pod_spec(&object["spec"]["template"]["spec"]);
    let Some(trouble) = apiserver::pod_trouble(&spec) else {
        return Ok(());
    };
    let why = format!(
        "validation callback failed: dry run failed with Pod \"dry-run-validation\" is invalid: \
         {trouble}: spec.template"
    );
    Err(denied(WEBHOOK, &why))
}

/// Tries the Job of a JobSink.
pub(super) fn check_job(review: &Review<'_>, object: &Value) -> Result<(), String> {
    if review.kind != "JobSink" || !object["spec"]["job"].is_object() {
        return Ok(());
    }
    let job = job(object, &suffix());
    let Some(trouble) = review.cluster.trouble(&job) else {
        return Ok(());
    };
    let why = format!("validation failed: {trouble}: spec.job");
    Err(denied(EVENTING_WEBHOOK, &why))
}

/// The Job as it would be created.
fn job(sink: &Value, suffix: &str) -> Value {
    let mut job = sink["spec"]["job"].clone();
    job["apiVersion"] = "batch/v1".into();
    job["kind"] = "Job".into();
    let name = sink["metadata"]["name"].as_str().unwrap_or_default();
    let base: String = name.chars().take(BASE_BYTES_MAX).collect();
    job["metadata"]["name"] = format!("{base}{suffix}").into();
    job["metadata"]["namespace"] = sink["metadata"]["namespace"].clone();
    if let Some(job) = job.as_object_mut() {
        job.remove("status");
    }
    job
}

fn suffix() -> String {
    let letter = || char::from(b'a' + rand::random_range(0..26));
    std::iter::repeat_with(letter)
        .take(SUFFIX_LETTERS)
        .collect()
}

fn has_template(object: &Value) -> bool {
    let group = object["apiVersion"].as_str().unwrap_or_default();
    let owners = object["metadata"]["ownerReferences"].as_array();
    let mut owners = owners.into_iter().flatten();
    group.starts_with("serving.knative.dev/")
        && match object["kind"].as_str() {
            Some("Service") => !is_manual(object),
            Some("Configuration") => !owners.any(|owner| owner["kind"] == "Service"),
            _ => false,
        }
}

/// The template's Pod without its probes, whose ports are filled in only when a revision is made.
fn pod_spec(template: &Value) -> Value {
    let mut spec = template.clone();
    let containers = spec["containers"].as_array_mut();
    for container in containers.into_iter().flatten() {
        for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
            container[probe] = Value::Null;
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use api::convert::convert;
    use serde_json::json;

    use super::*;

    #[test]
    fn owned_configurations_are_tried_with_their_service() {
        let object = |kind: &str, owner: &str| {
            json!({
                "apiVersion": "serving.knative.dev/v1", "kind": kind,
                "metadata": {"ownerReferences": [{"kind": owner}]},
            })
        };
        assert!(has_template(&object("Service", "Whatever")));
        assert!(has_template(&object("Configuration", "Whatever")));
        assert!(!has_template(&object("Configuration", "Service")));
        assert!(!has_template(&object("Route", "")));
        // Somebody else makes the Configuration of this one.
        let old = json!({
            "apiVersion": "serving.knative.dev/v1alpha1", "kind": "Service",
            "metadata": {"name": "by-hand"}, "spec": {"manual": {}},
        });
        let new = convert(old, "serving.knative.dev/v1").expect("convert");
        assert!(!has_template(&new));
    }

    #[test]
    fn probes_are_left_for_later() {
        let container = json!({"name": "a", "image": "a", "readinessProbe": {"tcpSocket": {}}});
        let spec = pod_spec(&json!({"containers": [container]}));
        assert!(spec["containers"][0]["readinessProbe"].is_null());
        assert_eq!(apiserver::pod_trouble(&spec).unwrap_or_default(), "");
    }

    #[test]
    fn a_job_is_tried_under_a_name_of_its_own() {
        let sink = json!({
            "metadata": {"name": "s", "namespace": "ns"},
            "spec": {"job": {"spec": {"template": {}}, "status": {}, "metadata": {"labels": {"a": "b"}}}},
        });
        let tried = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "sabcde", "namespace": "ns", "labels": {"a": "b"}},
            "spec": {"template": {}},
        });
        assert_eq!(job(&sink, "abcde"), tried);
        assert_eq!(suffix().len(), SUFFIX_LETTERS);
    }
}
