//! What Knative's webhook does when a Service is only tried (`dryRun=All`): it tries to create the
//! Pod as well, so that its mistakes are told now and not by a revision that fails.

use api::convert::is_manual;
use apiserver::Review;
use serde_json::Value;

/// The webhook that speaks.
const WEBHOOK: &str = "validation.webhook.serving.knative.dev";

/// Tries the Pod of a Service, or of a Configuration that no Service owns.
pub(super) fn check(review: &Review<'_>, object: &Value) -> Result<(), String> {
    if !review.dry_run || !has_template(object) {
        return Ok(());
    }
    let spec = pod_spec(&object["spec"]["template"]["spec"]);
    let Some(trouble) = apiserver::pod_trouble(&spec) else {
        return Ok(());
    };
    Err(format!(
        "admission webhook \"{WEBHOOK}\" denied the request: validation callback failed: \
         dry run failed with Pod \"dry-run-validation\" is invalid: {trouble}: spec.template"
    ))
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
}
