//! The rows of Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs, autoscalers.

use jiff::Timestamp;
use serde_json::Value;

use super::builtin::{created, name, selector};
use super::{Printer, age, human, integer, text, wide};
use crate::kinds::items;

fn number(value: &Value) -> Value {
    value.as_i64().unwrap_or_default().into()
}

fn containers(template: &Value) -> [Value; 2] {
    let list = items(&template["spec"]["containers"]);
    let join = |key: &str| -> Value {
        list.iter()
            .filter_map(|c| c[key].as_str())
            .collect::<Vec<_>>()
            .join(",")
            .into()
    };
    [join("name"), join("image")]
}

pub(super) const DEPLOYMENT: Printer = Printer {
    columns: &[
        text("Name"),
        text("Ready"),
        integer("Up-to-date"),
        integer("Available"),
        text("Age"),
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let [names, images] = containers(&spec["template"]);
        let desired = spec["replicas"].as_i64().unwrap_or_default();
        let ready = status["readyReplicas"].as_i64().unwrap_or_default();
        vec![
            name(object),
            format!("{ready}/{desired}").into(),
            number(&status["updatedReplicas"]),
            number(&status["availableReplicas"]),
            created(object),
            names,
            images,
            selector(&spec["selector"]),
        ]
    },
};

pub(super) const REPLICA_SET: Printer = Printer {
    columns: &[
        text("Name"),
        integer("Desired"),
        integer("Current"),
        integer("Ready"),
        text("Age"),
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let [names, images] = containers(&spec["template"]);
        vec![
            name(object),
            number(&spec["replicas"]),
            number(&status["replicas"]),
            number(&status["readyReplicas"]),
            created(object),
            names,
            images,
            selector(&spec["selector"]),
        ]
    },
};

pub(super) const STATEFUL_SET: Printer = Printer {
    columns: &[
        text("Name"),
        text("Ready"),
        text("Age"),
        wide("Containers"),
        wide("Images"),
    ],
    cells: |object| {
        let [names, images] = containers(&object["spec"]["template"]);
        let desired = object["spec"]["replicas"].as_i64().unwrap_or_default();
        let ready = object["status"]["readyReplicas"]
            .as_i64()
            .unwrap_or_default();
        vec![
            name(object),
            format!("{ready}/{desired}").into(),
            created(object),
            names,
            images,
        ]
    },
};

pub(super) const DAEMON_SET: Printer = Printer {
    columns: &[
        text("Name"),
        integer("Desired"),
        integer("Current"),
        integer("Ready"),
        integer("Up-to-date"),
        integer("Available"),
        text("Node Selector"),
        text("Age"),
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let [names, images] = containers(&spec["template"]);
        vec![
            name(object),
            number(&status["desiredNumberScheduled"]),
            number(&status["currentNumberScheduled"]),
            number(&status["numberReady"]),
            number(&status["updatedNumberScheduled"]),
            number(&status["numberAvailable"]),
            selector(&spec["template"]["spec"]["nodeSelector"]),
            created(object),
            names,
            images,
            selector(&spec["selector"]),
        ]
    },
};

pub(super) const JOB: Printer = Printer {
    columns: &[
        text("Name"),
        text("Status"),
        text("Completions"),
        text("Duration"),
        text("Age"),
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let [names, images] = containers(&spec["template"]);
        let succeeded = status["succeeded"].as_i64().unwrap_or_default();
        let completions = match (spec["completions"].as_i64(), spec["parallelism"].as_i64()) {
            (Some(wanted), _) => format!("{succeeded}/{wanted}"),
            (None, Some(parallelism)) if parallelism > 1 => {
                format!("{succeeded}/1 of {parallelism}")
            }
            (None, _) => format!("{succeeded}/1"),
        };
        vec![
            name(object),
            job_status(object).into(),
            completions.into(),
            job_duration(status).into(),
            created(object),
            names,
            images,
            selector(&spec["selector"]),
        ]
    },
};

fn job_status(job: &Value) -> &'static str {
    let has = |kind: &str| {
        let conditions = items(&job["status"]["conditions"]);
        conditions
            .iter()
            .any(|c| c["type"] == kind && c["status"] == "True")
    };
    if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if job["metadata"]["deletionTimestamp"].is_string() {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn job_duration(status: &Value) -> String {
    let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    match (time(&status["startTime"]), time(&status["completionTime"])) {
        (None, _) => String::new(),
        (Some(from), Some(to)) => human(to.duration_since(from).as_secs()),
        (Some(from), None) => human(Timestamp::now().duration_since(from).as_secs()),
    }
}

pub(super) const CRON_JOB: Printer = Printer {
    columns: &[
        text("Name"),
        text("Schedule"),
        text("Timezone"),
        text("Suspend"),
        integer("Active"),
        text("Last Schedule"),
        text("Age"),
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let [names, images] = containers(&spec["jobTemplate"]["spec"]["template"]);
        let suspend = if spec["suspend"] == true {
            "True"
        } else {
            "False"
        };
        let last = status["lastScheduleTime"]
            .as_str()
            .map_or_else(|| "<none>".to_owned(), age);
        vec![
            name(object),
            spec["schedule"].clone(),
            spec["timeZone"].as_str().unwrap_or("<none>").into(),
            suspend.into(),
            items(&status["active"]).len().into(),
            last.into(),
            created(object),
            names,
            images,
            selector(&spec["jobTemplate"]["spec"]["selector"]),
        ]
    },
};

pub(super) const AUTOSCALER: Printer = Printer {
    columns: &[
        text("Name"),
        text("Reference"),
        text("Targets"),
        text("MinPods"),
        text("MaxPods"),
        integer("Replicas"),
        text("Age"),
    ],
    cells: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let target = &spec["scaleTargetRef"];
        let part = |key: &str| target[key].as_str().unwrap_or_default().to_owned();
        let min = spec["minReplicas"]
            .as_i64()
            .map_or_else(|| "<unset>".into(), |n| n.to_string());
        vec![
            name(object),
            format!("{}/{}", part("kind"), part("name")).into(),
            targets(spec, status).into(),
            min.into(),
            spec["maxReplicas"]
                .as_i64()
                .unwrap_or_default()
                .to_string()
                .into(),
            number(&status["currentReplicas"]),
            created(object),
        ]
    },
};

fn targets(spec: &Value, status: &Value) -> String {
    if let Some(percentage) = spec["targetCPUUtilizationPercentage"].as_i64() {
        let now = status["currentCPUUtilizationPercentage"].as_i64();
        let now = now.map_or_else(|| "<unknown>".to_owned(), |now| format!("{now}%"));
        return format!("cpu: {now}/{percentage}%");
    }
    let of = |(index, metric): (usize, &Value)| {
        let kind = metric["type"].as_str().unwrap_or_default();
        let source = format!(
            "{}{}",
            kind[..1.min(kind.len())].to_lowercase(),
            &kind[1.min(kind.len())..]
        );
        let (wanted, now) = (
            &metric[&source],
            &status["currentMetrics"][index][&source]["current"],
        );
        let shown = |value: &Value| match value["averageUtilization"].as_i64() {
            Some(percentage) => Some(format!("{percentage}%")),
            None => ["averageValue", "value"]
                .iter()
                .find_map(|key| value[key].as_str())
                .map(str::to_owned),
        };
        let name = wanted["name"]
            .as_str()
            .or_else(|| wanted["metric"]["name"].as_str());
        let current = shown(now).unwrap_or_else(|| "<unknown>".to_owned());
        let goal = shown(&wanted["target"]).unwrap_or_default();
        match (kind, name) {
            ("Resource", Some(name)) => format!("{name}: {current}/{goal}"),
            _ => format!("{current}/{goal}"),
        }
    };
    let metrics = items(&spec["metrics"]);
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let shown: Vec<_> = metrics.iter().enumerate().take(2).map(of).collect();
    match metrics.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} + {more} more...", shown.join(", ")),
    }
}
