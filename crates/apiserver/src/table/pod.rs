//! The row of a Pod, as `printPod` of kubectl's server side computes it.

use serde_json::Value;

use super::{Printer, age, text, wide};
use crate::kinds::items;

pub(super) const PRINTER: Printer = Printer {
    columns: &[
        text("Name"),
        text("Ready"),
        text("Status"),
        text("Restarts"),
        text("Age"),
        wide("IP"),
        wide("Node"),
        wide("Nominated Node"),
        wide("Readiness Gates"),
    ],
    cells,
};

fn str_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn or_none(value: &Value) -> Value {
    match str_of(value) {
        "" => "<none>".into(),
        text => text.into(),
    }
}

fn cells(pod: &Value) -> Vec<Value> {
    let (spec, status, metadata) = (&pod["spec"], &pod["status"], &pod["metadata"]);
    let summary = Summary::of(pod);
    let sidecars = items(&spec["initContainers"])
        .iter()
        .filter(|c| is_sidecar(c))
        .count();
    let total = items(&spec["containers"]).len() + sidecars;
    let restarts = match (&summary.last_restart, summary.restarts) {
        (Some(last), restarts) if restarts > 0 => format!("{restarts} ({} ago)", age(last)),
        (_, restarts) => restarts.to_string(),
    };
    let ip = status["podIPs"][0]["ip"]
        .as_str()
        .or_else(|| status["podIP"].as_str());
    let gates = items(&spec["readinessGates"]);
    let gates = if gates.is_empty() {
        "<none>".to_owned()
    } else {
        let conditions = items(&status["conditions"]);
        let true_of = |gate: &&Value| {
            conditions
                .iter()
                .any(|c| c["type"] == gate["conditionType"] && c["status"] == "True")
        };
        format!("{}/{}", gates.iter().filter(true_of).count(), gates.len())
    };
    vec![
        metadata["name"].clone(),
        format!("{}/{total}", summary.ready).into(),
        summary.reason.into(),
        restarts.into(),
        age(str_of(&metadata["creationTimestamp"])).into(),
        ip.filter(|ip| !ip.is_empty()).unwrap_or("<none>").into(),
        or_none(&spec["nodeName"]),
        or_none(&status["nominatedNodeName"]),
        gates.into(),
    ]
}

#[derive(Default)]
struct Summary {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<String>,
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn exit_reason(terminated: &Value) -> String {
    match (
        str_of(&terminated["reason"]),
        terminated["signal"].as_i64().unwrap_or_default(),
    ) {
        ("", 0) => format!(
            "ExitCode:{}",
            terminated["exitCode"].as_i64().unwrap_or_default()
        ),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let status = &pod["status"];
        let reason = match str_of(&status["reason"]) {
            "" => str_of(&status["phase"]),
            reason => reason,
        };
        let mut summary = Self {
            reason: reason.to_owned(),
            ..Self::default()
        };
        let gated = items(&status["conditions"])
            .iter()
            .any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated");
        if gated {
            summary.reason = "SchedulingGated".to_owned();
        }
        if !summary.initializing(pod) {
            summary.containers(pod);
        }
        if pod["metadata"]["deletionTimestamp"].is_string() {
            summary.reason = match status["reason"].as_str() {
                Some("NodeLost") => "Unknown".to_owned(),
                _ => "Terminating".to_owned(),
            };
        }
        summary
    }

    fn count(&mut self, container: &Value) {
        self.restarts += container["restartCount"].as_i64().unwrap_or_default();
        let finished = container["lastState"]["terminated"]["finishedAt"].as_str();
        if let Some(finished) = finished.filter(|f| self.last_restart.as_deref() < Some(f)) {
            self.last_restart = Some(finished.to_owned());
        }
    }

    /// Takes in the init containers; says whether the Pod is still busy with them.
    fn initializing(&mut self, pod: &Value) -> bool {
        let specs = items(&pod["spec"]["initContainers"]);
        let sidecar = |name: &Value| specs.iter().any(|c| c["name"] == *name && is_sidecar(c));
        let statuses = items(&pod["status"]["initContainerStatuses"]);
        let mut busy = false;
        for (index, container) in statuses.iter().enumerate() {
            self.count(container);
            let state = &container["state"];
            let is_sidecar = sidecar(&container["name"]);
            if is_sidecar && container["ready"] == true {
                self.ready += 1;
            }
            let done = state["terminated"].is_object() && state["terminated"]["exitCode"] == 0
                || is_sidecar && container["started"] == true;
            if done || busy {
                continue;
            }
            let waiting = str_of(&state["waiting"]["reason"]);
            self.reason = if state["terminated"].is_object() {
                format!("Init:{}", exit_reason(&state["terminated"]))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", specs.len())
            };
            busy = true;
        }
        busy
    }

    fn containers(&mut self, pod: &Value) {
        let mut running = false;
        for container in items(&pod["status"]["containerStatuses"]).iter().rev() {
            self.count(container);
            let state = &container["state"];
            let waiting = str_of(&state["waiting"]["reason"]);
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if state["terminated"].is_object() {
                self.reason = exit_reason(&state["terminated"]);
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            let ready = items(&pod["status"]["conditions"])
                .iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True");
            self.reason = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }
}
