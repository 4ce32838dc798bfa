//! Conditions of Kubernetes' workloads: a list in `status`, each with its times.

use jiff::Timestamp;
use serde_json::{Value, json};

/// What a condition says.
pub(crate) struct Says<'a> {
    pub(crate) kind: &'a str,
    pub(crate) status: bool,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
}

/// The condition `kind` of `object`, if it has it.
pub(crate) fn get<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// Whether the condition `kind` of `object` is True.
pub(crate) fn is_true(object: &Value, kind: &str) -> bool {
    get(object, kind).is_some_and(|condition| condition["status"] == "True")
}

/// The condition to write: times stay where nothing changed.
pub(crate) fn set(object: &Value, says: &Says<'_>, now: Timestamp) -> Value {
    let status = if says.status { "True" } else { "False" };
    let old = get(object, says.kind);
    let same = |key: &str, value: &str| old.is_some_and(|old| old[key] == value);
    let kept = |key: &str, keep: bool| {
        let old = old.filter(|_| keep).map(|old| old[key].clone());
        old.unwrap_or_else(|| json!(seconds(now)))
    };
    let unchanged =
        same("status", status) && same("reason", says.reason) && same("message", says.message);
    json!({
        "type": says.kind,
        "status": status,
        "reason": says.reason,
        "message": says.message,
        "lastTransitionTime": kept("lastTransitionTime", same("status", status)),
        "lastUpdateTime": kept("lastUpdateTime", unchanged),
    })
}

/// A time as Kubernetes writes it: whole seconds.
pub(crate) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
