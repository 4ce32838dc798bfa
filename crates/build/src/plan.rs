//! What a Build needs next: its Pod, a word about it, or an end because of time or wish.

use std::sync::Arc;

use api::conditions::{self, Conditions, Set, rfc3339};
use api::draft::Draft;
use api::gotext::parse_duration;
use api::object::ObjectExt;
use api::world::{
    Action, BUILD, BUILD_TEMPLATE, CLUSTER_BUILD_TEMPLATE, Context, Fact, Key, POD, Plan, World,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::status::{EXECUTE_FAILED, SUCCEEDED};
use crate::{credentials, pod, status, template};

const CONDITIONS: Set = Set {
    happy: SUCCEEDED,
    dependents: &[],
};
/// How long a Build may take when nobody filled it in.
const TIMEOUT: SignedDuration = SignedDuration::from_mins(10);
/// How long a Build waits for a template, a ServiceAccount or a Secret that is not there: files
/// are often applied in an order of their own.
const PATIENCE: SignedDuration = SignedDuration::from_secs(5);
/// `spec.status` that stops a Build.
const CANCELLED: [&str; 2] = ["BuildCancelled", "Cancelled"];

/// Why a Build was stopped: somebody wanted that, or its time was over.
const BUILD_CANCELLED: &str = "BuildCancelled";
const BUILD_TIMEOUT: &str = "BuildTimeout";
const STOPPED: [&str; 2] = [BUILD_CANCELLED, BUILD_TIMEOUT];

/// Why a Build cannot be run as it is.
pub(crate) struct Invalid {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Invalid {
    pub(crate) const fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }

    const fn missing(message: String) -> Self {
        Self::new("BuildValidationFailed", message)
    }
}

/// Plans one Build.
pub(crate) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(draft) = Draft::of(cx, world, BUILD, key) else {
        return Plan::default();
    };
    let pod = draft.get(POD, &pod::name(&draft.object));
    let pod = pod.filter(|pod| is_ours(pod, &draft.object));
    let end = conditions::get(&draft.object, SUCCEEDED).filter(|end| !end.is_unknown());
    if let Some(end) = end {
        return match pod {
            Some(pod) if STOPPED.contains(&end.reason.as_str()) => stopped(draft, &pod),
            _ => Plan::default(),
        };
    }
    let conditions = draft.conditions(CONDITIONS);
    let asked = draft.object["spec"]["status"].as_str().unwrap_or_default();
    if CANCELLED.contains(&asked) {
        let message = format!("Build {:?} was cancelled", draft.name());
        return stop(draft, conditions, pod.as_deref(), BUILD_CANCELLED, &message);
    }
    match pod {
        Some(pod) => follow(draft, conditions, &pod),
        None if draft.object["status"]["cluster"]["podName"].is_string() => {
            let name = draft.object["status"]["cluster"]["podName"].as_str();
            let message = format!(
                "Pod {:?} of the Build is gone before it ended; create the Build again",
                name.unwrap_or_default()
            );
            stop(draft, conditions, None, EXECUTE_FAILED, &message)
        }
        None => start(draft, conditions),
    }
}

fn is_ours(pod: &Value, build: &Value) -> bool {
    let owner = pod.controller_owner();
    owner.is_some_and(|owner| owner["uid"] == *build.uid())
}

/// Ends a Build that has not ended by itself. Its Pod stays for the logs, but nothing runs in it any
/// more; one in which nothing has run yet goes.
fn stop(
    mut draft: Draft<'_>,
    mut conditions: Conditions,
    pod: Option<&Value>,
    reason: &str,
    message: &str,
) -> Plan {
    if let Some(pod) = pod {
        status::read(pod, &mut draft.status, &mut conditions);
        halt(&mut draft, pod);
    }
    fail(draft, conditions, reason, message)
}

/// Ends what runs in a Pod: the time it may take is over.
fn halt(draft: &mut Draft<'_>, pod: &Value) {
    if !status::has_run(pod) {
        return draft.delete(POD, pod);
    }
    let has_ended = ["Succeeded", "Failed"]
        .iter()
        .any(|end| pod["status"]["phase"] == *end);
    if !has_ended && pod["spec"]["activeDeadlineSeconds"] != 1 {
        let mut ending = pod.clone();
        ending["spec"]["activeDeadlineSeconds"] = json!(1);
        draft.push(Action::Update(ending));
    }
}

/// The Build was stopped: its steps are told to the last, and no Pod is left running, whatever was
/// between the Build's end and the Pod's.
fn stopped(mut draft: Draft<'_>, pod: &Value) -> Plan {
    if !conditions::is_observed(&draft.object) {
        return Plan::default();
    }
    halt(&mut draft, pod);
    status::read_steps(pod, &mut draft.status);
    let conditions = draft.conditions(CONDITIONS);
    draft.finish(conditions)
}

fn fail(mut draft: Draft<'_>, mut conditions: Conditions, reason: &str, message: &str) -> Plan {
    conditions.mark_false(SUCCEEDED, reason, message);
    draft.status["completionTime"] = json!(rfc3339(draft.now()));
    draft.event("Warning", reason, message.to_owned());
    draft.finish(conditions)
}

/// The Pod is there: says how it does, and stops it when the time is over.
fn follow(mut draft: Draft<'_>, mut conditions: Conditions, pod: &Value) -> Plan {
    let end = status::read(pod, &mut draft.status, &mut conditions);
    let is_over = conditions.is_true(SUCCEEDED) || conditions.is_false(SUCCEEDED);
    if is_over {
        let end = end.unwrap_or_else(|| rfc3339(draft.now()));
        draft.status["completionTime"] = json!(end);
        let (kind, reason) = match conditions.is_true(SUCCEEDED) {
            true => ("Normal", "Succeeded"),
            false => ("Warning", EXECUTE_FAILED),
        };
        let message = conditions.get(SUCCEEDED).map(|one| one.message.clone());
        draft.event(kind, reason, message.unwrap_or_default());
        return draft.finish(conditions);
    }
    let timeout = timeout(&draft.object);
    let begun: Option<Timestamp> = draft.status["startTime"]
        .as_str()
        .and_then(|at| at.parse().ok());
    let deadline = begun.unwrap_or_else(|| draft.now()) + timeout;
    if deadline <= draft.now() {
        let given = draft.object["spec"]["timeout"].as_str().unwrap_or("10m0s");
        let message = format!("Build {:?} failed to finish within {given:?}", draft.name());
        return stop(draft, conditions, Some(pod), BUILD_TIMEOUT, &message);
    }
    draft.push(Action::At(deadline));
    draft.finish(conditions)
}

fn timeout(build: &Value) -> SignedDuration {
    let given = build["spec"]["timeout"].as_str();
    let nanos = given
        .and_then(|text| parse_duration(text).ok())
        .filter(|nanos| *nanos > 0);
    nanos.map_or(TIMEOUT, SignedDuration::from_nanos)
}

/// There is no Pod yet: makes it, if all it needs is there.
fn start(mut draft: Draft<'_>, mut conditions: Conditions) -> Plan {
    match prepare(&mut draft) {
        Ok(None) => {
            let message = "Looking for the ServiceAccount and its Secrets";
            conditions.mark_unknown(SUCCEEDED, "Pending", message);
            draft.finish(conditions)
        }
        Ok(Some(pod)) => {
            draft.status["builder"] = json!("Cluster");
            draft.status["startTime"] = json!(rfc3339(draft.now()));
            draft.status["stepsCompleted"] = json!([]);
            let refused = Fact::Refused {
                root: BUILD,
                namespace: draft.namespace().to_owned(),
                name: draft.name().to_owned(),
            };
            if let Some(refused) = draft.world.fact(&refused) {
                let message = refused["message"].as_str().unwrap_or_default().to_owned();
                return fail(draft, conditions, EXECUTE_FAILED, &message);
            }
            let name = pod.name().to_owned();
            draft.push(Action::Create(pod));
            draft.status["cluster"] = json!({"namespace": draft.namespace(), "podName": name});
            conditions.mark_unknown(SUCCEEDED, "Pending", "");
            draft.finish(conditions)
        }
        Err(invalid) => {
            let made = draft.object["metadata"]["creationTimestamp"].as_str();
            let made: Option<Timestamp> = made.and_then(|at| at.parse().ok());
            let until = made.unwrap_or_else(|| draft.now()) + PATIENCE;
            if invalid.reason == "BuildValidationFailed" && until > draft.now() {
                conditions.mark_unknown(SUCCEEDED, "Pending", &invalid.message);
                draft.push(Action::At(until));
                return draft.finish(conditions);
            }
            let Invalid { reason, message } = invalid;
            fail(draft, conditions, reason, &message)
        }
    }
}

/// The Pod to make, once everything is known.
fn prepare(draft: &mut Draft<'_>) -> Result<Option<Value>, Invalid> {
    let spec = whole_spec(draft)?;
    let account = spec["serviceAccountName"].as_str().unwrap_or("default");
    let Some(account) = object(draft, "ServiceAccount", account)? else {
        return Ok(None);
    };
    let mut secrets: Vec<(String, Vec<String>)> = Vec::new();
    for reference in account["secrets"].as_array().into_iter().flatten() {
        let name = reference["name"].as_str().unwrap_or_default();
        let Some(secret) = object(draft, "Secret", name)? else {
            return Ok(None);
        };
        credentials::check(&secret).map_err(|bad| Invalid::new("BadSecretAnnotation", bad.0))?;
        let arguments = credentials::arguments(&secret);
        if !arguments.is_empty() && secrets.iter().all(|(known, _)| known != name) {
            secrets.push((name.to_owned(), arguments));
        }
    }
    Ok(Some(pod::make(&draft.object, &spec, &secrets)))
}

/// The Build's spec with its template's steps.
fn whole_spec(draft: &Draft<'_>) -> Result<Value, Invalid> {
    let spec = &draft.object["spec"];
    let reference = &spec["template"];
    if reference.is_null() {
        return Ok(spec.clone());
    }
    let name = reference["name"].as_str().unwrap_or_default();
    let (template, what) = match reference["kind"].as_str() {
        Some("ClusterBuildTemplate") => (
            draft.world.get(CLUSTER_BUILD_TEMPLATE, "", name),
            format!("clusterbuildtemplates.build.knative.dev {name:?} not found"),
        ),
        _ => (
            draft.get(BUILD_TEMPLATE, name),
            format!("buildtemplates.build.knative.dev {name:?} not found"),
        ),
    };
    let template = template.ok_or_else(|| Invalid::missing(what))?;
    template::apply(spec, &template)
}

/// An object of the Build's namespace that no watch brings; `None` until it is known.
fn object(draft: &mut Draft<'_>, kind: &str, name: &str) -> Result<Option<Value>, Invalid> {
    let fact = Fact::Object {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        namespace: draft.namespace().to_owned(),
        name: name.to_owned(),
    };
    let Some(known) = draft.need(fact) else {
        return Ok(None);
    };
    match known["error"].as_str() {
        None => Ok(Some(Arc::clone(&known)["object"].clone())),
        Some(error) => Err(Invalid::missing(error.to_owned())),
    }
}
