//! Reading a Revision: its containers, port, protocol and limits, with the defaults applied that
//! admission would have filled in. Called by the plans and by whoever compiles routes.

use std::time::Duration;

use serde_json::Value;

use crate::object::ObjectExt;

/// The port an application listens on when the Revision names none.
pub const USER_PORT_DEFAULT: u16 = 8080;
/// `timeoutSeconds` when the Revision has none.
const TIMEOUT_DEFAULT_S: u64 = 300;

/// `spec.containers`.
pub fn containers(revision: &Value) -> &[Value] {
    list(&revision["spec"]["containers"])
}

/// `spec.initContainers`.
pub fn init_containers(revision: &Value) -> &[Value] {
    list(&revision["spec"]["initContainers"])
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Whether `container` is the one that takes requests: the only one, or the one with ports.
pub fn is_serving(revision: &Value, container: &Value) -> bool {
    containers(revision).len() == 1 || !list(&container["ports"]).is_empty()
}

/// The container that takes requests; `Null` when there is none (admission refuses that).
pub fn serving_container(revision: &Value) -> &Value {
    containers(revision)
        .iter()
        .find(|container| is_serving(revision, container))
        .unwrap_or(&Value::Null)
}

/// The port the application listens on.
pub fn user_port(revision: &Value) -> u16 {
    serving_container(revision)["ports"][0]["containerPort"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok())
        .filter(|&port| port != 0)
        .unwrap_or(USER_PORT_DEFAULT)
}

/// Whether the application speaks HTTP/2 with prior knowledge (port name `h2c`).
pub fn is_h2c(revision: &Value) -> bool {
    serving_container(revision)["ports"][0]["name"] == "h2c"
}

/// Requests one Pod serves at once; 0 is unlimited.
pub fn container_concurrency(revision: &Value) -> u32 {
    revision["spec"]["containerConcurrency"]
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(0)
}

/// The limit on a whole request.
pub fn timeout(revision: &Value) -> Duration {
    seconds(revision, "timeoutSeconds").unwrap_or(Duration::from_secs(TIMEOUT_DEFAULT_S))
}

/// The limit on the time to the first byte; `None` is off.
pub fn response_start_timeout(revision: &Value) -> Option<Duration> {
    seconds(revision, "responseStartTimeoutSeconds")
}

/// The limit on the time between bytes; `None` is off.
pub fn idle_timeout(revision: &Value) -> Option<Duration> {
    seconds(revision, "idleTimeoutSeconds")
}

fn seconds(revision: &Value, field: &str) -> Option<Duration> {
    revision["spec"][field]
        .as_u64()
        .filter(|&s| s > 0)
        .map(Duration::from_secs)
}

/// Whether some Route sends, or may send, traffic here.
pub fn is_routed(revision: &Value) -> bool {
    revision.label(super::ROUTING_STATE) == Some("active")
}
