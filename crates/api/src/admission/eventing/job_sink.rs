//! JobSink. The rules of Knative's `pkg/apis/sinks/v1alpha1/job_sink_{defaults,validation}.go`.
//! The Job itself is tried by whoever can ask the API server.

use serde_json::{Value, json};

use super::super::errors::Errors;
use super::super::kinds::Subject;

/// Tells a container how it is run.
const EXECUTION_MODE: &str = "K_EXECUTION_MODE";

pub(super) fn fill(subject: &mut Subject<'_>) {
    let pod = subject.object.pointer_mut("/spec/job/spec/template/spec");
    if let Some(pod) = pod {
        for list in ["containers", "initContainers"] {
            let containers = pod.get_mut(list).and_then(Value::as_array_mut);
            containers.into_iter().flatten().for_each(set_mode);
        }
    }
    subject.note_user();
}

fn set_mode(container: &mut Value) {
    let env = &mut container["env"];
    if !env.is_array() {
        *env = json!([]);
    }
    if let Some(env) = env.as_array_mut()
        && env
            .iter()
            .all(|variable| variable["name"] != EXECUTION_MODE)
    {
        env.push(json!({"name": EXECUTION_MODE, "value": "batch"}));
    }
}

pub(super) fn check(subject: &Subject<'_>) -> Errors {
    let job = &subject.object["spec"]["job"];
    if job.is_null() {
        return Errors::none_of(&["job"]).via_field("spec");
    }
    Errors::NONE
}
