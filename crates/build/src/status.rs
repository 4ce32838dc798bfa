//! What a Build's Pod says of the Build.

use api::conditions::Conditions;
use api::object::ObjectExt;
use serde_json::{Value, json};

use crate::images;

/// The one condition of a Build.
pub(crate) const SUCCEEDED: &str = "Succeeded";
/// Why a Build failed: a step did, or the Pod could not be.
pub(crate) const EXECUTE_FAILED: &str = "BuildExecuteFailed";

/// Writes down where the Build runs and how far its steps are; gives the time of its end.
pub(crate) fn read(pod: &Value, status: &mut Value, conditions: &mut Conditions) -> Option<String> {
    status["builder"] = json!("Cluster");
    status["cluster"] = json!({"namespace": pod.namespace(), "podName": pod.name()});
    status["startTime"] = pod["metadata"]["creationTimestamp"].clone();
    read_steps(pod, status);
    match pod["status"]["phase"].as_str().unwrap_or_default() {
        "Succeeded" => conditions.mark_true(SUCCEEDED),
        "Failed" => conditions.mark_false(SUCCEEDED, EXECUTE_FAILED, &failure(pod)),
        "Running" => {
            conditions.mark_unknown(SUCCEEDED, "Building", "");
            return None;
        }
        _ if has_begun(pod) => {
            conditions.mark_unknown(SUCCEEDED, "Building", "");
            return None;
        }
        _ => {
            conditions.mark_unknown(SUCCEEDED, "Pending", &waiting(pod));
            return None;
        }
    }
    let all = pod["status"]["containerStatuses"].as_array();
    let all = all.into_iter().flatten().chain(statuses(pod));
    let ends = all.filter_map(|one| one["state"]["terminated"]["finishedAt"].as_str());
    ends.max().map(str::to_owned)
}

/// Writes down how far the steps are.
pub(crate) fn read_steps(pod: &Value, status: &mut Value) {
    let steps: Vec<&Value> = statuses(pod).filter(|one| is_step(pod, one)).collect();
    let completed = steps
        .iter()
        .filter(|step| step["state"]["terminated"].is_object())
        .map(|step| step["name"].clone());
    status["stepsCompleted"] = completed.collect();
    status["stepStates"] = steps.iter().map(|step| step["state"].clone()).collect();
}

/// Whether any container of the Pod has run, so that there may be a log of it.
pub(crate) fn has_run(pod: &Value) -> bool {
    statuses(pod).any(has_begun_one)
}

fn has_begun_one(one: &Value) -> bool {
    one["state"]["running"].is_object() || one["state"]["terminated"].is_object()
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    let all = pod["status"]["initContainerStatuses"].as_array();
    all.into_iter().flatten()
}

/// Credentials and sources are no steps of the Build, custom sources are.
fn is_step(pod: &Value, status: &Value) -> bool {
    let own = [images::CREDS_INIT, images::GIT_INIT, images::GCS_FETCHER];
    let mut containers = pod["spec"]["initContainers"]
        .as_array()
        .into_iter()
        .flatten();
    let container = containers.find(|container| container["name"] == status["name"]);
    container.is_some_and(|container| own.iter().all(|image| container["image"] != *image))
}

/// A Pod whose init containers run is Pending to Kubernetes.
fn has_begun(pod: &Value) -> bool {
    has_run(pod) && !statuses(pod).any(is_stuck)
}

/// A step that waits for something else than its turn.
fn is_stuck(status: &Value) -> bool {
    let waiting = &status["state"]["waiting"];
    let reason = waiting["reason"].as_str().unwrap_or_default();
    waiting.is_object() && !matches!(reason, "" | "PodInitializing" | "ContainerCreating")
}

fn waiting(pod: &Value) -> String {
    let message = |one: &Value| {
        let waiting = &one["state"]["waiting"];
        let message = ["message", "reason"].map(|key| waiting[key].as_str().unwrap_or_default());
        let message = message.into_iter().find(|text| !text.is_empty())?;
        let name = one["name"].as_str().unwrap_or_default();
        Some(format!(
            "build step {name:?} is pending with reason {message:?}"
        ))
    };
    if let Some(said) = statuses(pod).filter(|one| is_stuck(one)).find_map(message) {
        return said;
    }
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut conditions = conditions.filter(|one| one["type"] == "PodScheduled");
    if let Some(one) = conditions.find(|one| one["status"] != "True") {
        let message = one["message"].as_str().unwrap_or_default();
        return format!(
            "pod status {}:{}; message: {message:?}",
            one["type"], one["status"]
        );
    }
    match pod["status"]["message"].as_str() {
        Some(message) => message.to_owned(),
        None => "Pending".to_owned(),
    }
}

fn failure(pod: &Value) -> String {
    let failed = |one: &&Value| {
        let code = one["state"]["terminated"]["exitCode"].as_i64();
        code.is_some_and(|code| code != 0)
    };
    let step = statuses(pod).find(failed);
    if pod["status"]["reason"] == "Evicted" {
        let message = pod["status"]["message"].as_str().unwrap_or_default();
        let name = step.and_then(|step| step["name"].as_str());
        let name = name.map(|name| format!(" in build step {name:?}"));
        return format!(
            "the node stopped the build{}: {message}",
            name.unwrap_or_default()
        );
    }
    if let Some(step) = step {
        let name = step["name"].as_str().unwrap_or_default();
        let code = &step["state"]["terminated"]["exitCode"];
        let image = step["imageID"].as_str().unwrap_or_default();
        let (namespace, pod) = (pod.namespace(), pod.name());
        let said = step["state"]["terminated"]["message"]
            .as_str()
            .map(str::trim);
        let said = said.filter(|said| !said.is_empty());
        let oom = step["state"]["terminated"]["reason"] == "OOMKilled";
        let said = said.or_else(|| oom.then_some("OOMKilled: it took more memory than its limit"));
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        return format!(
            "build step {name:?} exited with code {code} (image: {image:?}){said}; for logs run: kubectl -n {namespace} logs {pod} -c {name}"
        );
    }
    match pod["status"]["message"].as_str() {
        Some(message) if !message.is_empty() => message.to_owned(),
        _ => "build failed for unspecified reasons.".to_owned(),
    }
}
